//! `IDENTITY_HEADER`: what App Service's clients send along. It is derived from the host's key, so it survives the agent's
//! restart and rests on no disk, and it says for which account and which identity it was given. It is no more than a hint
//! that goes with the caller: whoever else has it is refused all the same.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keys::HostKey;
use serde::{Deserialize, Serialize};

use crate::ClientError;

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Said {
    pub(crate) uid: u32,
    /// The managed identity's name, when one was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) identity: Option<String>,
}

/// Makes and verifies headers.
pub(crate) struct Headers(hmac::Key);

impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Headers")
    }
}

impl Headers {
    pub(crate) fn of(key: &HostKey) -> Result<Self, ClientError> {
        let failed = |_| ClientError::Cryptography { task: "derive a key" };
        Ok(Self(key.derive("identity header").map_err(failed)?))
    }

    pub(crate) fn make(&self, said: &Said) -> Result<String, ClientError> {
        let failed = |_| ClientError::Cryptography { task: "make a header" };
        let text = URL_SAFE_NO_PAD.encode(serde_json::to_vec(said).map_err(failed)?);
        let tag = hmac::sign(&self.0, text.as_bytes());
        Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref())))
    }

    /// What it says, if it was made here. The comparison takes the same time whatever is wrong.
    pub(crate) fn read(&self, header: &str) -> Option<Said> {
        let (text, tag) = header.split_once('.')?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        hmac::verify(&self.0, text.as_bytes(), &tag).ok()?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_says_what_it_was_made_for_and_nothing_else_counts() {
        let key = HostKey::generate().unwrap();
        let said = Said { uid: 1001, identity: Some("orders".to_owned()) };
        let header = Headers::of(&key).unwrap().make(&said).unwrap();
        let restarted = Headers::of(&key).unwrap();
        assert_eq!(restarted.read(&header), Some(said));
        let other = Headers::of(&HostKey::generate().unwrap()).unwrap();
        assert_eq!(other.read(&header), None);
        let (text, tag) = header.split_once('.').unwrap();
        let forged = URL_SAFE_NO_PAD.encode(r#"{"uid":0}"#);
        for wrong in ["", ".", text, &format!("{forged}.{tag}"), &format!("{text}."), "ü.ü"] {
            assert_eq!(restarted.read(wrong), None, "{wrong}");
        }
    }
}
