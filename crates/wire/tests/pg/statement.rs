//! Which statement runs, and what became of it.

use wire::pg::startup::Replication;
use wire::pg::statement::{LimitExceeded, Note, Outcome, Parameter, StatementProtocol, Tracker};
use wire::pg::{backend, frontend};

use crate::message;
use crate::session::{
    Session, bind, close, complete, describe, done, ended, error, execute, failed, noted, parse,
    query, ready, row, sync,
};

#[test]
fn a_query_of_several_statements_has_one_outcome_with_all_tags() {
    let mut session = Session::new();
    assert_eq!(session.client(&[query("insert; select")]), ["insert; select"]);
    let outcomes = session.server(&[
        complete("INSERT 0 5"),
        message(b'T', b"\0\0"),
        row(),
        row(),
        complete("SELECT 2"),
        ready(b'I'),
    ]);
    assert_eq!(outcomes, [ended(1, &["INSERT 0 5", "SELECT 2"], 7)]);
}

#[test]
fn a_query_that_fails_midway_keeps_the_tags_before() {
    let mut session = Session::new();
    session.client(&[query("insert; fail"), query("next")]);
    let outcomes = session.server(&[
        complete("INSERT 0 1"),
        error("22012"),
        ready(b'I'),
        message(b'I', b""),
        ready(b'I'),
    ]);
    let first = Outcome { tags: vec!["INSERT 0 1".to_owned()], rows: 1, ..failed(1, "22012") };
    assert_eq!(outcomes, [first, ended(2, &[], 0)]);
}

#[test]
fn rows_sent_before_an_error_are_counted() {
    let mut session = Session::new();
    session.client(&[query("select 1/x from t")]);
    let outcomes =
        session.server(&[message(b'T', b"\0\0"), row(), row(), row(), error("22012"), ready(b'I')]);
    assert_eq!(outcomes, [Outcome { rows: 3, ..failed(1, "22012") }]);
}

#[test]
fn an_execute_runs_what_its_portal_was_bound_to() {
    let mut session = Session::new();
    let texts = session.client(&[
        parse("s", "update t"),
        bind("p", "s"),
        execute("p"),
        parse("", "select 1"),
        bind("", ""),
        execute(""),
        bind("", "s"),
        execute(""),
        sync(),
    ]);
    assert_eq!(texts, ["update t", "select 1", "update t"]);
    let outcomes = session.server(&[
        done(b'1'),
        done(b'2'),
        complete("UPDATE 3"),
        done(b'1'),
        done(b'2'),
        row(),
        complete("SELECT 1"),
        done(b'2'),
        complete("UPDATE 0"),
        ready(b'I'),
    ]);
    let expected =
        [ended(1, &["UPDATE 3"], 3), ended(2, &["SELECT 1"], 1), ended(3, &["UPDATE 0"], 0)];
    assert_eq!(outcomes, expected);
}

#[test]
fn a_pipeline_with_an_error_fails_the_cause_and_skips_the_rest_up_to_its_sync() {
    let mut session = Session::new();
    session.client(&[
        parse("", "one"),
        bind("", ""),
        execute(""),
        parse("", "selec"),
        bind("", ""),
        describe('P', ""),
        execute(""),
        parse("", "three"),
        bind("", ""),
        execute(""),
        sync(),
        parse("", "four"),
        bind("", ""),
        execute(""),
        sync(),
    ]);
    let outcomes = session.server(&[
        done(b'1'),
        done(b'2'),
        complete("SELECT 1"),
        error("42601"),
        ready(b'I'),
        done(b'1'),
        done(b'2'),
        complete("SELECT 4"),
        ready(b'I'),
    ]);
    assert_eq!(
        outcomes,
        [
            ended(1, &["SELECT 1"], 1),
            failed(2, "42601"),
            noted(3, Note::Skipped),
            ended(4, &["SELECT 4"], 4),
        ]
    );
}

