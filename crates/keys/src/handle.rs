//! Handles: short opaque stand-ins for tokens, for prompts and tools that cannot take a whole one.
//!
//! `pct_` and, in base64url, `1 | nonce (12) | server hint (2) | AES-256-GCM ciphertext (40) and tag (16)`: 99
//! characters. Sealed: principal, token id, instant of issue, life. The server's name is associated data: a handle for
//! one server is nothing on another. Verified without the store; revoked through the token's id.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::{PrincipalId, ServerName, Timestamp, TokenId};
use runtime::Secret;

use crate::KeyError;

/// What every handle begins with.
pub const PREFIX: &str = "pct_";
/// No handle is longer (the bound of libpq's and psql's old password prompts).
pub const CHARACTERS_MAX: usize = 100;

const VERSION: u8 = 1;
const KEY_BYTES: usize = 32;
const HINT_BYTES: usize = 2;
const PUBLIC_ID_CHARACTERS: usize = 8;
/// The hint of a handle that is good for any server.
const ANY_SERVER: [u8; HINT_BYTES] = [0; HINT_BYTES];
/// Lives are kept in 24 bits of seconds: 194 days.
const LIFE_SECONDS_MAX: u64 = 0x00ff_ffff;

/// What a handle stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandleRecord {
    /// Whose.
    pub principal: PrincipalId,
    /// The token that it stands for.
    pub token: TokenId,
    /// The only server that it is good for; any when absent.
    pub server: Option<ServerName>,
    /// When the token was issued, in whole seconds.
    pub issued_at: Timestamp,
    /// Dead at this instant, in whole seconds.
    pub not_after: Timestamp,
}

/// The text is not one of our handles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandleError {
    /// It does not look like one.
    #[error("the text is not a handle")]
    Malformed,
    /// Of a later version of the program.
    #[error("the handle has format {0}; this program knows format 1")]
    Version(u8),
    /// Altered, of another installation, or of a server that is not among those asked about.
    #[error("the handle was not made for this server by this installation")]
    Unknown,
}

/// Seals and opens handles.
pub struct HandleKey {
    bytes: Secret<[u8; KEY_BYTES]>,
    cipher: LessSafeKey,
    hints: hmac::Key,
}

impl fmt::Debug for HandleKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HandleKey")
    }
}

impl HandleKey {
    /// A fresh key.
    pub fn generate() -> Result<Self, KeyError> {
        Self::from_bytes(&crate::random::<KEY_BYTES>()?)
    }

