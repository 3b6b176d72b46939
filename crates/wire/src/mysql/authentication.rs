//! What follows a handshake response until the server says OK.
//!
//! Towards the client: AuthSwitchRequest to [`CLEAR_PASSWORD`] (or [`OPENID_CONNECT`], where the client chose it), the
//! token, then the server's own OK packet under the client's next number. Towards the server: whatever plugin it asks
//! for, out of those that are computed here.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA512, digest};
use ed25519_dalek::VerifyingKey;
use ed25519_dalek::hazmat::{ExpandedSecretKey, raw_sign};

use super::Malformed;
use super::packet::put_cstring;
use super::reader::Reader;

/// The password as it is. Only ever asked for inside TLS.
pub const CLEAR_PASSWORD: &str = "mysql_clear_password";
/// SHA-1 of the password with the scramble.
pub const NATIVE_PASSWORD: &str = "mysql_native_password";
/// SHA-256 of the password with the scramble, or the password itself inside TLS.
pub const CACHING_SHA2: &str = "caching_sha2_password";
/// SHA-256 with a salt of the server's, or the password itself inside TLS.
pub const SHA256_PASSWORD: &str = "sha256_password";
/// MariaDB: an Ed25519 signature of the scramble, with a key that is made from the password.
pub const ED25519: &str = "client_ed25519";
/// An OpenID Connect id token, in MySQL 9.1 and later.
pub const OPENID_CONNECT: &str = "authentication_openid_connect_client";

/// caching_sha2_password: the scramble was enough.
pub const FAST_AUTH_SUCCESS: u8 = 3;
/// caching_sha2_password: the server wants the password itself.
pub const PERFORM_FULL_AUTHENTICATION: u8 = 4;

/// What a server says until the login is over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reply<'a> {
    /// Logged in: an OK packet.
    Ok,
    /// Refused: an ERR packet, for [`error::server_error`](super::error::server_error).
    Err,
    /// Another plugin is wanted.
    Switch {
        /// Its name.
        plugin: &'a [u8],
        /// Its challenge, without the NUL behind it; [`ED25519`]'s has none, and may end in one of its own.
        data: &'a [u8],
    },
    /// The plugin goes on.
    More(&'a [u8]),
}

impl std::fmt::Debug for Reply<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ok => f.write_str("Ok"),
            Self::Err => f.write_str("Err"),
            Self::Switch { plugin, .. } => write!(f, "Switch({})", plugin.escape_ascii()),
            Self::More(data) => write!(f, "More({} bytes)", data.len()),
        }
    }
}

/// Reads the payload of a server's packet during login.
pub fn reply(payload: &[u8]) -> Result<Reply<'_>, Malformed> {
    let mut reader = Reader::new("AuthSwitchRequest", payload);
    match reader.u8()? {
        0x00 => Ok(Reply::Ok),
        0xff => Ok(Reply::Err),
        0x01 => Ok(Reply::More(reader.rest())),
        0xfe if reader.is_at_end() => {
            Err(reader.malformed("it asks for the password of before 4.1"))
        }
        0xfe => {
            let plugin = reader.cstring()?;
            let data = reader.rest();
            let whole = plugin == ED25519.as_bytes();
            let data = if whole { data } else { data.strip_suffix(&[0]).unwrap_or(data) };
            Ok(Reply::Switch { plugin, data })
        }
        _ => Err(reader.malformed("it begins as no packet of a login does")),
    }
}

/// The payload of an AuthSwitchRequest.
pub fn switch_request(plugin: &str, data: &[u8]) -> Vec<u8> {
    let mut payload = vec![0xfe];
    put_cstring(&mut payload, plugin.as_bytes());
    payload.extend_from_slice(data);
    if !data.is_empty() && plugin != ED25519 {
        payload.push(0);
    }
    payload
}

/// The payload of an AuthMoreData.
pub fn more_data(data: &[u8]) -> Vec<u8> {
    let mut payload = vec![0x01];
    payload.extend_from_slice(data);
    payload
}

/// The token in a client's answer to [`CLEAR_PASSWORD`]. Wipe the payload after use.
pub fn clear_password(payload: &[u8]) -> Result<&[u8], Malformed> {
    let password = payload.strip_suffix(&[0]).unwrap_or(payload);
    if password.contains(&0) {
        let (message, what) = ("mysql_clear_password", "bytes follow the password");
        return Err(Malformed::Body { message, what });
    }
    Ok(password)
}

/// The token in a client's answer to [`OPENID_CONNECT`]. Wipe the payload after use.
pub fn openid_token(payload: &[u8]) -> Result<&[u8], Malformed> {
    let mut reader = Reader::new("authentication_openid_connect_client", payload);
    if reader.u8()? != 1 {
        return Err(reader.malformed("its capability is not 1"));
    }
    let token = reader.lenenc_bytes()?;
    reader.end()?;
    Ok(token)
}

/// Our answer to [`CLEAR_PASSWORD`], or to [`PERFORM_FULL_AUTHENTICATION`] inside TLS.
pub fn clear_answer(password: &[u8]) -> Vec<u8> {
    let mut payload = password.to_vec();
    payload.push(0);
    payload
}

/// Our answer to [`NATIVE_PASSWORD`]: `SHA1(password) xor SHA1(scramble + SHA1(SHA1(password)))`; nothing for an empty
/// password.
pub fn native_answer(password: &[u8], scramble: &[u8]) -> Vec<u8> {
    if password.is_empty() {
        return Vec::new();
    }
    let sha1 = |bytes: &[u8]| digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes);
    let once = sha1(password);
    let mask = sha1(&[scramble, sha1(once.as_ref()).as_ref()].concat());
    xor(once.as_ref(), mask.as_ref())
}

/// Our first answer to [`CACHING_SHA2`]: `SHA256(password) xor SHA256(SHA256(SHA256(password)) + scramble)`; nothing for
/// an empty password.
pub fn caching_sha2_answer(password: &[u8], scramble: &[u8]) -> Vec<u8> {
    if password.is_empty() {
        return Vec::new();
    }
    let sha256 = |bytes: &[u8]| digest(&SHA256, bytes);
    let once = sha256(password);
    let mask = sha256(&[sha256(once.as_ref()).as_ref(), scramble].concat());
    xor(once.as_ref(), mask.as_ref())
}

/// Our answer to [`ED25519`]: the scramble signed as in RFC 8032 (5.1.6), but with the password, of any length, in place
/// of the 32 bytes of a private key.
pub fn ed25519_answer(password: &[u8], scramble: &[u8]) -> Vec<u8> {
    let expanded = digest(&SHA512, password);
    let Ok(secret) = ExpandedSecretKey::from_slice(expanded.as_ref()) else { return Vec::new() };
    let public = VerifyingKey::from(&secret);
    raw_sign::<ed25519_dalek::Sha512>(&secret, scramble, &public).to_bytes().to_vec()
}

fn xor(left: &[u8], right: &[u8]) -> Vec<u8> {
    left.iter().zip(right).map(|(left, right)| left ^ right).collect()
}
