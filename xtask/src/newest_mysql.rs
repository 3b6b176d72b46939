//! MySQL's server and clients, which the distribution has in its unstable suite only: fetched with apt-get into a folder of
//! their own, with the libraries that they want. Nothing is installed, and the machine's own package lists stay as they are.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell;

const SOURCES: &str = "/etc/apt/sources.list.d";
const PACKAGES: [&str; 2] = ["mysql-server-core", "mysql-client-core"];
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
const PROGRAMS: [&str; 4] =
    ["usr/sbin/mysqld", "usr/bin/mysql", "usr/bin/mysqldump", "usr/bin/mysqladmin"];
/// Written last, so that what was interrupted is made again.
const COMPLETE: &str = "complete";

/// A folder with `bin`, `lib`, `plugin` and `share` in it, that can be moved. A program is started by the loader in `lib`,
/// through the script of its name in `bin`.
pub(crate) fn prepare() -> Result<PathBuf> {
    let folder = shell::target().join("mysql");
    if folder.join(COMPLETE).try_exists()? {
        println!("MySQL lies in {}.", folder.display());
        return Ok(folder);
    }
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => fs::create_dir_all(&folder)?,
    }
    let (apt, root) = (folder.join("apt"), folder.join("root"));
    for part in ["lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(apt.join(part))?;
    }
    fs::write(apt.join("sources.list"), entry()?)?;
    // Nothing counts as installed, so that everything they want comes with them.
    fs::write(apt.join("status"), "")?;
    println!(
        "Fetching {} of Debian's unstable suite with apt-get; nothing is installed.",
        PACKAGES.join(" and ")
    );
    shell::run(apt_get(&apt).arg("update")).context("cannot refresh the list of packages")?;
    let mut download = apt_get(&apt);
    shell::run(download.args(["install", "-y", "--download-only"]).args(PACKAGES))?;
    for archive in fs::read_dir(apt.join("cache/archives"))?.flatten() {
        if archive.path().extension().is_some_and(|ending| ending == "deb") {
            let mut unpack = Command::new("dpkg-deb");
            shell::run(unpack.arg("-x").arg(archive.path()).arg(&root))?;
        }
    }
    keep(&root, &folder)?;
    fs::remove_dir_all(&apt)?;
    fs::remove_dir_all(&root)?;
    fs::write(folder.join(COMPLETE), "")?;
    Ok(folder)
}

fn apt_get(apt: &Path) -> Command {
    let mut command = Command::new("apt-get");
    command.arg("-q");
    let settings = [
        ("Dir::Etc::SourceList", apt.join("sources.list")),
        ("Dir::Etc::SourceParts", PathBuf::from("/dev/null")),
        ("Dir::State::Lists", apt.join("lists")),
        ("Dir::State::Status", apt.join("status")),
        ("Dir::Cache", apt.join("cache")),
        ("APT::Sandbox::User", PathBuf::from("root")),
        ("APT::Install-Recommends", PathBuf::from("false")),
        ("Debug::NoLocking", PathBuf::from("true")),
    ];
    for (name, value) in settings {
        command.arg("-o").arg(format!("{name}={}", value.display()));
    }
    command
}

/// The machine's own entry for Debian, of the unstable suite.
fn entry() -> Result<String> {
    let listed = fs::read_dir(SOURCES).into_iter().flatten().flatten().map(|entry| entry.path());
    let texts = listed
        .chain([PathBuf::from("/etc/apt/sources.list")])
        .filter_map(|path| fs::read_to_string(path).ok());
    for text in texts {
        if let Some(entry) = deb822(&text).or_else(|| one_line(&text)) {
            return Ok(entry);
        }
    }
    bail!(
        "apt has no entry for Debian in {SOURCES} whose mirror could be asked for the unstable suite"
    )
}

/// The first stanza of a suite that is no archive of updates.
fn deb822(text: &str) -> Option<String> {
    text.split("\n\n").find_map(|stanza| {
        let field = |name: &str| {
            let mut lines = stanza.lines().filter_map(|line| line.strip_prefix(name));
            lines.next().and_then(|rest| rest.strip_prefix(':')).map(str::trim)
        };
        let (mirror, suites) = (field("URIs")?, field("Suites")?);
        (!suites.contains("security") && mirror.ends_with("/debian"))
            .then(|| described(mirror, field("Signed-By").unwrap_or_default()))
    })
}

fn one_line(text: &str) -> Option<String> {
    text.lines().filter_map(|line| line.strip_prefix("deb ")).find_map(|line| {
        let mirror = line.split_whitespace().find(|word| word.contains("://"))?;
        mirror.trim_end_matches('/').ends_with("/debian").then(|| described(mirror, ""))
    })
}

fn described(mirror: &str, signed_by: &str) -> String {
    let key = match signed_by {
        "" => "/usr/share/keyrings/debian-archive-keyring.gpg",
        key => key,
    };
    format!("deb [signed-by={key}] {mirror} sid main\n")
}

/// What the programs need, out of all that was unpacked.
fn keep(root: &Path, folder: &Path) -> Result<()> {
    for part in ["lib", "bin", "program"] {
        fs::create_dir_all(folder.join(part))?;
    }
    for library in fs::read_dir(root.join(LIBRARIES))?.flatten() {
        let name = library.file_name();
        if name.to_string_lossy().contains(".so") && !library.path().is_dir() {
            move_to(&library.path(), &folder.join("lib").join(name))?;
        }
    }
    move_to(&root.join("usr/lib/mysql/plugin"), &folder.join("plugin"))?;
    move_to(&root.join("usr/share/mysql"), &folder.join("share"))?;
    for program in PROGRAMS {
        let name = Path::new(program).file_name().context("a program without a name")?;
        move_to(&root.join(program), &folder.join("program").join(name))?;
        let script = folder.join("bin").join(name);
        let name = name.display();
        fs::write(
            &script,
            format!(
                "#!/bin/sh\nhere=$(dirname \"$(dirname \"$(readlink -f \"$0\")\")\")\n\
                 exec \"$here/lib/ld-linux-x86-64.so.2\" --library-path \"$here/lib\" \
                 \"$here/program/{name}\" \"$@\"\n"
            ),
        )?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

fn move_to(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).with_context(|| format!("{} is not in the packages", from.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_own_mirror_is_asked() {
        let modern = "Types: deb\nURIs: http://mirror.example/debian-security\nSuites: bookworm-security\n\n\
                      Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\n\
                      Signed-By: /usr/share/keyrings/key.gpg\n";
        let entry =
            "deb [signed-by=/usr/share/keyrings/key.gpg] http://mirror.example/debian sid main\n";
        assert_eq!(deb822(modern).as_deref(), Some(entry));
        assert_eq!(deb822("Types: deb\nURIs: http://other.example/node\nSuites: nodistro\n"), None);
        let old = "# main\ndeb [arch=amd64] http://mirror.example/debian bookworm main\n";
        assert!(one_line(old).is_some_and(|entry| entry.ends_with("/debian sid main\n")));
    }
}