#[test]
fn what_the_server_skipped_never_changed_a_name() {
    let mut session = Session::new();
    session.client(&[parse("s", "old"), parse("gone", "gone"), sync()]);
    session.server(&[done(b'1'), done(b'1'), ready(b'I')]);
    session.client(&[
        parse("bad", "selec"),
        close('S', "s"),
        parse("s", "new"),
        close('S', "gone"),
        sync(),
    ]);
    session.server(&[error("42601"), ready(b'I')]);
    let texts = session.client(&[
        bind("", "s"),
        execute(""),
        bind("", "gone"),
        execute(""),
        bind("", "bad"),
        execute(""),
    ]);
    let unknown = "/* runs statement \"bad\", which was not prepared by the protocol */";
    assert_eq!(texts, ["old", "gone", unknown]);
}

#[test]
fn after_an_error_everything_is_skipped_to_the_clients_next_sync() {
    let mut session = Session::new();
    session.client(&[parse("", "selec"), message(b'H', b"")]);
    assert_eq!(session.server(&[error("42601")]), []);
    session.client(&[bind("", ""), execute(""), query("select 1"), parse("s", "x"), sync()]);
    let skipped: Vec<_> = std::iter::from_fn(|| session.tracker.next_outcome()).collect();
    assert_eq!(skipped, [noted(1, Note::Skipped), noted(2, Note::Skipped)]);
    session.client(&[query("select 2")]);
    let outcomes = session.server(&[ready(b'I'), complete("SELECT 1"), ready(b'I')]);
    assert_eq!(outcomes, [ended(3, &["SELECT 1"], 1)]);
    let texts = session.client(&[bind("", "s"), execute("")]);
    assert_eq!(texts, ["/* runs statement \"s\", which was not prepared by the protocol */"]);
}

#[test]
fn a_portal_read_in_parts_is_one_statement_each_time() {
    let mut session = Session::new();
    let texts = session.client(&[parse("", "select"), bind("c", ""), execute("c"), sync()]);
    let first = session.server(&[done(b'1'), done(b'2'), row(), row(), done(b's'), ready(b'T')]);
    assert_eq!(first, [Outcome { rows: 2, ..noted(1, Note::Suspended) }]);
    assert_eq!(
        (texts, session.client(&[execute("c"), sync()])),
        (vec!["select".to_owned()], vec!["select".to_owned()])
    );
    let last = session.server(&[row(), complete("SELECT 1"), ready(b'T')]);
    assert_eq!(last, [ended(2, &["SELECT 1"], 1)]);
}

#[test]
fn portals_end_with_their_transaction() {
    let mut session = Session::new();
    session.client(&[parse("s", "select"), bind("c", "s"), sync()]);
    session.server(&[done(b'1'), done(b'2'), ready(b'T')]);
    assert_eq!(session.client(&[execute("c"), query("commit")]), ["select", "commit"]);
    session.server(&[complete("SELECT 0"), complete("COMMIT"), ready(b'I')]);
    // A cursor of the same name is another thing.
    let texts = session.client(&[query("declare c cursor for delete"), execute("c")]);
    let unknown = "/* runs portal \"c\", which was not opened by the protocol */";
    assert_eq!(texts, ["declare c cursor for delete", unknown]);
}

#[test]
fn copy_from_the_client_swallows_the_sync_that_the_server_ignores() {
    // libpq: Parse, Bind, Execute and Sync at once, then the data, CopyDone and a second Sync.
    let mut session = Session::new();
    session.client(&[parse("", "copy t from stdin"), bind("", ""), execute(""), sync()]);
    session.server(&[done(b'1'), done(b'2'), message(b'G', b"\0\0\0")]);
    session.client(&[message(b'd', b"1\n"), message(b'c', b""), sync(), query("select 1")]);
    let outcomes =
        session.server(&[complete("COPY 1"), ready(b'I'), complete("SELECT 1"), ready(b'I')]);
    assert_eq!(outcomes, [ended(1, &["COPY 1"], 1), ended(2, &["SELECT 1"], 1)]);
    // The same with everything sent before the server answers.
    let copy = [
        parse("", "copy t from stdin"),
        bind("", ""),
        execute(""),
        sync(),
        message(b'd', b"1\n"),
        message(b'c', b""),
        sync(),
    ];
    session.client(&copy);
    let outcomes = session.server(&[
        done(b'1'),
        done(b'2'),
        message(b'G', b"\0\0\0"),
        complete("COPY 1"),
        ready(b'I'),
    ]);
    assert_eq!(outcomes, [ended(3, &["COPY 1"], 1)]);
    assert!(session.tracker.is_idle());
}

