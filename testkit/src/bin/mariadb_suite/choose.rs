//! Which tests can run: those that one server with one set of settings and one user can tell. What cannot is excluded by a
//! rule that looks at the test and at everything that it includes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// Why a test is not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    Disabled,
    Settings,
    Debug,
    Restarts,
    Replication,
    Big,
    Connects,
    Programs,
    Unreadable,
}

impl Reason {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Disabled => "disabled by the suite itself (`disabled.def`)",
            Self::Settings => {
                "needs a server with settings of its own (`.opt`, `.cnf`, `.sh`, `.combinations`)"
            }
            Self::Debug => "needs a server that was built for debugging",
            Self::Restarts => "stops, starts or crashes the server",
            Self::Replication => "needs a binary log or a replica",
            Self::Big => "asks for hours or gigabytes (`big_test.inc`)",
            Self::Connects => {
                "opens further connections under names and passwords of its own (`connect`, `change_user`)"
            }
            Self::Programs => {
                "starts other programs, which log in by themselves (`exec`, `system` or `perl` with `$MYSQL…`)"
            }
            Self::Unreadable => "includes a file that is named by a variable",
        }
    }
}

/// The suite's tests.
#[derive(Debug)]
pub(crate) struct Choice {
    /// To be run, by name.
    pub tests: BTreeMap<String, PathBuf>,
    /// Not to be run.
    pub excluded: BTreeMap<String, Reason>,
}

impl Choice {
    /// From the suite's folder, which holds `main` and `include`.
    pub(crate) fn read(suite: &Path) -> Result<Self> {
        let folder = suite.join("main");
        let disabled = disabled(&fs::read_to_string(folder.join("disabled.def"))?);
        let mut choice = Self { tests: BTreeMap::new(), excluded: BTreeMap::new() };
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Some(name) = name.strip_suffix(".test") else { continue };
            let reason = if disabled.contains(name) {
                Some(Reason::Disabled)
            } else if settings(&folder, name)? {
                Some(Reason::Settings)
            } else {
                looked_through(suite, &path)?
            };
            match reason {
                Some(reason) => drop(choice.excluded.insert(name.to_owned(), reason)),
                None => drop(choice.tests.insert(name.to_owned(), path)),
            }
        }
        ensure!(!choice.tests.is_empty(), "no tests in {}", folder.display());
        Ok(choice)
    }

    pub(crate) fn total(&self) -> usize {
        self.tests.len() + self.excluded.len()
    }

    /// Only these.
    pub(crate) fn keep(&mut self, names: &[&str]) -> Result<()> {
        for name in names {
            if let Some(reason) = self.excluded.get(*name) {
                anyhow::bail!("`{name}` is excluded: {}", reason.text());
            }
            ensure!(self.tests.contains_key(*name), "there is no test `{name}`");
        }
        self.tests.retain(|name, _| names.contains(&name.as_str()));
        Ok(())
    }
}

fn disabled(list: &str) -> BTreeSet<String> {
    let lines = list.lines().filter(|line| !line.trim_start().starts_with('#'));
    lines.filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned())).collect()
}

