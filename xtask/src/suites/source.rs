//! The suites' files, from the distribution's source package of exactly the version that is installed, and the two
//! programs that no package holds. All of it lies under the target folder, for the next run too; nothing of it becomes
//! part of this checkout, and the machine's own package lists stay as they are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell;

const SOURCES: &str = "/etc/apt/sources.list.d";
/// Written last, so that what was interrupted is made again.
const COMPLETE: &str = "complete";

/// The installed server package.
struct Installed {
    /// `15`.
    major: String,
    /// `15.18-0+deb12u1`.
    version: String,
}

/// A folder with `regress`, `isolation`, `pipeline`, `lib` and `bin` in it.
pub(super) fn prepare() -> Result<PathBuf> {
    let installed = installed()?;
    let name = format!("postgresql-{}", installed.version);
    let folder = shell::target().join("suites").join(name);
    if folder.join(COMPLETE).try_exists()? {
        println!("The suites of PostgreSQL {} lie in {}.", installed.version, folder.display());
        return Ok(folder);
    }
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => fs::create_dir_all(&folder)?,
    }
    let source = download(&installed, &folder)?;
    copy(&source, &folder)?;
    build(&installed, &source, &folder)?;
    for leftover in ["source", "development", "apt"] {
        fs::remove_dir_all(folder.join(leftover))?;
    }
    fs::write(folder.join(COMPLETE), "")?;
    Ok(folder)
}

/// The newest server that is installed; the test kit starts the same.
fn installed() -> Result<Installed> {
    let mut query = Command::new("dpkg-query");
    query.args(["-W", "-f", "${db:Status-Status} ${Package} ${Version}\\n", "postgresql-[0-9]*"]);
    let listed = shell::output(&mut query).context("no PostgreSQL server is installed")?;
    let found = listed.lines().filter_map(|line| {
        let [status, package, version] = line.split(' ').collect::<Vec<_>>()[..] else {
            return None;
        };
        let major: u32 = package.strip_prefix("postgresql-")?.parse().ok()?;
        (status == "installed").then(|| (major, version.to_owned()))
    });
    let (major, version) = found.max().context("no PostgreSQL server is installed")?;
    Ok(Installed { major: major.to_string(), version })
}

/// Source package and the server's headers; the unpacked source.
fn download(installed: &Installed, folder: &Path) -> Result<PathBuf> {
    let Installed { major, version } = installed;
    let apt = folder.join("apt");
    for part in ["sources", "lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(apt.join(part))?;
    }
    let entries = source_entries(&apt.join("sources"))?;
    println!(
        "Fetching the source of postgresql-{major} {version} and its headers with apt-get, by a copy of {} that says \
         deb-src and is removed afterwards; nothing is installed.",
        entries.join(", ")
    );
    shell::run(apt_get(&apt).arg("update")).context("cannot refresh the list of sources")?;
    let wanted = format!("postgresql-{major}={version}");
    shell::run(apt_get(&apt).args(["source", "--download-only", &wanted]).current_dir(&apt))
        .with_context(|| format!("no source package of exactly {wanted}"))?;
    let headers = format!("postgresql-server-dev-{major}={version}");
    let mut download = Command::new("apt-get");
    download.args(["-q", "-o", "APT::Sandbox::User=root", "download", &headers]).current_dir(&apt);
    shell::run(&mut download).with_context(|| format!("no package {headers}"))?;

    let source = folder.join("source");
    let description = only(&apt, ".dsc")?;
    let mut unpack = Command::new("dpkg-source");
    // apt-get has checked the signature.
    unpack.args(["-q", "--no-check", "-x"]).arg(description).arg(&source);
    shell::output(&mut unpack)?;
    let mut unpack = Command::new("dpkg-deb");
    shell::run(unpack.arg("-x").arg(only(&apt, ".deb")?).arg(folder.join("development")))?;
    Ok(source)
}

/// With lists of its own: the machine's are not touched.
fn apt_get(apt: &Path) -> Command {
    let mut command = Command::new("apt-get");
    command.arg("-q");
    let settings = [
        ("Dir::Etc::SourceList", PathBuf::from("/dev/null")),
        ("Dir::Etc::SourceParts", apt.join("sources")),
        ("Dir::State::Lists", apt.join("lists")),
        ("Dir::Cache", apt.join("cache")),
        ("APT::Sandbox::User", PathBuf::from("root")),
    ];
    for (name, value) in settings {
        command.arg("-o").arg(format!("{name}={}", value.display()));
    }
    command
}

