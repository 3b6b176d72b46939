//! COSE_Key (RFC 9052 §7): the only CBOR that we read. A map of small numbers to small numbers and byte strings, in the
//! form that CTAP2 §8 prescribes; anything else is refused.

use super::WebAuthnError;

pub(super) const ES256: i64 = -7;
pub(super) const RS256: i64 = -257;

/// More members than this has no key of ours.
const MEMBERS_MAX: u64 = 8;
/// RSA up to 8192 bits.
const BYTES_MAX: usize = 1_024;
const P256_BYTES: usize = 32;
/// 2048 bits.
const MODULUS_BYTES_MIN: usize = 256;

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicKey {
    /// ECDSA on P-256 with SHA-256.
    Es256 {
        /// The point's first coordinate.
        x: [u8; P256_BYTES],
        /// The point's second coordinate.
        y: [u8; P256_BYTES],
    },
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256 {
        /// The modulus.
        n: Vec<u8>,
        /// The exponent.
        e: Vec<u8>,
    },
}

enum Value<'a> {
    Number(i64),
    Bytes(&'a [u8]),
}

impl PublicKey {
    /// Reads a key at the start of `bytes`; the key, and how many bytes it has.
    pub fn parse(bytes: &[u8]) -> Result<(Self, usize), WebAuthnError> {
        let mut reader = Reader { rest: bytes };
        let (major, members) = reader.head()?;
        if major != 5 || members > MEMBERS_MAX {
            return Err(WebAuthnError::Malformed);
        }
        let mut values: Vec<(i64, Value<'_>)> = Vec::new();
        for _ in 0..members {
            let Value::Number(label) = reader.value()? else {
                return Err(WebAuthnError::Malformed);
            };
            if values.iter().any(|(known, _)| *known == label) {
                return Err(WebAuthnError::Malformed);
            }
            values.push((label, reader.value()?));
        }
        let key = Self::of(&values)?;
        Ok((key, bytes.len() - reader.rest.len()))
    }

    fn of(values: &[(i64, Value<'_>)]) -> Result<Self, WebAuthnError> {
        let number = |label: i64| {
            values.iter().find_map(|(known, value)| match value {
                Value::Number(number) if *known == label => Some(*number),
                Value::Number(_) | Value::Bytes(_) => None,
            })
        };
        let bytes = |label: i64| {
            values.iter().find_map(|(known, value)| match value {
                Value::Bytes(bytes) if *known == label => Some(*bytes),
                Value::Number(_) | Value::Bytes(_) => None,
            })
        };
        // kty, alg; crv, x, y of an elliptic curve (RFC 9053 §7.1.1); n, e of RSA (RFC 8230 §4).
        match (number(1), number(3)) {
            (Some(2), Some(ES256)) if number(-1) == Some(1) => {
                let coordinate = |label: i64| bytes(label).and_then(|bytes| bytes.try_into().ok());
                match (coordinate(-2), coordinate(-3)) {
                    (Some(x), Some(y)) => Ok(Self::Es256 { x, y }),
                    _ => Err(WebAuthnError::Malformed),
                }
            }
            (Some(3), Some(RS256)) => match (bytes(-1), bytes(-2)) {
                (Some(n), Some(e)) if n.len() >= MODULUS_BYTES_MIN && !e.is_empty() => {
                    Ok(Self::Rs256 { n: n.to_vec(), e: e.to_vec() })
                }
                _ => Err(WebAuthnError::Algorithm),
            },
            (Some(_), Some(_)) => Err(WebAuthnError::Algorithm),
            _ => Err(WebAuthnError::Malformed),
        }
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], WebAuthnError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(WebAuthnError::Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Major type and argument (RFC 8949 §3), up to 16 bits.
    fn head(&mut self) -> Result<(u8, u64), WebAuthnError> {
        let [first] = *self.take(1)? else { return Err(WebAuthnError::Malformed) };
        let argument = match first & 0x1f {
            small @ 0..=23 => u64::from(small),
            24 => u64::from(*self.take(1)?.first().ok_or(WebAuthnError::Malformed)?),
            25 => {
                let bytes = self.take(2)?.try_into().map_err(|_| WebAuthnError::Malformed)?;
                u64::from(u16::from_be_bytes(bytes))
            }
            _ => return Err(WebAuthnError::Malformed),
        };
        Ok((first >> 5, argument))
    }

    fn value(&mut self) -> Result<Value<'a>, WebAuthnError> {
        let (major, argument) = self.head()?;
        let number = i64::try_from(argument).map_err(|_| WebAuthnError::Malformed)?;
        match major {
            0 => Ok(Value::Number(number)),
            1 => Ok(Value::Number(-1 - number)),
            2 => {
                let count = usize::try_from(argument).map_err(|_| WebAuthnError::Malformed)?;
                if count > BYTES_MAX {
                    return Err(WebAuthnError::Malformed);
                }
                Ok(Value::Bytes(self.take(count)?))
            }
            _ => Err(WebAuthnError::Malformed),
        }
    }
}
