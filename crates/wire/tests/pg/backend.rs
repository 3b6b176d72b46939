//! Views of a server's messages.

use wire::pg::Malformed;
use wire::pg::backend::{
    Authentication, Column, Message, Scanner, Step, TransactionStatus, rows_of_tag,
};
use wire::pg::limits::HOLD_BYTES_MAX;

use crate::message;

fn read(tag: u8, body: &[u8], look: impl FnOnce(&Message<'_>)) {
    let bytes = message(tag, body);
    match Scanner::new().step(&bytes).unwrap() {
        Step::Message { length, message, .. } => {
            assert_eq!(length, bytes.len());
            look(&message);
        }
        other => panic!("{other:?}"),
    }
}

fn malformed(tag: u8, body: &[u8]) -> Malformed {
    Scanner::new().step(&message(tag, body)).unwrap_err()
}

#[test]
fn messages_are_what_they_say() {
    read(b'R', b"\0\0\0\x05salt", |m| {
        assert_eq!(*m, Message::Authentication(Authentication::Md5Password(*b"salt")));
    });
    read(b'R', b"\0\0\0\x07", |m| {
        assert_eq!(*m, Message::Authentication(Authentication::Other(7)));
    });
    read(b'S', b"TimeZone\0UTC\0", |m| {
        assert_eq!(*m, Message::ParameterStatus { name: b"TimeZone", value: b"UTC" });
    });
    read(b'C', b"INSERT 0 5\0", |m| assert_eq!(*m, Message::CommandComplete(b"INSERT 0 5")));
    read(b'Z', b"T", |m| assert_eq!(*m, Message::ReadyForQuery(TransactionStatus::InTransaction)));
    read(b't', b"\0\x02\0\0\0\x17\0\0\0\x19", |m| {
        let Message::ParameterDescription(types) = m else { panic!("{m:?}") };
        assert_eq!(types.iter().collect::<Vec<_>>(), [23, 25]);
    });
    read(b'T', b"\0\x01id\0\0\0\0\x07\0\x01\0\0\0\x17\0\x04\xff\xff\xff\xff\0\x01", |m| {
        let Message::RowDescription(row) = m else { panic!("{m:?}") };
        let column = Column { name: b"id", table: 7, attribute: 1, type_oid: 23, format: 1 };
        assert_eq!((row.count(), row.iter().collect::<Vec<_>>()), (1, vec![column]));
    });
    for (tag, expected) in [
        (b'1', Message::ParseComplete),
        (b'2', Message::BindComplete),
        (b'3', Message::CloseComplete),
        (b'n', Message::NoData),
        (b's', Message::PortalSuspended),
        (b'I', Message::EmptyQueryResponse),
        (b'c', Message::CopyDone),
    ] {
        read(tag, b"", |m| assert_eq!(*m, expected));
    }
    for (tag, expected) in [
        (b'G', Message::CopyInResponse),
        (b'H', Message::CopyOutResponse),
        (b'W', Message::CopyBothResponse),
    ] {
        read(tag, b"\0\0\x01\0\0", |m| assert_eq!(*m, expected));
    }
}

#[test]
fn cve_2026_6666_an_error_without_fields_is_still_an_error() {
    for body in [
        b"\0".as_slice(),
        b"",
        b"C\0\0",
        b"Cnot five\0\0",
        b"C\xff\xff\xff\xff\xff\0\0",
        b"Mno end",
    ] {
        read(b'E', body, |m| {
            let Message::ErrorResponse(fields) = m else { panic!("{m:?}") };
            assert_eq!((fields.sqlstate(), fields.is_fatal()), ("XX000", false), "{body:?}");
            assert!(fields.message().len() < 10);
        });
    }
    read(b'E', b"SFATAL\0C57P01\0Mterminating\0\0", |m| {
        let Message::ErrorResponse(fields) = m else { panic!("{m:?}") };
        assert_eq!((fields.sqlstate(), fields.is_fatal()), ("57P01", true));
        assert_eq!(fields.message(), "terminating");
    });
}

#[test]
fn cve_2026_6665_a_hostile_server_is_refused() {
    malformed(b'Z', b"X");
    malformed(b'R', b"\0\0\0\0trailing");
    malformed(b'R', b"\0\0\0\x05salt and more");
    malformed(b'R', b"\0");
    malformed(b'S', b"no value\0");
    malformed(b'S', b"a\0b\0c");
    malformed(b'C', b"no end");
    malformed(b't', b"\0\x02\0\0\0\x17");
    malformed(b'T', b"\0\x02id\0");
    malformed(b'K', b"\0\0\0\x01abc");
    assert!(matches!(malformed(b'K', &[0; 261]), Malformed::Length { tag: b'K', .. }));
    assert!(matches!(malformed(b'Z', b"II"), Malformed::Length { tag: b'Z', .. }));
    assert!(matches!(malformed(b'1', b"x"), Malformed::Length { tag: b'1', .. }));
}

#[test]
fn cancel_keys_of_both_protocol_versions_are_read() {
    for length in [4_usize, 32, 256] {
        let key = vec![9; length];
        read(b'K', &[b"\0\0\x30\x39", key.as_slice()].concat(), |m| {
            assert_eq!(*m, Message::BackendKeyData { pid: 12_345, key: &key });
        });
    }
}

#[test]
fn rows_pass_in_bulk_and_are_counted() {
    let rows: Vec<u8> = (0..1_000).flat_map(|_| message(b'D', b"\0\x01\0\0\0\x02ab")).collect();
    let bytes = [rows.as_slice(), &message(b'C', b"SELECT 1000\0"), &message(b'Z', b"I")].concat();
    let mut scanner = Scanner::new();
    let Ok(Step::Pass { length }) = scanner.step(&bytes) else { panic!() };
    assert_eq!((length, scanner.rows()), (rows.len(), 1_000));
    let Ok(Step::Message { length, rows: 1_000, message }) = scanner.step(&bytes[rows.len()..])
    else {
        panic!()
    };
    assert_eq!((length, message), (17, Message::CommandComplete(b"SELECT 1000")));
}

#[test]
fn the_distance_to_the_next_boundary_is_known() {
    let bytes = message(b'D', &vec![0; 1_000]);
    let mut scanner = Scanner::new();
    assert!(matches!(scanner.step(&bytes[..300]), Ok(Step::Pass { length: 300 })));
    assert_eq!((scanner.at_boundary(), scanner.left()), (false, 705));
    assert!(matches!(scanner.step(&bytes[300..]), Ok(Step::Pass { length: 705 })));
    assert_eq!((scanner.at_boundary(), scanner.left()), (true, 0));
}

#[test]
fn a_very_long_error_is_understood_by_its_beginning() {
    let body =
        [b"SERROR\0C22P02\0M".to_vec(), vec![b'x'; 2 * HOLD_BYTES_MAX], b"\0\0".to_vec()].concat();
    let bytes = message(b'E', &body);
    let mut scanner = Scanner::new();
    let mut done = 0;
    loop {
        match scanner.step(&bytes[done..]).unwrap() {
            Step::Pass { length } => done += length,
            Step::Message { message: Message::ErrorResponse(fields), .. } => {
                assert_eq!((fields.sqlstate(), fields.message().len()), ("22P02", 8_192));
                break;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn tags_speak_of_rows() {
    for (tag, rows) in [
        (b"INSERT 0 5".as_slice(), Some(5)),
        (b"SELECT 10", Some(10)),
        (b"COPY 7", Some(7)),
        (b"MERGE 2", Some(2)),
        (b"UPDATE 0", Some(0)),
        (b"FETCH 18446744073709551615", Some(u64::MAX)),
        (b"FETCH 18446744073709551616", None),
        (b"CREATE TABLE", None),
        (b"BEGIN", None),
        (b"5", None),
        (b"", None),
        (b"SELECT ", None),
        (b"SELECT -1", None),
    ] {
        assert_eq!(rows_of_tag(tag), rows, "{}", tag.escape_ascii());
    }
}
