//! What must hold for any bytes in the place of a record or a checkpoint. The fuzz targets call these functions, and so
//! do the tests below.

use data_encoding::HEXLOWER;
use model::event::Event;

use crate::Checkpoint;
use crate::chain::{self, Hash};
use crate::open::continues;

/// Any bytes as a line of a segment: no record unless its hash follows, and an event that is read is written the same.
pub fn record(data: &[u8]) {
    let genesis: Hash = [0; 32];
    if let Some((hash, json)) = chain::split(data) {
        assert_eq!(data, line(&hash, json));
        let follows = continues(&genesis, &[data, b"\n"].concat());
        assert!(!follows || hash == chain::next(&genesis, json));
    }
    // The same bytes as a record whose hash does follow.
    let next = chain::next(&genesis, data);
    let whole = [line(&next, data), b"\n".to_vec()].concat();
    assert!(!continues(&[1; 32], &whole), "it follows from another record");
    assert!(!continues(&genesis, whole.strip_suffix(b"\n").unwrap_or_default()), "it has no end");
    if continues(&genesis, &whole) {
        let padded = [line(&next, data), b" \n".to_vec()].concat();
        assert!(!continues(&genesis, &padded), "a byte was added");
    }
    if let Ok(event) = serde_json::from_slice::<Event>(data) {
        let written = serde_json::to_vec(&event).unwrap_or_default();
        let again = serde_json::from_slice::<Event>(&written);
        assert!(again.is_ok_and(|again| again == event), "{event:?}");
    }
}

/// Any bytes as a checkpoint: nobody can make one that counts.
pub fn checkpoint(data: &[u8]) {
    let Ok(checkpoint) = serde_json::from_slice::<Checkpoint>(data) else { return };
    let Some(head) = checkpoint.head_hash() else { return };
    assert_eq!(HEXLOWER.encode(&head), checkpoint.head);
    assert!(checkpoint.verify(&[7; 32]).is_err());
}

fn line(hash: &Hash, json: &[u8]) -> Vec<u8> {
    [HEXLOWER.encode(hash).as_bytes(), b" ", json].concat()
}

#[cfg(test)]
mod tests {
    use model::event::EventBody;
    use model::{SessionId, Timestamp};
    use proptest::prelude::*;

    use super::*;

    fn some_event() -> Vec<u8> {
        let body = EventBody::Installation {
            actor: model::event::Actor::claimed("ada"),
            action: "tornWriteRemoved".to_owned(),
            subject: SessionId::random().to_string(),
            detail: [("bytes".to_owned(), 7.into())].into(),
        };
        serde_json::to_vec(&Event { sequence: 1, time: Timestamp::EPOCH, body }).unwrap()
    }

    #[test]
    fn a_record_is_taken_only_as_it_was_written() {
        let event = some_event();
        record(&event);
        record(&line(&chain::next(&[0; 32], &event), &event));
    }

    type Holds = fn(&[u8]);

    #[test]
    fn what_fuzzing_kept_still_holds() {
        let targets: [(&str, Holds); 2] =
            [("audit_record", record), ("audit_checkpoint", checkpoint)];
        for (target, holds) in targets {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus");
            let kept = std::fs::read(format!("{folder}/{target}.inputs")).unwrap();
            let mut rest = kept.as_slice();
            while let Some((length, after)) = rest.split_first_chunk() {
                let (input, next) = after.split_at(u32::from_be_bytes(*length) as usize);
                holds(input);
                rest = next;
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_record_or_are_refused(
            data in proptest::collection::vec(any::<u8>(), 0..100),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            record(&data);
            checkpoint(&data);
            let mut event = some_event();
            let at = at.index(event.len());
            event[at] = byte;
            record(&event);
        }
    }
}