/// As libpq sends it: everything at once, then data and a second Sync.
fn extended_copy(session: &mut Session) {
    session.client(&[parse("", "copy t from stdin"), bind("", ""), execute(""), sync()]);
    session.server(&[done(b'1'), done(b'2'), message(b'G', b"\0\0\0")]);
    session.client(&[message(b'd', b"1\n"), message(b'c', b""), sync()]);
}

#[test]
fn a_copy_that_fails_before_it_reads_leaves_a_sync_to_be_answered_as_well() {
    for answers in [1, 2] {
        let mut session = Session::new();
        extended_copy(&mut session);
        session.client(&[query("select 1"), query("select 2")]);
        let readies = vec![ready(b'I'); answers];
        assert_eq!(
            session.server(&[&[error("P0001")], readies.as_slice()].concat()),
            [failed(1, "P0001")]
        );
        let select =
            |rows| [message(b'T', b"\0\0"), complete(&format!("SELECT {rows}")), ready(b'I')];
        assert_eq!(session.server(&select(1)), [ended(2, &["SELECT 1"], 1)]);
        assert_eq!(session.server(&select(2)), [ended(3, &["SELECT 2"], 2)]);
        assert!(session.tracker.is_idle());
    }
}

#[test]
fn a_copy_that_fails_while_the_client_still_sends_ends_at_either_sync() {
    for answers in [1, 2] {
        let mut session = Session::new();
        session.client(&[parse("", "copy t from stdin"), bind("", ""), execute(""), sync()]);
        session.server(&[done(b'1'), done(b'2'), message(b'G', b"\0\0\0")]);
        assert_eq!(session.server(&[error("P0001")]), [failed(1, "P0001")]);
        session.server(&vec![ready(b'I'); answers - 1]);
        session.client(&[message(b'd', b"1\n"), message(b'c', b""), sync(), query("select 1")]);
        let outcomes = session.server(&[ready(b'I'), complete("SELECT 1"), ready(b'I')]);
        assert_eq!(outcomes, [ended(2, &["SELECT 1"], 1)]);
        assert!(session.tracker.is_idle());
    }
}

#[test]
fn what_a_copy_may_or_may_not_read_is_not_taken() {
    let behind = [query("drop table t"), parse("s", "drop table t"), close('S', "s")];
    for message_behind in &behind {
        // Either COPY reads it and fails, or the data before it were wrong and it is obeyed.
        let mut session = Session::new();
        session.client(&[query("copy t from stdin")]);
        session.server(&[message(b'G', b"\0\0\0")]);
        session.client(&[message(b'd', b"wrong\n")]);
        assert_eq!(session.try_client(message_behind), Err(LimitExceeded::Copy));
        // Either COPY reads the Sync, or it ends what is skipped.
        let mut session = Session::new();
        session.client(&[parse("", "copy t from stdin"), bind("", ""), execute("")]);
        session.server(&[done(b'1'), done(b'2'), message(b'G', b"\0\0\0")]);
        session.client(&[sync(), message(b'd', b"1\n"), message(b'c', b"")]);
        assert_eq!(session.try_client(message_behind), Err(LimitExceeded::Copy));
    }
    // After the second Sync there is no doubt.
    let mut session = Session::new();
    extended_copy(&mut session);
    assert_eq!(session.client(&[query("select 1")]), ["select 1"]);
}