    /// From [`Self::bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let malformed = || KeyError::Malformed { expected: "a handle key" };
        let bytes: [u8; KEY_BYTES] = bytes.try_into().map_err(|_| malformed())?;
        let bytes = Secret::new(bytes);
        let cipher = UnboundKey::new(&AES_256_GCM, bytes.expose()).map_err(|_| malformed())?;
        let root = hmac::Key::new(hmac::HMAC_SHA256, bytes.expose());
        let hints = hmac::sign(&root, b"portcullis handle server hint");
        let hints = hmac::Key::new(hmac::HMAC_SHA256, hints.as_ref());
        Ok(Self { bytes, cipher: LessSafeKey::new(cipher), hints })
    }

    /// The key itself.
    pub const fn bytes(&self) -> &Secret<[u8; KEY_BYTES]> {
        &self.bytes
    }

    /// The handle for a record.
    pub fn seal(&self, record: &HandleRecord) -> Result<String, KeyError> {
        let HandleRecord { principal, token, server, issued_at, not_after } = record;
        let hint = server.as_ref().map_or(ANY_SERVER, |server| self.hint(server));
        let life = not_after.since(*issued_at).as_secs().min(LIFE_SECONDS_MAX);
        let mut body = Vec::with_capacity(56);
        body.extend_from_slice(principal.0.as_bytes());
        body.extend_from_slice(token.0.as_bytes());
        let issued_at = u64::try_from(issued_at.seconds()).unwrap_or(0);
        body.extend(issued_at.to_be_bytes().into_iter().skip(3));
        body.extend(life.to_be_bytes().into_iter().skip(5));
        let nonce: [u8; NONCE_LEN] = crate::random()?;
        let associated = associated_data(hint, server.as_ref());
        self.cipher
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(associated),
                &mut body,
            )
            .map_err(|_| KeyError::Failed { task: "seal a handle" })?;
        let mut sealed = vec![VERSION];
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&hint);
        sealed.extend_from_slice(&body);
        let mut handle = PREFIX.to_owned();
        URL_SAFE_NO_PAD.encode_string(sealed, &mut handle);
        Ok(handle)
    }

    /// What a handle stands for, if it is ours and good for any server or for one of these. The caller checks its end.
    pub fn open<'a>(
        &self,
        handle: &str,
        servers: impl IntoIterator<Item = &'a ServerName>,
    ) -> Result<HandleRecord, HandleError> {
        if handle.len() > CHARACTERS_MAX {
            return Err(HandleError::Malformed);
        }
        let encoded = handle.strip_prefix(PREFIX).ok_or(HandleError::Malformed)?;
        let sealed = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| HandleError::Malformed)?;
        let (version, rest) = sealed.split_first().ok_or(HandleError::Malformed)?;
        if *version != VERSION {
            return Err(HandleError::Version(*version));
        }
        let (nonce, rest) = rest.split_first_chunk::<NONCE_LEN>().ok_or(HandleError::Malformed)?;
        let (hint, body) = rest.split_first_chunk::<HINT_BYTES>().ok_or(HandleError::Malformed)?;
        let sealed = Sealed { nonce: *nonce, hint: *hint, body };
        if *hint == ANY_SERVER {
            return self.open_for(&sealed, None);
        }
        servers
            .into_iter()
            .filter(|server| self.hint(server) == *hint)
            .find_map(|server| self.open_for(&sealed, Some(server)).ok())
            .ok_or(HandleError::Unknown)
    }

    fn open_for(
        &self,
        sealed: &Sealed<'_>,
        server: Option<&ServerName>,
    ) -> Result<HandleRecord, HandleError> {
        let mut body = sealed.body.to_vec();
        let plain = self
            .cipher
            .open_in_place(
                Nonce::assume_unique_for_key(sealed.nonce),
                Aad::from(associated_data(sealed.hint, server)),
                &mut body,
            )
            .map_err(|_| HandleError::Unknown)?;
        read(plain, server).ok_or(HandleError::Malformed)
    }

    /// Spares a gateway with many servers most of the trials. Keyed, so that it tells a stranger nothing.
    fn hint(&self, server: &ServerName) -> [u8; HINT_BYTES] {
        let tag = hmac::sign(&self.hints, server.as_str().as_bytes());
        match tag.as_ref().first_chunk() {
            Some(hint) if *hint != ANY_SERVER => *hint,
            _ => [0, 1],
        }
    }
}

struct Sealed<'a> {
    nonce: [u8; NONCE_LEN],
    hint: [u8; HINT_BYTES],
    body: &'a [u8],
}

fn associated_data(hint: [u8; HINT_BYTES], server: Option<&ServerName>) -> Vec<u8> {
    let mut data = vec![VERSION];
    data.extend_from_slice(&hint);
    data.extend_from_slice(server.map_or("", ServerName::as_str).as_bytes());
    data
}

fn read(plain: &[u8], server: Option<&ServerName>) -> Option<HandleRecord> {
    let (principal, rest) = plain.split_first_chunk::<16>()?;
    let (token, rest) = rest.split_first_chunk::<16>()?;
    let (issued_at, rest) = rest.split_first_chunk::<5>()?;
    let life: [u8; 3] = rest.try_into().ok()?;
    let number = |bytes: &[u8]| bytes.iter().fold(0_i64, |sum, byte| (sum << 8) | i64::from(*byte));
    let issued_at = number(issued_at);
    Some(HandleRecord {
        principal: PrincipalId(uuid::Uuid::from_bytes(*principal)),
        token: TokenId(uuid::Uuid::from_bytes(*token)),
        server: server.cloned(),
        issued_at: Timestamp::from_seconds(issued_at),
        not_after: Timestamp::from_seconds(issued_at + number(&life)),
    })
}

