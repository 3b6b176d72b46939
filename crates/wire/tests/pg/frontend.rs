//! Views of a client's messages.

use wire::pg::frontend::{
    Bind, Execute, Format, Message, Parse, Query, Scanner, Step, Target, Value,
};
use wire::pg::limits::{HOLD_BYTES_MAX, SQL_BYTES_MAX, VALUE_BYTES_MAX, VALUES_BYTES_MAX};
use wire::pg::{Malformed, Part};

use crate::message;

fn read(tag: u8, body: &[u8], look: impl FnOnce(&Message<'_>)) {
    let bytes = message(tag, body);
    let mut scanner = Scanner::new();
    let mut done = 0;
    loop {
        match scanner.step(&bytes[done..]).unwrap() {
            Step::Pass { length } => done += length,
            Step::Message { length, message } => {
                assert_eq!(done + length, bytes.len());
                return look(&message);
            }
            Step::Need(bytes) => panic!("{bytes} more"),
        }
    }
}

fn malformed(tag: u8, body: &[u8]) -> Malformed {
    let bytes = message(tag, body);
    Scanner::new().step(&bytes).unwrap_err()
}

#[test]
fn messages_are_what_they_say() {
    read(b'Q', b"select 1\0", |m| {
        assert_eq!(*m, Message::Query(Query { text: Part::whole(b"select 1") }));
    });
    read(b'P', b"s1\0select $1\0\0\x02\0\0\0\x17\0\0\0\0", |m| {
        let text = Part::whole(b"select $1");
        assert_eq!(*m, Message::Parse(Parse { statement: b"s1", text, types: vec![23, 0] }));
    });
    read(b'E', b"p\0\0\0\0\x0a", |m| {
        assert_eq!(*m, Message::Execute(Execute { portal: b"p", rows_max: 10 }));
    });
    read(b'D', b"Ss1\0", |m| assert_eq!(*m, Message::Describe(Target::Statement(b"s1"))));
    read(b'C', b"P\0", |m| assert_eq!(*m, Message::Close(Target::Portal(b""))));
    read(b'f', b"why\0", |m| assert_eq!(*m, Message::CopyFail(b"why")));
    for (tag, expected) in [
        (b'c', Message::CopyDone),
        (b'H', Message::Flush),
        (b'S', Message::Sync),
        (b'X', Message::Terminate),
    ] {
        read(tag, b"", |m| assert_eq!(*m, expected));
    }
}

const BIND: &[u8] = b"p\0s\0\0\x02\0\0\0\x01\0\x02\0\0\0\x02ab\xff\xff\xff\xff\0\x01\0\x01";

#[test]
fn bind_gives_values_with_their_formats_and_null() {
    read(b'B', BIND, |m| {
        let Message::Bind(Bind { portal: b"p", statement: b"s", values }) = m else {
            panic!("{m:?}")
        };
        let text = Value { format: Format::Text, bytes: Some(Part::whole(b"ab")) };
        let null = Value { format: Format::Binary, bytes: None };
        assert_eq!((values.count(), values.iter().collect::<Vec<_>>()), (2, vec![text, null]));
    });
    // No code: all are text. One code: it holds for all.
    for (formats, expected) in
        [(b"\0\0".as_slice(), Format::Text), (b"\0\x01\0\x01", Format::Binary)]
    {
        let body = [b"\0\0", formats, b"\0\x02\0\0\0\0\0\0\0\x01x\0\0"].concat();
        read(b'B', &body, |m| {
            let Message::Bind(bind) = m else { panic!("{m:?}") };
            assert!(bind.values.iter().all(|value| value.format == expected));
        });
    }
}

#[test]
fn pgproto3_negative_lengths_other_than_null_are_malformed() {
    for length in [b"\xff\xff\xff\xfe", b"\x80\0\0\0"] {
        let body = [b"\0\0\0\0\0\x01".as_slice(), length, b"\0\0"].concat();
        let what = "a length is negative";
        assert_eq!(malformed(b'B', &body), Malformed::Body { message: "Bind", what });
    }
}

#[test]
fn bodies_that_are_cut_or_too_long_are_malformed() {
    let whole: [(u8, &[u8]); 8] = [
        (b'Q', b"select 1\0"),
        (b'P', b"s1\0select $1\0\0\x01\0\0\0\x17"),
        (b'B', BIND),
        (b'E', b"p\0\0\0\0\x0a"),
        (b'D', b"Ss1\0"),
        (b'C', b"P\0"),
        (b'f', b"why\0"),
        (b'F', b"\0\0\x03\xb8\0\x01\0\x01\0\x01\0\0\0\x01x\0\x01"),
    ];
    for (tag, body) in whole {
        read(tag, body, |_| {});
        for end in 0..body.len() {
            malformed(tag, &body[..end]);
        }
        malformed(tag, &[body, b"x"].concat());
    }
    for body in [b"Xs1\0".as_slice(), b"\0\0"] {
        malformed(b'D', body);
    }
    malformed(b'S', b"x");
    // Three format codes for two values; a format code that does not exist.
    malformed(b'B', b"\0\0\0\x03\0\0\0\0\0\0\0\x02\xff\xff\xff\xff\xff\xff\xff\xff\0\0");
    malformed(b'B', b"\0\0\0\x01\0\x02\0\0\0\0");
}

#[test]
fn copy_data_passes_in_bulk_and_is_counted() {
    let bytes = [message(b'd', b"1\ta\n"), message(b'd', b"22\tb\n"), message(b'c', b"")].concat();
    let mut scanner = Scanner::new();
    assert!(matches!(scanner.step(&bytes), Ok(Step::Pass { length: 19 })));
    assert!(matches!(scanner.step(&bytes[19..]), Ok(Step::Message { length: 5, .. })));
    assert_eq!(scanner.copy_bytes(), 9);
}

/// Reads a long message handed over in pieces of `piece` bytes.
fn long(bytes: &[u8], piece: usize, look: impl FnOnce(&Message<'_>)) {
    let mut scanner = Scanner::new();
    let (mut done, mut filled) = (0, 0);
    loop {
        match scanner.step(&bytes[done..filled]).unwrap() {
            Step::Need(_) => filled = (filled + piece).min(bytes.len()),
            Step::Pass { length } => done += length,
            Step::Message { length, message } => {
                assert_eq!(done + length, bytes.len());
                return look(&message);
            }
        }
    }
}

#[test]
fn a_long_query_is_kept_by_its_beginning_length_and_digest() {
    let text = "select '".to_owned() + &"x".repeat(SQL_BYTES_MAX) + "'";
    let bytes = message(b'Q', [text.as_bytes(), b"\0"].concat().as_slice());
    let expected = Part::whole(text.as_bytes()).cut(SQL_BYTES_MAX);
    assert_eq!(expected.length, SQL_BYTES_MAX as u64 + 9);
    for piece in [9_973, 1 << 16, bytes.len()] {
        long(&bytes, piece, |m| assert_eq!(*m, Message::Query(Query { text: expected })));
    }
}

#[test]
fn the_last_byte_of_a_long_query_comes_with_the_message() {
    // So whoever records the message before forwarding that byte has recorded it before the server can run it.
    let bytes = message(b'Q', &[vec![b'x'; HOLD_BYTES_MAX], vec![0]].concat());
    let mut scanner = Scanner::new();
    let Ok(Step::Pass { length }) = scanner.step(&bytes) else { panic!() };
    assert_eq!(length, bytes.len() - 1);
    assert!(matches!(scanner.step(&bytes[length..]), Ok(Step::Message { length: 1, .. })));
    assert!(scanner.at_boundary());
}

#[test]
fn a_long_parse_keeps_name_text_and_types() {
    let text = vec![b'y'; HOLD_BYTES_MAX];
    let body = [b"name\0", text.as_slice(), b"\0\0\x02\0\0\0\x17\0\0\0\x19"].concat();
    long(&message(b'P', &body), 4_096, |m| {
        let text = Part::whole(&text);
        assert_eq!(*m, Message::Parse(Parse { statement: b"name", text, types: vec![23, 25] }));
    });
}

#[test]
fn a_long_bind_keeps_each_value_within_bounds() {
    let big = vec![b'v'; VALUE_BYTES_MAX + 1];
    let count = 40_u16;
    let mut body = b"p\0s\0\0\x01\0\x01".to_vec();
    body.extend_from_slice(&count.to_be_bytes());
    for _ in 0..count - 2 {
        body.extend_from_slice(&u32::try_from(big.len()).unwrap().to_be_bytes());
        body.extend_from_slice(&big);
    }
    body.extend_from_slice(b"\xff\xff\xff\xff\0\0\0\0\0\0");
    long(&message(b'B', &body), 50_000, |m| {
        let Message::Bind(bind) = m else { panic!("{m:?}") };
        let values: Vec<_> = bind.values.iter().collect();
        assert_eq!(
            (bind.portal, bind.statement, values.len()),
            (b"p".as_slice(), b"s".as_slice(), 40)
        );
        let kept: usize =
            values.iter().filter_map(|value| value.bytes).map(|part| part.start.len()).sum();
        assert_eq!(kept, VALUES_BYTES_MAX);
        assert_eq!(values[0].bytes, Some(Part::whole(&big).cut(VALUE_BYTES_MAX)));
        assert_eq!(values[37].bytes, Some(Part::whole(&big).cut(0)));
        assert_eq!((values[38].bytes, values[39].bytes), (None, Some(Part::whole(b""))));
        assert!(values.iter().all(|value| value.format == Format::Binary));
    });
}

#[test]
fn long_bodies_that_are_wrong_are_refused_like_short_ones() {
    let filler = vec![b'x'; HOLD_BYTES_MAX];
    let bad: [(u8, Vec<u8>); 5] = [
        (b'Q', filler.clone()),
        (b'Q', [filler.as_slice(), b"\0more\0"].concat()),
        (b'P', [b"\0", filler.as_slice(), b"\0\0\x01"].concat()),
        (b'B', [b"\0\0\0\0\0\x01\xff\xff\xff\xfe", filler.as_slice()].concat()),
        (b'B', [b"\0\0\0\x01\0\x07", filler.as_slice()].concat()),
    ];
    for (tag, body) in bad {
        let bytes = message(tag, &body);
        let mut scanner = Scanner::new();
        let mut done = 0;
        let malformed = loop {
            match scanner.step(&bytes[done..]) {
                Ok(Step::Pass { length }) => done += length,
                Ok(other) => panic!("{other:?}"),
                Err(malformed) => break malformed,
            }
        };
        assert!(matches!(malformed, Malformed::Body { .. }), "{malformed}");
    }
}

#[test]
fn a_function_call_is_read_whole_and_long() {
    let body = |argument: &[u8]| {
        let length = u32::try_from(argument.len()).unwrap().to_be_bytes();
        [b"\0\0\x03\xbb\0\x01\0\x01\0\x01".as_slice(), &length, argument, b"\0\x01"].concat()
    };
    for argument in [b"x".to_vec(), vec![b'x'; HOLD_BYTES_MAX]] {
        long(&message(b'F', &body(&argument)), 1_000, |m| {
            let Message::FunctionCall(call) = m else { panic!("{m:?}") };
            let expected = Value { format: Format::Binary, bytes: Some(Part::whole(&argument)) };
            assert_eq!(
                (call.oid, call.arguments.iter().collect::<Vec<_>>()),
                (955, vec![expected])
            );
        });
    }
}
