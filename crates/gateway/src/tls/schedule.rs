//! TLS 1.3's keys after the handshake: each direction's traffic secret, and what follows from it (RFC 8446 §7.1 to §7.3).
//!
//! rustls keeps a whole connection for that, with this session's configuration, certificate and key in it. Two secrets
//! are enough, and rustls tells them to its key log.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Algorithm, CHACHA20_POLY1305, NONCE_LEN};
use aws_lc_rs::hkdf::{self, HKDF_SHA256, HKDF_SHA384, KeyType, Prk};
use rustls::{CipherSuite, ConnectionTrafficSecrets, KeyLog};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::record::RecordError;

/// Of SHA-384; SHA-256's are shorter.
const SECRET_BYTES_MAX: usize = 48;
const KEY_BYTES_MAX: usize = 32;

/// Labels of the key log (RFC 9850 §2).
const CLIENTS: &str = "CLIENT_TRAFFIC_SECRET_0";
const SERVERS: &str = "SERVER_TRAFFIC_SECRET_0";

/// Which side of the connection we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// We accepted it.
    Server,
    /// We made it.
    Client,
}

/// What seals or opens one direction's records.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct Keys {
    #[zeroize(skip)]
    pub algorithm: &'static Algorithm,
    key: [u8; KEY_BYTES_MAX],
    pub iv: [u8; NONCE_LEN],
    /// The next record's number.
    #[zeroize(skip)]
    pub sequence: u64,
}

impl Keys {
    /// Those that the handshake ended with.
    pub(crate) fn of(
        (sequence, secrets): &(u64, ConnectionTrafficSecrets),
    ) -> Result<Self, RecordError> {
        let (algorithm, key, iv) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => return Err(RecordError::Suite),
        };
        let iv = iv.as_ref().try_into().map_err(|_| RecordError::Suite)?;
        let mut keys = Self::new(algorithm, key.as_ref(), iv)?;
        keys.sequence = *sequence;
        Ok(keys)
    }

    /// For the first record.
    pub(crate) fn new(
        algorithm: &'static Algorithm,
        key: &[u8],
        iv: [u8; NONCE_LEN],
    ) -> Result<Self, RecordError> {
        let mut keys = Self { algorithm, key: [0; KEY_BYTES_MAX], iv, sequence: 0 };
        let room = keys.key.get_mut(..algorithm.key_len()).ok_or(RecordError::Suite)?;
        room.copy_from_slice(key.get(..room.len()).ok_or(RecordError::Suite)?);
        Ok(keys)
    }

    /// As long as the algorithm has it.
    pub(crate) fn key(&self) -> &[u8] {
        self.key.get(..self.algorithm.key_len()).unwrap_or_default()
    }
}

/// One direction's traffic secret.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
struct Secret {
    bytes: [u8; SECRET_BYTES_MAX],
    length: usize,
}

/// Both, as rustls tells of them.
#[derive(Default)]
struct Told {
    clients: Option<Secret>,
    servers: Option<Secret>,
}

/// Takes the secrets of one connection from rustls, and hands them to nobody but [`Schedule`].
#[derive(Default)]
pub(crate) struct Listening(Mutex<Told>);

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listening").finish_non_exhaustive()
    }
}

impl KeyLog for Listening {
    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match label {
            CLIENTS => told.clients = Secret::of(secret),
            SERVERS => told.servers = Secret::of(secret),
            _ => {}
        }
    }

    fn will_log(&self, label: &str) -> bool {
        matches!(label, CLIENTS | SERVERS)
    }
}

impl Secret {
    fn of(secret: &[u8]) -> Option<Self> {
        let mut bytes = [0; SECRET_BYTES_MAX];
        bytes.get_mut(..secret.len())?.copy_from_slice(secret);
        Some(Self { bytes, length: secret.len() })
    }
}

/// The keys that follow those of the handshake. TLS 1.2 has none.
pub(crate) struct Schedule {
    suite: Option<Suite>,
    sending: Option<Secret>,
    receiving: Option<Secret>,
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schedule").finish_non_exhaustive()
    }
}

/// What a suite of TLS 1.3 is made of.
#[derive(Clone, Copy)]
struct Suite {
    algorithm: &'static Algorithm,
    hash: hkdf::Algorithm,
}

impl Suite {
    fn of(suite: CipherSuite) -> Option<Self> {
        let (algorithm, hash) = match suite {
            CipherSuite::TLS13_AES_128_GCM_SHA256 => (&AES_128_GCM, HKDF_SHA256),
            CipherSuite::TLS13_AES_256_GCM_SHA384 => (&AES_256_GCM, HKDF_SHA384),
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => (&CHACHA20_POLY1305, HKDF_SHA256),
            _ => return None,
        };
        Some(Self { algorithm, hash })
    }
}

impl Schedule {
    /// From what was told during the handshake.
    pub(crate) fn new(told: &Listening, role: Role, suite: CipherSuite) -> Self {
        let mut told = told.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (clients, servers) = (told.clients.take(), told.servers.take());
        let (sending, receiving) = match role {
            Role::Server => (servers, clients),
            Role::Client => (clients, servers),
        };
        Self { suite: Suite::of(suite), sending, receiving }
    }

    /// What the peer seals with after its key update.
    pub(crate) fn next_receiving(&mut self) -> Result<Keys, RecordError> {
        next(self.suite, &mut self.receiving)
    }

    /// What we seal with after our key update.
    pub(crate) fn next_sending(&mut self) -> Result<Keys, RecordError> {
        next(self.suite, &mut self.sending)
    }
}

fn next(suite: Option<Suite>, secret: &mut Option<Secret>) -> Result<Keys, RecordError> {
    let (Some(suite), Some(now)) = (suite, secret.as_mut()) else {
        return Err(RecordError::NoSchedule);
    };
    let mut next = Secret { bytes: [0; SECRET_BYTES_MAX], length: now.length };
    suite.expand(now, b"traffic upd", next.bytes.get_mut(..now.length))?;
    let blank = [0; KEY_BYTES_MAX];
    let mut keys = Keys::new(suite.algorithm, &blank, [0; NONCE_LEN])?;
    suite.expand(&next, b"key", keys.key.get_mut(..suite.algorithm.key_len()))?;
    suite.expand(&next, b"iv", Some(&mut keys.iv))?;
    *now = next;
    Ok(keys)
}

/// How much is expanded.
struct Bytes(usize);

impl KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

impl Suite {
    /// HKDF-Expand-Label with an empty context (RFC 8446 §7.1).
    fn expand(
        self,
        secret: &Secret,
        label: &[u8],
        out: Option<&mut [u8]>,
    ) -> Result<(), RecordError> {
        let out = out.ok_or(RecordError::NoSchedule)?;
        let secret = secret.bytes.get(..secret.length).unwrap_or_default();
        let prefix = b"tls13 ";
        let long = |length: usize| u8::try_from(length).map_err(|_| RecordError::NoSchedule);
        let (length, named) = ([0, long(out.len())?], [long(prefix.len() + label.len())?]);
        let info: [&[u8]; 5] = [&length, &named, prefix, label, &[0]];
        let expanded = Prk::new_less_safe(self.hash, secret);
        let expanded = expanded.expand(&info, Bytes(out.len()));
        expanded.and_then(|okm| okm.fill(out)).map_err(|_| RecordError::NoSchedule)
    }
}

#[cfg(test)]
mod tests;
