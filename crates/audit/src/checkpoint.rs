//! Signed positions in the chain.

use std::path::Path;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use data_encoding::HEXLOWER;
use keys::AuditKey;
use model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::chain::Hash;

/// A signed statement: "at this time, the log of this gateway had this many records and this head".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// Whose log.
    pub gateway: String,
    /// The last record that it covers.
    pub sequence: u64,
    /// The first record of the segment that holds it: names the file.
    pub segment: u64,
    /// The chain's hash there, in hex.
    pub head: String,
    /// When.
    pub time: Timestamp,
    /// Ed25519 over [`Checkpoint::signed_text`], in hex.
    pub signature: String,
}

/// What a checkpoint is about.
pub(crate) struct Position {
    pub(crate) sequence: u64,
    pub(crate) segment: u64,
    pub(crate) head: Hash,
}

/// The checkpoint was not signed with this key, or not as it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the checkpoint at record {sequence} was not signed with this log's key")]
pub struct InvalidCheckpoint {
    /// The record that it claims to cover.
    pub sequence: u64,
}

impl Checkpoint {
    pub(crate) fn sign(
        key: &AuditKey,
        gateway: &str,
        position: &Position,
        time: Timestamp,
    ) -> Self {
        let mut checkpoint = Self {
            gateway: gateway.to_owned(),
            sequence: position.sequence,
            segment: position.segment,
            head: HEXLOWER.encode(&position.head),
            time,
            signature: String::new(),
        };
        checkpoint.signature = HEXLOWER.encode(&key.sign(checkpoint.signed_text().as_bytes()));
        checkpoint
    }

    /// What the signature is over: one line of text, so that any Ed25519 tool can check it.
    pub fn signed_text(&self) -> String {
        format!(
            "portcullis-checkpoint {} {} {} {} {}",
            self.gateway, self.sequence, self.segment, self.head, self.time
        )
    }

    /// Whether the key signed this.
    pub fn verify(&self, public_key: &[u8]) -> Result<(), InvalidCheckpoint> {
        let invalid = InvalidCheckpoint { sequence: self.sequence };
        let Ok(signature) = HEXLOWER.decode(self.signature.as_bytes()) else { return Err(invalid) };
        UnparsedPublicKey::new(&ED25519, public_key)
            .verify(self.signed_text().as_bytes(), &signature)
            .map_err(|_| invalid)
    }

    /// The chain's hash at the record that it covers.
    pub fn head_hash(&self) -> Option<Hash> {
        let mut hash = [0; 32];
        (self.head.len() == 64).then_some(())?;
        HEXLOWER.decode_mut(self.head.as_bytes(), &mut hash).ok()?;
        Some(hash)
    }

    /// Reads the checkpoints of a file, one JSON object a line; what is none is left out.
    pub fn read_all(path: &Path) -> std::io::Result<Vec<Self>> {
        Ok(Self::read_lines(path)?.into_iter().filter_map(Result::ok).collect())
    }

    /// Every line of a file that has an end, as a checkpoint or as what it is instead.
    pub(crate) fn read_lines(path: &Path) -> std::io::Result<Vec<Result<Self, serde_json::Error>>> {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(missing) if missing.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let whole =
            text.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
        Ok(whole.map(serde_json::from_slice).collect())
    }
}
