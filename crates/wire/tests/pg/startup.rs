//! First packets, and settings that come with them.

use wire::pg::limits::STARTUP_BYTES_MAX;
use wire::pg::startup::setting::{Class, Denied, Setting, class, options};
use wire::pg::startup::{
    CancelRequest, EncodeError, Packet, Replication, Startup, StartupError, Step, Version, encode,
    first,
};

fn packet(code: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap() + 8;
    [length.to_be_bytes().as_slice(), code.to_be_bytes().as_slice(), body].concat()
}

fn startup(version: u32, body: &[u8]) -> Result<Startup, StartupError> {
    first(&packet(version, body)).map(startup_of)
}

fn startup_of(step: Step) -> Startup {
    match step {
        Step::Packet { packet: Packet::Startup(startup), .. } => startup,
        other => panic!("{other:?}"),
    }
}

const V3_0: u32 = 196_608;

fn with(parameters: &[(&str, &str)]) -> Startup {
    let mut all = vec![("user", "ada")];
    all.extend_from_slice(parameters);
    let bytes = encode(Version::V3_0, all.into_iter()).unwrap();
    startup_of(first(&bytes).unwrap())
}

#[test]
fn encryption_requests_are_exactly_eight_bytes() {
    let ssl = packet(80_877_103, b"");
    assert_eq!(first(&ssl), Ok(Step::Packet { length: 8, packet: Packet::SslRequest }));
    assert_eq!(wire::pg::error::ssl_request().as_slice(), ssl);
    let gss = packet(80_877_104, b"");
    assert_eq!(first(&gss), Ok(Step::Packet { length: 8, packet: Packet::GssEncRequest }));
    assert!(matches!(first(&packet(80_877_103, b"x")), Err(StartupError::Malformed(_))));
}

#[test]
fn cve_2021_23214_bytes_behind_an_ssl_request_are_not_part_of_it() {
    let piggyback = [packet(80_877_103, b""), message_query()].concat();
    assert_eq!(first(&piggyback), Ok(Step::Packet { length: 8, packet: Packet::SslRequest }));
    // And nobody is told to read more than the eight bytes before the answer.
    assert_eq!(first(&piggyback[..4]), Ok(Step::Need(8)));
    assert_eq!(first(b""), Ok(Step::Need(8)));
}

fn message_query() -> Vec<u8> {
    crate::message(b'Q', b"select 1\0")
}

#[test]
fn a_tls_record_is_known_by_its_first_byte() {
    assert_eq!(first(&[0x16]), Ok(Step::DirectTls));
    assert_eq!(first(&[0x16, 3, 1, 0, 200, 1]), Ok(Step::DirectTls));
}

#[test]
fn lengths_outside_the_servers_own_bounds_are_refused_before_a_byte_is_kept() {
    for length in [0_u32, 7, 10_001, 0x4754_5420, u32::MAX] {
        let bytes = length.to_be_bytes();
        let refused = first(&bytes);
        assert_eq!(refused, Err(StartupError::Length { length }));
        assert_eq!(refused.unwrap_err().sqlstate(), None);
    }
    assert_eq!(first(&10_000_u32.to_be_bytes()), Ok(Step::Need(STARTUP_BYTES_MAX)));
}

#[test]
fn cancel_requests_carry_keys_of_4_to_256_bytes() {
    for length in [4_usize, 32, 256] {
        let key = vec![7; length];
        let bytes = packet(80_877_102, &[42_u32.to_be_bytes().as_slice(), &key].concat());
        let cancel = CancelRequest { pid: 42, key: key.clone() };
        let packet = Packet::CancelRequest(cancel);
        assert_eq!(first(&bytes), Ok(Step::Packet { length: bytes.len(), packet }));
        assert_eq!(wire::pg::error::cancel_request(42, &key), bytes);
    }
    for length in [0_usize, 3, 257] {
        let body = [42_u32.to_be_bytes().as_slice(), &vec![7; length]].concat();
        assert!(matches!(first(&packet(80_877_102, &body)), Err(StartupError::Malformed(_))));
    }
    let shown = format!("{:?}", CancelRequest { pid: 1, key: b"abcd".to_vec() });
    assert_eq!(shown, "CancelRequest { pid: 1, key: [secret] }");
}

