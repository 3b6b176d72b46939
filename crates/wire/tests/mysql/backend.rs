//! Views of a server's packets.

use wire::mysql::backend::{Expected, Message, Scanner, Step};
use wire::mysql::command::Answer;
use wire::mysql::packet::PAYLOAD_BYTES_MAX;
use wire::mysql::{Capabilities, Malformed};

use crate::session::{COLUMN, END, EOF, EOF_MORE, ERR, OK, answer};

/// What the packets of one answer say, rows included.
fn read(agreed: Capabilities, kind: Answer, payloads: &[&[u8]]) -> Vec<String> {
    try_read(agreed, kind, &answer(1, payloads)).unwrap()
}

fn try_read(agreed: Capabilities, kind: Answer, bytes: &[u8]) -> Result<Vec<String>, Malformed> {
    let mut expected = Some(Expected { answer: kind, sequence: 1 });
    let (mut scanner, mut done, mut said) = (Scanner::new(agreed), 0, Vec::new());
    loop {
        match scanner.step(&bytes[done..], expected)? {
            Step::Need(_) => break,
            Step::Pass { length } => done += length,
            Step::Message { length, rows, message } => {
                done += length;
                let name = match &message {
                    Message::Done(done) if done.has_more_results() => "more".to_owned(),
                    Message::Done(done) => format!("done {}", done.affected),
                    Message::Error(error) => format!("error {}", error.code),
                    Message::Prepared(prepared) => format!("prepared {}", prepared.statement),
                    Message::Described => "described".to_owned(),
                    Message::Text => "text".to_owned(),
                    Message::File { name, .. } => format!("file {}", name.escape_ascii()),
                };
                let over = !matches!(&message, Message::Prepared(p) if p.descriptions > 0);
                if over && name != "more" {
                    expected = None;
                }
                said.push(format!("{name}, {rows} rows"));
            }
        }
    }
    if done < bytes.len() {
        said.push(format!("{} left", bytes.len() - done));
    }
    Ok(said)
}

const OLD: Capabilities = Capabilities::PROTOCOL_41;
const NEW: Capabilities = Capabilities::DEPRECATE_EOF;

#[test]
fn a_result_ends_with_eof_or_with_ok_as_agreed() {
    let rows = [b"\x01\x01a".as_slice(), b"\x01b", b"\xfb", b"\x0b0123456789a"];
    let [a, b, null, long] = rows;
    let old = [b"\x01".as_slice(), COLUMN, EOF, a, b, null, long, EOF];
    assert_eq!(read(OLD, Answer::Results, &old), ["done 0, 4 rows"]);
    let new = [b"\x01".as_slice(), COLUMN, a, b, null, long, END];
    assert_eq!(read(NEW, Answer::Results, &new), ["done 0, 4 rows"]);
    assert_eq!(read(OLD, Answer::Results, &[b"\x01", COLUMN, EOF, EOF]), ["done 0, 0 rows"]);
}

#[test]
fn a_binary_row_begins_like_an_ok_packet_and_is_a_row() {
    let row = b"\0\0\x01\0\0\0".as_slice();
    let packets = [b"\x01".as_slice(), COLUMN, EOF, row, row, EOF];
    assert_eq!(read(OLD, Answer::Results, &packets), ["done 0, 2 rows"]);
    assert_eq!(read(OLD, Answer::Rows, &[row, row, EOF]), ["done 0, 2 rows"]);
    assert_eq!(read(NEW, Answer::Rows, &[row, END]), ["done 0, 1 rows"]);
}

#[test]
fn a_row_whose_first_field_has_16_mib_begins_like_an_end_and_is_a_row() {
    let length = u64::try_from(PAYLOAD_BYTES_MAX).unwrap() + 1;
    let row =
        [&[0xfe], length.to_le_bytes().as_slice(), &vec![0xfe; PAYLOAD_BYTES_MAX + 1]].concat();
    for (agreed, end) in [(OLD, EOF), (NEW, END)] {
        let mut packets = vec![b"\x01".as_slice(), COLUMN];
        if agreed == OLD {
            packets.push(EOF);
        }
        let before = u8::try_from(packets.len()).unwrap() + 1;
        let mut bytes = answer(1, &packets);
        bytes.extend(wire::mysql::packet::encode(before, &row));
        bytes.extend(answer(before + 2, &[end]));
        assert_eq!(try_read(agreed, Answer::Results, &bytes).unwrap(), ["done 0, 1 rows"]);
    }
}

#[test]
fn several_results_are_told_of_one_by_one() {
    let packets = [b"\x01".as_slice(), COLUMN, EOF, b"\x01a", EOF_MORE, OK];
    assert_eq!(read(OLD, Answer::Results, &packets), ["more, 1 rows", "done 0, 1 rows"]);
    let packets = [b"\0\x05\0\x0a\0\0\0".as_slice(), b"\x01", COLUMN, EOF, ERR];
    assert_eq!(read(OLD, Answer::Results, &packets), ["more, 0 rows", "error 1146, 0 rows"]);
}