#[test]
fn a_copy_that_fails_is_a_failed_statement() {
    let mut session = Session::new();
    session.client(&[query("copy t from stdin")]);
    session.server(&[message(b'G', b"\0\0\0")]);
    session.client(&[message(b'd', b"x\n"), message(b'f', b"changed my mind\0")]);
    assert_eq!(session.server(&[error("57014"), ready(b'I')]), [failed(1, "57014")]);
    assert_eq!(session.client(&[query("select 1")]), ["select 1"]);
    assert_eq!(session.server(&[complete("SELECT 1"), ready(b'I')]), [ended(2, &["SELECT 1"], 1)]);
}

#[test]
fn a_commit_that_fails_at_sync_takes_the_last_outcome_back() {
    let mut session = Session::new();
    session.client(&[parse("", "insert"), bind("", ""), execute(""), sync()]);
    let outcomes = session.server(&[
        done(b'1'),
        done(b'2'),
        complete("INSERT 0 1"),
        error("23505"),
        ready(b'I'),
    ]);
    let undone = Outcome { note: Some(Note::CommitFailed), ..failed(1, "23505") };
    assert_eq!(outcomes, [ended(1, &["INSERT 0 1"], 1), undone]);
}

#[test]
fn types_that_the_server_describes_read_binary_values() {
    let mut session = Session::new();
    session.client(&[parse("s", "select $1"), describe('S', "s"), sync()]);
    let described = message(b't', b"\0\x01\0\0\0\x17");
    session.server(&[done(b'1'), described, done(b'n'), ready(b'I')]);
    let bind = message(b'B', b"\0s\0\0\x01\0\x01\0\x01\0\0\0\x04\0\0\0\x2a\0\0");
    let statements = session.try_client(&[bind, execute("")].concat()).unwrap();
    let value = Parameter::Text("42".to_owned());
    assert_eq!(statements, [(1, "select $1".to_owned(), vec![value])]);
}

#[test]
fn names_that_agree_in_63_bytes_are_one_name() {
    let mut session = Session::new();
    let name = "n".repeat(63);
    let texts = session.client(&[
        parse(&format!("{name}x"), "select 1"),
        bind("", &format!("{name}y")),
        execute(""),
    ]);
    assert_eq!(texts, ["select 1"]);
}

#[test]
fn sql_that_drops_names_drops_them_here() {
    let unknown = |name: &str| {
        format!("/* runs statement \"{name}\", which was not prepared by the protocol */")
    };
    for (sql, tag, a, b) in [
        ("deallocate a", "DEALLOCATE", unknown("a"), "two".to_owned()),
        ("DEALLOCATE PREPARE \"b\"", "DEALLOCATE", "one".to_owned(), unknown("b")),
        ("deallocate all", "DEALLOCATE ALL", unknown("a"), unknown("b")),
        ("discard all", "DISCARD ALL", unknown("a"), unknown("b")),
        ("select drop_by_function()", "DEALLOCATE", unknown("a"), unknown("b")),
    ] {
        let mut session = Session::new();
        session.client(&[parse("a", "one"), parse("b", "two"), sync()]);
        session.server(&[done(b'1'), done(b'1'), ready(b'I')]);
        session.client(&[query(sql)]);
        session.server(&[complete(tag), ready(b'I')]);
        let texts = session.client(&[bind("", "a"), execute(""), bind("", "b"), execute("")]);
        assert_eq!(texts, [a, b], "{sql}");
    }
}

#[test]
fn a_statement_on_its_way_survives_a_discard_before_it() {
    let mut session = Session::new();
    session.client(&[parse("a", "old"), sync()]);
    session.server(&[done(b'1'), ready(b'I')]);
    session.client(&[query("discard all"), parse("a", "new"), bind("p", "a"), sync()]);
    session.server(&[complete("DISCARD ALL"), ready(b'I'), done(b'1'), done(b'2'), ready(b'T')]);
    assert_eq!(session.client(&[execute("p"), bind("", "a"), execute("")]), ["new", "new"]);
}