#[test]
fn a_startup_message_is_names_and_values() {
    let startup = startup(V3_0, b"user\0ada\0database\0orders\0\0").unwrap();
    let parameters = [("user", "ada"), ("database", "orders")];
    let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    assert_eq!(startup, Startup { version: Version::V3_0, parameters });
    assert_eq!((startup.user(), startup.database()), (Ok("ada"), Ok("orders")));
}

#[test]
fn the_database_defaults_to_the_user_and_a_missing_user_is_refused() {
    assert_eq!(with(&[]).database(), Ok("ada"));
    assert_eq!(with(&[("database", "")]).database(), Ok("ada"));
    for body in [b"database\0orders\0\0".as_slice(), b"user\0\0\0", b"\0"] {
        let error = startup(V3_0, body).unwrap().user().unwrap_err();
        assert_eq!((error.sqlstate(), error), (Some("28000"), StartupError::UserMissing));
    }
}

#[test]
fn broken_startup_bodies_are_refused() {
    for body in [
        b"".as_slice(),
        b"user\0ada\0",
        b"user\0ada",
        b"user\0",
        b"user\0ada\0\0x",
        b"user\0\xff\0\0",
    ] {
        assert!(matches!(startup(V3_0, body), Err(StartupError::Malformed(_))), "{body:?}");
    }
}

#[test]
fn a_parameter_given_twice_is_refused_in_any_spelling() {
    for body in [
        b"user\0ada\0user\0eve\0\0".as_slice(),
        b"user\0ada\0User\0eve\0\0",
        b"user\0ada\0DateStyle\0a\0datestyle\0b\0\0",
    ] {
        assert!(matches!(startup(V3_0, body), Err(StartupError::Duplicate { .. })), "{body:?}");
    }
}

#[test]
fn other_major_versions_are_not_supported() {
    let error = startup(2 << 16, b"user\0ada\0\0").unwrap_err();
    assert_eq!(error, StartupError::Version { major: 2, minor: 0 });
    assert_eq!(error.sqlstate(), Some("0A000"));
}

#[test]
fn negotiation_answers_newer_versions_and_unknown_extensions() {
    let plain = startup(V3_0, b"user\0ada\0\0").unwrap();
    assert_eq!(plain.negotiation(Version::V3_0), None);
    let newer = startup(196_610, b"user\0ada\0\0").unwrap();
    assert_eq!(newer.negotiation(Version::V3_2), None);
    assert_eq!(newer.effective(Version::V3_0), Version::V3_0);
    let greased = startup(0x0003_270f, b"user\0ada\0_pq_.foo\0\0\0").unwrap();
    let answer = greased.negotiation(Version::V3_2).unwrap().encode();
    let body = [&[0, 3, 0, 2], [0, 0, 0, 1].as_slice(), b"_pq_.foo\0"].concat();
    assert_eq!(answer, crate::message(b'v', &body));
    assert_eq!(greased.effective(Version::V3_2), Version::V3_2);
    assert_eq!(Version { major: 3, minor: 9_999 }.code(), 0x0003_270f);
}

#[test]
fn the_server_gets_our_user_and_database_and_everything_else_unchanged() {
    let startup = with(&[
        ("application_name", "psql"),
        ("_pq_.foo", "1"),
        ("options", "-c search_path=a"),
        ("client_encoding", "LATIN1"),
    ]);
    let sent = startup.upstream(("ada@example.com", "orders"), Version::V3_0).unwrap();
    let body = b"user\0ada@example.com\0database\0orders\0application_name\0psql\0\
                 options\0-c search_path=a\0client_encoding\0LATIN1\0\0";
    assert_eq!(sent, packet(V3_0, body));
}

