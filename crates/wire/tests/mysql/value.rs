//! Bind values as people read them.

use wire::mysql::Part;
use wire::mysql::statement::{Encoding, Given, Parameter, Type, TypedValue};

use crate::hex;
use crate::session::text;

fn read(code: u8, bytes: &[u8]) -> Parameter {
    value(code, false, bytes, &Encoding::Utf8)
}

fn value(code: u8, unsigned: bool, bytes: &[u8], encoding: &Encoding) -> Parameter {
    let (kind, given) = (Type { code, unsigned }, Given::Bytes(Part::whole(bytes)));
    TypedValue { name: None, kind, given }.parameter(encoding, 1_024)
}

#[test]
fn numbers_have_a_sign_unless_they_are_said_to_have_none() {
    for (code, bytes, signed, unsigned) in [
        (1, "ff", "-1", "255"),
        (2, "feff", "-2", "65534"),
        (3, "fdffffff", "-3", "4294967293"),
        (8, "fcffffffffffffff", "-4", "18446744073709551612"),
    ] {
        assert_eq!(value(code, false, &hex(bytes), &Encoding::Utf8), text(signed));
        assert_eq!(value(code, true, &hex(bytes), &Encoding::Utf8), text(unsigned));
    }
    assert_eq!(read(13, &hex("ea07")), text("2026"));
    assert_eq!(read(4, &1.5_f32.to_le_bytes()), text("1.5"));
    assert_eq!(read(5, &(-2.0_f64).to_le_bytes()), text("-2"));
    assert_eq!(read(0xf6, b"12.50"), text("12.50"));
}

#[test]
fn times_have_as_many_parts_as_were_sent() {
    assert_eq!(read(10, &hex("ea070b18")), text("2026-11-24"));
    assert_eq!(read(10, b""), text("0000-00-00"));
    assert_eq!(read(12, &hex("ea070b18")), text("2026-11-24 00:00:00"));
    assert_eq!(read(12, &hex("ea070b18150a0b")), text("2026-11-24 21:10:11"));
    assert_eq!(read(7, &hex("ea070b18150a0ba0860100")), text("2026-11-24 21:10:11.100000"));
    assert_eq!(read(12, b""), text("0000-00-00 00:00:00"));
    assert_eq!(read(11, &hex("01 02000000 030405")), text("-51:04:05"));
    assert_eq!(read(11, &hex("00 00000000 010203 06000000")), text("01:02:03.000006"));
    assert_eq!(read(11, b""), text("00:00:00"));
}

#[test]
fn texts_are_read_in_the_clients_encoding_and_bytes_are_not() {
    let latin1 = Encoding::of_character_set("latin1");
    assert_eq!(value(253, false, b"\x80", &latin1), text("€"));
    assert_eq!(value(253, false, b"\xe4", &Encoding::Utf8), Parameter::Binary("e4".to_owned()));
    assert_eq!(value(252, false, b"abc", &latin1), Parameter::Binary("616263".to_owned()));
    let sjis = Encoding::of_collation(13);
    assert_eq!(value(254, false, b"\x93\xfa", &sjis), text("日"));
    let names = [8, 33, 45, 63, 255, 3].map(Encoding::of_collation);
    let names = names.each_ref().map(Encoding::name);
    assert_eq!(names, [Some("latin1"), None, None, None, None, Some("dec8")]);
}

#[test]
fn bytes_that_do_not_fit_their_type_stay_bytes() {
    for (code, bytes) in [(3, "010203"), (12, "ea07"), (11, "00"), (5, ""), (200, "41")] {
        assert_eq!(read(code, &hex(bytes)), Parameter::Binary(bytes.to_owned()), "{code}");
    }
}

#[test]
fn what_is_no_value_says_so() {
    let kind = Type { code: 3, unsigned: false };
    let of = |given| TypedValue { name: None, kind, given }.parameter(&Encoding::Utf8, 9);
    assert_eq!(of(Given::Null), Parameter::Null);
    assert_eq!(of(Given::Default), text("<default>"));
    assert_eq!(of(Given::Ignored), text("<ignore>"));
    let rest = Given::NotUnderstood(Part::whole(b"abc"));
    assert_eq!(of(rest), Parameter::Binary("616263".to_owned()));
}

#[test]
fn a_long_value_is_cut_and_hashed() {
    let (kind, given) = (Type { code: 253, unsigned: false }, Given::Bytes(Part::whole(b"hello")));
    let parameter = TypedValue { name: None, kind, given }.parameter(&Encoding::Utf8, 3);
    let sha256 = Part::whole(b"hello").digest();
    assert_eq!(parameter, Parameter::Truncated { start: "hel".to_owned(), bytes: 5, sha256 });
}
