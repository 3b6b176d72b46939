//! Building the program under test, and keeping it where no other checkout can swap it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::shell;

/// How it is built.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// For tests: debug assertions on.
    Dev,
    /// For the demo and `up`: optimised.
    Stack,
    /// For what is measured: as it is shipped.
    Release,
}

impl Profile {
    fn name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Stack => "stack",
            Self::Release => "release",
        }
    }
}

/// Programs of the workspace, as `(package, binary)`.
pub(crate) const PORTCULLIS: (&str, &str) = ("portcullis", "portcullis");
pub(crate) const STACK: (&str, &str) = ("testkit", "stack");
pub(crate) const CONFORMANCE: (&str, &str) = ("e2e", "conformance");
pub(crate) const SUITES: (&str, &str) = ("testkit", "suites");
pub(crate) const MARIADB_SUITE: (&str, &str) = ("testkit", "mariadb_suite");
pub(crate) const HOSTILITY: (&str, &str) = ("e2e", "hostility");
pub(crate) const BENCH: (&str, &str) = ("bench", "bench");

/// Builds programs and copies them to this checkout's own place under the shared target folder.
pub(crate) fn programs(profile: Profile, wanted: &[(&str, &str)]) -> Result<Vec<PathBuf>> {
    let target = shell::target();
    fs::create_dir_all(&target)
        .with_context(|| format!("cannot create the target folder `{}`", target.display()))?;
    // Between the end of cargo's build and our copy another checkout could put its own program there.
    let lock = File::create(target.join("xtask.lock"))?;
    lock.lock().context("cannot lock the target folder")?;

    let mut arguments = vec!["build", "--locked", "--profile", profile.name()];
    arguments.push("--message-format=json-render-diagnostics");
    for (package, binary) in wanted {
        arguments.extend(["--package", package, "--bin", binary]);
    }
    let executables = executables(&arguments)?;
    let own = own_place(profile);
    fs::create_dir_all(&own)?;
    wanted
        .iter()
        .map(|(_, binary)| {
            let built = executables
                .iter()
                .find(|path| path.file_name().is_some_and(|name| name == *binary))
                .with_context(|| format!("cargo built no `{binary}`"))?;
            keep(built, &own.join(binary))
        })
        .collect()
}

/// What an earlier build of this checkout left in its own place.
pub(crate) fn kept(profile: Profile, (_, binary): (&str, &str)) -> Option<PathBuf> {
    Some(own_place(profile).join(binary)).filter(|path| path.is_file())
}

fn own_place(profile: Profile) -> PathBuf {
    shell::target().join("checkouts").join(key(&shell::checkout())).join(profile.name())
}

fn executables(arguments: &[&str]) -> Result<Vec<PathBuf>> {
    let mut cargo = shell::cargo(arguments);
    let mut child = cargo.stdout(Stdio::piped()).spawn().context("cannot run cargo")?;
    let stdout = child.stdout.take().context("cargo's output was not piped")?;
    let mut found = Vec::new();
    for line in BufReader::new(stdout).lines() {
        let message: Value = serde_json::from_str(&line?).unwrap_or_default();
        if let Some(path) = message.get("executable").and_then(Value::as_str) {
            found.push(PathBuf::from(path));
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("the build ended with {status}");
    }
    Ok(found)
}

/// A copy, not a link: the linker may write into the file that it made before. Renamed into place, so that a program
/// that still runs from there keeps its file.
fn keep(built: &Path, place: &Path) -> Result<PathBuf> {
    let fresh = place.with_extension(format!("new-{}", std::process::id()));
    fs::copy(built, &fresh).with_context(|| format!("cannot copy `{}`", built.display()))?;
    fs::rename(&fresh, place)?;
    Ok(place.to_path_buf())
}

/// FNV-1a over the checkout's path: the same in every run, another for every checkout.
fn key(checkout: &Path) -> String {
    let hash = checkout
        .as_os_str()
        .as_encoded_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_checkouts_keep_their_programs_apart() {
        assert_ne!(key(Path::new("/a/portcullis")), key(Path::new("/b/portcullis")));
        assert_eq!(key(Path::new("/a/portcullis")), key(Path::new("/a/portcullis")));
    }
}