#[test]
fn a_result_with_a_cursor_has_no_rows() {
    let kind = Answer::Cursor;
    let cursor = b"\xfe\0\0\x42\0".as_slice();
    assert_eq!(read(OLD, kind, &[b"\x01", COLUMN, cursor]), ["done 0, 0 rows"]);
    // No cursor could be opened.
    assert_eq!(read(OLD, kind, &[b"\x01", COLUMN, EOF, b"\0\0a", EOF]), ["done 0, 1 rows"]);
    let cursor = b"\xfe\0\0\x42\0\0\0".as_slice();
    assert_eq!(read(NEW, kind, &[b"\x01", COLUMN, cursor]), ["done 0, 0 rows"]);
}

#[test]
fn a_cursor_that_a_procedure_opened_is_not_the_results() {
    // As MariaDB answers `FOR r IN (SELECT …) DO SELECT r.a; END FOR`.
    let stale = b"\xfe\0\0\x6a\x40".as_slice();
    let last = b"\0\0\0\x62\x40\0\0".as_slice();
    let packets = [b"\x01".as_slice(), COLUMN, stale, b"\x01a", stale, last];
    for kind in [Answer::Results, Answer::Cursor] {
        assert_eq!(read(OLD, kind, &packets), ["more, 1 rows", "done 0, 1 rows"]);
    }
}

#[test]
fn columns_that_the_client_knows_may_be_left_out() {
    let cached = NEW.with(Capabilities::CACHE_METADATA);
    assert_eq!(read(cached, Answer::Results, &[b"\x01\0", b"\x01a", END]), ["done 0, 1 rows"]);
    let packets = [b"\x01\x01".as_slice(), COLUMN, b"\x01a", END];
    assert_eq!(read(cached, Answer::Results, &packets), ["done 0, 1 rows"]);
    let cached = OLD.with(Capabilities::CACHE_METADATA);
    assert_eq!(read(cached, Answer::Results, &[b"\x01\0", EOF, b"\x01a", EOF]), ["done 0, 1 rows"]);
}

#[test]
fn progress_is_no_error_where_it_was_agreed_on() {
    let progress = b"\xff\xff\xff\x01\x01\x02\x10\x27\0\x05Stage".as_slice();
    let agreed = OLD.with(Capabilities::PROGRESS);
    let packets = [progress, progress, b"\x01", COLUMN, EOF, progress, b"\x01a", EOF];
    assert_eq!(read(agreed, Answer::Results, &packets), ["done 0, 1 rows"]);
    assert_eq!(read(OLD, Answer::Results, &[progress]), ["error 65535, 0 rows"]);
}

#[test]
fn a_prepared_statement_is_over_when_all_of_it_is_described() {
    let ok = |columns: u8, parameters: u8| [0, 7, 0, 0, 0, columns, 0, parameters, 0, 0, 0, 0];
    let kind = Answer::Prepared;
    assert_eq!(read(OLD, kind, &[&ok(0, 0)]), ["prepared 7, 0 rows"]);
    let both = ["prepared 7, 0 rows", "described, 0 rows"];
    assert_eq!(read(OLD, kind, &[&ok(1, 2), COLUMN, COLUMN, EOF, COLUMN, EOF]), both);
    assert_eq!(read(NEW, kind, &[&ok(1, 2), COLUMN, COLUMN, COLUMN]), both);
    assert_eq!(read(OLD, kind, &[&ok(0, 1), COLUMN, EOF]), both);
    let failed = ["prepared 7, 0 rows", "error 1146, 0 rows"];
    assert_eq!(read(OLD, kind, &[&ok(0, 1), ERR]), failed);
}

#[test]
fn fields_and_texts_and_mere_statuses_are_told_apart() {
    assert_eq!(read(OLD, Answer::Fields, &[COLUMN, COLUMN, EOF]), ["done 0, 0 rows"]);
    assert_eq!(read(OLD, Answer::Fields, &[ERR]), ["error 1146, 0 rows"]);
    assert_eq!(read(OLD, Answer::Text, &[b"Uptime: 1"]), ["text, 0 rows"]);
    assert_eq!(read(OLD, Answer::Status, &[b"\0\xfc\x10\x27\0\x02\0\0\0"]), ["done 10000, 0 rows"]);
    for (kind, payload) in [
        (Answer::Status, b"\x01".as_slice()),
        (Answer::Prepared, b"\xfe\0\0\x02\0"),
        (Answer::Results, b""),
        (Answer::Results, b"\x01\x01"),
    ] {
        let broken = try_read(OLD, kind, &answer(1, &[payload]));
        assert!(matches!(broken, Err(Malformed::Body { .. })), "{kind:?} {broken:?}");
    }
}

