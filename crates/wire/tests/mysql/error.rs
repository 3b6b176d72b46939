use wire::mysql::error::{Report, TEXT_BYTES_MAX, ok, server_error};

#[test]
fn an_error_of_ours_reads_as_it_was_written() {
    let report = Report { code: 1045, sqlstate: "28000", message: "Access denied" };
    let payload = report.encode();
    assert_eq!(payload, b"\xff\x15\x04#28000Access denied");
    let read = server_error(&payload);
    assert_eq!(
        (read.code, read.sqlstate(), read.message()),
        (1045, "28000", report.message.into())
    );
}

#[test]
fn texts_are_cut_at_a_character_and_sqlstates_have_five() {
    let message = format!("{}é", "x".repeat(TEXT_BYTES_MAX - 1));
    let payload = Report { code: 1, sqlstate: "HY", message: &message }.encode();
    let read = server_error(&payload);
    assert_eq!((read.sqlstate(), read.message().len()), ("HY000", TEXT_BYTES_MAX - 1));
}

#[test]
fn an_error_from_before_the_handshake_has_no_sqlstate() {
    let read = server_error(b"\xff\x10\x04Too many connections");
    let all = (read.code, read.sqlstate(), read.message());
    assert_eq!(all, (1040, "HY000", "Too many connections".to_owned()));
    for (broken, code) in [(b"".as_slice(), 0), (b"\xff", 0), (b"\xff\x10\x04#28", 1040)] {
        let read = server_error(broken);
        assert_eq!((read.code, read.sqlstate()), (code, "HY000"), "{broken:?}");
    }
    assert_eq!(server_error(b"\xff\x10\x04#2\xff0\0\0no").sqlstate(), "HY000");
}

#[test]
fn an_ok_of_ours_has_the_status_and_nothing_else() {
    assert_eq!(ok(2), b"\0\0\0\x02\0\0\0");
}
