//! Declared lengths, and what they may cost.

use wire::pg::Malformed;
use wire::pg::limits::{
    HOLD_BYTES_MAX, LARGE_MESSAGE_BYTES_MAX, SERVER_MESSAGE_BYTES_MAX, SMALL_MESSAGE_BYTES_MAX,
};
use wire::pg::{backend, frontend};

fn declared(tag: u8, length: u32) -> Vec<u8> {
    [&[tag], length.to_be_bytes().as_slice()].concat()
}

fn client(bytes: &[u8]) -> Result<String, Malformed> {
    frontend::Scanner::new().step(bytes).map(|step| format!("{step:?}"))
}

fn server(bytes: &[u8]) -> Result<String, Malformed> {
    backend::Scanner::new().step(bytes).map(|step| format!("{step:?}"))
}

#[test]
fn cve_2024_27304_a_length_that_would_wrap_is_refused() {
    for tag in *b"QPBFd" {
        for length in [LARGE_MESSAGE_BYTES_MAX + 1, 0x7fff_ffff, 1 << 31, u32::MAX] {
            let max = LARGE_MESSAGE_BYTES_MAX;
            assert_eq!(client(&declared(tag, length)), Err(Malformed::Length { tag, length, max }));
        }
    }
    for tag in *b"DdENTtSCVAGHW" {
        for length in [SERVER_MESSAGE_BYTES_MAX + 1, 1 << 31, u32::MAX] {
            let max = SERVER_MESSAGE_BYTES_MAX;
            assert_eq!(server(&declared(tag, length)), Err(Malformed::Length { tag, length, max }));
        }
    }
}

#[test]
fn lengths_that_do_not_count_themselves_are_refused() {
    for length in 0..4 {
        for tag in *b"QPBFdDECHSXcf" {
            assert!(matches!(client(&declared(tag, length)), Err(Malformed::Length { .. })));
        }
        for tag in *b"RSKZCENtTDnsI123GHWdcAVv" {
            assert!(matches!(server(&declared(tag, length)), Err(Malformed::Length { .. })));
        }
    }
}

#[test]
fn small_messages_of_a_client_are_small() {
    for tag in *b"DECHSXcf" {
        let (length, max) = (SMALL_MESSAGE_BYTES_MAX + 1, SMALL_MESSAGE_BYTES_MAX);
        assert_eq!(client(&declared(tag, length)), Err(Malformed::Length { tag, length, max }));
        let all = format!("Need({})", max + 1);
        assert_eq!(client(&declared(tag, max)), Ok(all));
    }
}

#[test]
fn types_that_do_not_exist_are_refused_at_their_first_byte() {
    for tag in 0..=u8::MAX {
        let known = b"QPBFdDECHSXcf".contains(&tag);
        let expected =
            if known { Ok("Need(5)".to_owned()) } else { Err(Malformed::UnknownType { tag }) };
        assert_eq!(client(&[tag]), expected);
        let known = b"RSKZCENtTDnsI123GHWdcAVv".contains(&tag);
        let expected =
            if known { Ok("Need(5)".to_owned()) } else { Err(Malformed::UnknownType { tag }) };
        assert_eq!(server(&[tag]), expected);
    }
}

#[test]
fn pggat_11_a_declared_gibibyte_is_never_asked_for_at_once() {
    // The message streams: the header passes, nothing is held, nothing is allocated for what has not come.
    for tag in *b"QPB" {
        let mut scanner = frontend::Scanner::new();
        let bytes = declared(tag, LARGE_MESSAGE_BYTES_MAX);
        assert!(matches!(scanner.step(&bytes), Ok(frontend::Step::Pass { length: 5 })));
        assert!(matches!(scanner.step(b""), Ok(frontend::Step::Need(1))));
        assert!(!scanner.at_boundary());
    }
    let held = client(&declared(b'Q', u32::try_from(HOLD_BYTES_MAX).unwrap() - 1));
    assert_eq!(held, Ok(format!("Need({HOLD_BYTES_MAX})")));
    let mut scanner = backend::Scanner::new();
    let bytes = declared(b'E', SERVER_MESSAGE_BYTES_MAX);
    assert!(matches!(scanner.step(&bytes), Ok(backend::Step::Pass { length: 5 })));
    assert_eq!(scanner.left(), 0x3fff_ffff);
}