#[test]
fn a_query_drops_the_unnamed_statement() {
    let mut session = Session::new();
    session.client(&[parse("", "one"), sync(), query("two"), bind("", ""), sync()]);
    session.server(&[
        done(b'1'),
        ready(b'I'),
        complete("SELECT 0"),
        ready(b'I'),
        error("26000"),
        ready(b'I'),
    ]);
    let texts = session.client(&[bind("", ""), execute("")]);
    assert_eq!(texts, ["/* runs statement \"\", which was not prepared by the protocol */"]);
}

#[test]
fn messages_that_may_come_at_any_time_disturb_nothing() {
    let mut session = Session::new();
    session.client(&[parse("", "one"), bind("", ""), execute(""), sync()]);
    let notice = message(b'N', b"SNOTICE\0C00000\0Mhi\0\0");
    let notify = message(b'A', b"\0\0\0\x01c\0p\0");
    let status = message(b'S', b"client_encoding\0LATIN1\0");
    let outcomes = session.server(&[
        notify.clone(),
        done(b'1'),
        notice.clone(),
        done(b'2'),
        status,
        row(),
        notify.clone(),
        row(),
        notice,
        complete("SELECT 2"),
        ready(b'I'),
        notify,
    ]);
    assert_eq!(outcomes, [ended(1, &["SELECT 2"], 2)]);
    assert_eq!(session.tracker.encoding().name(), Some("LATIN1"));
    let statements = session.try_client(&message(b'Q', b"select '\xe4'\0")).unwrap();
    assert_eq!(statements[0].1, "select 'ä'");
}

#[test]
fn function_calls_are_statements() {
    let mut session = Session::new();
    let call = message(b'F', b"\0\0\x03\xb8\0\x01\0\x01\0\x01\0\0\0\x01\x07\0\x01");
    let statements = session.try_client(&call).unwrap();
    let argument = Parameter::Binary("07".to_owned());
    assert_eq!(statements, [(1, "/* calls function 952 (lo_open) */".to_owned(), vec![argument])]);
    let outcomes = session.server(&[message(b'V', b"\xff\xff\xff\xff"), ready(b'T')]);
    assert_eq!(outcomes, [ended(1, &[], 0)]);
}

#[test]
fn replication_commands_are_told_apart() {
    let mut tracker = Tracker::new(Replication::Physical);
    let bytes = query("IDENTIFY_SYSTEM");
    let mut scanner = frontend::Scanner::new();
    let Ok(frontend::Step::Message { message, .. }) = scanner.step(&bytes) else { panic!() };
    let statement = tracker.client(&message, 0).unwrap().unwrap();
    assert_eq!(statement.protocol, StatementProtocol::Replication);
}

#[test]
fn what_runs_when_the_session_ends_is_unknown() {
    let mut session = Session::new();
    session.client(&[query("one"), parse("", "two"), bind("", ""), execute("")]);
    let fatal = message(b'E', b"SFATAL\0VFATAL\0C57P01\0Mno\0\0");
    assert_eq!(session.server(&[complete("SELECT 0"), fatal]), []);
    session.tracker.finish();
    let outcomes: Vec<_> = std::iter::from_fn(|| session.tracker.next_outcome()).collect();
    let first = Outcome { tags: vec!["SELECT 0".to_owned()], ..failed(1, "57P01") };
    assert_eq!(outcomes, [first, noted(2, Note::Unknown)]);
}

#[test]
fn an_answer_to_nothing_is_counted_and_costs_nothing() {
    let mut session = Session::new();
    let mut tell = |bytes: Vec<u8>| {
        let mut scanner = backend::Scanner::new();
        let Ok(backend::Step::Message { message, rows, .. }) = scanner.step(&bytes) else {
            panic!()
        };
        session.tracker.server(&message, rows);
    };
    for _ in 0..10 {
        tell(complete("SELECT 1"));
        tell(done(b'1'));
        tell(message(b't', b"\0\0"));
    }
    tell(ready(b'I'));
    assert_eq!((session.tracker.mismatches(), session.tracker.next_outcome()), (30, None));
}
