//! `verify` catches each kind of damage and names the place.

use audit::Checkpoint;
use audit::verify::{DamageKind, Known, verify};
use data_encoding::HEXLOWER;

use crate::fixture::{Fixture, GATEWAY, statement};

#[test]
fn a_whole_log_is_proven_whole() {
    let verified = Fixture::with(5).verify(None).unwrap();
    assert_eq!((verified.records, verified.covered), (5, 5));
}

#[test]
fn a_flipped_byte_is_named() {
    for at in [3, 100, 150] {
        let fixture = Fixture::with(5);
        let mut lines = fixture.lines();
        lines[2][at] ^= 1;
        fixture.replace(&lines);
        let damage = fixture.verify(None).unwrap_err();
        assert_eq!(
            (damage.kind, damage.line, damage.sequence),
            (DamageKind::Altered, 3, 3),
            "byte {at}: {damage}"
        );
        assert_eq!(damage.file, fixture.segment());
    }
}

#[test]
fn a_removed_record_is_named() {
    let fixture = Fixture::with(5);
    let mut lines = fixture.lines();
    lines.remove(2);
    fixture.replace(&lines);
    let damage = fixture.verify(None).unwrap_err();
    assert_eq!((damage.kind, damage.line, damage.sequence), (DamageKind::Missing, 3, 3));
}

#[test]
fn swapped_records_are_named() {
    let fixture = Fixture::with(5);
    let mut lines = fixture.lines();
    lines.swap(2, 3);
    fixture.replace(&lines);
    let damage = fixture.verify(None).unwrap_err();
    assert_eq!((damage.line, damage.sequence), (3, 3));
    assert_eq!(damage.text, "record 4 stands where 3 belongs: records are missing or were swapped");
}

#[test]
fn a_doubled_record_is_named() {
    let fixture = Fixture::with(5);
    let mut lines = fixture.lines();
    lines.insert(3, lines[2].clone());
    fixture.replace(&lines);
    let damage = fixture.verify(None).unwrap_err();
    assert_eq!(
        (damage.kind, damage.line, damage.text.as_str()),
        (DamageKind::Doubled, 4, "record 3 stands twice")
    );
}

#[test]
fn a_cut_tail_is_named() {
    let fixture = Fixture::with(5);
    fixture.replace(&fixture.lines()[..3]);
    let damage = fixture.verify(None).unwrap_err();
    assert_eq!((damage.kind, damage.sequence), (DamageKind::TailMissing, 4));
}

#[test]
fn a_cut_tail_with_its_checkpoints_is_named_by_the_checkpoint_kept_elsewhere() {
    let fixture = Fixture::with(5);
    let kept = fixture.latest_checkpoint();
    fixture.replace(&fixture.lines()[..3]);
    for name in ["checkpoint", "checkpoints.log"] {
        std::fs::remove_file(fixture.path().join(name)).unwrap();
    }
    assert_eq!(fixture.verify(None).unwrap_err().kind, DamageKind::NoCheckpoint);
    let damage = fixture.verify(Some(&kept)).unwrap_err();
    assert_eq!((damage.kind, damage.sequence), (DamageKind::TailMissing, 4));
}

#[test]
fn a_missing_last_segment_is_named() {
    let fixture = Fixture::with(5);
    std::fs::remove_file(fixture.segment()).unwrap();
    let damage = fixture.verify(None).unwrap_err();
    assert_eq!((damage.kind, damage.sequence), (DamageKind::SegmentMissing, 1));
    assert_eq!(damage.file, fixture.segment());
}

#[test]
fn a_missing_segment_in_the_middle_is_named() {
    let fixture = Fixture::with(5);
    let lines = fixture.lines();
    fixture.replace(&lines[..2]);
    std::fs::write(fixture.path().join("00000000000000000005.log"), &lines[4]).unwrap();
    let damage = fixture.verify(None).unwrap_err();
    assert_eq!((damage.kind, damage.sequence), (DamageKind::SegmentMissing, 3));
}

#[test]
fn a_recomputed_chain_is_named() {
    let fixture = Fixture::with(5);
    let mut head = audit::chain::genesis(GATEWAY, &fixture.key().public_key());
    let forged: Vec<Vec<u8>> = fixture
        .lines()
        .iter()
        .map(|line| {
            let json = String::from_utf8(line[65..line.len() - 1].to_vec())
                .unwrap()
                .replace("ada@", "eve@");
            head = audit::chain::next(&head, json.as_bytes());
            format!("{} {json}\n", HEXLOWER.encode(&head)).into_bytes()
        })
        .collect();
    fixture.replace(&forged);
    let damage = fixture.verify(None).unwrap_err();
    assert_eq!(damage.kind, DamageKind::Rewritten, "{damage}");
    assert!(damage.sequence > 0 && damage.file == fixture.segment(), "{damage}");
}

