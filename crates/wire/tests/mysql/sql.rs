//! What MySQL's lexical structure makes of texts.

use proptest::prelude::*;
use wire::mysql::sql::{Conditional, always_runs, opens_code, redact, tokens};
use wire::sql::{Kind, Strings};

/// The tokens that are not white space, each with a letter for its kind.
fn kinds(text: &str, strings: Strings, conditional: Conditional) -> Vec<String> {
    let shown = tokens(text, strings, conditional).filter_map(|token| {
        let kind = match token.kind {
            Kind::Word => 'w',
            Kind::Quoted => 'q',
            Kind::Number => 'n',
            Kind::Text => 't',
            Kind::DollarText => 'd',
            Kind::Parameter => 'p',
            Kind::Comment => 'c',
            Kind::Other => 'o',
            Kind::Space => return None,
        };
        Some(format!("{kind} {}", token.text))
    });
    shown.collect()
}

fn usual(text: &str) -> Vec<String> {
    kinds(text, Strings::Backslash, Conditional::Runs)
}

#[test]
fn tokens_are_mysqls() {
    let rows: [(&str, &[&str]); 20] = [
        ("a$b `c``d` é", &["w a$b", "q `c``d`", "w é"]),
        (r#"'it\'s' "say \"x\"" 'a''b'"#, &[r"t 'it\'s'", r#"t "say \"x\"""#, "t 'a''b'"]),
        ("n'a' X'4d' b'01' _utf8'x'", &["t n'a'", "t X'4d'", "t b'01'", "w _utf8", "t 'x'"]),
        (
            "1 1.5 .5 1e5 1.e-3 0xFf 0b01",
            &["n 1", "n 1.5", "n .5", "n 1e5", "n 1.e-3", "n 0xFf", "n 0b01"],
        ),
        (
            "1a 0xg 1e a.1 a.1e5",
            &["w 1a", "w 0xg", "w 1e", "w a", "o .", "w 1", "w a", "o .", "w 1e5"],
        ),
        ("@a.b @'x y' @`z` @@global.c", &["w @a.b", "w @'x y'", "w @`z`", "w @@global.c"]),
        ("a=?", &["w a", "o =", "p ?"]),
        ("a--b", &["w a", "o -", "o -", "w b"]),
        ("a -- b\nc", &["w a", "c -- b", "w c"]),
        ("a --\nc", &["w a", "c --", "w c"]),
        ("a # b\nc", &["w a", "c # b", "w c"]),
        ("a /* b /* c */ d", &["w a", "c /* b /* c */", "w d"]),
        ("a /*+ hint */ b", &["w a", "c /*+ hint */", "w b"]),
        ("/*! a */ b */", &["c /*!", "w a", "c */", "w b", "o *", "o /"]),
        ("/*!50003 a*/", &["c /*!50003", "w a", "c */"]),
        ("/*!1 a*/", &["c /*!", "n 1", "w a", "c */"]),
        ("/*M!100100a*/", &["c /*M!100100", "w a", "c */"]),
        ("/*! '*/' */", &["c /*!", "t '*/'", "c */"]),
        ("/* a", &["c /* a"]),
        ("'a", &["t 'a"]),
    ];
    for (text, expected) in rows {
        assert_eq!(usual(text), expected, "{text}");
    }
}

#[test]
fn a_backslash_keeps_a_quote_unless_the_session_says_that_it_does_not() {
    let text = r"'a\' b '";
    assert_eq!(kinds(text, Strings::Backslash, Conditional::Runs), [r"t 'a\' b '"]);
    assert_eq!(kinds(text, Strings::Standard, Conditional::Runs), [r"t 'a\'", "w b", "t '"]);
}

#[test]
fn what_only_some_servers_run_is_a_comment_where_it_is_skipped() {
    let skipped = |text| kinds(text, Strings::Backslash, Conditional::Skipped);
    assert_eq!(skipped("/*!50003 a*/"), ["c /*!50003", "w a", "c */"]);
    assert_eq!(skipped("/*!80000 a /* b */ c */ d"), ["c /*!80000 a /* b */ c */", "w d"]);
    assert_eq!(skipped("/*M! a */ b"), ["c /*M! a */", "w b"]);
    let first = |text| tokens(text, Strings::Backslash, Conditional::Runs).next().unwrap();
    for (text, opens, always) in [
        ("/*! a", true, true),
        ("/*!40101 a", true, true),
        ("/*!50699 a", true, true),
        ("/*!50700 a", true, false),
        ("/*!100100 a", true, false),
        ("/*M! a", true, false),
        ("/* a", false, false),
        ("a", false, false),
    ] {
        assert_eq!(
            (opens_code(&first(text)), always_runs(&first(text))),
            (opens, always),
            "{text}"
        );
    }
}

#[test]
fn no_literal_is_left_wherever_it_stands() {
    for (text, redacted) in [
        ("select 'secret', name from t where id = 42", "select ?, name from t where id = ?"),
        ("select \"secret\", `se'cret`", "select ?, `se'cret`"),
        (r"select 'a\'secret', b", "select ?, b"),
        ("select 'it''s secret' + 1.5e3", "select ? + ?"),
        ("/*!50000 set @a = 'secret' */ set @b = x'736563'", "/*!50000 set @a = ? */ set @b = ?"),
        ("select 1 --'secret'", "select ? --?"),
        ("select 1 -- it's", "select ? -- it's"),
        ("select 1 # it's\n, 2", "select ? # it's\n, ?"),
        ("select /* it's */ 2", "select /* it's */ ?"),
        ("insert into t1 values (?, 0xff, 0XFF, 'cut", "insert into t1 values (?, ?, ?, ?"),
        ("select _utf8'\u{e9}', n'\u{e9}'", "select _utf8?, ?"),
        ("select '\u{e9}' as \u{e9}", "select ? as \u{e9}"),
        ("set @'secret' = @b, @`b c` = 1", "set @? = @b, @`b c` = ?"),
        (
            "grant select on t to u@'host' identified by 'pw'",
            "grant select on t to u@? identified by ?",
        ),
        ("", ""),
        // A name, if the session has ANSI_QUOTES: it may end before the secret begins.
        (r#"select "a\", 'secret "x', b"#, "select ?"),
        (r#"select "say \"x\"", b"#, "select ?"),
        (r#"select @"a\" , 'secret"'"#, "select ?"),
        (r#"select "a\\", "b\n""", `c"\"`"#, r#"select ?, ?, `c"\"`"#),
        (r#"select 1 /*!99999 , "a\" */ 'secret "x'"#, "select ? /*!99999 ?"),
        // Only some servers run these, and all agree where they end.
        ("select 1 /*!99999 , 'secret' */, 2", "select ? /*!99999 , ? */, ?"),
        ("select 1 /*M! , 'secret'", "select ? /*M! , ?"),
        // Read as a comment it ends elsewhere than read as code.
        ("select 1 /*!99999 it's */, 'secret'", "select ? /*!99999 ?"),
        ("select 1 /*!99999 /* a */ 'b' */, 'secret' */", "select ? /*!99999 /* a */ ? */, ? */"),
        ("select 1 /*!99999 /*! a */ 'b' */, c", "select ? /*!99999 ?"),
    ] {
        assert_eq!(redact(text, Strings::Backslash), redacted, "{text}");
    }
    assert_eq!(redact(r"select 'a\', 'secret'", Strings::Standard), "select ?, ?");
    assert_eq!(redact(r#"select "a\", 'secret "x'"#, Strings::Standard), "select ?, ?");
}

proptest! {
    #[test]
    fn the_tokens_are_the_text(text in "[a1.'\"`/*!M #@?\\\\\n-é]{0,40}") {
        for strings in [Strings::Standard, Strings::Backslash] {
            for conditional in [Conditional::Runs, Conditional::Skipped] {
                let all: String = tokens(&text, strings, conditional).map(|token| token.text).collect();
                prop_assert_eq!(&all, &text);
                let redacted = redact(&text, strings);
                let left = tokens(&redacted, strings, conditional).find(|token| token.kind == Kind::Text);
                prop_assert_eq!(left, None, "{}", redacted);
            }
        }
    }
}
