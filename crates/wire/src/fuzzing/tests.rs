//! The properties over recorded sessions and over random bytes.

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

fn corpus() -> Vec<(PathBuf, Vec<u8>)> {
    recordings("tests/corpus")
}

pub(super) fn recordings(folder: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "bin"))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

type Holds = fn(&[u8]);

/// What fuzzing found worth keeping, and what must hold for it: a length of four bytes, an input, and so on.
#[test]
fn what_fuzzing_kept_still_holds() {
    let targets: [(&str, Holds); 16] = [
        ("pg_startup", pg_startup),
        ("pg_cancel", pg_cancel),
        ("pg_options", pg_options),
        ("pg_sasl", pg_sasl),
        ("proxy_header", proxy_header),
        ("sql", sql),
        ("pg_frontend", pg_frontend),
        ("pg_backend", pg_backend),
        ("pg_session", pg_session),
        ("pg_tracker", pg_tracker),
        ("mysql_login", mysql::mysql_login),
        ("mysql_frontend", mysql::mysql_frontend),
        ("mysql_capture", mysql::mysql_capture),
        ("mysql_backend", mysql::mysql_backend),
        ("mysql_session", mysql::mysql_session),
        ("mysql_tracker", mysql::mysql_tracker),
    ];
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for (target, holds) in targets {
        let kept = fs::read(folder.join(format!("{target}.inputs"))).unwrap();
        let mut rest = kept.as_slice();
        while let Some((length, after)) = rest.split_first_chunk() {
            let (input, next) = after.split_at(u32::from_be_bytes(*length) as usize);
            holds(input);
            rest = next;
        }
    }
}

/// One direction of a recording.
pub(super) fn direction(mut recording: &[u8], wanted: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some((&[direction, a, b, c, d], rest)) = recording.split_first_chunk::<5>() {
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if direction == wanted {
            bytes.extend_from_slice(&rest[..length]);
        }
        recording = &rest[length..];
    }
    bytes
}

#[test]
fn recorded_sessions_are_understood_whole() {
    let mut different = Vec::new();
    for (path, recording) in corpus() {
        let transcript = replay(&recording);
        assert_eq!((transcript.error.as_deref(), transcript.mismatches), (None, 0), "{path:?}");
        pg_session(&recording);
        let expected = fs::read_to_string(path.with_extension("txt")).unwrap_or_default();
        if transcript.text != expected {
            let actual = std::env::temp_dir().join(path.with_extension("txt").file_name().unwrap());
            fs::write(&actual, &transcript.text).unwrap();
            different.push(actual);
        }
    }
    assert!(different.is_empty(), "transcripts that read otherwise now: {different:?}");
}

#[test]
fn recorded_sessions_read_the_same_however_they_are_split() {
    for (path, recording) in corpus() {
        let (client, server) = (direction(&recording, b'F'), direction(&recording, b'B'));
        pg_startup(&client);
        let first = u32::from_be_bytes(client[..4].try_into().unwrap()) as usize;
        for seed in [1, 2, 77, 255] {
            pg_frontend(&[&[seed], &client[first..]].concat());
            pg_backend(&[&[seed], server.as_slice()].concat());
        }
        let whole = client_messages(&client[first..], 0);
        assert_eq!(whole.2, None, "{path:?}");
        assert_eq!(server_messages(&server, 0).2, None, "{path:?}");
    }
}

/// Bytes that look like messages: a known type, a length that is often right, a body.
fn message_like(types: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    let body = prop_oneof![
        40 => proptest::collection::vec(any::<u8>(), 0..40),
        20 => proptest::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(b'S'), Just(b'a')], 0..60),
        1 => (any::<u8>(), 65_000_usize..80_000).prop_map(|(byte, length)| vec![byte; length]),
    ];
    let length = prop_oneof![12 => Just(None), 1 => any::<u32>().prop_map(Some)];
    (proptest::sample::select(types), length, body).prop_map(|(tag, length, body)| {
        let length = length.unwrap_or(u32::try_from(body.len()).unwrap() + 4);
        [&[tag], length.to_be_bytes().as_slice(), body.as_slice()].concat()
    })
}

fn stream(types: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    (any::<u8>(), proptest::collection::vec(message_like(types), 0..8))
        .prop_map(|(seed, messages)| [vec![seed], messages.concat()].concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_a_startup_packet_or_are_refused(data in proptest::collection::vec(any::<u8>(), 0..200)) {
        pg_startup(&data);
        let mut framed = (u32::try_from(data.len()).unwrap() + 8).to_be_bytes().to_vec();
        framed.extend_from_slice(&196_608_u32.to_be_bytes());
        framed.extend_from_slice(&data);
        pg_startup(&framed);
    }

    #[test]
    fn any_bytes_are_options_a_token_a_balancers_header_or_sql_or_are_refused(
        data in proptest::collection::vec(
            prop_oneof![any::<u8>(), proptest::sample::select(b"-c =\\'\"$/*\x01n,aEx".to_vec())], 0..120,
        )
    ) {
        pg_cancel(&data);
        pg_options(&data);
        pg_sasl(&data);
        sql(&data);
        proxy_header(&[b"\r\n\r\n\0\r\nQUIT\n\x21".as_slice(), &data].concat());
    }

    #[test]
    fn any_whole_messages_in_any_order_give_each_statement_an_outcome(
        data in proptest::collection::vec(any::<u8>(), 0..400)
    ) {
        pg_tracker(&data);
    }

    #[test]
    fn any_client_bytes_read_the_same_however_they_are_split(data in stream(CLIENT_TYPES)) {
        pg_frontend(&data);
    }

    #[test]
    fn any_server_bytes_read_the_same_however_they_are_split(data in stream(SERVER_TYPES)) {
        pg_backend(&data);
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn any_session_gives_each_statement_an_outcome(
        records in proptest::collection::vec(
            prop_oneof![
                stream(CLIENT_TYPES).prop_map(|bytes| (b'F', bytes[1..].to_vec())),
                stream(SERVER_TYPES).prop_map(|bytes| (b'B', bytes[1..].to_vec())),
            ],
            0..12,
        )
    ) {
        let startup = startup::encode(startup::Version::V3_0, [("user", "a")].into_iter()).unwrap();
        let mut recording = Vec::new();
        for (direction, bytes) in std::iter::once((b'F', startup)).chain(records) {
            recording.push(direction);
            recording.extend_from_slice(&u32::try_from(bytes.len()).unwrap().to_be_bytes());
            recording.extend_from_slice(&bytes);
        }
        pg_session(&recording);
    }
}
