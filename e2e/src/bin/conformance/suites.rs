//! Drivers' own suites: each run directly and through the gateway, in a fresh database, test by test.

mod run;

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

use crate::ground::{Ground, Place};
use crate::install::Cache;

/// A driver's own suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suite {
    Psycopg2,
    Asyncpg,
    LibPq,
    Pgx,
    Sqlx,
}

impl Suite {
    pub(crate) const ALL: [Self; 5] =
        [Self::Psycopg2, Self::Asyncpg, Self::LibPq, Self::Pgx, Self::Sqlx];

    /// All of them when none is named.
    pub(crate) fn chosen(names: &[&str]) -> Result<Vec<Self>> {
        if names.is_empty() {
            return Ok(Self::ALL.to_vec());
        }
        let find = |name: &&str| {
            let found = Self::ALL.into_iter().find(|suite| suite.title() == *name);
            found.with_context(|| format!("`{name}` is no suite"))
        };
        names.iter().map(find).collect()
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Psycopg2 => "psycopg2",
            Self::Asyncpg => "asyncpg",
            Self::LibPq => "lib/pq",
            Self::Pgx => "pgx",
            Self::Sqlx => "sqlx",
        }
    }

    pub(crate) fn language(self) -> &'static str {
        match self {
            Self::Psycopg2 | Self::Asyncpg => "Python",
            Self::LibPq | Self::Pgx => "Go",
            Self::Sqlx => "Rust",
        }
    }

    /// The database that it expects.
    pub(crate) fn database(self) -> &'static str {
        match self {
            Self::Psycopg2 => "psycopg2_test",
            Self::Asyncpg => "asyncpg_test",
            Self::LibPq => "pqgotest",
            Self::Pgx => "pgx_test",
            Self::Sqlx => "sqlx_test",
        }
    }

    /// What its own instructions say must be in the database.
    fn preparation(self) -> &'static str {
        match self {
            Self::Psycopg2 => "create extension hstore;",
            Self::Pgx => "create extension hstore; create domain uint64 as numeric(20, 0);",
            Self::Asyncpg | Self::LibPq | Self::Sqlx => "",
        }
    }

    /// What its runner ends with when tests failed.
    fn code_of_failures(self) -> i32 {
        match self {
            Self::Psycopg2 | Self::Asyncpg | Self::LibPq | Self::Pgx => 1,
            Self::Sqlx => 101,
        }
    }

    /// Tests that are not compared, and why.
    pub(crate) fn excluded(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Asyncpg => &[(
                "tests/test_execute.py::TestExecuteMany::test_executemany_server_failure_during_writes",
                "a race: the server's error must be read before 4 MiB are written, and the sockets on the way to a \
                 gateway and on from there hold as much",
            )],
            Self::Psycopg2 | Self::LibPq | Self::Pgx | Self::Sqlx => &[],
        }
    }
}

/// What became of one test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    Passed,
    Failed,
    Skipped,
}

/// Every test by its name.
type Verdicts = BTreeMap<String, Verdict>;

/// One suite in both places.
#[derive(Debug)]
pub(crate) struct Ran {
    pub suite: Suite,
    pub version: String,
    pub directly: Verdicts,
    pub gateway: Verdicts,
}

/// How many tests passed, failed and were skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
}

impl Counts {
    pub(crate) fn of(verdicts: &Verdicts) -> Self {
        let count = |wanted| verdicts.values().filter(|verdict| **verdict == wanted).count();
        Self {
            passed: count(Verdict::Passed),
            failed: count(Verdict::Failed),
            skipped: count(Verdict::Skipped),
        }
    }
}

impl Ran {
    /// Tests with another verdict, or in one place only.
    pub(crate) fn differences(&self) -> Vec<String> {
        let names = self.directly.keys().chain(self.gateway.keys());
        let mut different: Vec<String> = names
            .filter(|name| self.directly.get(*name) != self.gateway.get(*name))
            .map(|name| {
                let (there, here) = (self.directly.get(name), self.gateway.get(name));
                format!(
                    "{}: {name}: {there:?} directly, {here:?} through the gateway",
                    self.suite.title()
                )
            })
            .collect();
        different.sort();
        different.dedup();
        different
    }

    /// Tests that fail in both places, and so say nothing about the gateway.
    pub(crate) fn failures(&self) -> Vec<&str> {
        let failed = self.directly.iter().filter(|(_, verdict)| **verdict == Verdict::Failed);
        failed.map(|(name, _)| name.as_str()).collect()
    }
}

/// Runs one suite in both places. One that does not run is an error.
pub(crate) fn compare(suite: Suite, ground: &Ground, cache: &Cache) -> Result<Ran> {
    let program =
        run::prepare(suite, cache).with_context(|| format!("{} cannot be had", suite.title()))?;
    let database = suite.database();
    ground.on_both("postgres", &format!("drop database if exists {database}"))?;
    ground.on_both("postgres", &format!("create database {database} owner \"orders-owner\""))?;
    ground.on_both(database, suite.preparation())?;
    for sql in &program.setup {
        ground.on_both(database, sql)?;
    }
    let verdicts = |place: &Place| -> Result<Verdicts> {
        let mut verdicts = run::verdicts(suite, &program, place, cache)?;
        verdicts.retain(|name, _| suite.excluded().iter().all(|(excluded, _)| excluded != name));
        ensure!(
            verdicts.values().any(|verdict| *verdict == Verdict::Passed),
            "no test of {} passed, {}",
            suite.title(),
            place.name
        );
        Ok(verdicts)
    };
    let (directly, gateway) = (verdicts(&ground.directly)?, verdicts(&ground.gateway)?);
    Ok(Ran { suite, version: program.version, directly, gateway })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_verdict_and_a_missing_test_are_differences() {
        let verdicts = |pairs: &[(&str, Verdict)]| -> Verdicts {
            pairs.iter().map(|(name, verdict)| ((*name).to_owned(), *verdict)).collect()
        };
        let compared = Ran {
            suite: Suite::Pgx,
            version: String::new(),
            directly: verdicts(&[
                ("a", Verdict::Passed),
                ("b", Verdict::Passed),
                ("c", Verdict::Failed),
                ("d", Verdict::Skipped),
            ]),
            gateway: verdicts(&[
                ("a", Verdict::Passed),
                ("b", Verdict::Failed),
                ("c", Verdict::Failed),
                ("e", Verdict::Passed),
            ]),
        };
        assert_eq!(
            compared.differences(),
            [
                "pgx: b: Some(Passed) directly, Some(Failed) through the gateway",
                "pgx: d: Some(Skipped) directly, None through the gateway",
                "pgx: e: None directly, Some(Passed) through the gateway",
            ]
        );
        assert_eq!(compared.failures(), ["c"]);
        assert_eq!(Counts::of(&compared.gateway), Counts { passed: 2, failed: 2, skipped: 0 });
    }
}
