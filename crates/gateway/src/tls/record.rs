//! TLS's record layer after the handshake (RFC 8446 §5; RFC 5246 §6 with AES-GCM of RFC 5288 and ChaCha20-Poly1305 of
//! RFC 7905): records are sealed and opened in place in buffers that the caller lends, so that an idle session holds its
//! keys and nothing else. The handshake, and the choice of suites are rustls'.

use std::fmt;
use std::ops::Range;

use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, Algorithm, LessSafeKey, NONCE_LEN, Nonce, UnboundKey,
};
use rustls::ProtocolVersion;

use super::schedule::Keys;

/// Content type, version and length.
const HEADER_BYTES: usize = 5;
/// Plaintext of one record at most (RFC 8446 §5.1).
pub(crate) const FRAGMENT_BYTES_MAX: usize = 1 << 14;
/// What TLS 1.3 lets a sealed record be longer than its plaintext; TLS 1.2 allows 2048, of which no suite of ours uses
/// more than 24.
const EXPANSION_BYTES_MAX: usize = 256;
/// A sealed record with its header, at most.
pub(crate) const RECORD_BYTES_MAX: usize = HEADER_BYTES + FRAGMENT_BYTES_MAX + EXPANSION_BYTES_MAX;
/// Nonce of TLS 1.2's AES-GCM that travels with the record.
const EXPLICIT_NONCE_BYTES: usize = 8;
const TAG_BYTES: usize = 16;
/// Blocks of 16 bytes that AES-GCM may seal under one key: 2^24.5 full records have 2^34.5 (RFC 8446 §5.5).
const AES_GCM_BLOCKS_MAX: u64 = 1 << 34;
/// Half of that: then a new key is due, where the version has a way to say so.
const REKEY_BLOCKS: u64 = AES_GCM_BLOCKS_MAX / 2;

/// What a record carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// An alert, among them the end.
    Alert,
    /// A message of the handshake protocol: tickets and key updates come after the handshake.
    Handshake,
    /// Bytes of the application.
    Application,
}

impl Content {
    fn code(self) -> u8 {
        match self {
            Self::Alert => 21,
            Self::Handshake => 22,
            Self::Application => 23,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        match code {
            21 => Some(Self::Alert),
            22 => Some(Self::Handshake),
            23 => Some(Self::Application),
            _ => None,
        }
    }
}

/// Why a connection's records cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordError {
    /// Not a record of this connection.
    #[error("the peer sent bytes that are not a TLS record")]
    NotARecord,
    /// Longer than a record may be.
    #[error("the peer sent a TLS record that is too long")]
    TooLong,
    /// Not sealed with the connection's key, or not in its place.
    #[error("a TLS record was altered, or sealed with another key")]
    Unauthentic,
    /// The key has sealed as much as is safe, and the version has no way to change it.
    #[error("the TLS connection's key has been used as much as it may be")]
    KeyWornOut,
    /// The secrets are of no suite that is offered.
    #[error("the TLS suite is not one of ours")]
    Suite,
    /// The next key is not known.
    #[error("the TLS connection's next key cannot be made")]
    NoSchedule,
}

/// How records look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// The content type is sealed behind the plaintext.
    Tls13,
    /// Half of the nonce travels with the record.
    Tls12Gcm,
    /// Nothing travels with the record.
    Tls12ChaCha,
}

impl Shape {
    fn explicit_nonce_bytes(self) -> usize {
        match self {
            Self::Tls12Gcm => EXPLICIT_NONCE_BYTES,
            Self::Tls13 | Self::Tls12ChaCha => 0,
        }
    }

    fn inner_type_bytes(self) -> usize {
        usize::from(self == Self::Tls13)
    }
}

/// One direction's key and where its sequence stands.
struct Protection {
    key: LessSafeKey,
    iv: [u8; NONCE_LEN],
    sequence: u64,
    shape: Shape,
}

impl fmt::Debug for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Protection({:?}, record {})", self.shape, self.sequence)
    }
}

impl Protection {
    fn new(keys: &Keys, version: ProtocolVersion) -> Result<Self, RecordError> {
        let shape = match (version, is_gcm(keys.algorithm)) {
            (ProtocolVersion::TLSv1_3, _) => Shape::Tls13,
            (ProtocolVersion::TLSv1_2, true) => Shape::Tls12Gcm,
            (ProtocolVersion::TLSv1_2, false) => Shape::Tls12ChaCha,
            _ => return Err(RecordError::Suite),
        };
        let key = UnboundKey::new(keys.algorithm, keys.key()).map_err(|_| RecordError::Suite)?;
        Ok(Self { key: LessSafeKey::new(key), iv: keys.iv, sequence: keys.sequence, shape })
    }

