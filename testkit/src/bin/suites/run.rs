//! Running one suite one way.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use testkit::postgres::{self, DirectLogin, Postgres};
use testkit::program;
use testkit::stack::Workload;

use testkit::statement_log::AROUND;

use crate::result::{self, Results, Suite, Verdict};
use crate::workplace::Workplace;

/// What a failed test shows of how it failed.
const SHOWN_LINES_MAX: usize = 60;
/// As the pipeline suite's own script says.
const PIPELINE_ROWS: &str = "700";
const PIPELINE_DATABASE: &str = "pipeline";

/// How the suites reach the server: by the environment that every client of PostgreSQL's follows.
#[derive(Debug)]
pub(crate) struct Way {
    environment: Vec<(String, String)>,
}

impl Way {
    /// Around the gateway, over TLS, as a superuser who is one in the same way as the workload's database user: made by
    /// SQL, and not the owner of the catalogs.
    pub(crate) fn direct(postgres: &Postgres) -> Result<Self> {
        let direct = postgres.direct().context("the server has no way around the gateway")?;
        let direct = direct.for_user(AROUND)?;
        postgres.psql("postgres", &format!("create role {AROUND} login superuser"))?;
        let login = DirectLogin {
            user: AROUND,
            database: "postgres",
            certificate: &direct.certificate,
            key: &direct.key,
        };
        Ok(Self::of(&postgres.psql_directly_command(&login)?))
    }

    /// As a workload, with its token.
    pub(crate) fn gateway(workload: &Workload, token: &str) -> Self {
        let mut command = workload.reach.client("psql", &workload.application, token);
        command.env("PGDATABASE", "postgres");
        Self::of(&command)
    }

    fn of(command: &Command) -> Self {
        let text = |value: &std::ffi::OsStr| value.to_string_lossy().into_owned();
        let set = command.get_envs().filter_map(|(name, value)| Some((text(name), text(value?))));
        Self { environment: set.filter(|(name, _)| name.starts_with("PG")).collect() }
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = program::clean(program);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        // The suites' own expectations are in this language; messages of libpq are in it too.
        command.env("LC_ALL", "C");
        command
    }
}

/// One suite, one way; every test has a result, or it is an error.
pub(crate) fn suite(suite: Suite, way: &Way, place: &Workplace) -> Result<Results> {
    match suite {
        Suite::Regress => {
            let folder = place.path("regress");
            let driver = Driver {
                program: suites_folder()?.join("regress/pg_regress"),
                tests: planned(&folder.join("parallel_schedule"))?,
                arguments: vec![
                    format!("--schedule={}", folder.join("parallel_schedule").display()),
                    format!("--dlpath={}", place.path("lib").display()),
                    "--dbname=regression".to_owned(),
                ],
            };
            driver.run(way, &folder)
        }
        Suite::Isolation => {
            let folder = place.path("isolation");
            let schedule = folder.join("isolation_schedule");
            let tests = planned(&schedule)?;
            isolation(tests, vec![format!("--schedule={}", schedule.display())])?.run(way, &folder)
        }
        Suite::Pipeline => pipeline(way, place),
    }
    .with_context(|| format!("{} could not run", suite.name()))
}

/// Tests of the isolation suite alone, which each make what they need. What two of its connections print in the same
/// moment comes in either order, so a difference must come again to be one.
pub(crate) fn isolation_again(tests: &[String], way: &Way, place: &Workplace) -> Result<Results> {
    isolation(tests.to_vec(), tests.to_vec())?.run(way, &place.path("isolation"))
}

fn isolation(tests: Vec<String>, mut arguments: Vec<String>) -> Result<Driver> {
    arguments.push("--dbname=isolation_regression".to_owned());
    let program = suites_folder()?.join("isolation/pg_isolation_regress");
    Ok(Driver { program, tests, arguments })
}

/// `pg_regress` or `pg_isolation_regress`.
struct Driver {
    program: PathBuf,
    /// What it will run.
    tests: Vec<String>,
    arguments: Vec<String>,
}

/// `…/lib/pgxs/src/test` of the server that the test kit starts.
fn suites_folder() -> Result<PathBuf> {
    let programs = postgres::programs()?;
    let version = programs.parent().context("the server's programs lie nowhere")?;
    Ok(version.join("lib/pgxs/src/test"))
}

