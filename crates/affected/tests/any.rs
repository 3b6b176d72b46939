//! Any text is answered, soon and without a deep stack.

use affected::{Analysis, Engine, STACK_BYTES, Shape, Strings, Whole, analyse};
use proptest::prelude::*;

/// What a statement's text in the log is at most.
const TEXT_BYTES: usize = 64 * 1024;

const ENGINES: [Engine; 2] = [Engine::PostgreSql, Engine::MySql];

/// On a quarter of the stack that is asked for; whether it came back.
fn with_little_stack(work: impl FnOnce() + Send + 'static) -> bool {
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES / 4);
    thread.spawn(work).is_ok_and(|thread| thread.join().is_ok())
}

/// A pattern over and over, in between of what begins and ends with it.
const NESTED: &[(&str, &str, &str, &str)] = &[
    ("select ", "(", "1", ")"),
    ("select * from ", "(", "a", ")"),
    ("select * from ", "(", "a join b on c", ")"),
    ("select * from ", "(select * from (", "a", "))"),
    ("select * from ", "(", "select 1", ") x"),
    ("", "(", "select 1", ")"),
    ("select ", "f(", "1", ")"),
    ("select ", "array[", "1", "]"),
    ("select x in ", "(select y in ", "(1)", ")"),
    ("select ", "cast(", "1", " as int)"),
    ("select ", "case when ", "a", " then 1 end"),
    ("", "with a as (", "select 1", ") select 1"),
    ("select exists ", "(select exists (", "select 1", "))"),
    ("select ", "not (", "1", ")"),
    ("select ", "not ", "x", ""),
    ("select ", "- ", "x", ""),
    ("", "explain ", "select 1", ""),
    ("", "prepare a as ", "select 1", ""),
    ("select ", "a[(", "1", ")]"),
    ("select * from t where ", "(a or (", "b", "))"),
    ("select * from a join ", "(b join (", "c", " on d) on e)"),
    ("insert into t ", "(", "select 1", ")"),
    ("select ", "substring((", "x", ") from 1)"),
    ("select x::", "array<", "int", ">"),
    ("select ", "struct<", "x", ">"),
    ("select * from ", "lateral (", "x", ")"),
    ("select x -> ", "(x -> ", "x", ")"),
    ("grant ", "a,", "b on c to d", ""),
    ("/*", "/*", "", "*/"),
    ("begin ", "begin ", "", ""),
    ("", "/*! ", "", "*/"),
    ("", "/*M!100100 ", "", "*/"),
    ("set statement a = 1 for ", "set statement a = 1 for ", "select 1", ""),
    ("explain ", "analyze ", "select 1", ""),
];

const CHAINED: &[(&str, &str)] = &[
    ("select 1", "+1"),
    ("select x", "[1]"),
    ("select x", "::int"),
    ("select x", ".y"),
    ("select x", "(1)"),
    ("select x", " is null"),
    ("select x", " and y"),
    ("select x", " or not y"),
    ("select x", "->'a'"),
    ("select x", " at time zone y"),
    ("select x", " between 1 and 2"),
    ("select x", " in (1)"),
    ("select x", " collate y"),
    ("select x", " not like y"),
    ("select x", " operator(pg_catalog.+) y"),
    ("select 1", " union select 1"),
    ("select 1", " union all select 1 except select 2"),
    ("select * from a", " natural join b"),
    ("select * from a", " join b on c"),
    ("select case x", " when 1 then 2"),
    ("create table t (a int", "[]"),
    ("select 1", ";select 1"),
    ("select 1", ",1"),
    ("select (1)", ",((((((((((((((1))))))))))))))"),
    ("select * from a", ",((((((((((((((a join b on c))))))))))))))"),
    ("insert into t values (1)", ",(1,'a',-2::int)"),
    ("", "$"),
    ("", "'"),
    ("", "\""),
];

#[test]
fn texts_made_to_nest_are_answered() {
    let answered = with_little_stack(|| {
        for (before, open, inner, close) in NESTED {
            let longest = TEXT_BYTES / (open.len() + close.len());
            for times in (1..60).chain([100, 1_000, longest]) {
                let (open, close) = (open.repeat(times), close.repeat(times));
                for engine in ENGINES {
                    analyse(&format!("{before}{open}{inner}{close}"), engine, Whole::Yes);
                }
            }
        }
    });
    assert!(answered);
}

#[test]
fn texts_made_to_chain_are_answered() {
    let answered = with_little_stack(|| {
        for (before, again) in CHAINED {
            for times in [10, 100, 150, 200, 300, 599, TEXT_BYTES / again.len()] {
                for engine in ENGINES {
                    analyse(&format!("{before}{}", again.repeat(times)), engine, Whole::No);
                }
            }
        }
    });
    assert!(answered);
}

#[test]
fn names_and_reasons_are_bounded() {
    let tables = (0..9_000).map(|number| format!("t{number}")).collect::<Vec<_>>().join(", ");
    let calls = (0..900).map(|number| format!("f{number}()")).collect::<Vec<_>>().join(", ");
    let text = format!("select {calls} from {tables}");
    let Analysis { read, written, because } = analyse(&text, Engine::PostgreSql, Whole::Yes);
    assert_eq!((read.len(), written.len(), because.len()), (256, 0, 17));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_answered(text in ".{0,300}") {
        for engine in ENGINES {
            analyse(&text, engine, Whole::Yes);
        }
    }

    /// Words and signs in any order come closer to SQL than letters do.
    #[test]
    fn any_words_are_answered(words in proptest::collection::vec(0..WORDS.len(), 0..60)) {
        let text: Vec<&str> = words.into_iter().map(|word| WORDS[word]).collect();
        let text = text.join(" ");
        for engine in ENGINES {
            let analysis = analyse(&text, engine, Whole::Yes);
            // What was taken for complete has no word that calls, runs or converts what is not known.
            if analysis.because.is_empty() {
                prop_assert!(!text.contains("strange ("), "{}", text);
            }
        }
    }

    /// The same statement with other values is the same statement.
    #[test]
    fn values_do_not_matter(number in any::<u32>(), text in "[^'\\\\]{0,20}") {
        let shape = |number: u32, text: &str| {
            let sql = format!("update t set a = {number} where b = '{text}' -- {number}");
            Shape::of(&sql, Engine::PostgreSql, Strings::Standard).text().to_owned()
        };
        prop_assert_eq!(shape(number, &text), shape(1, ""));
    }
}

const WORDS: &[&str] = &[
    "select",
    "from",
    "where",
    "insert",
    "into",
    "values",
    "update",
    "set",
    "delete",
    "using",
    "with",
    "as",
    "(",
    ")",
    ",",
    ";",
    "*",
    "t",
    "u",
    "s.v",
    "\"Q\"",
    "1",
    "'x'",
    "$1",
    "=",
    "and",
    "or",
    "not",
    "in",
    "exists",
    "join",
    "on",
    "left",
    "union",
    "all",
    "order",
    "by",
    "group",
    "having",
    "limit",
    "returning",
    "strange (",
    "count (",
    "::",
    "int",
    "case",
    "when",
    "then",
    "end",
    "merge",
    "matched",
    "copy",
    "to",
    "stdout",
    "truncate",
    "table",
    "create",
    "drop",
    "lock",
    "explain",
    "analyze",
    "lateral",
    "only",
    "recursive",
    "conflict",
    "do",
    "nothing",
    "default",
    "null",
    "is",
    "[",
    "]",
    "array",
    "over",
    "partition",
    "distinct",
    "for",
    "share",
    "-",
    "->",
    "execute",
    "prepare",
    "declare",
    "cursor",
    "fetch",
];
