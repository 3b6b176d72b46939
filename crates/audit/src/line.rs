//! A record as a line of the log: 64 hex digits of its hash, a space, JSON, a newline.

use model::Timestamp;

use crate::chain::{self, HASH_DIGITS, Hash};

/// What a line holds besides the event's body, at most: hash, sequence and time with the text around them.
pub(crate) const BYTES_BESIDES_BODY_MAX: usize = 160;

const SEQUENCE: &[u8] = b"{\"sequence\":";
const TIME: &[u8] = b",\"time\":\"";

/// Digits of the largest sequence.
const DECIMALS_MAX: usize = 20;

/// `2026-11-24T10:00:00`
const SECOND_BYTES: usize = 19;

/// The text of an instant, as [`Timestamp`] writes it. All of a second's share the most of it.
#[derive(Debug, Default)]
pub(crate) struct Stamp {
    second: Option<i64>,
    text: Vec<u8>,
}

impl Stamp {
    pub(crate) fn text(&mut self, time: Timestamp) -> &[u8] {
        if self.second != Some(time.seconds()) {
            self.second = Some(time.seconds());
            self.text.clear();
            let whole = Timestamp::from_seconds(time.seconds()).to_string();
            self.text.extend_from_slice(whole.trim_end_matches('Z').as_bytes());
        }
        self.text.truncate(SECOND_BYTES);
        let mut micros = u64::try_from(time.micros().rem_euclid(1_000_000)).unwrap_or(0);
        if micros > 0 {
            let mut digits = [b'0'; 6];
            for digit in digits.iter_mut().rev() {
                *digit = decimal(micros);
                micros /= 10;
            }
            let zeros = digits.iter().rev().take_while(|digit| **digit == b'0').count();
            self.text.push(b'.');
            self.text.extend_from_slice(digits.get(..6 - zeros).unwrap_or_default());
        }
        self.text.push(b'Z');
        &self.text
    }
}

/// Adds one line, as an `Event` with this number and time is written; returns the chain's new head. The body is an
/// object with a `type` at least, in one line: its brace becomes the comma before its first member. Flattening it
/// through serde instead takes three times as long.
pub(crate) fn encode(
    buffer: &mut Vec<u8>,
    head: &Hash,
    (sequence, stamp): (u64, &[u8]),
    body: &[u8],
) -> Hash {
    let start = buffer.len();
    // The former hash stands before the JSON while the new one is computed over both.
    buffer.resize(start + HASH_DIGITS + 1 - head.len(), b' ');
    let hashed = buffer.len();
    buffer.extend_from_slice(head);
    buffer.extend_from_slice(SEQUENCE);
    push_decimal(buffer, sequence);
    buffer.extend_from_slice(TIME);
    buffer.extend_from_slice(stamp);
    buffer.extend_from_slice(b"\",");
    buffer.extend_from_slice(body.get(1..).unwrap_or_default());
    let hash = chain::hash(buffer.get(hashed..).unwrap_or_default());
    buffer.push(b'\n');
    let place = buffer.get_mut(start..).unwrap_or_default();
    if let Some((digits, [space, ..])) = place.split_at_mut_checked(HASH_DIGITS) {
        chain::fill(digits, &hash);
        *space = b' ';
    }
    hash
}

fn push_decimal(buffer: &mut Vec<u8>, mut number: u64) {
    let mut digits = [b'0'; DECIMALS_MAX];
    let mut used = 0;
    for digit in digits.iter_mut().rev() {
        *digit = decimal(number);
        number /= 10;
        used += 1;
        if number == 0 {
            break;
        }
    }
    buffer.extend_from_slice(digits.get(DECIMALS_MAX - used..).unwrap_or_default());
}

/// The last decimal digit.
fn decimal(number: u64) -> u8 {
    b'0' + u8::try_from(number % 10).unwrap_or(0)
}
