//! Views of a client's messages.

use wire::mysql::frontend::{Body, Message, Request, Scanner, Step};
use wire::mysql::limits::{HOLD_BYTES_MAX, SQL_BYTES_MAX};
use wire::mysql::packet::{PAYLOAD_BYTES_MAX, encode};
use wire::mysql::statement::{Parameter, Tracker};
use wire::mysql::{Capabilities, Malformed, Part};

use crate::session::{ERR, Ended, OK, Session, command, execute, long_data, query, text};

/// The only message of these bytes.
fn read(bytes: &[u8], look: impl FnOnce(&Request<'_>)) {
    let mut tracker = Tracker::new(45, None);
    let mut scanner = Scanner::new(Capabilities::default());
    let mut done = 0;
    loop {
        match scanner.step(&bytes[done..], tracker.statements()).unwrap() {
            Step::Pass { length } => done += length,
            Step::Message { length, message: Message::Command(request) } => {
                assert_eq!(done + length, bytes.len());
                return look(&request);
            }
            other => panic!("{other:?}"),
        }
    }
}

fn malformed(bytes: &[u8]) -> Malformed {
    let mut tracker = Tracker::new(45, None);
    let mut scanner = Scanner::new(Capabilities::default());
    scanner.step(bytes, tracker.statements()).unwrap_err()
}

#[test]
fn commands_are_what_they_say() {
    let body = |bytes: &[u8], expected: Body<'_>| {
        read(bytes, |request| {
            assert_eq!((&request.body, request.sequence), (&expected, 0));
        });
    };
    body(&command(0x01, b""), Body::Other(b""));
    body(&command(0x02, b"orders"), Body::Database(b"orders"));
    body(&command(0x04, b"t\0a%"), Body::Fields { table: b"t", wildcard: b"a%" });
    body(&command(0x0c, &[5, 0, 0, 0]), Body::Kill(5));
    body(&command(0x11, b"root\0"), Body::Other(b"root\0"));
    body(&command(0x16, b"select ?"), Body::Prepare(Part::whole(b"select ?")));
    body(&command(0x19, &[7, 0, 0, 0]), Body::Statement(7));
    body(&command(0x1c, &[7, 0, 0, 0, 9, 0, 0, 0]), Body::Fetch { statement: 7, rows: 9 });
    read(&query("select 1"), |request| match &request.body {
        Body::Query(query) => assert_eq!(query.text, Part::whole(b"select 1")),
        other => panic!("{other:?}"),
    });
}

#[test]
fn a_command_is_asked_for_whole_before_a_byte_of_it_is_forwarded() {
    let bytes = query("select 1");
    for end in 0..bytes.len() {
        let mut tracker = Tracker::new(45, None);
        let mut scanner = Scanner::new(Capabilities::default());
        let step = scanner.step(&bytes[..end], tracker.statements());
        assert!(matches!(step, Ok(Step::Need(more)) if more > end), "{end}");
    }
}

#[test]
fn a_command_begins_with_number_0_and_goes_on_without_a_gap() {
    let second = encode(1, b"\x03select 1");
    assert_eq!(malformed(&second), Malformed::Sequence { expected: 0, found: 1 });
    let mut long = vec![b'x'; PAYLOAD_BYTES_MAX + 9];
    long[0] = 3;
    let mut bytes = encode(0, &long);
    bytes[4 + PAYLOAD_BYTES_MAX + 3] = 2;
    let mut session = Session::new(Capabilities::default());
    let ended = session.try_client(&bytes).unwrap_err();
    assert_eq!(ended, Ended::Malformed(Malformed::Sequence { expected: 1, found: 2 }));
}

#[test]
fn an_empty_packet_is_no_command() {
    let (message, what) = ("command", "it is empty");
    assert_eq!(malformed(&[0, 0, 0, 0]), Malformed::Body { message, what });
}

#[test]
fn only_commands_that_are_forwarded_in_any_case_may_be_long() {
    let length = HOLD_BYTES_MAX - 3;
    for code in [0x11, 0x02, 0x12, 0x08, 0x77] {
        let refused = malformed(&command(code, &vec![0; length - 1]));
        assert!(matches!(refused, Malformed::Length { length: l, .. } if l == length), "{refused}");
    }
    read(&command(0x03, &vec![b'x'; length - 1]), |request| {
        assert_eq!(request.command.name, "COM_QUERY");
    });
}

