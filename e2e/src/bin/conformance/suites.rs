//! Drivers' own suites: each run directly and through the gateway, in a fresh database, test by test.

mod run;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};

use crate::ground::{Ground, Place};
use crate::install::Cache;

/// So often are tests whose verdicts differ run again, in both places: what is a race in the driver's own test is lost
/// directly as well, and on a busy machine more often.
const AGAIN_MAX: u32 = 5;

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
}

/// What became of one test, best first.
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
    /// Tests whose verdicts differed at first, and which were run again in both places.
    pub again: BTreeSet<String>,
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
    fn different(&self) -> BTreeSet<String> {
        let names = self.directly.keys().chain(self.gateway.keys());
        names.filter(|name| self.directly.get(*name) != self.gateway.get(*name)).cloned().collect()
    }

    /// The same, in words.
    pub(crate) fn differences(&self) -> Vec<String> {
        let say = |name: &String| {
            let (there, here) = (self.directly.get(name), self.gateway.get(name));
            let suite = self.suite.title();
            format!("{suite}: {name}: {there:?} directly, {here:?} through the gateway")
        };
        self.different().iter().map(say).collect()
    }

    /// Tests that fail in both places, and so say nothing about the gateway.
    pub(crate) fn failures(&self) -> Vec<&str> {
        let failed = self.directly.iter().filter(|(_, verdict)| **verdict == Verdict::Failed);
        failed.map(|(name, _)| name.as_str()).collect()
    }
}

/// A test that has passed once can pass there.
fn keep_best(verdicts: &mut Verdicts, again: Verdicts) {
    for (name, verdict) in again {
        let best = verdicts.get(&name).map_or(verdict, |before| verdict.min(*before));
        verdicts.insert(name, best);
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
    let none = BTreeSet::new();
    let verdicts = |place: &Place| -> Result<Verdicts> {
        let verdicts = run::verdicts((suite, &program), place, cache, &none)?;
        ensure!(
            verdicts.values().any(|verdict| *verdict == Verdict::Passed),
            "no test of {} passed, {}",
            suite.title(),
            place.name
        );
        Ok(verdicts)
    };
    let (directly, gateway) =
        (verdicts(&ground.places.directly)?, verdicts(&ground.places.gateway)?);
    let version = program.version.clone();
    let mut ran = Ran { suite, version, directly, gateway, again: BTreeSet::new() };
    for _ in 0..AGAIN_MAX {
        let different = ran.different();
        if different.is_empty() {
            break;
        }
        let once_more = |place| run::verdicts((suite, &program), place, cache, &different);
        keep_best(&mut ran.directly, once_more(&ground.places.directly)?);
        keep_best(&mut ran.gateway, once_more(&ground.places.gateway)?);
        ran.again.extend(different);
    }
    Ok(ran)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passed_once_has_passed() {
        let one = |verdict| Verdicts::from([("a".to_owned(), verdict)]);
        let mut verdicts = one(Verdict::Failed);
        keep_best(&mut verdicts, one(Verdict::Passed));
        assert_eq!(verdicts, one(Verdict::Passed));
        keep_best(&mut verdicts, one(Verdict::Failed));
        assert_eq!(verdicts, one(Verdict::Passed));
    }

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
            again: BTreeSet::new(),
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
