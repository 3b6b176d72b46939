//! What happens to sessions.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Actor;
use crate::verdict::Verdict;
use crate::{
    ActivationId, ApplicationId, DatabaseRoleName, Revision, ServerName, SessionId, Timestamp,
    TokenId,
};

/// A session was opened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionOpened {
    /// The session.
    pub session: SessionId,
    /// Who.
    pub actor: Actor,
    /// From where.
    pub source: IpAddr,
    /// To which server.
    pub server: ServerName,
    /// To which of its databases.
    pub database: String,
    /// Under which name there.
    pub database_user: String,
    /// With which roles.
    pub roles: BTreeSet<DatabaseRoleName>,
    /// Under which activations.
    pub activations: Vec<ActivationId>,
    /// With which token.
    pub token: TokenId,
    /// Until when at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// As the client named itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application_name: Option<String>,
    /// Process id of the backend.
    pub backend_pid: u32,
    /// TLS version and cipher suite toward the client.
    pub tls: String,
    /// How the person signed in (`amr`), where the credential says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_in_at: Option<Timestamp>,
    /// The program that got the token, by its client id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<ApplicationId>,
    /// What the conditional access policies said that applied; those that only report among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<Verdict>,
}

/// A session ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionEnded {
    /// The session.
    pub session: SessionId,
    /// Who.
    pub actor: Actor,
    /// `client`, `server`, `cut`, `drain`, `idle`, `malformed`, `audit`, `panic`; `gatewayStopped` when the process ended
    /// without a word, which the next one says (then bytes are unknown and zero).
    pub reason: String,
    /// The refusal's stable code, when there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Statements seen.
    pub statements: u64,
    /// Bytes from the client.
    pub bytes_in: u64,
    /// Bytes to the client.
    pub bytes_out: u64,
}

/// A live session was cut.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionCut {
    /// The session.
    pub session: SessionId,
    /// Whose.
    pub actor: Actor,
    /// Where.
    pub server: ServerName,
    /// The refusal's stable code.
    pub code: String,
    /// What the client was told.
    pub message: String,
    /// The store's commit, or the deadline, from which the times count.
    pub cause_at: Timestamp,
    /// The revision whose commit was the cause; absent for a deadline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// Last byte forwarded to the server.
    pub last_forwarded_at: Timestamp,
    /// When forwarding stopped for good.
    pub stopped_at: Timestamp,
    /// The client was told (where a message boundary allowed it) and its connection closed.
    pub client_closed_at: Timestamp,
    /// The backend was gone; absent when it had not been seen gone when this was written (a later
    /// `databaseUserWithdrawn` then says when).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_gone_at: Option<Timestamp>,
    /// Whether the client could be told at a message boundary.
    pub told: bool,
}