#[test]
fn a_log_of_another_gateway_is_named() {
    let fixture = Fixture::with(3);
    let public_key = fixture.key().public_key();
    let other = verify(
        fixture.path(),
        &Known { gateway: "gateway-2", public_key: &public_key, last: None },
    );
    assert_eq!(other.unwrap_err().kind, DamageKind::AnotherLog);

    // Even when its checkpoints are taken away.
    let stranger = Fixture::with(3);
    fixture.replace(&stranger.lines());
    assert_eq!(fixture.verify(None).unwrap_err().kind, DamageKind::AnotherLog);
}

#[test]
fn a_checkpoint_of_another_key_is_named() {
    let (fixture, stranger) = (Fixture::with(3), Fixture::with(3));
    let damage = fixture.verify(Some(&stranger.latest_checkpoint())).unwrap_err();
    assert_eq!((damage.kind, damage.sequence), (DamageKind::CheckpointForged, 3));
}

#[test]
fn records_after_the_last_checkpoint_are_told_apart() {
    let fixture = Fixture::with(3);
    let kept = std::fs::read(fixture.path().join("checkpoint")).unwrap();
    let history = std::fs::read(fixture.path().join("checkpoints.log")).unwrap();
    let (log, _) = fixture.open().unwrap();
    log.append(&[statement(4)]).unwrap();
    drop(log);
    std::fs::write(fixture.path().join("checkpoint"), kept).unwrap();
    std::fs::write(fixture.path().join("checkpoints.log"), history).unwrap();
    let verified = fixture.verify(None).unwrap();
    assert!(verified.covered == 3 && verified.records > 3, "{verified:?}");
}

#[test]
fn a_flipped_byte_in_the_first_record_is_told_apart_from_another_log() {
    let fixture = Fixture::with(5);
    let mut lines = fixture.lines();
    lines[0][150] ^= 1;
    fixture.replace(&lines);
    let damage = fixture.verify(None).unwrap_err();
    assert_eq!((damage.kind, damage.line, damage.sequence), (DamageKind::Altered, 1, 1));
}

#[test]
fn a_checkpoint_that_was_garbled_is_named_with_its_line() {
    for name in ["checkpoint", "checkpoints.log"] {
        let fixture = Fixture::with(3);
        let path = fixture.path().join(name);
        let garbled = std::fs::read_to_string(&path).unwrap().replacen("sequence", "sekuence", 1);
        std::fs::write(&path, garbled).unwrap();
        let damage = fixture.verify(None).unwrap_err();
        assert_eq!((damage.kind, damage.file), (DamageKind::CheckpointForged, path));
        assert_eq!(damage.line, 1);
    }
}

#[test]
fn a_checkpoint_whose_number_or_time_was_changed_is_named() {
    let fixture = Fixture::with(3);
    let path = fixture.path().join("checkpoint");
    let kept = fixture.latest_checkpoint();
    for forged in [
        Checkpoint { sequence: 2, ..kept.clone() },
        Checkpoint { segment: 2, ..kept.clone() },
        Checkpoint { time: model::Timestamp::EPOCH, ..kept.clone() },
        Checkpoint { head: "00".repeat(32), ..kept },
    ] {
        std::fs::write(&path, serde_json::to_string(&forged).unwrap() + "\n").unwrap();
        let damage = fixture.verify(None).unwrap_err();
        assert_eq!(damage.kind, DamageKind::CheckpointForged, "{damage}");
    }
}

proptest::proptest! {
    #[test]
    fn any_flipped_bit_is_caught_and_its_line_named(at in proptest::prelude::any::<proptest::sample::Index>(), bit in 0_u8..8) {
        let fixture = Fixture::with(4);
        let mut bytes = fixture.lines().concat();
        let at = at.index(bytes.len());
        let line = bytes[..at].split(|byte| *byte == b'\n').count() as u64;
        let ends_the_log = at + 1 == bytes.len();
        bytes[at] ^= 1 << bit;
        std::fs::write(fixture.segment(), &bytes).unwrap();
        let damage = fixture.verify(None).unwrap_err();
        if ends_the_log {
            proptest::prop_assert_eq!(damage.kind, DamageKind::TailMissing);
        } else {
            proptest::prop_assert_eq!(damage.line, line, "{}", damage);
        }
        proptest::prop_assert_eq!(damage.file, fixture.segment());
    }

    #[test]
    fn any_cut_and_any_exchange_of_lines_is_caught(cut in proptest::prelude::any::<proptest::sample::Index>(), one in 0_usize..6, two in 0_usize..6) {
        let fixture = Fixture::with(6);
        let mut lines = fixture.lines();
        let whole = lines.concat();
        std::fs::write(fixture.segment(), &whole[..cut.index(whole.len())]).unwrap();
        proptest::prop_assert!(fixture.verify(None).is_err());
        lines.swap(one, two);
        fixture.replace(&lines);
        proptest::prop_assert_eq!(fixture.verify(None).is_ok(), one == two);
    }
}
