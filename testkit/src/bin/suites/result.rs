//! What a suite said of each of its tests.

use std::collections::{BTreeMap, BTreeSet};

/// A suite of PostgreSQL's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suite {
    Regress,
    Isolation,
    Pipeline,
}

impl Suite {
    pub(crate) const ALL: [Self; 3] = [Self::Regress, Self::Isolation, Self::Pipeline];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Regress => "pg_regress",
            Self::Isolation => "isolation",
            Self::Pipeline => "libpq_pipeline",
        }
    }
}

/// What became of one test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Passed,
    /// With what it printed, so that two failures can be told apart.
    Failed(String),
}

/// By test.
pub(crate) type Results = BTreeMap<String, Verdict>;

pub(crate) fn passed(results: &Results) -> usize {
    results.values().filter(|verdict| **verdict == Verdict::Passed).count()
}

/// One suite both ways.
#[derive(Debug)]
pub(crate) struct Compared {
    pub(crate) suite: Suite,
    /// Directly over TLS.
    pub(crate) expected: Results,
    /// Through the gateway.
    pub(crate) found: Results,
    /// What had to be run again, because the results differed at first.
    pub(crate) again: BTreeSet<String>,
}

impl Compared {
    /// The tests whose results differ.
    pub(crate) fn different(&self) -> Vec<String> {
        let tests: BTreeSet<&String> = self.expected.keys().chain(self.found.keys()).collect();
        let differs = |test: &&String| self.expected.get(*test) != self.found.get(*test);
        tests.into_iter().filter(differs).cloned().collect()
    }

    /// Each of them with both results.
    pub(crate) fn differences(&self) -> Vec<String> {
        self.different()
            .iter()
            .map(|test| {
                let said = |results: &Results| match results.get(test) {
                    None => "did not run".to_owned(),
                    Some(Verdict::Passed) => "passed".to_owned(),
                    Some(Verdict::Failed(why)) => format!("failed:\n{why}"),
                };
                format!(
                    "{} `{test}` directly {}\nthrough the gateway {}",
                    self.suite.name(),
                    said(&self.expected),
                    said(&self.found)
                )
            })
            .collect()
    }

    /// Tests that fail in the same way without the gateway.
    pub(crate) fn failed_both_ways(&self) -> impl Iterator<Item = &String> {
        self.expected
            .iter()
            .filter(|(test, verdict)| {
                **verdict != Verdict::Passed && self.found.get(*test) == Some(*verdict)
            })
            .map(|(test, _)| test)
    }
}

/// The tests in what `pg_regress` and `pg_isolation_regress` print: `test NAME ... ok  12 ms`, or `     NAME ... FAILED`.
/// Whether each passed.
pub(crate) fn tests(printed: &str) -> BTreeMap<String, bool> {
    let line = |line: &str| {
        let (name, verdict) = line.split_once(" ... ")?;
        let name = name.trim().strip_prefix("test ").unwrap_or(name).trim();
        let passed = match verdict.split_whitespace().next()? {
            "ok" => true,
            "FAILED" | "failed" => false,
            _ => return None,
        };
        Some((name.to_owned(), passed))
    };
    printed.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_alone_and_in_groups_are_understood_and_nothing_else() {
        let printed = "parallel group (2 tests):  one two\n     one                          ... ok           73 ms\n\
                       \x20    two                          ... FAILED       12 ms\n\
                       test three                        ... ok          243 ms\n\
                       test four                         ... failed (ignored)       1 ms\n 4 of 217 tests failed.\n";
        let found = tests(printed);
        let expected = [("four", false), ("one", true), ("three", true), ("two", false)];
        assert_eq!(found, expected.map(|(name, passed)| (name.to_owned(), passed)).into());
    }

    #[test]
    fn another_result_a_missing_test_and_another_failure_are_differences() {
        let results = |list: &[(&str, Verdict)]| -> Results {
            list.iter().map(|(name, verdict)| ((*name).to_owned(), verdict.clone())).collect()
        };
        let failed = |why: &str| Verdict::Failed(why.to_owned());
        let compared = Compared {
            suite: Suite::Regress,
            expected: results(&[
                ("same", Verdict::Passed),
                ("broken", Verdict::Passed),
                ("gone", Verdict::Passed),
                ("both", failed("x")),
                ("other", failed("x")),
            ]),
            found: results(&[
                ("same", Verdict::Passed),
                ("broken", failed("y")),
                ("both", failed("x")),
                ("other", failed("y")),
            ]),
            again: BTreeSet::new(),
        };
        assert_eq!(compared.different(), ["broken", "gone", "other"]);
        assert_eq!(compared.failed_both_ways().collect::<Vec<_>>(), ["both"]);
    }
}