#[test]
fn a_query_of_several_packets_is_one_statement_with_its_beginning_length_and_digest() {
    for length in
        [HOLD_BYTES_MAX, PAYLOAD_BYTES_MAX - 1, PAYLOAD_BYTES_MAX, 2 * PAYLOAD_BYTES_MAX + 7]
    {
        let sql = vec![b'x'; length];
        let bytes = command(0x03, &sql);
        let last = u8::try_from((length + 1) / PAYLOAD_BYTES_MAX).unwrap();
        read(&bytes, |request| {
            let Body::Query(query) = &request.body else { panic!("{request:?}") };
            assert_eq!(query.text, Part::whole(&sql).cut(SQL_BYTES_MAX), "{length}");
            assert_eq!(request.sequence, last);
        });
    }
}

#[test]
fn query_attributes_are_read_and_the_text_begins_behind_them() {
    let mut session = Session::new(Capabilities::QUERY_ATTRIBUTES);
    let body = [b"\x01\x01\x00\x01\xfe\x00\x01a\x011".as_slice(), b"select @@version"].concat();
    let statements = session.try_client(&command(3, &body)).unwrap();
    assert_eq!(statements, [(1, "select @@version".to_owned(), vec![text("1")])]);
    let none = [b"\x00\x01".as_slice(), b"select 2"].concat();
    let statements = session.try_client(&command(3, &none)).unwrap();
    assert_eq!(statements, [(2, "select 2".to_owned(), vec![])]);
    for broken in [b"\x01\x02\x00\x01\xfe\x00\x01a\x011x".as_slice(), b"\x01\x01\x00\x00", b"\x01"]
    {
        let ended = session.try_client(&command(3, broken)).unwrap_err();
        assert!(matches!(ended, Ended::Malformed(Malformed::Body { .. })), "{ended:?}");
    }
    let long = [body.as_slice(), &vec![b' '; HOLD_BYTES_MAX]].concat();
    let [(_, sql, values)] = session.try_client(&command(3, &long)).unwrap().try_into().unwrap();
    assert!(sql.starts_with("select @@version  "), "{sql}");
    assert_eq!(values, [text("1")]);
}

#[test]
fn an_executes_types_are_remembered_until_it_gives_others() {
    let mut session = Session::new(Capabilities::default());
    session.prepared(5, "insert into t values (?, ?)", 2);
    let first = b"\0\x01\x01\0\xfd\0\x07\x02hi".as_slice();
    assert_eq!(session.values(&execute(5, first)), [text("7"), text("hi")]);
    assert_eq!(session.values(&execute(5, b"\0\0\x08\x02ho")), [text("8"), text("ho")]);
    assert_eq!(session.values(&execute(5, b"\x03\0")), [Parameter::Null, Parameter::Null]);
    let other = b"\x01\x01\x03\0\x08\x80\xff\xff\xff\xff\xff\xff\xff\xff".as_slice();
    let values = session.values(&execute(5, other));
    assert_eq!(values, [Parameter::Null, text("18446744073709551615")]);
}

#[test]
fn an_execute_with_attributes_has_their_number_instead_of_the_statements() {
    let mut session = Session::new(Capabilities::QUERY_ATTRIBUTES);
    session.prepared(5, "select ?", 1);
    let body = b"\x05\0\0\0\x08\x01\0\0\0\x02\0\x01\x01\0\0\xfd\0\x05trace\x07\x02id";
    assert_eq!(session.values(&command(0x17, body)), [text("7"), text("id")]);
    session.server(&[OK]);
    session.prepared(6, "select 1", 0);
    let body = b"\x06\0\0\0\x08\x01\0\0\0\x01\0\x01\xfd\0\x05trace\x02id";
    assert_eq!(session.values(&command(0x17, body)), [text("id")]);
}

#[test]
fn what_an_execute_says_that_cannot_be_told_apart_is_kept_as_bytes() {
    let bytes = |hex: &str| [Parameter::Binary(hex.to_owned())];
    let mut session = Session::new(Capabilities::default());
    // No such statement; types that nobody gave; a type that nobody knows.
    assert_eq!(session.values(&execute(9, b"\0\x01\x01\0\x07")), bytes("0001010007"));
    session.server(&[ERR]);
    session.prepared(5, "select ?", 1);
    assert_eq!(session.values(&execute(5, b"\0\0\x07")), bytes("000007"));
    assert_eq!(session.values(&execute(5, b"\0\x01\xc8\0\x07")), bytes("07"));
    let values = session.values(&execute(5, b"\0\x01\xfd\0\x09hi"));
    assert_eq!(values, bytes("096869"));
}