/// Whether files beside the test say how its server is to be started.
fn settings(folder: &Path, name: &str) -> Result<bool> {
    let endings =
        [".opt", "-master.opt", "-slave.opt", ".cnf", ".sh", "-master.sh", ".combinations"];
    for ending in endings {
        if folder.join(format!("{name}{ending}")).try_exists()? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The gravest reason in the test and in what it includes.
fn looked_through(suite: &Path, test: &Path) -> Result<Option<Reason>> {
    let (mut left, mut seen) = (vec![test.to_owned()], BTreeSet::new());
    let mut found: Option<Reason> = None;
    while let Some(path) = left.pop() {
        if !seen.insert(path.clone()) {
            continue;
        }
        let text = fs::read(&path).with_context(|| path.display().to_string())?;
        for command in commands(&String::from_utf8_lossy(&text)) {
            let reason = match source(&command) {
                Some(name) if name.contains('$') => Some(Reason::Unreadable),
                Some(name) => {
                    left.extend(included(suite, &path, name)?);
                    by_include(name)
                }
                None => by_command(&command),
            };
            found = match (found, reason) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
        }
    }
    Ok(found)
}

/// Lines without comments, in lower case where that does not matter: a command begins a line.
fn commands(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    lines.filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// The command itself, in either of its two spellings.
fn bare(line: &str) -> &str {
    line.strip_prefix("--").unwrap_or(line).trim_start()
}

/// What a line includes.
fn source(line: &str) -> Option<&str> {
    let line = bare(line);
    let (word, rest) = line.split_once(char::is_whitespace)?;
    let name = rest.trim().split([';', ' ', '\t']).next()?;
    word.eq_ignore_ascii_case("source").then_some(name)
}

/// Where the test program looks for it: beside the file, in the suite's folder, in the folder of the tests.
fn included(suite: &Path, from: &Path, name: &str) -> Result<Option<PathBuf>> {
    let beside = from.parent().unwrap_or(suite).join(name);
    for path in [beside, suite.join(name), suite.join("main").join(name)] {
        if path.try_exists()? {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

fn by_include(name: &str) -> Option<Reason> {
    let name = name.rsplit('/').next().unwrap_or(name).trim_end_matches(".inc");
    Some(match name {
        "have_debug" | "have_debug_sync" | "have_valgrind" => Reason::Debug,
        "restart_mysqld"
        | "shutdown_mysqld"
        | "start_mysqld"
        | "kill_mysqld"
        | "crash_mysqld"
        | "kill_and_restart_mysqld"
        | "expect_crash" => Reason::Restarts,
        "have_log_bin"
        | "master-slave"
        | "have_binlog_format_row"
        | "have_binlog_format_statement"
        | "have_binlog_format_mixed"
        | "have_binlog_format_mixed_or_statement"
        | "have_binlog_format_mixed_or_row"
        | "have_binlog_format_row_or_statement" => Reason::Replication,
        "big_test" => Reason::Big,
        _ => return None,
    })
}

fn by_command(line: &str) -> Option<Reason> {
    let lower = bare(line).to_ascii_lowercase();
    let words = |word: &str| {
        lower.strip_prefix(word).is_some_and(|rest| rest.starts_with([' ', '\t', '(', ';']))
    };
    let connects =
        words("change_user") || (words("connect") && (lower.contains(',') || lower.contains('$')));
    if words("shutdown_server") || lower.contains(".expect") || lower.starts_with("shutdown") {
        return Some(Reason::Restarts);
    }
    if connects {
        return Some(Reason::Connects);
    }
    let runs = ["exec", "exec_in_background", "system"].into_iter().any(words);
    let programs = ["$MYSQL", "$MARIADB", "$EXE_", "$MYISAM", "$MARIA_", "$XTRA", "$INNOCHECKSUM"];
    let programs_of_perl = ["ENV{MYSQL", "ENV{'MYSQL", "ENV{MARIADB", "ENV{'MARIADB"];
    let folders = |rest: &str| {
        ["TEST_DIR", "TEST_VARDIR", "TEST_VARDIR'", "_TMP_DIR", "TEST_VARDIR}"]
            .iter()
            .any(|folder| rest.starts_with(folder) || rest.starts_with(&format!("{{{folder}")))
    };
    let names_program = |mark: &&str| {
        let mut places = line.match_indices(*mark);
        places.any(|(at, _)| line.get(at + mark.len()..).is_some_and(|rest| !folders(rest)))
    };
    if (runs && programs.iter().any(names_program)) || programs_of_perl.iter().any(names_program) {
        return Some(Reason::Programs);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_told_by_both_of_their_spellings() {
        for (line, reason) in [
            ("connect (con1,localhost,root,,);", Some(Reason::Connects)),
            ("--connect con1,localhost,root,,test", Some(Reason::Connects)),
            ("connect  con1,localhost,$user,,;", Some(Reason::Connects)),
            ("connection con1;", None),
            ("change_user root,,test;", Some(Reason::Connects)),
            ("--exec $MYSQL -e \"select 1\"", Some(Reason::Programs)),
            ("exec rm $MYSQLTEST_VARDIR/tmp/t1.txt;", None),
            ("--exec echo x > $MYSQL_TMP_DIR/x", None),
            ("my $dir= $ENV{'MYSQLTEST_VARDIR'};", None),
            ("open(F, \"$ENV{MYSQL_DUMP} test |\");", Some(Reason::Programs)),
            ("LOAD  DATA LOCAL INFILE 'x' INTO TABLE t;", None),
            ("load data infile '../../std_data/x' into table t;", None),
            ("--shutdown_server", Some(Reason::Restarts)),
            ("select connect;", None),
        ] {
            assert_eq!(by_command(line), reason, "{line}");
        }
    }

    #[test]
    fn includes_are_found_in_both_spellings() {
        assert_eq!(source("--source include/x.inc"), Some("include/x.inc"));
        assert_eq!(source("-- source include/x.inc"), Some("include/x.inc"));
        assert_eq!(source("source  include/x.inc;"), Some("include/x.inc"));
        assert_eq!(source("select source from t;"), None);
        assert_eq!(by_include("include/have_debug.inc"), Some(Reason::Debug));
        assert_eq!(by_include("include/have_innodb.inc"), None);
    }

    #[test]
    fn disabled_tests_are_listed_without_their_comments() {
        let list = "# comment : x\ntablespace  : why\n";
        assert_eq!(disabled(list), BTreeSet::from(["tablespace".to_owned()]));
    }
}
