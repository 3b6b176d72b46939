//! Getting a suite, running it, and reading what it says of each test.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use testkit::program;

use super::{Suite, Verdict, Verdicts};
use crate::ground::Place;
use crate::install::{self, Cache, must};
use crate::known::Engine;

/// A suite that hangs is ended, and what it did not come to is missing.
const SUITE_WITHIN: &str = "900";

/// A suite, ready to run.
#[derive(Debug)]
pub(super) struct Prepared {
    pub version: String,
    /// Where it runs.
    folder: PathBuf,
    /// Before it runs, in its database.
    pub setup: Vec<String>,
}

pub(super) fn prepare(suite: Suite, cache: &Cache) -> Result<Prepared> {
    match suite {
        Suite::Psycopg2 => python(cache, "psycopg2", "psycopg2-binary"),
        Suite::Asyncpg => python(cache, "asyncpg", "asyncpg"),
        Suite::LibPq => go("github.com/lib/pq", "golang-github-lib-pq-dev"),
        Suite::Pgx => go("github.com/jackc/pgx/v4", "golang-github-jackc-pgx-v4-dev"),
        Suite::Sqlx => rust(cache),
    }
}

/// `tests` of the source distribution of exactly the version that is installed.
fn python(cache: &Cache, source: &str, installed: &str) -> Result<Prepared> {
    let python = install::python(Engine::PostgreSql, cache)?;
    let ask = "import sys, importlib.metadata as m; print(m.version(sys.argv[1]))";
    let said = program::run(Command::new(&python).args(["-c", ask, installed]))?;
    let version = said.expect_success()?;
    let downloads = cache.folder("suites")?;
    let name = format!("{source}-{version}");
    let archive = downloads.join(format!("{name}.tar.gz"));
    if !archive.is_file() {
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check"]);
        pip.args(["--no-deps", "--no-binary", ":all:", "--dest"]).arg(&downloads);
        must(pip.arg(format!("{source}=={version}")))?;
    }
    // Only the tests: the driver itself is the installed one.
    let folder = cache.folder(&format!("suites/{source}"))?;
    let tests = folder.join("tests");
    if tests.is_dir() {
        fs::remove_dir_all(&tests)?;
    }
    let mut tar = Command::new("tar");
    tar.arg("-xzf").arg(archive).arg("-C").arg(&folder).arg("--strip-components=1");
    must(tar.arg(format!("{name}/tests")))?;
    Ok(Prepared { version, folder, setup: Vec::new() })
}

fn go(import: &str, package: &str) -> Result<Prepared> {
    let folder = Path::new(install::GO_PACKAGES).join("src").join(import);
    Ok(Prepared { version: install::debian_version(package)?, folder, setup: Vec::new() })
}

/// The suite that the crate itself brings, with the database that its own script makes.
fn rust(cache: &Cache) -> Result<Prepared> {
    let folder = install::source(Engine::PostgreSql, "rust");
    let mut metadata = Command::new("cargo");
    metadata.args(["metadata", "--locked", "--format-version", "1"]).current_dir(&folder);
    let metadata = program::run(&mut metadata)?.json()?;
    let packages = metadata.get("packages").and_then(|packages| packages.as_array());
    let sqlx = packages.into_iter().flatten().find(|p| p.get("name").is_some_and(|n| n == "sqlx"));
    let sqlx = sqlx.context("sqlx is not among the packages")?;
    let text = |field: &str| sqlx.get(field).and_then(|value| value.as_str()).context("no text");
    let manifest = Path::new(text("manifest_path")?);
    let setup = manifest.with_file_name("tests").join("postgres/setup.sql");
    // With all that it stands on; the rest asks the database about its statements while it is built.
    let mut build = rust_cargo(cache, &folder)?;
    must(build.args(["test", "--locked", "--quiet", "--no-run", "--test", "sqlx_error"]))?;
    Ok(Prepared {
        version: text("version")?.to_owned(),
        folder,
        setup: vec![fs::read_to_string(&setup).with_context(|| install::shown(&setup))?],
    })
}

fn rust_cargo(cache: &Cache, folder: &Path) -> Result<Command> {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(folder).env("CARGO_TARGET_DIR", cache.folder("rust")?);
    Ok(cargo)
}