#[test]
fn a_file_may_be_asked_for_only_where_that_was_agreed_on() {
    let wish = b"\xfb/etc/passwd".as_slice();
    let (message, what) = ("LOCAL INFILE", "it was not agreed on");
    let refused = try_read(OLD, Answer::Results, &answer(1, &[wish]));
    assert_eq!(refused, Err(Malformed::Body { message, what }));
    let agreed = OLD.with(Capabilities::LOCAL_FILES);
    assert_eq!(read(agreed, Answer::Results, &[wish]), ["file /etc/passwd, 0 rows"]);
}

#[test]
fn packets_that_answer_nothing_or_have_another_number_are_refused_but_for_errors() {
    let mut scanner = Scanner::new(OLD);
    assert_eq!(scanner.step(&answer(1, &[OK]), None).unwrap_err(), Malformed::Unasked);
    for number in [0, 1, 9] {
        let bytes = answer(number, &[ERR]);
        let mut scanner = Scanner::new(OLD);
        let step = scanner.step(&bytes, None).unwrap();
        assert!(matches!(step, Step::Message { message: Message::Error(_), .. }), "{number}");
    }
    let gap = Err(Malformed::Sequence { expected: 1, found: 2 });
    assert_eq!(try_read(OLD, Answer::Status, &answer(2, &[OK])), gap);
    let mut rows = answer(1, &[b"\x01", COLUMN, EOF, b"\x01a"]);
    rows.extend(answer(6, &[b"\x01b"]));
    let gap = Err(Malformed::Sequence { expected: 5, found: 6 });
    assert_eq!(try_read(OLD, Answer::Results, &rows), gap);
}

#[test]
fn what_follows_an_empty_packet_is_not_taken_for_its_first_byte() {
    let empty = answer(9, &[b"", ERR]);
    let (message, what) = ("answer", "it is empty");
    let gap = Err(Malformed::Sequence { expected: 1, found: 9 });
    assert_eq!(try_read(OLD, Answer::Status, &empty), gap);
    let empty = answer(1, &[b"", ERR]);
    let malformed = Err(Malformed::Body { message, what });
    assert_eq!(try_read(OLD, Answer::Status, &empty), malformed);
    let packets = [b"\x01".as_slice(), COLUMN, EOF, b"", ERR];
    assert_eq!(read(OLD, Answer::Results, &packets), ["error 1146, 1 rows"]);
}

#[test]
fn a_packet_of_ours_takes_the_number_that_the_servers_next_would_have() {
    let expected = Some(Expected { answer: Answer::Results, sequence: 3 });
    let mut scanner = Scanner::new(OLD);
    assert_eq!((scanner.next_sequence(None), scanner.next_sequence(expected)), (1, 3));
    let bytes = answer(3, &[b"\x01", COLUMN, EOF, b"\x01a"]);
    let mut done = 0;
    while done < bytes.len() - 1 {
        match scanner.step(&bytes[done..bytes.len() - 1], expected).unwrap() {
            Step::Pass { length } => done += length,
            other => panic!("{other:?}"),
        }
    }
    assert!(!scanner.at_boundary());
    assert_eq!((scanner.left(), scanner.next_sequence(expected)), (1, 7));
}

#[test]
fn a_buffer_full_of_rows_passes_at_once() {
    let mut packets = vec![b"\x01".as_slice(), COLUMN, EOF];
    packets.extend([b"\x01a".as_slice(); 200]);
    let bytes = answer(1, &packets);
    let expected = Some(Expected { answer: Answer::Results, sequence: 1 });
    let (mut scanner, mut steps, mut done) = (Scanner::new(OLD), 0, 0);
    while done < bytes.len() {
        match scanner.step(&bytes[done..], expected).unwrap() {
            Step::Pass { length } => (done, steps) = (done + length, steps + 1),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((steps, scanner.rows()), (4, 200));
}

#[test]
fn what_changed_of_the_session_is_in_the_ok_packet() {
    use wire::mysql::backend::Change;
    let agreed = OLD.with(Capabilities::SESSION_TRACK);
    let expected = Some(Expected { answer: Answer::Status, sequence: 1 });
    let state = b"\x00\x0d\x09time_zone\x02ok\x01\x07\x06orders\x05\x01\x00".as_slice();
    let length = u8::try_from(state.len()).unwrap();
    let payload = [b"\0\0\0\x02\x40\0\0\0".as_slice(), &[length], state].concat();
    let bytes = answer(1, &[&payload]);
    let mut scanner = Scanner::new(agreed);
    let Step::Message { message: Message::Done(done), .. } =
        scanner.step(&bytes, expected).unwrap()
    else {
        panic!("no OK")
    };
    let changes: Vec<_> = done.changes().collect();
    let (name, value) = (b"time_zone".as_slice(), b"ok".as_slice());
    let zone = Change::Variable { name, value };
    assert_eq!(changes, [zone, Change::Database(b"orders"), Change::Other(5)]);
}
