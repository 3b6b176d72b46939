//! Which statements run, and what becomes of them.

use wire::mysql::Capabilities;
use wire::mysql::packet::encode;
use wire::mysql::statement::{LocalFile, Note, Outcome, TransactionStatus};
use wire::mysql::statements::LAST;

use crate::session::{
    COLUMN, EOF, EOF_MORE, ERR, OK, Session, answer, command, ended, execute, failed, noted,
    prepare, query, text,
};

fn session() -> Session {
    Session::new(Capabilities::PROTOCOL_41)
}

#[test]
fn a_query_runs_and_its_outcome_follows() {
    let mut session = session();
    assert_eq!(session.client(&[query("update t set a = 1")]), ["update t set a = 1"]);
    let outcomes = session.server(&[b"\0\x05\x2a\x03\0\x02\0done"]);
    let outcome =
        Outcome { affected: 5, last_insert_id: 42, status: 3, warnings: 2, ..ended(1, 0) };
    assert_eq!(outcomes, [outcome]);
    assert_eq!(session.tracker.transaction(), Some(TransactionStatus::InTransaction));
    session.client(&[query("selct")]);
    assert_eq!(session.server(&[ERR]), [failed(2)]);
}

#[test]
fn several_results_are_one_outcome() {
    let mut session = session();
    session.client(&[query("insert …; select 1; insert …")]);
    let insert = b"\0\x02\x07\x0a\0\x01\0".as_slice();
    let outcomes =
        session.server(&[insert, b"\x01", COLUMN, EOF, b"\x01a", b"\x01b", EOF_MORE, OK]);
    let outcome = Outcome { results: 3, affected: 2, last_insert_id: 7, ..ended(1, 2) };
    assert_eq!(outcomes, [outcome]);
    session.client(&[query("select 1; selct")]);
    let outcomes = session.server(&[b"\x01", COLUMN, EOF, b"\x01a", EOF_MORE, ERR]);
    assert_eq!(outcomes, [Outcome { results: 1, rows: 1, status: 10, ..failed(2) }]);
}

#[test]
fn rows_before_an_error_are_counted() {
    let mut session = session();
    session.client(&[query("select a from t")]);
    let outcomes = session.server(&[b"\x01", COLUMN, EOF, b"\x01a", b"\x01b", ERR]);
    assert_eq!(outcomes, [Outcome { rows: 2, ..failed(1) }]);
}

#[test]
fn preparing_runs_nothing_and_an_execute_runs_the_statements_text() {
    let mut session = session();
    session.prepared(5, "select ?", 1);
    assert_eq!(session.client(&[execute(5, b"\x01\0")]), ["select ?"]);
    assert_eq!(session.server(&[b"\x01", COLUMN, EOF, b"\0\0a", EOF]), [ended(1, 1)]);
    session.client(&[command(0x19, &[5, 0, 0, 0])]);
    let unknown = "/* runs statement 5, which was not prepared by the protocol */";
    assert_eq!(session.client(&[execute(5, b"\x01\0")]), [unknown]);
    assert_eq!(session.server(&[ERR]), [failed(2)]);
}