/// The machine's own entries for Debian, saying `deb-src`; which they are.
fn source_entries(to: &Path) -> Result<Vec<String>> {
    let mut taken = Vec::new();
    let listed = fs::read_dir(SOURCES).into_iter().flatten().flatten().map(|entry| entry.path());
    for path in listed.chain([PathBuf::from("/etc/apt/sources.list")]) {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let (text, found) = match path.extension().and_then(|ending| ending.to_str()) {
            Some("sources") => (deb822(&text), text.lines().any(|line| line == "Types: deb")),
            Some("list") => (one_line(&text), text.lines().any(|line| line.starts_with("deb "))),
            _ => continue,
        };
        if found {
            fs::write(to.join(name), text)?;
            taken.push(path.display().to_string());
        }
    }
    if taken.is_empty() {
        bail!("apt has no entries in {SOURCES} that a source entry could be copied from");
    }
    Ok(taken)
}

fn deb822(text: &str) -> String {
    let line = |line| match line {
        "Types: deb" | "Types: deb deb-src" => "Types: deb-src",
        other => other,
    };
    text.lines().map(line).flat_map(|line| [line, "\n"]).collect()
}

fn one_line(text: &str) -> String {
    let entries = text.lines().filter_map(|line| line.strip_prefix("deb "));
    entries.flat_map(|entry| ["deb-src ", entry, "\n"]).collect()
}

fn only(folder: &Path, ending: &str) -> Result<PathBuf> {
    let found = fs::read_dir(folder)?.flatten().map(|entry| entry.path());
    let mut found = found.filter(|path| path.to_string_lossy().ends_with(ending));
    match (found.next(), found.next()) {
        (Some(path), None) => Ok(path),
        _ => bail!("not exactly one *{ending} in {}", folder.display()),
    }
}

/// What the suites read.
fn copy(source: &Path, folder: &Path) -> Result<()> {
    let wanted = [
        ("regress", "src/test/regress", &["sql", "expected", "data", "resultmap"][..]),
        ("regress", "src/test/regress", &["parallel_schedule"]),
        ("isolation", "src/test/isolation", &["specs", "expected", "isolation_schedule"]),
        ("pipeline", "src/test/modules/libpq_pipeline", &["traces"]),
    ];
    for (suite, from, parts) in wanted {
        let to = folder.join(suite);
        fs::create_dir_all(&to)?;
        let paths = parts.iter().map(|part| source.join(from).join(part));
        shell::run(Command::new("cp").arg("-r").args(paths).arg(&to))
            .with_context(|| format!("the source has no {suite} suite as it is known here"))?;
    }
    Ok(())
}

/// The functions that the regression suite loads into the server, and the pipeline tests.
fn build(installed: &Installed, source: &Path, folder: &Path) -> Result<()> {
    let server = format!("usr/lib/postgresql/{}/lib", installed.major);
    let development = folder.join("development");
    let headers = development.join("usr/include/postgresql").join(&installed.major).join("server");
    let (lib, bin) = (folder.join("lib"), folder.join("bin"));
    fs::create_dir_all(&lib)?;
    fs::create_dir_all(&bin)?;
    let mut functions = compiler(&headers);
    functions.args(["-fPIC", "-shared", "-o"]).arg(lib.join("regress.so"));
    shell::run(functions.arg(source.join("src/test/regress/regress.c")))?;
    for trigger in ["refint.so", "autoinc.so"] {
        let from = Path::new("/").join(&server).join(trigger);
        fs::copy(&from, lib.join(trigger)).with_context(|| from.display().to_string())?;
    }
    let mut pipeline = compiler(&headers);
    pipeline.arg("-I/usr/include/postgresql").arg("-o").arg(bin.join("libpq_pipeline"));
    pipeline.arg(source.join("src/test/modules/libpq_pipeline/libpq_pipeline.c"));
    pipeline.arg("-L").arg(development.join(&server));
    shell::run(pipeline.args(["-lpq", "-lpgcommon", "-lpgport", "-lm"]))
}

fn compiler(headers: &Path) -> Command {
    let mut command = Command::new("gcc");
    command.args(["-w", "-O2", "-D_GNU_SOURCE", "-I"]).arg(headers);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_both_kinds_become_source_entries() {
        let modern = "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm\n";
        assert_eq!(
            deb822(modern),
            "Types: deb-src\nURIs: http://mirror.example/debian\nSuites: bookworm\n"
        );
        let old = "# main\ndeb http://mirror.example/debian bookworm main\n";
        assert_eq!(one_line(old), "deb-src http://mirror.example/debian bookworm main\n");
    }
}
