//! The hash chain and the lines that carry it.

use aws_lc_rs::digest::{Context, SHA256, digest};
use data_encoding::HEXLOWER;

/// A position in the chain.
pub type Hash = [u8; 32];

/// Hex digits of a hash at the start of every line.
pub(crate) const HASH_DIGITS: usize = 64;

/// What the first record's hash rests on: the gateway and the key of its log, so that no log passes for another's.
pub fn genesis(gateway: &str, public_key: &[u8]) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(b"portcullis audit log\0");
    context.update(gateway.as_bytes());
    context.update(b"\0");
    context.update(public_key);
    array(context.finish().as_ref())
}

/// The hash of a record: SHA-256(previous hash ‖ JSON).
pub fn next(previous: &Hash, json: &[u8]) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(previous);
    context.update(json);
    array(context.finish().as_ref())
}

/// SHA-256 of the previous hash and the JSON that stand one after the other.
pub(crate) fn hash(both: &[u8]) -> Hash {
    array(digest(&SHA256, both).as_ref())
}

/// SHA-256 of some bytes, in hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(digest(&SHA256, bytes).as_ref())
}

/// A line without its newline, taken apart.
pub(crate) fn split(line: &[u8]) -> Option<(Hash, &[u8])> {
    let (digits, rest) = line.split_at_checked(HASH_DIGITS)?;
    let json = rest.strip_prefix(b" ")?;
    let mut hash = [0; 32];
    HEXLOWER.decode_mut(digits, &mut hash).ok()?;
    Some((hash, json))
}

/// Writes the hash into the place that was left for it.
pub(crate) fn fill(place: &mut [u8], hash: &Hash) {
    HEXLOWER.encode_mut(hash, place);
}

fn array(bytes: &[u8]) -> Hash {
    let mut hash = [0; 32];
    for (to, from) in hash.iter_mut().zip(bytes) {
        *to = *from;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_is_what_sha256sum_computes() {
        let start = [0; 32];
        let hash = next(&start, b"{}");
        let mut bytes = start.to_vec();
        bytes.extend_from_slice(b"{}");
        assert_eq!(HEXLOWER.encode(&hash), sha256_hex(&bytes));
    }

    #[test]
    fn gateways_and_keys_start_different_chains() {
        assert_ne!(genesis("a", b"key"), genesis("b", b"key"));
        assert_ne!(genesis("a", b"key"), genesis("a", b"other"));
    }

    #[test]
    fn lines_are_taken_apart_strictly() {
        let mut line = vec![b'0'; 64];
        line.extend_from_slice(b" {}");
        assert_eq!(split(&line), Some(([0; 32], b"{}".as_slice())));
        for wrong in [&line[1..], &line[..64], b"".as_slice()] {
            assert_eq!(split(wrong), None);
        }
        line[0] = b'G';
        assert_eq!(split(&line), None);
    }
}
