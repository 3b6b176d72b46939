use wire::mysql::Capabilities;
use wire::mysql::capabilities::{Database, LocalFiles, agreed, offered, upstream};

/// MariaDB 10.11, with TLS.
const MARIADB: Capabilities = Capabilities::from_bits(0x1d_81ff_fffe);
/// MySQL 8.4.
const MYSQL: Capabilities = Capabilities::from_bits(0xdfff_ffff);

#[test]
fn what_cannot_be_audited_is_not_offered() {
    let never = [
        Capabilities::COMPRESS,
        Capabilities::ZSTD_COMPRESSION,
        Capabilities::LOCAL_FILES,
        Capabilities::CAN_HANDLE_EXPIRED_PASSWORDS,
        Capabilities::MULTI_FACTOR_AUTHENTICATION,
        Capabilities::OPTIONAL_RESULTSET_METADATA,
        Capabilities::COM_MULTI,
        Capabilities::from_bits(1 << 40),
    ];
    let everything = offered(Capabilities::from_bits(u64::MAX), LocalFiles::Refused);
    for flag in never {
        assert!(!everything.contains(flag), "{flag:?}");
    }
    let with_files = offered(MYSQL, LocalFiles::Allowed);
    assert!(with_files.contains(Capabilities::LOCAL_FILES));
}

#[test]
fn what_the_server_does_not_offer_is_not_offered_but_what_the_gateway_itself_speaks() {
    let nothing = offered(Capabilities::default(), LocalFiles::Allowed);
    let ours = Capabilities::PROTOCOL_41
        .with(Capabilities::SSL)
        .with(Capabilities::SECURE_CONNECTION)
        .with(Capabilities::PLUGIN_AUTH)
        .with(Capabilities::PLUGIN_AUTH_LENENC)
        .with(Capabilities::CONNECT_ATTRS);
    assert_eq!(nothing, ours);
    let mariadb = offered(MARIADB, LocalFiles::Refused);
    assert!(!mariadb.contains(Capabilities::QUERY_ATTRIBUTES));
    assert!(
        mariadb.contains(Capabilities::CACHE_METADATA.with(Capabilities::STMT_BULK_OPERATIONS))
    );
}

#[test]
fn a_client_gets_what_it_claims_as_far_as_it_was_offered() {
    let offer = offered(MARIADB, LocalFiles::Refused);
    // mysql claims to be MySQL whoever it talks to, and so it is told on.
    let client = MYSQL.without(Capabilities::DEPRECATE_EOF);
    let agreed = agreed(offer, client).unwrap();
    assert!(agreed.contains(Capabilities::LONG_PASSWORD.with(Capabilities::MULTI_STATEMENTS)));
    for flag in [Capabilities::DEPRECATE_EOF, Capabilities::LOCAL_FILES, Capabilities::COMPRESS] {
        assert!(!agreed.contains(flag), "{flag:?}");
    }
}

#[test]
fn a_client_that_cannot_be_asked_for_a_token_is_not_agreed_with() {
    let offer = offered(MYSQL, LocalFiles::Refused);
    assert_eq!(agreed(offer, MYSQL.without(Capabilities::PLUGIN_AUTH)), None);
    assert_eq!(agreed(offer, MYSQL.without(Capabilities::PROTOCOL_41)), None);
}

#[test]
fn what_frames_results_is_the_same_on_both_sides() {
    let framing = Capabilities::DEPRECATE_EOF
        .with(Capabilities::SESSION_TRACK)
        .with(Capabilities::MULTI_RESULTS)
        .with(Capabilities::PS_MULTI_RESULTS)
        .with(Capabilities::QUERY_ATTRIBUTES)
        .with(Capabilities::CACHE_METADATA)
        .with(Capabilities::PROGRESS);
    for (server, client) in [(MARIADB, MARIADB), (MARIADB, MYSQL), (MYSQL, MYSQL), (MYSQL, MARIADB)]
    {
        let agreed = agreed(offered(server, LocalFiles::Refused), client).unwrap();
        let sent = upstream(agreed, server, (Database::Named, LocalFiles::Refused)).unwrap();
        assert_eq!(sent.and(framing), agreed.and(framing));
        assert!(sent.contains(Capabilities::SSL.with(Capabilities::CONNECT_WITH_DB)));
        let sent = upstream(agreed, server, (Database::None, LocalFiles::Refused)).unwrap();
        assert!(!sent.contains(Capabilities::CONNECT_WITH_DB));
        assert_eq!(
            sent.contains(Capabilities::LONG_PASSWORD),
            client.contains(Capabilities::LONG_PASSWORD)
        );
    }
}

#[test]
fn a_server_that_offers_less_than_it_did_is_not_spoken_to() {
    let agreed = agreed(offered(MYSQL, LocalFiles::Refused), MYSQL).unwrap();
    let less = MYSQL.without(Capabilities::DEPRECATE_EOF);
    let none = (Database::None, LocalFiles::Refused);
    assert_eq!(upstream(agreed, less, none), Err(Capabilities::DEPRECATE_EOF));
    let plain = MYSQL.without(Capabilities::SSL);
    assert_eq!(upstream(agreed, plain, none), Err(Capabilities::SSL));
}

#[test]
fn files_are_asked_for_only_where_the_rules_and_both_sides_agree() {
    let claimed = MARIADB.with(Capabilities::LOCAL_FILES);
    let refused = agreed(offered(claimed, LocalFiles::Refused), claimed).unwrap();
    assert!(!refused.contains(Capabilities::LOCAL_FILES));
    let allowed = agreed(offered(claimed, LocalFiles::Allowed), claimed).unwrap();
    let sent = |server, rule| upstream(allowed, server, (Database::None, rule)).unwrap();
    let asks = |sent: Capabilities| sent.contains(Capabilities::LOCAL_FILES);
    assert!(asks(sent(claimed, LocalFiles::Allowed)));
    assert!(!asks(sent(claimed, LocalFiles::Refused)));
    let without = claimed.without(Capabilities::LOCAL_FILES);
    assert!(!asks(sent(without, LocalFiles::Allowed)));
}
