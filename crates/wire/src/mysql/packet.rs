//! Packets: three bytes of length, one of sequence, and up to 16 MiB − 1 of payload. A longer message goes on in the
//! next packet, and ends with the first that is not full, which may be empty.

use super::Malformed;

/// Length and sequence.
pub const HEADER_BYTES: usize = 4;

/// What one packet holds at most. A packet that is full is followed by another of the same message.
pub const PAYLOAD_BYTES_MAX: usize = 0xff_ffff;

/// A packet's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes of payload.
    pub length: usize,
    /// Its number: 0 for a command's first packet, then one more for each, in both directions together, modulo 256.
    pub sequence: u8,
}

impl Header {
    /// The header at the beginning of the bytes, when all of it is there.
    pub fn read(input: &[u8]) -> Option<Self> {
        let (&[a, b, c, sequence], _) = input.split_first_chunk::<HEADER_BYTES>()?;
        let length = usize::try_from(u32::from_le_bytes([a, b, c, 0])).ok()?;
        Some(Self { length, sequence })
    }

    /// Whether another packet belongs to the same message.
    pub fn is_continued(self) -> bool {
        self.length == PAYLOAD_BYTES_MAX
    }

    /// Header and payload.
    pub(crate) fn total(self) -> usize {
        self.length.saturating_add(HEADER_BYTES)
    }

    /// Whether the packet has the number that is due.
    pub(crate) fn expect(self, sequence: u8) -> Result<(), Malformed> {
        if self.sequence == sequence {
            return Ok(());
        }
        Err(Malformed::Sequence { expected: sequence, found: self.sequence })
    }
}

/// What the next bytes of a login are: packets are held whole there, and none is continued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// So many bytes in all are needed to go on. Read no more than that before TLS begins.
    Need(usize),
    /// A packet.
    Packet {
        /// Its bytes, header included.
        length: usize,
        /// Its payload.
        payload: &'a [u8],
    },
}

/// Looks for the login packet with this number, of at most `payload_bytes_max` bytes.
pub fn login(input: &[u8], sequence: u8, payload_bytes_max: usize) -> Result<Step<'_>, Malformed> {
    let Some(header) = Header::read(input) else { return Ok(Step::Need(HEADER_BYTES)) };
    header.expect(sequence)?;
    if header.length > payload_bytes_max || header.is_continued() {
        let (message, length) = ("login packet", header.length);
        return Err(Malformed::Length { message, length, max: payload_bytes_max });
    }
    Ok(match input.get(HEADER_BYTES..header.total()) {
        Some(payload) => Step::Packet { length: header.total(), payload },
        None => Step::Need(header.total()),
    })
}

/// The packets of a message whose first has this number.
pub fn encode(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let mut packets = Vec::with_capacity(payload.len().saturating_add(HEADER_BYTES));
    let (mut sequence, mut rest) = (sequence, payload);
    loop {
        let (chunk, after) = rest.split_at_checked(PAYLOAD_BYTES_MAX).unwrap_or((rest, &[]));
        let [a, b, c, _] = u32::try_from(chunk.len()).unwrap_or_default().to_le_bytes();
        packets.extend_from_slice(&[a, b, c, sequence]);
        packets.extend_from_slice(chunk);
        if chunk.len() < PAYLOAD_BYTES_MAX {
            return packets;
        }
        (sequence, rest) = (sequence.wrapping_add(1), after);
    }
}

/// Appends a number in the shortest of its four forms.
pub(crate) fn put_lenenc(bytes: &mut Vec<u8>, number: u64) {
    let [a, b, c, ..] = number.to_le_bytes();
    match number {
        0..=0xfa => bytes.push(a),
        0xfb..=0xffff => bytes.extend_from_slice(&[0xfc, a, b]),
        0x1_0000..=0xff_ffff => bytes.extend_from_slice(&[0xfd, a, b, c]),
        _ => {
            bytes.push(0xfe);
            bytes.extend_from_slice(&number.to_le_bytes());
        }
    }
}

/// Appends bytes with their length before them.
pub(crate) fn put_lenenc_bytes(bytes: &mut Vec<u8>, value: &[u8]) {
    put_lenenc(bytes, u64::try_from(value.len()).unwrap_or(u64::MAX));
    bytes.extend_from_slice(value);
}

/// Appends everything up to the first NUL, and a NUL.
pub(crate) fn put_cstring(bytes: &mut Vec<u8>, text: &[u8]) {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    bytes.extend_from_slice(text);
    bytes.push(0);
}