    /// The next record's number; each is used once.
    fn next(&mut self) -> Result<u64, RecordError> {
        let sequence = self.sequence;
        self.sequence = sequence.checked_add(1).ok_or(RecordError::KeyWornOut)?;
        Ok(sequence)
    }

    /// RFC 8446 §5.3: the number, padded to the left, XOR the IV.
    fn nonce(&self, sequence: u64) -> [u8; NONCE_LEN] {
        let mut nonce = self.iv;
        let (_, low) = nonce.split_at_mut(NONCE_LEN - size_of::<u64>());
        for (to, from) in low.iter_mut().zip(sequence.to_be_bytes()) {
            *to ^= from;
        }
        nonce
    }

    /// What is authenticated besides the plaintext: the header in TLS 1.3, in TLS 1.2 number, type, version and the
    /// plaintext's length.
    fn additional(
        &self,
        sequence: u64,
        header: [u8; HEADER_BYTES],
        plaintext: usize,
    ) -> Additional {
        match self.shape {
            Shape::Tls13 => Additional { bytes: [0; 13], header: Some(header) },
            Shape::Tls12Gcm | Shape::Tls12ChaCha => {
                let [content, major, minor, _, _] = header;
                let [high, low] = length(plaintext);
                let [s0, s1, s2, s3, s4, s5, s6, s7] = sequence.to_be_bytes();
                let bytes = [s0, s1, s2, s3, s4, s5, s6, s7, content, major, minor, high, low];
                Additional { bytes, header: None }
            }
        }
    }
}

struct Additional {
    bytes: [u8; 13],
    header: Option<[u8; HEADER_BYTES]>,
}

impl AsRef<[u8]> for Additional {
    fn as_ref(&self) -> &[u8] {
        match &self.header {
            Some(header) => header,
            None => &self.bytes,
        }
    }
}

fn is_gcm(algorithm: &Algorithm) -> bool {
    algorithm == &AES_128_GCM || algorithm == &AES_256_GCM
}

/// A record's length field; callers keep to [`RECORD_BYTES_MAX`], which fits.
fn length(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).unwrap_or(u16::MAX).to_be_bytes()
}

/// Seals the records of one direction.
#[derive(Debug)]
pub(crate) struct Sealer {
    protection: Protection,
    blocks: u64,
    is_gcm: bool,
}

impl Sealer {
    /// With the keys of a finished handshake or key update.
    pub(crate) fn new(keys: &Keys, version: ProtocolVersion) -> Result<Self, RecordError> {
        let protection = Protection::new(keys, version)?;
        let is_gcm = is_gcm(protection.key.algorithm());
        Ok(Self { protection, blocks: 0, is_gcm })
    }

    /// Whether the peer should be told of a new key before more is sealed.
    pub(crate) fn is_worn(&self) -> bool {
        self.is_gcm && self.protection.shape == Shape::Tls13 && self.blocks >= REKEY_BLOCKS
    }

    /// Appends plaintext as sealed records.
    pub(crate) fn seal(
        &mut self,
        content: Content,
        plaintext: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), RecordError> {
        plaintext
            .chunks(FRAGMENT_BYTES_MAX)
            .try_for_each(|fragment| self.seal_fragment(content, fragment, out))
    }

    fn seal_fragment(
        &mut self,
        content: Content,
        fragment: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), RecordError> {
        self.blocks = self.blocks.saturating_add(blocks(fragment.len()));
        if self.is_gcm && self.blocks > AES_GCM_BLOCKS_MAX {
            return Err(RecordError::KeyWornOut);
        }
        let protection = &mut self.protection;
        let shape = protection.shape;
        let sequence = protection.next()?;
        let (explicit, inner) = (shape.explicit_nonce_bytes(), shape.inner_type_bytes());
        let [high, low] = length(explicit + fragment.len() + inner + TAG_BYTES);
        let outer = if shape == Shape::Tls13 { Content::Application } else { content };
        let header = [outer.code(), 3, 3, high, low];
        let nonce = protection.nonce(sequence);
        out.extend_from_slice(&header);
        out.extend_from_slice(nonce.get(NONCE_LEN - explicit..).unwrap_or_default());
        let start = out.len();
        out.extend_from_slice(fragment);
        if inner > 0 {
            out.push(content.code());
        }
        let additional = Aad::from(protection.additional(sequence, header, fragment.len()));
        let in_place = out.get_mut(start..).unwrap_or_default();
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = protection
            .key
            .seal_in_place_separate_tag(nonce, additional, in_place)
            .map_err(|_| RecordError::KeyWornOut)?;
        out.extend_from_slice(tag.as_ref());
        Ok(())
    }
}

