//! Where literals begin and end.

use proptest::prelude::*;
use wire::sql::{Kind, Strings, deallocated, redact, tokens};

#[test]
fn literals_go_and_everything_else_stays() {
    for (text, expected) in [
        ("select 1, 1.5e-3, .5, 0xff, 1_000", "select ?, ?, ?, ?, ?"),
        ("select 'it''s' from t1 where a='x'", "select ? from t1 where a=?"),
        (r"select E'it\'s', e'\\' , 'a\'", "select ?, ? , ?"),
        ("select $tag$ it's $$ $tag$, $$x$$, $1", "select ?, ?, $1"),
        ("select U&'\\00e4', B'01', x'ff', N'x'", "select ?, ?, ?, ?"),
        (
            "select \"a 'b' 1\", U&\"x\" from \"t\"\"1\"",
            "select \"a 'b' 1\", U&\"x\" from \"t\"\"1\"",
        ),
        (
            "select 1 -- it's 5\n, 2 /* 'a' /* 3 */ 4 */",
            "select ? -- it's 5\n, ? /* 'a' /* 3 */ 4 */",
        ),
        ("select a1, größe2 from x$1", "select a1, größe2 from x$1"),
        ("insert into t values (-1,+2),(3-4)", "insert into t values (-?,+?),(?-?)"),
        ("select a[1:2], x.y, 1..2", "select a[?:?], x.y, ?..?"),
        ("select 'unfinished", "select ?"),
        ("select $q$unfinished", "select ?"),
        ("select /* unfinished 'x'", "select /* unfinished 'x'"),
        ("select E'a'\n 'b\\'c', 'd\\'", "select ?\n ?, ?"),
        ("select $", "select $"),
        ("select $a b", "select $a b"),
    ] {
        assert_eq!(redact(text, Strings::Standard), expected);
    }
    assert_eq!(redact(r"select 'a\'secret', b", Strings::Backslash), "select ?, b");
}

#[test]
fn deallocate_names_what_it_drops() {
    for (text, expected) in [
        ("deallocate s1", vec!["s1"]),
        ("DEALLOCATE PREPARE S1; deallocate \"S\"\"2\"", vec!["s1", "S\"2"]),
        ("deallocate /* x */ all", vec![]),
        ("deallocate prepare", vec!["prepare"]),
        ("select 'deallocate s1'", vec![]),
    ] {
        assert_eq!(deallocated(text), expected, "{text}");
    }
}

#[test]
fn kinds_are_told_apart() {
    let kinds: Vec<_> = tokens("a \"b\" 1 '2' $$3$$ $4 --5\n+", Strings::Standard)
        .map(|token| token.kind)
        .filter(|kind| *kind != Kind::Space)
        .collect();
    let expected = [
        Kind::Word,
        Kind::Quoted,
        Kind::Number,
        Kind::Text,
        Kind::DollarText,
        Kind::Parameter,
        Kind::Comment,
        Kind::Other,
    ];
    assert_eq!(kinds, expected);
}

proptest! {
    #[test]
    fn tokens_are_the_text(text in "[ae'$\"\\\\/*\\-0.+\n ä;_&u]{0,40}") {
        for strings in [Strings::Standard, Strings::Backslash] {
            let joined: String = tokens(&text, strings).map(|token| token.text).collect();
            prop_assert_eq!(&joined, &text);
        }
    }

    #[test]
    fn nothing_of_a_literal_is_left(secret in "[a-z']{1,20}") {
        let text = format!("select '{}'", secret.replace('\'', "''"));
        prop_assert_eq!(redact(&text, Strings::Standard), "select ?");
    }
}
