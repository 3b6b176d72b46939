//! What the gateway says itself, read back as a client reads it.

use wire::pg::backend::{Authentication, Message, Scanner, Step, TransactionStatus};
use wire::pg::error::{
    Report, Severity, TEXT_BYTES_MAX, authentication_cleartext_password, authentication_ok,
    authentication_sasl, authentication_sasl_continue, authentication_sasl_final, backend_key_data,
    parameter_status, query, ready_for_query, sync, terminate,
};

fn read(bytes: &[u8], look: impl FnOnce(&Message<'_>)) {
    let mut scanner = Scanner::new();
    match scanner.step(bytes).unwrap() {
        Step::Message { length, message, .. } => {
            assert_eq!(length, bytes.len());
            look(&message);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_fatal_error_has_its_fields_in_the_servers_order() {
    let report = Report {
        severity: Severity::Fatal,
        sqlstate: "28000",
        message: "PC1203: you are not a member",
        detail: Some("d"),
        hint: Some("ask"),
    };
    let body = b"SFATAL\0VFATAL\0C28000\0MPC1203: you are not a member\0Dd\0Hask\0\0";
    assert_eq!(report.encode(), crate::message(b'E', body));
    read(&report.encode(), |message| match message {
        Message::ErrorResponse(fields) => {
            assert!(fields.is_fatal());
            assert_eq!((fields.sqlstate(), fields.field(b'H')), ("28000", Some(b"ask".as_slice())));
        }
        other => panic!("{other:?}"),
    });
}

#[test]
fn a_notice_is_a_notice() {
    let report = Report {
        severity: Severity::Notice,
        sqlstate: "00000",
        message: "until ten",
        detail: None,
        hint: None,
    };
    assert_eq!(report.encode(), crate::message(b'N', b"SNOTICE\0VNOTICE\0C00000\0Muntil ten\0\0"));
}

#[test]
fn texts_cannot_break_the_framing() {
    let long = "ä".repeat(TEXT_BYTES_MAX);
    for text in ["a\0Cevil\0", long.as_str()] {
        let report = Report {
            severity: Severity::Error,
            sqlstate: "42501",
            message: text,
            detail: Some(text),
            hint: None,
        };
        read(&report.encode(), |message| match message {
            Message::ErrorResponse(fields) => {
                assert_eq!(fields.sqlstate(), "42501");
                assert!(fields.message().len() <= TEXT_BYTES_MAX);
                assert_eq!(fields.iter().count(), 5);
            }
            other => panic!("{other:?}"),
        });
    }
}

#[test]
fn what_we_build_is_what_a_client_reads() {
    read(&authentication_ok(), |m| assert_eq!(*m, Message::Authentication(Authentication::Ok)));
    read(&authentication_cleartext_password(), |m| {
        assert_eq!(*m, Message::Authentication(Authentication::CleartextPassword));
    });
    read(&authentication_sasl(&["OAUTHBEARER"]), |m| {
        assert_eq!(*m, Message::Authentication(Authentication::Sasl(b"OAUTHBEARER\0\0")));
    });
    read(&authentication_sasl_continue(b"{}"), |m| {
        assert_eq!(*m, Message::Authentication(Authentication::SaslContinue(b"{}")));
    });
    read(&authentication_sasl_final(b"v"), |m| {
        assert_eq!(*m, Message::Authentication(Authentication::SaslFinal(b"v")));
    });
    read(&backend_key_data(7, &[1, 2, 3, 4]), |m| {
        assert_eq!(*m, Message::BackendKeyData { pid: 7, key: &[1, 2, 3, 4] });
    });
    read(&parameter_status("server_version", "15.18"), |m| {
        assert_eq!(*m, Message::ParameterStatus { name: b"server_version", value: b"15.18" });
    });
    for status in
        [TransactionStatus::Idle, TransactionStatus::InTransaction, TransactionStatus::Failed]
    {
        read(&ready_for_query(status), |m| assert_eq!(*m, Message::ReadyForQuery(status)));
    }
    assert_eq!(terminate().as_slice(), crate::message(b'X', b""));
    assert_eq!(sync().as_slice(), crate::message(b'S', b""));
    assert_eq!(query("select 1"), crate::message(b'Q', b"select 1\0"));
}
