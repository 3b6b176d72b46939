//! What conditional access says of a session.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::kind::conditional_access_policy::Control;

/// What one policy says of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// Which.
    pub policy: String,
    /// Whether it refuses nothing, whatever it says.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub report_only: bool,
    /// What it says.
    pub outcome: Outcome,
}

/// What a policy says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// It does not speak of this session, for this reason.
    NotApplied(Reason),
    /// What it demands is there.
    Satisfied,
    /// It blocks.
    Blocked,
    /// A better sign-in would satisfy it.
    Unmet(Vec<Control>),
    /// The sign-in is too long ago, or nobody knows when it was.
    SignInTooOld,
}

impl Outcome {
    /// Whether an enabled policy refuses with it.
    pub const fn refuses(&self) -> bool {
        match self {
            Self::NotApplied(_) | Self::Satisfied => false,
            Self::Blocked | Self::Unmet(_) | Self::SignInTooOld => true,
        }
    }
}

/// Why a policy does not speak of a session: the first condition that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reason {
    /// It is not of those whom it speaks of.
    Principal,
    /// Another server.
    Server,
    /// Another place.
    Location,
    /// Another program.
    Client,
    /// Another risk.
    Risk,
    /// Another time.
    Time,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Principal => "principal",
            Self::Server => "server",
            Self::Location => "location",
            Self::Client => "client",
            Self::Risk => "risk",
            Self::Time => "time",
        })
    }
}