fn blocks(bytes: usize) -> u64 {
    u64::try_from(bytes.div_ceil(16)).unwrap_or(u64::MAX).max(1)
}

/// What lies at the start of a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The record is not whole: so many bytes in all make it so, as far as is known.
    Need(usize),
    /// A record, opened.
    Record {
        /// What it carries.
        content: Content,
        /// Where in the buffer its plaintext lies now.
        plaintext: Range<usize>,
        /// How long it was.
        length: usize,
    },
}

/// Opens the records of one direction.
#[derive(Debug)]
pub(crate) struct Opener {
    protection: Protection,
}

impl Opener {
    /// With the keys of a finished handshake or key update.
    pub(crate) fn new(keys: &Keys, version: ProtocolVersion) -> Result<Self, RecordError> {
        Ok(Self { protection: Protection::new(keys, version)? })
    }

    /// Opens the record at the start of the buffer, in place.
    pub(crate) fn open(&mut self, buffer: &mut [u8]) -> Result<Step, RecordError> {
        let Some((&header, body)) =
            buffer.split_first_chunk_mut::<HEADER_BYTES>().map(|(header, body)| (&*header, body))
        else {
            return Ok(Step::Need(HEADER_BYTES));
        };
        let [outer, major, _, high, low] = header;
        let shape = self.protection.shape;
        let outer = Content::from_code(outer).filter(|_| major == 3);
        let outer = outer
            .filter(|outer| shape != Shape::Tls13 || *outer == Content::Application)
            .ok_or(RecordError::NotARecord)?;
        let sealed = usize::from(u16::from_be_bytes([high, low]));
        if sealed > RECORD_BYTES_MAX - HEADER_BYTES {
            return Err(RecordError::TooLong);
        }
        let Some(body) = body.get_mut(..sealed) else {
            return Ok(Step::Need(HEADER_BYTES + sealed));
        };
        let (content, plaintext) = self.open_body(header, outer, body)?;
        if plaintext.len() > FRAGMENT_BYTES_MAX {
            return Err(RecordError::TooLong);
        }
        let plaintext = HEADER_BYTES + plaintext.start..HEADER_BYTES + plaintext.end;
        Ok(Step::Record { content, plaintext, length: HEADER_BYTES + sealed })
    }

    /// What it carries, and where in the body.
    fn open_body(
        &mut self,
        header: [u8; HEADER_BYTES],
        outer: Content,
        body: &mut [u8],
    ) -> Result<(Content, Range<usize>), RecordError> {
        let protection = &mut self.protection;
        let shape = protection.shape;
        let sequence = protection.next()?;
        let explicit_bytes = shape.explicit_nonce_bytes();
        let plaintext_bytes =
            body.len().checked_sub(explicit_bytes + TAG_BYTES).ok_or(RecordError::Unauthentic)?;
        let mut nonce = protection.nonce(sequence);
        let (explicit, in_place) =
            body.split_at_mut_checked(explicit_bytes).ok_or(RecordError::Unauthentic)?;
        if let Some(low) = nonce.get_mut(NONCE_LEN - explicit.len()..) {
            low.copy_from_slice(explicit);
        }
        let additional = Aad::from(protection.additional(sequence, header, plaintext_bytes));
        let opened = protection
            .key
            .open_in_place(Nonce::assume_unique_for_key(nonce), additional, in_place)
            .map_err(|_| RecordError::Unauthentic)?;
        match shape {
            Shape::Tls12Gcm | Shape::Tls12ChaCha => {
                Ok((outer, explicit_bytes..explicit_bytes + opened.len()))
            }
            // RFC 8446 §5.4: the type is the last byte that is not zero.
            Shape::Tls13 => {
                let end = opened.iter().rposition(|byte| *byte != 0);
                let end = end.ok_or(RecordError::NotARecord)?;
                let content = opened.get(end).copied().and_then(Content::from_code);
                Ok((content.ok_or(RecordError::NotARecord)?, 0..end))
            }
        }
    }
}

#[cfg(test)]
mod tests;
