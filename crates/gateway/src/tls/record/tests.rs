use aws_lc_rs::aead::CHACHA20_POLY1305;
use proptest::prelude::*;

use super::*;

/// RFC 8448 §3: the server's application traffic keys and its record of 50 bytes, number 1 after the ticket.
const RFC_8448_KEY: &str = "9f02283b6c9c07efc26bb9f2ac92e356";
const RFC_8448_IV: &str = "cf782b88dd83549aadf1e984";

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn pair(algorithm: &'static Algorithm, version: ProtocolVersion) -> (Sealer, Opener) {
    let keys = Keys::new(algorithm, &[9; 32], [7; NONCE_LEN]).unwrap();
    (Sealer::new(&keys, version).unwrap(), Opener::new(&keys, version).unwrap())
}

fn pairs() -> Vec<(Sealer, Opener)> {
    let versions = [ProtocolVersion::TLSv1_3, ProtocolVersion::TLSv1_2];
    versions
        .into_iter()
        .flat_map(|version| {
            [&AES_128_GCM, &AES_256_GCM, &CHACHA20_POLY1305]
                .map(|algorithm| pair(algorithm, version))
        })
        .collect()
}

type Carried = (Content, Vec<u8>);

/// All records of the bytes, one after the other.
fn open_all(opener: &mut Opener, bytes: &mut [u8]) -> Result<Vec<Carried>, RecordError> {
    let (mut done, mut records) = (0, Vec::new());
    while done < bytes.len() {
        let Step::Record { content, plaintext, length } = opener.open(&mut bytes[done..])? else {
            break;
        };
        records.push((content, bytes[done..][plaintext].to_vec()));
        done += length;
    }
    Ok(records)
}

#[test]
fn a_record_of_rfc_8448_is_sealed_byte_for_byte() {
    let iv = unhex(RFC_8448_IV).try_into().unwrap();
    let mut keys = Keys::new(&AES_128_GCM, &unhex(RFC_8448_KEY), iv).unwrap();
    keys.sequence = 1;
    let mut sealer = Sealer::new(&keys, ProtocolVersion::TLSv1_3).unwrap();
    let plaintext: Vec<u8> = (0..50).collect();
    let mut sealed = Vec::new();
    sealer.seal(Content::Application, &plaintext, &mut sealed).unwrap();
    let expected = unhex(
        "17 03 03 00 43 2e 93 7e 11 ef 4a c7 40 e5 38 ad 36 00 5f c4 a4 69 32 fc 32 25 d0 5f 82 aa
         1b 36 e3 0e fa f9 7d 90 e6 df fc 60 2d cb 50 1a 59 a8 fc c4 9c 4b f2 e5 f0 a2 1c 00 47 c2
         ab f3 32 54 0d d0 32 e1 67 c2 95 5d",
    );
    assert_eq!(sealed, expected);
}

#[test]
fn alerts_and_handshake_messages_look_like_bytes_of_the_application_from_tls_1_3_on() {
    for (mut sealer, mut opener) in pairs() {
        let mut sealed = Vec::new();
        sealer.seal(Content::Alert, &[1, 0], &mut sealed).unwrap();
        let outer = if sealer.protection.shape == Shape::Tls13 { 23 } else { 21 };
        assert_eq!(sealed[0], outer);
        assert_eq!(open_all(&mut opener, &mut sealed), Ok(vec![(Content::Alert, vec![1, 0])]));
    }
}

#[test]
fn a_record_that_is_altered_moved_doubled_or_left_out_is_not_opened() {
    for which in 0..pairs().len() {
        let sealed = |count: u8| {
            let (mut sealer, opener) = pairs().swap_remove(which);
            let records: Vec<Vec<u8>> = (0_u8..count)
                .map(|number| {
                    let mut record = Vec::new();
                    sealer.seal(Content::Application, &[number; 9], &mut record).unwrap();
                    record
                })
                .collect();
            (records, opener)
        };
        let (records, _) = sealed(1);
        for byte in 0..records[0].len() {
            let (mut records, mut opener) = sealed(1);
            records[0][byte] ^= 1;
            let opened = open_all(&mut opener, &mut records[0]);
            // A longer length waits for bytes that never come.
            let waits = matches!(byte, 3 | 4) && opened == Ok(Vec::new());
            // TLS 1.3 does not look at the version's second half but authenticates it all the same.
            assert!(opened.is_err() || waits, "byte {byte} of pair {which}: {opened:?}");
        }
        for order in [[1, 0], [0, 0], [1, 2]] {
            let (records, mut opener) = sealed(3);
            let mut bytes = order.map(|record: usize| records[record].clone()).concat();
            assert_eq!(open_all(&mut opener, &mut bytes), Err(RecordError::Unauthentic));
        }
    }
}

#[test]
fn lengths_are_bounded_before_anything_is_waited_for() {
    for (_, mut opener) in pairs() {
        let mut header = [23, 3, 3, 0xff, 0xff];
        assert_eq!(opener.open(&mut header), Err(RecordError::TooLong));
        assert_eq!(
            opener.open(&mut [23, 3, 3, 0, 15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            Err(RecordError::Unauthentic)
        );
        assert_eq!(opener.open(&mut [20, 3, 3, 0, 1]), Err(RecordError::NotARecord));
        assert_eq!(opener.open(&mut []), Ok(Step::Need(5)));
    }
}

#[test]
fn a_key_is_not_used_beyond_its_bound_and_asks_for_the_next_before() {
    for (mut sealer, _) in pairs() {
        let (gcm, tls13) = (sealer.is_gcm, sealer.protection.shape == Shape::Tls13);
        assert!(!sealer.is_worn());
        sealer.blocks = REKEY_BLOCKS;
        assert_eq!(sealer.is_worn(), gcm && tls13);
        sealer.blocks = AES_GCM_BLOCKS_MAX;
        let sealed = sealer.seal(Content::Application, b"one more", &mut Vec::new());
        assert_eq!(sealed, if gcm { Err(RecordError::KeyWornOut) } else { Ok(()) });
    }
}

proptest! {
    #[test]
    fn what_is_sealed_is_opened_however_long_it_is(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40_000), 1..4),
        which in 0_usize..4,
    ) {
        let (mut sealer, mut opener) = pairs().swap_remove(which);
        let mut sealed = Vec::new();
        for piece in &pieces {
            sealer.seal(Content::Application, piece, &mut sealed).unwrap();
        }
        let opened = open_all(&mut opener, &mut sealed).unwrap();
        prop_assert!(opened.iter().all(|(_, piece)| piece.len() <= FRAGMENT_BYTES_MAX));
        let opened: Vec<u8> = opened.into_iter().flat_map(|(_, piece)| piece).collect();
        prop_assert_eq!(opened, pieces.concat());
    }

    #[test]
    fn any_bytes_are_refused_or_waited_for(mut bytes in prop::collection::vec(any::<u8>(), 0..600), which in 0_usize..4) {
        let (_, mut opener) = pairs().swap_remove(which);
        match opener.open(&mut bytes) {
            Ok(Step::Need(length)) => prop_assert!(length > bytes.len() && length <= RECORD_BYTES_MAX),
            Ok(Step::Record { .. }) => prop_assert!(false, "a record nobody sealed"),
            Err(_) => {}
        }
    }
}