/// The part of a handle that may be logged: its first 8 characters.
pub fn public_id(handle: &str) -> &str {
    let end = handle.char_indices().nth(PUBLIC_ID_CHARACTERS).map_or(handle.len(), |(at, _)| at);
    handle.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn server(name: &str) -> ServerName {
        ServerName::new(name).unwrap()
    }

    fn record(server: Option<&str>) -> HandleRecord {
        let issued_at = Timestamp::from_seconds(1_795_514_400);
        HandleRecord {
            principal: PrincipalId::random(),
            token: TokenId::random(),
            server: server.map(|name| ServerName::new(name).unwrap()),
            issued_at,
            not_after: issued_at.plus(Duration::from_hours(1)),
        }
    }

    #[test]
    fn a_handle_has_at_most_100_characters_and_opens_as_what_was_sealed() {
        let key = HandleKey::generate().unwrap();
        let long = "s".repeat(model::name::NAME_BYTES_MAX);
        for name in [None, Some("orders"), Some(long.as_str())] {
            let record = record(name);
            let handle = key.seal(&record).unwrap();
            assert_eq!(handle.len(), 99);
            assert!(handle.starts_with("pct_"), "{handle}");
            let servers = [server("billing"), server("orders"), server(&long)];
            assert_eq!(key.open(&handle, &servers).unwrap(), record);
        }
    }

    #[test]
    fn a_handle_for_one_server_is_nothing_on_another() {
        let key = HandleKey::generate().unwrap();
        let bound = key.seal(&record(Some("orders"))).unwrap();
        let billing = [server("billing")];
        assert_eq!(key.open(&bound, &billing).unwrap_err(), HandleError::Unknown);
        assert_eq!(key.open(&bound, &[]).unwrap_err(), HandleError::Unknown);
        let any = key.seal(&record(None)).unwrap();
        assert!(key.open(&any, &[]).is_ok());
    }

    #[test]
    fn a_handle_of_another_installation_is_refused() {
        let (key, other) = (HandleKey::generate().unwrap(), HandleKey::generate().unwrap());
        let handle = key.seal(&record(None)).unwrap();
        assert_eq!(other.open(&handle, &[]).unwrap_err(), HandleError::Unknown);
        let same = HandleKey::from_bytes(key.bytes().expose()).unwrap();
        assert!(same.open(&handle, &[]).is_ok());
    }

    #[test]
    fn what_is_no_handle_is_refused() {
        let key = HandleKey::generate().unwrap();
        let later = format!("pct_{}", URL_SAFE_NO_PAD.encode([2_u8; 71]));
        for (text, error) in [
            ("", HandleError::Malformed),
            ("pct_", HandleError::Malformed),
            ("pct_*", HandleError::Malformed),
            ("eyJhbGciOiJSUzI1NiJ9", HandleError::Malformed),
            (later.as_str(), HandleError::Version(2)),
            (&"pct_A".repeat(30), HandleError::Malformed),
        ] {
            assert_eq!(key.open(text, &[]).unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn the_public_id_is_the_first_8_characters_of_whatever_text() {
        assert_eq!(public_id("pct_AbCdEfGh"), "pct_AbCd");
        assert_eq!(public_id("pct"), "pct");
        assert_eq!(public_id("ééééééééé"), "éééééééé");
    }

    proptest! {
        #[test]
        fn any_flipped_bit_fails(bound in any::<bool>(), at in any::<prop::sample::Index>(), bit in 0_u8..8) {
            let key = HandleKey::generate().unwrap();
            let handle = key.seal(&record(bound.then_some("orders"))).unwrap();
            let mut sealed = URL_SAFE_NO_PAD.decode(handle.trim_start_matches(PREFIX)).unwrap();
            let at = at.index(sealed.len());
            sealed[at] ^= 1 << bit;
            let altered = format!("pct_{}", URL_SAFE_NO_PAD.encode(&sealed));
            prop_assert!(key.open(&altered, &[server("orders")]).is_err());
        }

        #[test]
        fn instants_are_kept_to_the_second(issued in 0_i64..(1 << 39), life in 0_u64..LIFE_SECONDS_MAX) {
            let key = HandleKey::generate().unwrap();
            let issued_at = Timestamp::from_seconds(issued);
            let not_after = issued_at.plus(Duration::from_secs(life));
            prop_assume!(not_after < Timestamp::MAX);
            let record = HandleRecord { issued_at, not_after, ..record(None) };
            prop_assert_eq!(key.open(&key.seal(&record).unwrap(), &[]).unwrap(), record);
        }

        #[test]
        fn any_text_is_refused_without_a_panic(text in "(pct_)?.{0,120}") {
            prop_assert!(HandleKey::generate().unwrap().open(&text, &[]).is_err());
        }
    }
}
