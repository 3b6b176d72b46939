//! Why a client of the proxy could not be served, and how it is told.

use std::io;
use std::sync::Arc;

use wire::mysql::error::Report as MySqlReport;
use wire::pg::error::{Report, Severity};

use crate::ClientError;

/// Why a client could not be served.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// The client went away, or does not speak to us.
    #[error("the client went away: {0}")]
    Local(#[source] io::Error),
    /// There is no token.
    #[error("no token could be had: {0}")]
    Token(Arc<ClientError>),
    /// There is none yet.
    #[error("no token could be had in time")]
    TokenLate,
    /// Nothing answers.
    #[error("the gateway {address} cannot be reached: {cause}")]
    Unreachable {
        /// The gateway.
        address: String,
        /// What the network said.
        cause: io::Error,
    },
    /// TLS cannot be had there, or who answers is not to be trusted.
    #[error("the gateway {address} cannot be trusted: {cause}")]
    Untrusted {
        /// The gateway.
        address: String,
        /// Why.
        cause: String,
    },
    /// The gateway refused, in these words of the protocol.
    #[error("the gateway refused: {said}")]
    Refused {
        /// For the log.
        said: String,
        /// For the client: a message of PostgreSQL's, a payload of MySQL's.
        verbatim: Vec<u8>,
    },
    /// The gateway says what does not belong there.
    #[error("the gateway does not speak as it should: {0}")]
    Gateway(String),
    /// The client says what is not understood.
    #[error("{0}")]
    Client(String),
}

impl Trouble {
    pub(super) fn gateway(what: impl std::fmt::Display) -> Self {
        Self::Gateway(what.to_string())
    }

    pub(super) fn client(what: impl std::fmt::Display) -> Self {
        Self::Client(what.to_string())
    }

    fn hint(&self) -> Option<&str> {
        match self {
            Self::Token(error) => error.remedy(),
            Self::TokenLate | Self::Unreachable { .. } => Some("try again in a moment"),
            Self::Untrusted { .. } => {
                Some("check that PORTCULLIS_CA is this installation's authority")
            }
            Self::Local(_) | Self::Refused { .. } | Self::Gateway(_) | Self::Client(_) => None,
        }
    }

    /// PostgreSQL's class; what pools decide by whether to try again.
    const fn sqlstate(&self) -> &'static str {
        match self {
            Self::Token(_) => "28000",
            Self::Local(_)
            | Self::TokenLate
            | Self::Unreachable { .. }
            | Self::Untrusted { .. } => "08006",
            Self::Refused { .. } | Self::Gateway(_) | Self::Client(_) => "08P01",
        }
    }

    /// MySQL's number of the same meaning.
    const fn number(&self) -> (u16, &'static str) {
        match self {
            // ER_ACCESS_DENIED_ERROR
            Self::Token(_) => (1045, "28000"),
            // ER_MALFORMED_PACKET
            Self::Client(_) => (1835, "HY000"),
            // ER_UNKNOWN_ERROR
            Self::Local(_)
            | Self::TokenLate
            | Self::Unreachable { .. }
            | Self::Untrusted { .. }
            | Self::Refused { .. }
            | Self::Gateway(_) => (1105, "HY000"),
        }
    }

    /// ErrorResponse.
    pub(super) fn postgresql(&self) -> Vec<u8> {
        if let Self::Refused { verbatim, .. } = self {
            return verbatim.clone();
        }
        let message = format!("portcullis proxy: {self}");
        Report {
            severity: Severity::Fatal,
            sqlstate: self.sqlstate(),
            message: &message,
            detail: None,
            hint: self.hint(),
        }
        .encode()
    }

    /// The payload of an ERR packet.
    pub(super) fn mysql(&self) -> Vec<u8> {
        if let Self::Refused { verbatim, .. } = self {
            return verbatim.clone();
        }
        let message = match self.hint() {
            Some(hint) => format!("portcullis proxy: {self} ({hint})"),
            None => format!("portcullis proxy: {self}"),
        };
        let (code, sqlstate) = self.number();
        MySqlReport { code, sqlstate, message: &message }.encode()
    }
}

/// Whether a refusal, by its code, means the token itself: another may be taken.
pub(super) fn means_the_token(message: &str) -> bool {
    use model::code::{TOKEN_EXPIRED, TOKEN_REVOKED, TOKEN_SIGNATURE};

    let code = message.split(':').next().unwrap_or_default();
    [&TOKEN_EXPIRED, &TOKEN_REVOKED, &TOKEN_SIGNATURE].iter().any(|known| known.id == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_told_why_there_is_no_token_and_what_to_do() {
        let origin = "https://sts.test".to_owned();
        let trouble = Trouble::Token(Arc::new(ClientError::NotSignedIn { origin }));
        let told = String::from_utf8_lossy(&trouble.postgresql()).into_owned();
        for text in ["FATAL", "28000", "nobody is signed in", "portcullis login"] {
            assert!(told.contains(text), "`{text}` in {told}");
        }
        let told = String::from_utf8_lossy(&trouble.mysql()).into_owned();
        assert!(told.contains("#28000") && told.contains("portcullis login"), "{told}");
    }

    #[test]
    fn only_refusals_of_the_token_itself_are_worth_another_token() {
        for (message, expected) in [
            ("PC1104: the token expired 3s ago", true),
            ("PC1108: the token was revoked", true),
            ("PC1203: you are not a member", false),
            ("PC11040: something else", false),
            ("", false),
        ] {
            assert_eq!(means_the_token(message), expected, "{message}");
        }
    }
}