#[test]
fn data_sent_ahead_are_the_values_of_the_next_execute_and_of_no_other() {
    let mut session = Session::new(Capabilities::default());
    session.prepared(5, "insert into t values (?, ?)", 2);
    session.client(&[long_data(5, 1, b"hello "), long_data(5, 1, b"world"), long_data(5, 9, b"x")]);
    let first = b"\0\x01\x01\0\xfc\0\x07".as_slice();
    let hex = "68656c6c6f20776f726c64".to_owned();
    assert_eq!(session.values(&execute(5, first)), [text("7"), Parameter::Binary(hex)]);
    assert_eq!(session.values(&execute(5, b"\x02\0\x08")), [text("8"), Parameter::Null]);
    session.client(&[long_data(5, 0, b"gone"), command(0x1a, &[5, 0, 0, 0])]);
    assert_eq!(session.values(&execute(5, b"\x02\0\x09")), [text("9"), Parameter::Null]);
}

#[test]
fn a_long_execute_gives_its_values_as_a_short_one_does() {
    let mut session = Session::new(Capabilities::default());
    session.prepared(5, "insert into t values (?, ?, ?)", 3);
    let long = vec![b'x'; HOLD_BYTES_MAX];
    let length = u32::try_from(long.len()).unwrap().to_le_bytes();
    let types = b"\x04\x01\xfd\0\xfd\0\x03\0".as_slice();
    let body = [types, b"\x02hi\xfd", &length[..3], &long].concat();
    let [hi, cut, null] = session.values(&execute(5, &body)).try_into().unwrap();
    assert_eq!((hi, null), (text("hi"), Parameter::Null));
    let sha256 = Part::whole(&long).digest();
    assert_eq!(cut, Parameter::Truncated { start: "x".repeat(99), bytes: 65_536, sha256 });
    // A long message for a statement that is not known says what it is, and nothing more.
    let [rest] = session.values(&execute(9, &body)).try_into().unwrap();
    let bytes = u64::try_from(body.len()).unwrap();
    assert!(matches!(rest, Parameter::Truncated { bytes: b, .. } if b == bytes), "{rest:?}");
}

#[test]
fn a_bulk_execute_gives_its_values_row_by_row() {
    let bulk = |rows: &[u8]| {
        let head = b"\x05\0\0\0\x80\0\x03\0\xfd\0".as_slice();
        command(0xfa, &[head, rows].concat())
    };
    let mut session = Session::new(Capabilities::STMT_BULK_OPERATIONS);
    session.prepared(5, "insert into t values (?, ?)", 2);
    let values = session.values(&bulk(b"\0\x07\0\0\0\0\x02hi\x01\x02\x03\x00\x00\x09\x08"));
    let rest = Parameter::Binary("0908".to_owned());
    assert_eq!(
        values,
        [
            text("7"),
            text("hi"),
            Parameter::Null,
            text("<default>"),
            text("<ignore>"),
            text(""),
            rest
        ]
    );
    let row = b"\0\x07\0\0\0\0\x02hi".as_slice();
    for rows in [3, 20_000] {
        let bytes = bulk(&row.repeat(rows));
        let mut scanner = Scanner::new(Capabilities::STMT_BULK_OPERATIONS);
        let mut done = 0;
        loop {
            match scanner.step(&bytes[done..], session.tracker.statements()).unwrap() {
                Step::Pass { length } => done += length,
                Step::Message { length, message: Message::Command(request) } => {
                    let Body::Execute(execute) = &request.body else { panic!("{request:?}") };
                    assert_eq!(execute.values.rows(), u64::try_from(rows).unwrap());
                    assert_eq!(done + length, bytes.len());
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn a_file_ends_with_an_empty_packet_and_its_numbers_go_on() {
    let mut tracker = Tracker::new(45, None);
    let mut scanner = Scanner::new(Capabilities::LOCAL_FILES);
    scanner.expect_file(1);
    assert!(!scanner.at_boundary());
    let file = [encode(2, b"some"), encode(3, b"more")].concat();
    let mut done = 0;
    while done < file.len() {
        match scanner.step(&file[done..], tracker.statements()).unwrap() {
            Step::Pass { length } => done += length,
            other => panic!("{other:?}"),
        }
    }
    let end = encode(4, b"");
    match scanner.step(&end, tracker.statements()).unwrap() {
        Step::Message { length: 4, message: Message::FileEnd { sequence: 4, bytes: 8 } } => {}
        other => panic!("{other:?}"),
    }
    assert!(scanner.at_boundary());
    let gap = scanner.step(&encode(5, b"x"), tracker.statements()).unwrap_err();
    assert_eq!(gap, Malformed::Sequence { expected: 0, found: 5 });
}
