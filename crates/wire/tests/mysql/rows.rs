//! Answers to questions of our own.

use proptest::prelude::*;
use wire::mysql::rows::{Answer, Read};

fn answer(packets: &[&[u8]]) -> Vec<Vec<Option<Vec<u8>>>> {
    let mut answer = Answer::default();
    let (last, before) = packets.split_last().unwrap();
    for packet in before {
        assert!(matches!(answer.packet(packet).unwrap(), Read::More));
    }
    match answer.packet(last).unwrap() {
        Read::Done(rows) => rows,
        other => panic!("{other:?}"),
    }
}

const END: &[u8] = b"\xfe\0\0\x02\0\0\0";

#[test]
fn rows_are_read_with_their_nulls() {
    let rows = answer(&[b"\x02", b"column", b"column", b"\x03ada\xfb", b"\x00\x011", END]);
    let text = |text: &str| Some(text.as_bytes().to_vec());
    assert_eq!(rows, [[text("ada"), None], [text(""), text("1")]]);
}

#[test]
fn what_has_no_rows_has_none() {
    assert_eq!(answer(&[b"\0\0\0\x02\0\0\0"]), Vec::<Vec<_>>::new());
    assert_eq!(answer(&[b"\x01", b"column", END]), Vec::<Vec<_>>::new());
}

#[test]
fn a_refusal_is_one_wherever_it_comes() {
    let refusal = b"\xff\x7a\x04#42S02no such table";
    let mut first = Answer::default();
    assert!(matches!(first.packet(refusal).unwrap(), Read::Refused(error) if error.code == 1146));
    let mut later = Answer::default();
    later.packet(b"\x01").unwrap();
    assert!(matches!(later.packet(refusal).unwrap(), Read::Refused(_)));
}

#[test]
fn a_server_that_asks_for_a_file_or_sends_half_a_row_is_refused() {
    assert!(Answer::default().packet(b"\xfb/etc/passwd").is_err());
    assert!(Answer::default().packet(b"\xfc\xff\xff").is_err());
    let mut answer = Answer::default();
    answer.packet(b"\x02").unwrap();
    answer.packet(b"column").unwrap();
    answer.packet(b"column").unwrap();
    assert!(answer.packet(b"\x03ada").is_err());
}

proptest! {
    #[test]
    fn any_packets_are_read_or_refused(packets: Vec<Vec<u8>>) {
        let mut answer = Answer::default();
        for packet in &packets {
            if answer.packet(packet).is_err() {
                break;
            }
        }
    }
}