impl Driver {
    fn run(&self, way: &Way, folder: &Path) -> Result<Results> {
        let mut command = way.command(&self.program);
        command
            .arg(format!("--inputdir={}", folder.display()))
            .arg(format!("--outputdir={}", folder.display()))
            .arg(format!("--bindir={}", postgres::programs()?.display()))
            .arg("--max-concurrent-tests=20")
            .args(&self.arguments)
            .current_dir(folder);
        let printed = shown(&mut command)?;
        let ran = result::tests(&printed);
        let missing: Vec<_> = self.tests.iter().filter(|test| !ran.contains_key(*test)).collect();
        ensure!(missing.is_empty(), "these tests did not run: {missing:?}");
        let diffs = fs::read_to_string(folder.join("regression.diffs")).unwrap_or_default();
        let verdict = |test: &str, passed| {
            if passed { Verdict::Passed } else { Verdict::Failed(difference(&diffs, test)) }
        };
        Ok(ran.into_iter().map(|(test, passed)| (test.clone(), verdict(&test, passed))).collect())
    }
}

/// Shows what it prints; all of it. How it ends is judged by its tests.
fn shown(command: &mut Command) -> Result<String> {
    let (reader, writer) = std::io::pipe()?;
    let mut child = command.stdout(writer.try_clone()?).stderr(writer).spawn()?;
    // The command holds the pipe's other end open until it is given something else.
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut printed = String::new();
    for line in BufReader::new(reader).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        println!("{line}");
        printed.push_str(&line);
        printed.push('\n');
    }
    child.wait()?;
    Ok(printed)
}

/// Names of the tests in a schedule.
fn planned(schedule: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(schedule)?;
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix("test:"));
    Ok(lines.flat_map(str::split_whitespace).map(str::to_owned).collect())
}

/// What `regression.diffs` says of one test, without the file names and times in its heading.
fn difference(diffs: &str, test: &str) -> String {
    let heading = format!("/results/{test}.out");
    let part = diffs
        .split("diff -")
        .find(|part| part.lines().next().is_some_and(|first| first.trim_end().ends_with(&heading)));
    let lines = part.unwrap_or_default().lines().skip(3);
    lines.take(SHOWN_LINES_MAX).flat_map(|line| [line, "\n"]).collect()
}

/// What `libpq_pipeline`'s own script does: each of its tests, and for those that have one, the trace of the protocol.
fn pipeline(way: &Way, place: &Workplace) -> Result<Results> {
    let program = place.path("bin").join("libpq_pipeline");
    let list = program::run(way.command(&program).arg("tests"))?.expect_success()?;
    // A database of their own: what one test finds there is part of its trace.
    let psql = |sql: &str| {
        let psql = postgres::programs()?.join("psql");
        program::run(way.command(&psql).args(["-X", "-q", "-c", sql]))?.expect_success()
    };
    psql(&format!("create database {PIPELINE_DATABASE}"))?;
    let mut results = Results::new();
    for test in list.split_whitespace() {
        let trace = place.path("pipeline").join(format!("results/{test}.trace"));
        let mut command = way.command(&program);
        let database = format!("dbname={PIPELINE_DATABASE}");
        command.args(["-r", PIPELINE_ROWS, "-t"]).arg(&trace).args([test, &database]);
        let said = program::run(&mut command)?;
        let passed = said.ok();
        println!("test {test:<32} ... {}", if passed { "ok" } else { "FAILED" });
        let verdict = if passed { Verdict::Passed } else { Verdict::Failed(said.text()) };
        results.insert(test.to_owned(), verdict);
        let expected = place.path("pipeline").join(format!("traces/{test}.trace"));
        if let Ok(expected) = fs::read_to_string(expected) {
            let found = fs::read_to_string(&trace).unwrap_or_default();
            let same = found == expected;
            println!(
                "test {:<32} ... {}",
                format!("{test} trace"),
                if same { "ok" } else { "FAILED" }
            );
            let verdict = if same { Verdict::Passed } else { Verdict::Failed(found) };
            results.insert(format!("{test} trace"), verdict);
        }
    }
    psql(&format!("drop database {PIPELINE_DATABASE}"))?;
    ensure!(!results.is_empty(), "it has no tests");
    Ok(results)
}
