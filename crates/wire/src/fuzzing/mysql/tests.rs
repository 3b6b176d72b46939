//! The properties over recorded sessions and over random bytes.

use std::fs;

use proptest::prelude::*;

use super::*;
use crate::fuzzing::tests::{direction, recordings};

#[test]
fn recorded_sessions_are_understood_whole() {
    let mut different = Vec::new();
    for (path, recording) in recordings("tests/corpus/mysql") {
        let transcript = mysql_replay(&recording);
        assert_eq!((transcript.error.as_deref(), transcript.mismatches), (None, 0), "{path:?}");
        mysql_session(&recording);
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
    for (_, recording) in recordings("tests/corpus/mysql") {
        let (client, server) = (direction(&recording, b'F'), direction(&recording, b'B'));
        for seed in [1, 2, 77, 255] {
            mysql_frontend(&[&[seed, 0x40, 2, 0], client.as_slice()].concat());
            mysql_backend(&[&[seed, 0x42, 7, 0, 0, 2, 7, 0, 0, 7], server.as_slice()].concat());
        }
    }
}

/// Bytes that look like packets: a number that is often right, a length that is too, a first byte that means something.
fn packet_like(first: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    let body = prop_oneof![
        40 => proptest::collection::vec(any::<u8>(), 0..40),
        20 => proptest::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(2), Just(0xfe)], 0..60),
        1 => (any::<u8>(), 65_000_usize..140_000).prop_map(|(byte, length)| vec![byte; length]),
    ];
    let number = prop_oneof![8 => 0_u8..4, 1 => any::<u8>()];
    let length = prop_oneof![12 => Just(None), 1 => any::<u32>().prop_map(Some)];
    (proptest::sample::select(first), number, length, body).prop_map(
        |(first, number, length, body)| {
            let length = length.unwrap_or(u32::try_from(body.len()).unwrap() + 1);
            let [a, b, c, _] = length.to_le_bytes();
            [&[a, b, c, number, first], body.as_slice()].concat()
        },
    )
}

/// A client's commands begin with number 0.
fn commands() -> impl Strategy<Value = Vec<u8>> {
    let command = packet_like(CLIENT_CODES).prop_map(|mut packet| {
        packet[3] &= if packet[4] & 1 == 0 { 0 } else { 0xff };
        packet
    });
    proptest::collection::vec(command, 0..8).prop_map(|packets| packets.concat())
}

/// A server's packets, numbered from 1 most of the time.
fn answers() -> impl Strategy<Value = Vec<u8>> {
    let first = &[0_u8, 1, 2, 3, 0xfb, 0xfc, 0xfe, 0xff];
    proptest::collection::vec((packet_like(first), 0..9_u8), 0..12).prop_map(|packets| {
        let mut number = 0_u8;
        let numbered = packets.into_iter().map(|(mut packet, luck)| {
            number = number.wrapping_add(1);
            if luck > 0 {
                packet[3] = number;
            }
            packet
        });
        numbered.collect::<Vec<_>>().concat()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_a_packet_of_a_login_or_are_refused(data in proptest::collection::vec(any::<u8>(), 0..200)) {
        mysql_login(&data);
        let fixed = [&[0x8c, 0xaa, 0xff, 0x05], [0; 28].as_slice(), &data].concat();
        mysql_login(&fixed);
        mysql_login(&[b"\x0a5.5\0".as_slice(), &data].concat());
    }

    #[test]
    fn any_whole_packets_in_any_order_give_each_statement_one_outcome(
        data in proptest::collection::vec(any::<u8>(), 0..400)
    ) {
        mysql_tracker(&data);
    }

    #[test]
    fn any_client_bytes_read_the_same_however_they_are_split(
        head in any::<[u8; 4]>(), data in commands()
    ) {
        mysql_frontend(&[head.as_slice(), &data].concat());
    }

    #[test]
    fn any_command_says_the_same_whether_it_streams_or_is_held(
        head in any::<[u8; 4]>(),
        body in proptest::collection::vec(
            prop_oneof![3 => any::<u8>(), 2 => Just(0_u8), 2 => Just(1), 1 => Just(253)], 0..90,
        ),
    ) {
        mysql_capture(&[head.as_slice(), &body].concat());
        let execute = [&[head[0], head[1], 2, 2, 1, 0, 0, 0, 0, 1, 0, 0, 0], body.as_slice()].concat();
        mysql_capture(&execute);
    }

    #[test]
    fn any_server_bytes_read_the_same_however_they_are_split(
        head in any::<[u8; 3]>(), commands in any::<[u8; 8]>(), data in answers()
    ) {
        let commands = &commands[..usize::from(head[2] % 8)];
        mysql_backend(&[head.as_slice(), commands, &data].concat());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn any_session_gives_each_statement_one_outcome(
        flags in any::<u64>(),
        records in proptest::collection::vec(
            prop_oneof![
                commands().prop_map(|bytes| (b'F', bytes)),
                answers().prop_map(|bytes| (b'B', bytes)),
            ],
            0..12,
        )
    ) {
        let agreed = [flags.to_le_bytes().as_slice(), &[8]].concat();
        let mut recording = Vec::new();
        for (kind, bytes) in std::iter::once((b'C', agreed)).chain(records) {
            recording.push(kind);
            recording.extend_from_slice(&u32::try_from(bytes.len()).unwrap().to_be_bytes());
            recording.extend_from_slice(&bytes);
        }
        mysql_session(&recording);
    }
}
