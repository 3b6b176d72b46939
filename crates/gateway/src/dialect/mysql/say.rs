//! How a refusal is spelled.

use model::{Code, Refusal, code};
use wire::mysql::error::Report;
use wire::mysql::packet;

/// ERR: the code stands before the message, so that people can quote it and programs can match it.
pub(crate) fn refusal(refusal: &Refusal, sequence: u8) -> Vec<u8> {
    let (code, sqlstate) = number(refusal.code);
    let message = match &refusal.hint {
        Some(hint) => format!("{refusal} ({hint})"),
        None => refusal.to_string(),
    };
    packet::encode(sequence, &Report { code, sqlstate, message: &message }.encode())
}

/// MySQL's error of the same meaning, by which clients decide what to do.
fn number(code: &Code) -> (u16, &'static str) {
    // ER_CONNECTION_KILLED, with the class of lost connections: by these pools know a session that is over, and make another
    // one. Not CR_SERVER_LOST: Connector/C takes a client's number from a server for a broken packet.
    const OVER: (u16, &str) = (1927, "08S01");
    if code.id == code::UPSTREAM_LOST.id {
        return OVER;
    }
    match code.sqlstate {
        // ER_ACCESS_DENIED_ERROR
        "28000" | "28P01" => (1045, "28000"),
        // ER_DBACCESS_DENIED_ERROR
        "42501" => (1044, "42000"),
        // ER_BAD_DB_ERROR
        "3D000" => (1049, "42000"),
        // ER_CON_COUNT_ERROR
        "53300" => (1040, "08004"),
        // ER_NET_PACKET_TOO_LARGE
        "54000" => (1153, "08S01"),
        "57P01" | "57P02" | "57P05" => OVER,
        // ER_SERVER_SHUTDOWN
        "57P03" => (1053, "08S01"),
        // ER_QUERY_TIMEOUT
        "57014" => (3024, "HY000"),
        // ER_MALFORMED_PACKET
        "08P01" => (1835, "HY000"),
        // ER_UNKNOWN_ERROR
        _ => (1105, "HY000"),
    }
}

#[cfg(test)]
mod tests {
    use model::code;
    use wire::mysql::error::server_error;

    use super::*;

    #[test]
    fn a_refusal_has_its_code_its_reason_and_mysqls_number() {
        let refused = Refusal::new(&code::TOKEN_EXPIRED, "the token expired").hint("get another");
        let packet = refusal(&refused, 5);
        assert_eq!(packet.get(3), Some(&5));
        let said = server_error(packet.get(4..).unwrap_or_default());
        assert_eq!((said.code, said.sqlstate()), (1045, "28000"));
        let message = said.message();
        assert!(message.starts_with(code::TOKEN_EXPIRED.id), "{message}");
        assert!(message.ends_with("the token expired (get another)"), "{message}");
    }

    #[test]
    fn a_session_that_is_over_has_the_number_by_which_pools_know_it() {
        for code in [&code::UPSTREAM_LOST, &code::SESSION_CUT, &code::IDLE, &code::SHUTTING_DOWN] {
            let packet = refusal(&Refusal::new(code, "it is over"), 1);
            let said = server_error(packet.get(4..).unwrap_or_default());
            assert_eq!((said.code, said.sqlstate()), (1927, "08S01"), "{}", code.id);
        }
    }
}
