//! Private records of credentials and sign-ins. Secrets are hashed or sealed before they come here; what is random and
//! at least 80 bits long is hashed with SHA-256, which is all that guessing-proof secrets need.

mod people;

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};
use model::{ApplicationId, PrincipalId, Timestamp};
use serde::{Deserialize, Serialize};
use store::Record;
use subtle::ConstantTimeEq;
use uuid::Uuid;

pub(crate) use people::forget_factors;
pub use people::{
    AuthorizationCode, BrowserSession, Passkey, Passkeys, PastSignIn, Program, SignInHistory,
    TrustedBrowser, end_families, end_sign_ins, trusted_browser_key,
};

/// A Temporary Access Pass dies after so many wrong tries.
pub const PASS_TRIES_MAX: u8 = 5;

/// SHA-256 of a random secret, in hex. Compares in constant time.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hash(String);

impl Hash {
    /// Of a secret as its holder writes it.
    pub fn of(secret: &[u8]) -> Self {
        let mut hex = String::with_capacity(64);
        for byte in digest(&SHA256, secret).as_ref() {
            // Writing to a String cannot fail.
            let _written = write!(hex, "{byte:02x}");
        }
        Self(hex)
    }

    /// As a record's key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PartialEq for Hash {
    fn eq(&self, other: &Self) -> bool {
        bool::from(self.0.as_bytes().ct_eq(other.0.as_bytes()))
    }
}

impl Eq for Hash {}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[hash]")
    }
}

/// The secrets of one application. Key: the application's object id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientSecrets {
    /// Those that were not removed; expired ones stay, so that their use is told apart from a wrong secret.
    pub secrets: Vec<ClientSecret>,
}

/// One secret of an application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientSecret {
    /// Names it towards people.
    pub id: Uuid,
    /// Of the secret's text.
    pub hash: Hash,
    /// When it was made.
    pub created_at: Timestamp,
    /// Dead at this instant.
    pub expires_at: Timestamp,
}

impl Record for ClientSecrets {
    const COLLECTION: &'static str = "client-secrets";
}

/// A Temporary Access Pass: it enrols a device key, once. Key: the user's object id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessPass {
    /// Of the pass as it was shown.
    pub hash: Hash,
    /// Dead at this instant.
    pub expires_at: Timestamp,
    /// Wrong tries so far; at [`PASS_TRIES_MAX`] it is dead.
    pub tries: u8,
}

impl Record for AccessPass {
    const COLLECTION: &'static str = "access-passes";
}

/// A token with which a machine joins, once. Key: the host's object id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinToken {
    /// Of the token as it was shown.
    pub hash: Hash,
    /// Dead at this instant.
    pub expires_at: Timestamp,
}

impl Record for JoinToken {
    const COLLECTION: &'static str = "join-tokens";
}

/// The device key and TOTP seed of a person. Key: the user's object id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolment {
    /// P-256 public key, SubjectPublicKeyInfo (DER), base64url without padding; absent when only an authenticator was
    /// set up, in a browser.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// TOTP seed, sealed under the master key; base64url without padding.
    pub sealed_seed: String,
    /// The revision that the seal is bound to.
    pub sealed_at: u64,
    /// Sign-ins and refresh tokens from before this do not count.
    pub enrolled_at: Timestamp,
}

impl Record for Enrolment {
    const COLLECTION: &'static str = "enrolments";
}

/// What sign-ins of a person left behind. Key: the user's object id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignInState {
    /// The last TOTP step that was used; it and those before it do not count again.
    pub last_step: Option<u64>,
    /// Wrong codes since the last right one.
    pub failures: u8,
    /// No code counts before this.
    pub locked_until: Option<Timestamp>,
}

impl Record for SignInState {
    const COLLECTION: &'static str = "sign-in-states";
}

/// Refresh tokens that descend from one sign-in. Key: the hash of the family's id, which every token of it carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshFamily {
    /// Whose.
    pub principal: PrincipalId,
    /// The client that holds it.
    pub client: ApplicationId,
    /// What it was asked for with: what a renewal means that does not say.
    #[serde(default)]
    pub scope: Option<String>,
    /// Of the one token that counts now; presenting a former one ends the family.
    pub current: Hash,
    /// When the person signed in.
    pub signed_in_at: Timestamp,
    /// How (`amr`).
    pub methods: Vec<String>,
    /// `sid`.
    pub session: Uuid,
    /// Dead at this instant, however often it was used.
    pub expires_at: Timestamp,
}

impl Record for RefreshFamily {
    const COLLECTION: &'static str = "refresh-families";
}

/// A sign-in that another device asked for. Key: its user code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceGrant {
    /// Of the device code.
    pub hash: Hash,
    /// The client that asked.
    pub client: ApplicationId,
    /// What it asked for.
    pub scope: String,
    /// From where.
    pub source: std::net::IpAddr,
    /// When.
    pub asked_at: Timestamp,
    /// Dead at this instant.
    pub expires_at: Timestamp,
    /// What became of it.
    pub state: DeviceGrantState,
}

/// What became of a device's request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DeviceGrantState {
    /// Nobody has decided.
    Pending,
    /// A person said yes.
    #[serde(rename_all = "camelCase")]
    Approved {
        /// Who.
        principal: PrincipalId,
        /// When they signed in to say so.
        signed_in_at: Timestamp,
        /// How (`amr`).
        methods: Vec<String>,
    },
    /// A person said no.
    Denied,
    /// The device has its tokens.
    Redeemed,
}

impl Record for DeviceGrant {
    const COLLECTION: &'static str = "device-grants";
}

/// Something that was used and must not be used again: an assertion's `jti`, a sign-in challenge. Key: a hash of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// When.
    pub at: Timestamp,
}

impl Record for Used {
    const COLLECTION: &'static str = "used";
}
