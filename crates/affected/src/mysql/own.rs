//! Statements that are understood by hand.

use wire::sql::Kind;

use super::{Run, Sign};
use crate::scan::named;
use crate::walk::{DEFINES, NO_NAME, NOT_PARSED, OTHER_KIND};
use crate::{Analysis, Engine, Name};

/// Begin with these and touch no table, whatever follows.
const NOTHING: &[&str] = &[
    "commit",
    "rollback",
    "savepoint",
    "release",
    "unlock",
    "kill",
    "help",
    "deallocate",
    "xa",
    "flush",
    "reset",
    "signal",
    "resignal",
];

/// Nothing stands in parentheses in what begins with these and is understood by hand, and so nothing is called.
const WITHOUT_PARENTHESES: &[&str] =
    &["use", "lock", "truncate", "rename", "drop", "check", "checksum", "optimize", "repair"];

/// What a statement may be that the parser reads.
const PARSED: &[&str] =
    &["select", "with", "(", "values", "insert", "replace", "update", "delete", "create", "alter"];

/// Whether the server reads what follows in another way: as `sql_mode` or the character set say.
pub(super) fn changes_reading(signs: &[Sign<'_>]) -> bool {
    let is_reading = |sign: &Sign<'_>| {
        let text = sign.token.text.to_ascii_lowercase();
        ["sql_mode", "names", "charset", "character", "character_set_client"]
            .iter()
            .any(|setting| text.trim_start_matches('@').ends_with(setting))
    };
    signs.first().is_some_and(|first| first.is("set")) && signs.iter().any(is_reading)
}

