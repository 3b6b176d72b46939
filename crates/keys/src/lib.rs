//! Keys and what is made with them: the master key and what it seals, token signatures, certificate authorities, the
//! audit log's signature, handles, one-time codes.
//!
//! **Invariant:** every sealed format begins with a version byte and is authenticated as a whole, context included.
//! Private keys are zeroised when dropped; secrets are compared in constant time.

pub mod audit_key;
pub mod authority;
pub mod handle;
pub mod master;
pub mod token_signer;
pub mod totp;

pub use audit_key::{AuditKey, verify};
pub use authority::host::{HostCertificate, HostKey, HostPublicKey};
pub use authority::{Authority, ClientIdentity, ClientLeaf, ServerIdentity, SessionKey};
pub use handle::{HandleError, HandleKey, HandleRecord, public_id};
pub use master::{KeyId, MasterKey, MasterKeyError, SealContext, SealError};
pub use token_signer::TokenSigner;

/// A key cannot be made, read or used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The system's random source or the cryptography library failed.
    #[error("the cryptography library failed to {task}")]
    Failed {
        /// What it was doing.
        task: &'static str,
    },
    /// The bytes are not a key of that kind.
    #[error("the bytes are not {expected}")]
    Malformed {
        /// What they should have been.
        expected: &'static str,
    },
    /// A name cannot stand in a certificate.
    #[error("`{name}` cannot stand in a certificate: {reason}")]
    Name {
        /// As given.
        name: String,
        /// Why not.
        reason: &'static str,
    },
    /// The authority signs nothing any more.
    #[error("the authority `{name}` ended at {at}")]
    AuthorityEnded {
        /// Its common name.
        name: String,
        /// When.
        at: model::Timestamp,
    },
}

/// Bytes from the system's random source.
pub fn random<const N: usize>() -> Result<[u8; N], KeyError> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| KeyError::Failed { task: "draw random bytes" })?;
    Ok(bytes)
}
