//! Bind values as the record shows them; the expectations are PostgreSQL's own output.

use wire::pg::Part;
use wire::pg::frontend::{Format, Value};
use wire::pg::statement::{Encoding, Parameter, TypedValue};

fn binary(type_oid: u32, bytes: &[u8]) -> Parameter {
    let value = Value { format: Format::Binary, bytes: Some(Part::whole(bytes)) };
    TypedValue { value, type_oid }.parameter(&Encoding::Utf8, 1_024)
}

fn text(encoding: &Encoding, bytes: &[u8]) -> Parameter {
    let value = Value { format: Format::Text, bytes: Some(Part::whole(bytes)) };
    TypedValue { value, type_oid: 0 }.parameter(encoding, 1_024)
}

#[test]
fn known_types_read_as_the_server_writes_them() {
    let cases: [(u32, &[u8], &str); 30] = [
        (16, &[1], "t"),
        (16, &[0], "f"),
        (17, &[0, 255], "\\x00ff"),
        (19, b"name", "name"),
        (20, &(-5_i64).to_be_bytes(), "-5"),
        (21, &7_i16.to_be_bytes(), "7"),
        (23, &i32::MIN.to_be_bytes(), "-2147483648"),
        (25, "größe".as_bytes(), "größe"),
        (26, &u32::MAX.to_be_bytes(), "4294967295"),
        (114, b"{}", "{}"),
        (700, &1.5_f32.to_be_bytes(), "1.5"),
        (701, &3_f64.to_be_bytes(), "3"),
        (701, &f64::NAN.to_be_bytes(), "NaN"),
        (701, &f64::NEG_INFINITY.to_be_bytes(), "-Infinity"),
        (701, &0.1_f64.to_be_bytes(), "0.1"),
        (1042, b"ab ", "ab "),
        (1043, b"", ""),
        (1082, &0_i32.to_be_bytes(), "2000-01-01"),
        (1082, &9_824_i32.to_be_bytes(), "2026-11-24"),
        (1082, &(-730_119_i32).to_be_bytes(), "0001-01-01"),
        (1082, &(-730_120_i32).to_be_bytes(), "0001-12-31 BC"),
        (1082, &i32::MAX.to_be_bytes(), "infinity"),
        (1114, &(-1_i64).to_be_bytes(), "1999-12-31 23:59:59.999999"),
        (1184, &3_600_000_000_i64.to_be_bytes(), "2000-01-01 01:00:00+00"),
        (1184, &i64::MIN.to_be_bytes(), "-infinity"),
        (1700, &[0, 2, 0, 1, 0, 0, 0, 2, 0, 1, 9, 41], "12345.00"),
        (1700, &[0, 1, 255, 255, 64, 0, 0, 4, 0, 5], "-0.0005"),
        (1700, &[0, 0, 0, 0, 192, 0, 0, 0], "NaN"),
        (1700, &[0, 0, 0, 0, 0, 0, 0, 2], "0.00"),
        (3802, b"\x01{\"a\": 1}", "{\"a\": 1}"),
    ];
    for (type_oid, bytes, expected) in cases {
        assert_eq!(binary(type_oid, bytes), Parameter::Text(expected.to_owned()), "{type_oid}");
    }
    let uuid = binary(2950, &[0x12; 16]);
    assert_eq!(uuid, Parameter::Text("12121212-1212-1212-1212-121212121212".to_owned()));
}

#[test]
fn bytes_that_are_not_their_types_stay_bytes() {
    let huge_weight = [0, 1, 0x7f, 0xff, 0, 0, 0, 0, 0, 1];
    let cases: [(u32, &[u8]); 9] = [
        (16, &[2]),
        (23, &[1, 2, 3]),
        (2950, &[1]),
        (3802, b"\x02{}"),
        (25, &[0xff]),
        (1700, &huge_weight),
        (1700, &[0, 9, 0, 0, 0, 0, 0, 0]),
        (1700, &[0, 0]),
        (600, &[0; 16]),
    ];
    for (type_oid, bytes) in cases {
        let kept = binary(type_oid, bytes);
        let is_hex = matches!(&kept, Parameter::Binary(hex) if hex.len() == 2 * bytes.len());
        assert!(is_hex, "{type_oid}: {kept:?}");
    }
}

#[test]
fn texts_are_read_in_the_clients_encoding() {
    assert_eq!(text(&Encoding::Utf8, "ä".as_bytes()), Parameter::Text("ä".to_owned()));
    assert_eq!(text(&Encoding::Utf8, b"\xe4\x0a"), Parameter::Binary("e40a".to_owned()));
    assert_eq!(text(&Encoding::named(b"LATIN1"), b"\xe4"), Parameter::Text("ä".to_owned()));
    assert_eq!(text(&Encoding::named(b"SJIS"), b"abc"), Parameter::Text("abc".to_owned()));
    // The second byte is ASCII's backslash, and none here.
    let read = |name: &[u8], bytes: &[u8]| text(&Encoding::named(name), bytes);
    assert_eq!(read(b"SJIS", b"\x83\x5c"), Parameter::Text("ソ".to_owned()));
    assert_eq!(read(b"EUC_JP", b"\xc6\xfc\xcb\xdc"), Parameter::Text("日本".to_owned()));
    assert_eq!(read(b"WIN1251", b"\xcf\xf0"), Parameter::Text("Пр".to_owned()));
    assert_eq!(read(b"EUC_JP", b"\xc6"), Parameter::Binary("c6".to_owned()));
    assert_eq!(read(b"MULE_INTERNAL", b"\x83\x5c"), Parameter::Binary("835c".to_owned()));
    let names = [b"UTF8".as_slice(), b"LATIN1", b"SJIS"].map(Encoding::named);
    assert_eq!(names.each_ref().map(Encoding::name), [None, Some("LATIN1"), Some("SJIS")]);
}

#[test]
fn long_values_are_kept_by_their_beginning() {
    let whole = "ä".repeat(10);
    let value = Value { format: Format::Text, bytes: Some(Part::whole(whole.as_bytes())) };
    let parameter = TypedValue { value, type_oid: 25 }.parameter(&Encoding::Utf8, 5);
    let sha256 = Part::whole(whole.as_bytes()).digest();
    assert_eq!(parameter, Parameter::Truncated { start: "ää".to_owned(), bytes: 20, sha256 });
    let value = Value { format: Format::Binary, bytes: Some(Part::whole(&[1, 2, 3])) };
    let parameter = TypedValue { value, type_oid: 600 }.parameter(&Encoding::Utf8, 2);
    let sha256 = Part::whole(&[1, 2, 3]).digest();
    assert_eq!(parameter, Parameter::Truncated { start: "0102".to_owned(), bytes: 3, sha256 });
    let null = TypedValue { value: Value { format: Format::Text, bytes: None }, type_oid: 25 };
    assert_eq!(null.parameter(&Encoding::Utf8, 5), Parameter::Null);
}

#[test]
fn a_digest_is_sha_256() {
    let digest = Part::whole(b"abc").digest();
    assert_eq!(digest[..8], [0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea]); // FIPS 180-4
}