#[test]
fn a_startup_message_that_would_read_differently_is_not_sent() {
    let nul = encode(Version::V3_0, [("user", "a\0database\0b")].into_iter());
    assert_eq!(nul, Err(EncodeError::Unsendable { name: "user".to_owned() }));
    let empty = encode(Version::V3_0, [("", "a")].into_iter());
    assert_eq!(empty, Err(EncodeError::Unsendable { name: String::new() }));
    let long = "x".repeat(STARTUP_BYTES_MAX);
    let long = encode(Version::V3_0, [("user", long.as_str())].into_iter());
    assert!(matches!(long, Err(EncodeError::TooLong { .. })));
}

#[test]
fn replication_reads_as_the_server_reads_it() {
    for value in ["on", "ON", "1", "t", "true", "y", "Yes"] {
        assert_eq!(with(&[("replication", value)]).replication(), Ok(Replication::Physical));
    }
    for value in ["off", "of", "0", "f", "FALSE", "n", "no"] {
        assert_eq!(with(&[("replication", value)]).replication(), Ok(Replication::No));
    }
    assert_eq!(with(&[("replication", "database")]).replication(), Ok(Replication::Logical));
    assert_eq!(with(&[]).replication(), Ok(Replication::No));
    for value in ["o", "", "maybe", "Database"] {
        let error = with(&[("replication", value)]).replication().unwrap_err();
        assert_eq!(error, StartupError::Replication { value: value.to_owned() });
    }
}

#[test]
fn settings_that_clients_use_pass() {
    for name in [
        "search_path",
        "client_encoding",
        "DateStyle",
        "TimeZone",
        "application_name",
        "statement_timeout",
        "extra_float_digits",
        "IntervalStyle",
        "default_transaction_read_only",
        "myapp.tenant",
    ] {
        assert_eq!(class(name), Class::Passed, "{name}");
    }
}

#[test]
fn settings_that_change_identity_hide_load_or_unprotect_are_denied() {
    for name in [
        "role",
        "ROLE",
        "session_authorization",
        "Session-Authorization",
        "session_preload_libraries",
        "local_preload_libraries",
        "log_statement",
        "LOG_MIN_DURATION_STATEMENT",
        "pgaudit.log",
        "row_security",
        "session_replication_role",
        "track_activities",
        "auto_explain.log_min_duration",
    ] {
        assert!(matches!(class(name), Class::Denied(_)), "{name}");
        let top = with(&[(name, "x")]).denied();
        assert!(matches!(top, Err(Denied::Setting { .. })), "{name}");
        for option in [format!("-c {name}=x"), format!("--{name}=x"), format!("-c{name}=x")] {
            let inside = with(&[("options", option.as_str())]).denied();
            assert!(matches!(inside, Err(Denied::Setting { .. })), "{option}");
        }
    }
    let hidden = with(&[("options", r"-c search_path=a\ b -c ro\le=postgres")]).denied();
    let name = "role".to_owned();
    let why = "it would change whose rights the session has";
    assert_eq!(hidden, Err(Denied::Setting { name, why }));
}

#[test]
fn options_split_as_the_server_splits_them() {
    let setting =
        |name: &str, value: &str| Setting { name: name.to_owned(), value: value.to_owned() };
    let text = "-c geqo=off\t--statement-timeout=5min  -cwork_mem=64MB -c a.b=x\\ y\\\\=z ";
    let expected = vec![
        setting("geqo", "off"),
        setting("statement_timeout", "5min"),
        setting("work_mem", "64MB"),
        setting("a.b", "x y\\=z"),
    ];
    assert_eq!(options(text), Ok(expected));
    assert_eq!(options("  "), Ok(Vec::new()));
    for refused in ["-c", "-c geqo", "--geqo", "-d 5", "-O", "-e", "geqo=off", "--", "-c =x"] {
        assert!(matches!(options(refused), Err(Denied::Switch { .. })), "{refused}");
    }
}

#[test]
fn cve_2025_12819_search_path_passes_to_the_session_and_nowhere_else() {
    // It stays a setting of the client's own session; the gateway's own SQL runs on another connection.
    let startup = with(&[("search_path", "evil, pg_catalog")]);
    assert_eq!(startup.denied(), Ok(()));
    let sent = startup.upstream(("ada", "orders"), Version::V3_0).unwrap();
    assert!(sent.windows(16).any(|window| window == b"evil, pg_catalog"));
}