#[test]
fn what_was_prepared_last_is_executed_before_it_is_answered() {
    let mut session = session();
    let first = execute(LAST, b"\0\x01\x01\0\x07");
    let second = execute(LAST, b"\0\x01\xfd\0\x02hi");
    let packets = [prepare("select ?"), first, prepare("delete from t where a = ? -- ?"), second];
    let statements = session.try_client(&packets.concat()).unwrap();
    assert_eq!(
        statements,
        [
            (1, "select ?".to_owned(), vec![text("7")]),
            (2, "delete from t where a = ? -- ?".to_owned(), vec![text("hi")]),
        ]
    );
    let prepared = |number: u8| [0, number, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
    let described = |number| answer(1, &[&prepared(number), COLUMN, EOF]);
    let packets = [described(1), answer(1, &[OK]), described(2), answer(1, &[OK])];
    let outcomes = session.try_server(&packets.concat()).unwrap();
    assert_eq!(outcomes, [ended(1, 0), ended(2, 0)]);
    assert_eq!(session.values(&execute(2, b"\0\0\x02ho")), [text("ho")]);
    assert_eq!(session.values(&execute(LAST, b"\0\0\x02ha")), [text("ha")]);
    assert_eq!(session.values(&execute(1, b"\0\0\x08")), [text("8")]);
}

#[test]
fn what_could_not_be_prepared_fails_for_its_reason() {
    let mut session = session();
    session.client(&[prepare("select a from nowhere"), execute(LAST, b"")]);
    let unknown = b"\xff\xdb\x04#HY000Unknown prepared statement handler".as_slice();
    let packets = [answer(1, &[ERR]), answer(1, &[unknown])];
    assert_eq!(session.try_server(&packets.concat()).unwrap(), [failed(1)]);
    let text = "/* runs statement 4294967295, which was not prepared by the protocol */";
    assert_eq!(session.client(&[execute(LAST, b"")]), [text]);
}

#[test]
fn a_connection_that_is_reset_forgets_what_was_prepared() {
    let mut session = session();
    session.prepared(1, "select 1", 0);
    session.client(&[command(0x1f, b"")]);
    assert_eq!(session.server(&[OK]), []);
    let unknown = "/* runs statement 1, which was not prepared by the protocol */";
    assert_eq!(session.client(&[execute(1, b"")]), [unknown]);
    session.server(&[ERR]);
    session.prepared(1, "select 2", 0);
    assert_eq!(session.client(&[execute(1, b"")]), ["select 2"]);
}

#[test]
fn a_cursor_suspends_and_each_fetch_is_a_statement() {
    let mut session = session();
    session.prepared(5, "select a from t", 0);
    session.client(&[crate::session::cursor(5)]);
    let cursor = b"\xfe\0\0\x42\0".as_slice();
    let suspended = |outcome| noted(Note::Suspended, Outcome { status: 0x42, ..outcome });
    assert_eq!(session.server(&[b"\x01", COLUMN, cursor]), [suspended(ended(1, 0))]);
    let fetch = command(0x1c, &[5, 0, 0, 0, 2, 0, 0, 0]);
    assert_eq!(session.client(std::slice::from_ref(&fetch)), ["select a from t"]);
    assert_eq!(session.server(&[b"\0\0a", b"\0\0b", cursor]), [suspended(ended(2, 2))]);
    session.client(&[fetch]);
    let last = Outcome { status: 0x82, ..ended(3, 1) };
    assert_eq!(session.server(&[b"\0\0c", b"\xfe\0\0\x82\0"]), [last]);
    session.client(&[query("call opens_one()")]);
    let not_its_own = Outcome { status: 0x42, ..ended(4, 0) };
    assert_eq!(session.server(&[b"\0\0\0\x42\0\0\0"]), [not_its_own]);
}

#[test]
fn commands_without_a_text_are_given_the_one_that_says_the_same() {
    let mut session = session();
    let commands = [
        command(0x02, b"or`ders"),
        command(0x04, b"t\0o'%\0"),
        command(0x05, b"a"),
        command(0x06, b"a"),
        command(0x0a, b""),
        command(0x0c, &[9, 0, 0, 0]),
    ];
    let texts = [
        "USE `or``ders`",
        "SHOW COLUMNS FROM `t` LIKE 'o''%'",
        "CREATE DATABASE `a`",
        "DROP DATABASE `a`",
        "SHOW PROCESSLIST",
        "KILL 9",
    ];
    assert_eq!(session.client(&commands), texts);
}

#[test]
fn commands_that_are_not_answered_never_wait() {
    let mut session = session();
    session.prepared(5, "select ?", 1);
    let close = command(0x19, &[5, 0, 0, 0]);
    session.client(&[crate::session::long_data(5, 0, b"x"), close, query("select 1")]);
    assert_eq!(session.server(&[OK]), [ended(1, 0)]);
    assert!(session.tracker.is_idle());
    session.client(&[command(0x01, b"")]);
    assert!(session.tracker.is_idle());
}

#[test]
fn answers_come_in_the_order_of_the_commands() {
    let mut session = session();
    session.client(&[query("a"), command(0x0e, b""), query("b"), command(0x09, b""), query("c")]);
    let packets = [OK, OK, ERR, b"Uptime: 1", OK].map(|payload| answer(1, &[payload]));
    let outcomes = session.try_server(&packets.concat()).unwrap();
    assert_eq!(outcomes, [ended(1, 0), failed(2), ended(3, 0)]);
}

#[test]
fn a_statement_that_sends_a_file_ends_behind_it() {
    let mut session = Session::new(Capabilities::LOCAL_FILES);
    session.client(&[query("load data local infile 'a' into table t; select 1")]);
    assert!(session.tracker.names_file(b"a"));
    assert!(!session.tracker.names_file(b"/etc/passwd"));
    assert_eq!(session.server(&[b"\xfba"]), []);
    session.client(&[encode(2, b"1\n2\n"), encode(3, b"")]);
    let loaded = b"\0\x02\0\x0a\0\0\0".as_slice();
    let packets = answer(4, &[loaded, b"\x01", COLUMN, EOF, b"\x01a", EOF]);
    let outcomes = session.try_server(&packets).unwrap();
    let files = vec![LocalFile { name: b"a".to_vec(), bytes: 4 }];
    assert_eq!(outcomes, [Outcome { results: 2, affected: 2, files, ..ended(1, 1) }]);
}

#[test]
fn texts_are_in_the_character_set_that_was_set() {
    let mut session = session();
    let select = command(3, b"select '\xe4'");
    assert_eq!(session.client(std::slice::from_ref(&select)), ["\\x73656c6563742027e427"]);
    session.server(&[OK]);
    for set in
        ["set names latin1", "/*!40101 SET NAMES 'latin1' */", "SET character_set_client = latin1"]
    {
        session.client(&[query("set names utf8mb4"), query(set), query("set names koi8r")]);
        session.try_server(&[OK, OK, ERR].map(|payload| answer(1, &[payload])).concat()).unwrap();
        assert_eq!(session.client(std::slice::from_ref(&select)), ["select 'ä'"], "{set}");
        session.server(&[OK]);
    }
    session.client(&[query("set character_set_client = @saved")]);
    session.server(&[OK]);
    assert_eq!(session.tracker.encoding().name(), Some("unknown"));
}

#[test]
fn what_the_login_ended_with_counts() {
    use wire::mysql::backend::done;
    let mut session = session();
    assert_eq!(session.tracker.transaction(), None);
    let ok = b"\0\0\0\x02\x40\0\0\0\x1e\x00\x1c\x14character_set_client\x06latin1";
    session.tracker.login(&done(ok, Capabilities::SESSION_TRACK).unwrap());
    assert_eq!(session.tracker.transaction(), Some(TransactionStatus::Idle));
    assert_eq!(session.tracker.encoding().name(), Some("latin1"));
    session.client(&[query("set names utf8mb4")]);
    session.server(&[OK]);
    assert_eq!(session.tracker.encoding().name(), None);
}

#[test]
fn the_server_knows_better_than_the_text() {
    let mut session = Session::new(Capabilities::SESSION_TRACK);
    session.client(&[query("set names default"), query("call moves()")]);
    let name = b"\x14character_set_client\x05koi8r".as_slice();
    let state = [&[0, u8::try_from(name.len()).unwrap()], name].concat();
    let length = u8::try_from(state.len()).unwrap();
    let tracked = [b"\0\0\0\x02\x40\0\0\0".as_slice(), &[length], &state].concat();
    session.server(&[&tracked]);
    assert_eq!(session.tracker.encoding().name(), Some("koi8r"));
    session.server(&[b"\0\0\0\x02\x40\0\0\0\x09\x01\x07\x06orders"]);
    assert_eq!(session.tracker.database(), Some("orders"));
}

#[test]
fn the_default_database_follows_use() {
    let mut session = session();
    for (packet, expected) in [
        (query("use orders"), "orders"),
        (query("USE `bil ling`;"), "bil ling"),
        (command(0x02, b"orders"), "orders"),
    ] {
        session.client(&[packet]);
        session.server(&[OK]);
        assert_eq!(session.tracker.database(), Some(expected));
    }
    session.client(&[query("use nothing")]);
    session.server(&[ERR]);
    assert_eq!(session.tracker.database(), Some("orders"));
}

#[test]
fn a_change_of_the_default_database_that_nobody_tells_of_makes_it_doubtful() {
    let mut session = session();
    for (sql, doubtful) in [
        ("select a from used", false),
        ("select 1; select 2", false),
        ("select 1; use orders", true),
        ("use orders", false),
        ("/* why */ use orders", false),
        ("drop table if exists orders", false),
        ("/*!99999 use orders */", true),
        ("use `orders`;", false),
        ("use orders; select 1", true),
        ("USE orders ;", false),
        ("execute s", true),
        ("/*!40000 use orders */", false),
        ("use orders # again", false),
        ("set statement max_statement_time = 1 for use orders", true),
        ("use orders", false),
        ("drop database orders", true),
    ] {
        session.client(&[query(sql)]);
        session.server(&[OK]);
        assert_eq!(session.tracker.database_is_doubtful(), doubtful, "{sql}");
    }
}

/// A change of the default database, told.
const NOW_OTHER: &[u8] = b"\0\0\0\x02\x40\0\0\0\x08\x01\x06\x05other";

#[test]
fn what_the_server_tells_of_the_default_database_is_no_doubt() {
    let mut session = Session::new(Capabilities::SESSION_TRACK);
    for (sql, answer, doubtful) in [
        ("select 1; use other", NOW_OTHER, false),
        ("execute s", NOW_OTHER, false),
        ("execute s", OK, true),
        ("use other", OK, false),
        ("use other; execute s", NOW_OTHER, true),
    ] {
        session.client(&[query(sql)]);
        session.server(&[answer]);
        assert_eq!(session.tracker.database(), Some("other"));
        assert_eq!(session.tracker.database_is_doubtful(), doubtful, "{sql}");
    }
}

#[test]
fn what_is_prepared_is_read_as_when_it_was_prepared() {
    let mut session = session();
    session.client(&[query("use orders")]);
    session.server(&[OK]);
    session.prepared(5, r"select 'it\'s secret', a from t", 0);
    session.client(&[query("set sql_mode = 'NO_BACKSLASH_ESCAPES'")]);
    session.server(&[b"\0\0\0\x02\x02\0\0"]);
    session.redacted.clear();
    session.client(&[execute(5, b""), query(r"select 'C:\', 'secret'")]);
    assert_eq!(
        session.redacted,
        [("select ?, a from t".to_owned(), false), ("select ?, ?".to_owned(), false)]
    );
    session.try_server(&[OK, OK].map(|payload| answer(1, &[payload])).concat()).unwrap();

    // Its names are in the database that was the default.
    session.client(&[query("use orders")]);
    session.server(&[OK]);
    session.client(&[query("use billing")]);
    session.server(&[OK]);
    session.redacted.clear();
    session.client(&[execute(5, b""), query("select a from t")]);
    let other: Vec<bool> = session.redacted.iter().map(|(_, other)| *other).collect();
    assert_eq!(other, [true, false]);
}

#[test]
fn a_session_that_ends_leaves_no_statement_without_an_outcome() {
    let mut session = session();
    session.client(&[query("a"), query("b")]);
    session.server(&[b"\x01", COLUMN, EOF, b"\x01a"]);
    session.tracker.finish();
    let outcomes: Vec<_> = std::iter::from_fn(|| session.tracker.next_outcome()).collect();
    let unknown = |number| Outcome { results: 0, status: 0, ..ended(number, 0) };
    assert_eq!(outcomes, [noted(Note::Unknown, unknown(1)), noted(Note::Unknown, unknown(2))]);
}

#[test]
fn a_server_that_ends_the_session_unasked_is_believed() {
    let mut session = session();
    let killed = b"\xff\x87\x07#70100Connection was killed".as_slice();
    assert_eq!(session.try_server(&answer(0, &[killed])).unwrap(), []);
}