impl Run {
    /// One statement, without the `;` behind it.
    pub(super) fn statement(&mut self, signs: &[Sign<'_>]) {
        let [first, rest @ ..] = signs else { return };
        if first.is_any(WITHOUT_PARENTHESES) && rest.iter().any(|sign| sign.is("(")) {
            self.analysis.because(NOT_PARSED);
        }
        match first.token.text.to_ascii_lowercase().as_str() {
            word if NOTHING.contains(&word) => {}
            "begin" if rest.is_empty() || rest.iter().all(|sign| sign.is("work")) => {}
            "start" if rest.first().is_some_and(|sign| sign.is("transaction")) => {}
            "use" => match name(rest) {
                Some(name) => self.database = Some(name.name),
                None => self.analysis.because(NO_NAME),
            },
            "show" => self.show(signs),
            "set" => self.set(rest),
            "do" => self.expressions(rest),
            "call" => self.call(rest),
            "handler" => self.handler(rest),
            "load" => self.load(signs),
            "lock" if rest.first().is_some_and(|sign| sign.is_any(&["table", "tables"])) => {
                self.listed(rest.get(1..).unwrap_or_default(), Analysis::read);
            }
            "truncate" => {
                let table = rest.first().is_some_and(|sign| sign.is("table"));
                self.listed(rest.get(usize::from(table)..).unwrap_or_default(), Analysis::write);
            }
            "rename" => self.rename(rest),
            "drop" => self.drop(rest),
            "check" | "checksum" | "optimize" | "repair" | "analyze" | "explain" | "desc"
            | "describe" => self.looks_after(signs),
            "prepare" => self.analysis.because("PREPARE runs nothing yet"),
            "execute" => self.execute(rest),
            word if PARSED.contains(&word) && !super::is_compound(signs) => self.parsed(signs),
            "create" | "alter" | "begin" | "if" | "case" | "loop" | "while" | "repeat" | "for"
            | "declare" => {
                self.scanned(signs);
                if first.is_any(&["create", "alter"]) {
                    self.analysis.because(DEFINES);
                }
            }
            _ => self.analysis.because(OTHER_KIND),
        }
    }

    /// What definitions and the server's state are shown of holds no table's rows, unless a condition asks for some.
    fn show(&mut self, signs: &[Sign<'_>]) {
        if signs.iter().any(|sign| sign.is("select") || sign.is("(")) {
            self.scanned(signs);
        }
    }

    /// `SET a = expression, …`, `SET STATEMENT a = 1 FOR …`.
    fn set(&mut self, signs: &[Sign<'_>]) {
        match signs {
            [statement, rest @ ..] if statement.is("statement") => {
                match rest.iter().position(|sign| sign.is("for")) {
                    Some(at) => self.statement(rest.get(at + 1..).unwrap_or_default()),
                    None => self.scanned(signs),
                }
            }
            [password, ..] if password.is("password") => self.analysis.because(OTHER_KIND),
            _ => {
                for assigned in apart(signs) {
                    let value = assigned.iter().position(|sign| sign.is("="));
                    let (target, value) = match value {
                        Some(at) => (assigned.get(..at), assigned.get(at + 1..)),
                        None => (None, Some(assigned)),
                    };
                    let (target, value) = (target.unwrap_or_default(), value.unwrap_or_default());
                    // A variable has a name and nothing else.
                    if target.iter().any(|sign| sign.is("(")) {
                        self.analysis.because(OTHER_KIND);
                    }
                    if value.iter().any(|sign| sign.is("(")) {
                        self.expressions(value);
                    }
                }
            }
        }
    }

    /// As what SELECT asks for.
    fn expressions(&mut self, signs: &[Sign<'_>]) {
        const SELECT: Sign<'_> =
            Sign { token: wire::sql::Token { kind: Kind::Word, text: "SELECT" }, spaced: true };
        let mut query = vec![SELECT];
        query.extend(signs.iter().map(|sign| Sign { spaced: true, ..*sign }).take(1));
        query.extend(signs.iter().skip(1));
        self.parsed(&query);
    }

    fn call(&mut self, signs: &[Sign<'_>]) {
        let called = name(signs).map_or_else(
            || "something".to_owned(),
            |name| format!("`{}`", name.shown(Engine::MySql)),
        );
        self.analysis.because(format!("it calls {called}"));
        if let Some(open) = signs.iter().position(|sign| sign.is("("))
            && signs.len() > open + 2
        {
            self.expressions(signs.get(open..).unwrap_or_default());
        }
    }

    fn execute(&mut self, signs: &[Sign<'_>]) {
        self.analysis.because(match signs {
            [immediate, ..] if immediate.is("immediate") => {
                "EXECUTE IMMEDIATE runs a text that is not looked into"
            }
            _ => "EXECUTE runs what an earlier PREPARE said",
        });
        // What is given may be a query's result.
        if signs.iter().any(|sign| sign.is("select")) {
            self.scanned(signs);
        }
    }

    /// `HANDLER t OPEN AS h`, `HANDLER h READ …`, `HANDLER h CLOSE`.
    fn handler(&mut self, signs: &[Sign<'_>]) {
        let opens = signs.iter().any(|sign| sign.is("open"));
        let reads = signs.iter().any(|sign| sign.is("read"));
        match name(signs) {
            Some(name) if opens || reads => self.take_name(name, Analysis::read),
            None => self.analysis.because(NO_NAME),
            Some(_) => {}
        }
        if reads {
            self.analysis.because("HANDLER … READ reads what an earlier HANDLER … OPEN named");
            if signs.iter().any(|sign| sign.is("select")) {
                self.scanned(signs);
            }
        }
    }

    /// `LOAD DATA INFILE '…' [REPLACE | IGNORE] INTO TABLE t … SET a = expression`.
    fn load(&mut self, signs: &[Sign<'_>]) {
        let into = signs.windows(2).position(|pair| match pair {
            [into, table] => into.is("into") && table.is("table"),
            _ => false,
        });
        let data = signs.get(1).is_some_and(|sign| sign.is_any(&["data", "xml"]));
        let Some(into) = into.filter(|_| data) else {
            self.analysis.because(OTHER_KIND);
            return;
        };
        let rest = signs.get(into + 2..).unwrap_or_default();
        let Some(name) = name(rest) else { return self.scanned(signs) };
        let looks = signs.iter().take(into).any(|sign| sign.is_any(&["replace", "ignore"]));
        self.take_name(name.clone(), Analysis::write);
        if looks {
            self.take_name(name, Analysis::read);
        }
        // Behind a character set's `SET` no parenthesis follows.
        for at in 0..rest.len() {
            let after = rest.get(at + 1..).unwrap_or_default();
            if rest.get(at).is_some_and(|sign| sign.is("set"))
                && after.iter().any(|sign| sign.is("="))
            {
                return self.set(after);
            }
        }
    }

    /// `RENAME TABLE a TO b, …`.
    fn rename(&mut self, signs: &[Sign<'_>]) {
        let [table, rest @ ..] = signs else { return self.analysis.because(OTHER_KIND) };
        if !table.is_any(&["table", "tables"]) {
            return self.analysis.because(OTHER_KIND);
        }
        let rest = behind(rest, &["if", "exists"]);
        for renamed in apart(rest) {
            self.listed(renamed, Analysis::write);
            let to = renamed.iter().position(|sign| sign.is("to"));
            let new = to.and_then(|at| renamed.get(at + 1..)).unwrap_or_default();
            self.listed(new, Analysis::write);
        }
        self.analysis.because(DEFINES);
    }

    /// `DROP [TEMPORARY] TABLE | VIEW [IF EXISTS] a, b`, and others.
    fn drop(&mut self, signs: &[Sign<'_>]) {
        let signs = behind(signs, &["temporary"]);
        let Some((kind, rest)) = signs.split_first() else { return };
        match kind.token.text.to_ascii_lowercase().as_str() {
            "table" | "tables" | "view" => {
                self.listed(behind(rest, &["if", "exists"]), Analysis::write);
                self.analysis.because(DEFINES);
            }
            "index" => {
                let on = rest.iter().position(|sign| sign.is("on"));
                let table = on.and_then(|at| rest.get(at + 1..)).unwrap_or_default();
                self.listed(table, Analysis::write);
                self.analysis.because(DEFINES);
            }
            "database" | "schema" => {
                self.analysis.because("it drops a database, with every table in it");
            }
            "prepare" => {}
            _ => self.analysis.because(DEFINES),
        }
    }

    /// `CHECK TABLE`, `ANALYZE TABLE`, `EXPLAIN t`, `EXPLAIN SELECT …`, `ANALYZE FORMAT = JSON SELECT …`.
    fn looks_after(&mut self, signs: &[Sign<'_>]) {
        let Some((verb, rest)) = signs.split_first() else { return };
        let statement = rest.iter().position(|sign| sign.is_any(PARSED) && !sign.is("create"));
        let tables = rest.iter().take(2).position(|sign| sign.is_any(&["table", "tables"]));
        let explains = verb.is_any(&["explain", "desc", "describe"]);
        if let Some(at) = tables.filter(|_| !explains) {
            let named = rest.get(at + 1..).unwrap_or_default();
            self.listed(named, Analysis::read);
            if verb.is_any(&["optimize", "repair"]) {
                self.listed(named, Analysis::write);
            }
            return;
        }
        let Some(at) = statement else {
            // A table's definition, or what another connection does.
            if !explains {
                self.analysis.because(OTHER_KIND);
            }
            return;
        };
        self.parsed(rest.get(at..).unwrap_or_default());
        let runs = verb.is("analyze") || rest.iter().take(at).any(|sign| sign.is("analyze"));
        if !runs {
            self.analysis.because("EXPLAIN without ANALYZE only plans");
        }
    }

    fn take_name(&mut self, name: Name, take: fn(&mut Analysis, Name)) {
        let mut analysis = Analysis::default();
        take(&mut analysis, name);
        self.take(analysis);
    }
}

/// The name that these begin with.
fn name(signs: &[Sign<'_>]) -> Option<Name> {
    named(&super::tokens(signs), Engine::MySql).map(|(name, _)| name)
}

/// What follows these words, as far as they are there.
fn behind<'a, 'b>(mut signs: &'b [Sign<'a>], words: &[&str]) -> &'b [Sign<'a>] {
    while let [first, rest @ ..] = signs
        && first.is_any(words)
    {
        signs = rest;
    }
    signs
}

/// What stands between commas outside of parentheses.
fn apart<'a, 'b>(signs: &'b [Sign<'a>]) -> Vec<&'b [Sign<'a>]> {
    let mut depth = 0_usize;
    signs
        .split(|sign| {
            match sign.token.text {
                "(" => depth += 1,
                ")" => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0 && sign.is(",")
        })
        .collect()
}