/// Runs it there, or only these tests of it.
pub(super) fn verdicts(
    (suite, prepared): (Suite, &Prepared),
    place: &Place,
    cache: &Cache,
    only: &BTreeSet<String>,
) -> Result<Verdicts> {
    let mut command = place.command(Path::new("timeout"), suite.database());
    command.arg(SUITE_WITHIN).current_dir(&prepared.folder).env_remove("PGHANDLE");
    match suite {
        Suite::Psycopg2 | Suite::Asyncpg => {
            command.arg(install::python(Engine::PostgreSql, cache)?);
            command.args(["-m", "pytest", "-v", "--tb=short", "-p", "no:cacheprovider"]);
            if only.is_empty() {
                command.arg("tests");
            }
            command.args(only);
        }
        Suite::LibPq | Suite::Pgx => {
            let go = install::go_command(cache)?;
            for (name, value) in go.get_envs() {
                command.env(name, value.unwrap_or_default());
            }
            command.args(["go", "test", "-v", "-count=1", "-timeout", "800s"]);
            if !only.is_empty() {
                command.args(["-run", &go_pattern(only)]);
            }
            command.arg(".");
        }
        Suite::Sqlx => {
            command.env("CARGO_TARGET_DIR", cache.folder("rust")?);
            command.args(["cargo", "test", "--locked", "--no-fail-fast", "--test", "sqlx_*"]);
            command.args(["--", "--test-threads=1"]);
            if !only.is_empty() {
                command.arg("--exact").args(only);
            }
        }
    }
    let url = place.url(suite.database());
    command
        .env("PSYCOPG2_TESTDB", suite.database())
        .env("PGX_TEST_DATABASE", &url)
        .env("DATABASE_URL", &url);
    let said = program::run(&mut command)?;
    let again = if only.is_empty() { "" } else { "-again" };
    let log = format!("{}-{}{again}.log", suite.database(), place.name);
    let log = cache.folder("suites")?.join(log);
    fs::write(&log, said.text())?;
    println!("  {}: {}", place.name, log.display());
    // Some of its tests may have failed; more than that means that it did not run to its end.
    ensure!([0, suite.code_of_failures()].contains(&said.code), "it ended with {}", said.code);
    Ok(read(suite, &said.text()))
}

/// Exactly these tests, of parts of a test the whole test.
fn go_pattern(tests: &BTreeSet<String>) -> String {
    let whole = tests.iter().filter_map(|test| test.split('/').next());
    format!("^({})$", whole.collect::<Vec<_>>().join("|"))
}

fn read(suite: Suite, text: &str) -> Verdicts {
    let one = match suite {
        Suite::Psycopg2 | Suite::Asyncpg => pytest,
        Suite::LibPq | Suite::Pgx => go_test,
        Suite::Sqlx => cargo_test,
    };
    text.lines().filter_map(one).collect()
}

/// `tests/test_x.py::Class::test PASSED   [  1%]`
fn pytest(line: &str) -> Option<(String, Verdict)> {
    let (name, rest) = line.split_once(' ')?;
    let verdict = match rest.split_whitespace().next()? {
        "PASSED" | "XFAIL" => Verdict::Passed,
        "FAILED" | "ERROR" | "XPASS" => Verdict::Failed,
        "SKIPPED" => Verdict::Skipped,
        _ => return None,
    };
    name.contains("::").then(|| (name.to_owned(), verdict))
}

/// `    --- PASS: TestX/part (0.00s)`
fn go_test(line: &str) -> Option<(String, Verdict)> {
    let rest = line.trim_start().strip_prefix("--- ")?;
    let (verdict, rest) = rest.split_once(": ")?;
    let verdict = match verdict {
        "PASS" => Verdict::Passed,
        "FAIL" => Verdict::Failed,
        "SKIP" => Verdict::Skipped,
        _ => return None,
    };
    let (name, _) = rest.rsplit_once(" (")?;
    Some((name.to_owned(), verdict))
}

/// `test it_connects ... ok`
fn cargo_test(line: &str) -> Option<(String, Verdict)> {
    let (name, verdict) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let verdict = match verdict.split([',', ' ']).next()? {
        "ok" => Verdict::Passed,
        "FAILED" => Verdict::Failed,
        "ignored" => Verdict::Skipped,
        _ => return None,
    };
    Some((name.to_owned(), verdict))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_of_go_is_named_whole() {
        let tests = ["TestA/part one", "TestB"].map(str::to_owned);
        assert_eq!(go_pattern(&BTreeSet::from(tests)), "^(TestA|TestB)$");
    }

    #[test]
    fn each_runner_is_read() {
        for (suite, line, name, verdict) in [
            (
                Suite::Asyncpg,
                "tests/a.py::A::b PASSED  [  1%]",
                "tests/a.py::A::b",
                Verdict::Passed,
            ),
            (
                Suite::Asyncpg,
                "tests/a.py::A::b SKIPPED (no) [ 1%]",
                "tests/a.py::A::b",
                Verdict::Skipped,
            ),
            (Suite::Pgx, "    --- FAIL: TestA/b c (0.01s)", "TestA/b c", Verdict::Failed),
            (Suite::Sqlx, "test it_connects ... ok", "it_connects", Verdict::Passed),
            (Suite::Sqlx, "test it_sleeps ... ignored, slow", "it_sleeps", Verdict::Skipped),
        ] {
            assert_eq!(read(suite, line), Verdicts::from([(name.to_owned(), verdict)]), "{line}");
        }
        for suite in Suite::ALL {
            assert_eq!(
                read(suite, "PASSED\n=== RUN TestA\nok\nFAILED tests/a.py::b - no"),
                Verdicts::new()
            );
        }
    }
}
