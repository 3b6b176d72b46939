//! Audit events: what the log holds, one JSON object each.

mod session;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    ActivationId, DatabaseRoleName, PrincipalId, PrincipalKind, Revision, ServerName, SessionId,
    Timestamp, TokenId,
};

pub use session::{SessionCut, SessionEnded, SessionOpened};

/// One record of the audit log. The log itself adds the sequence number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Position in the log of one gateway, from 1, without gaps. Zero until the log has taken it.
    #[serde(default)]
    pub sequence: u64,
    /// When it happened.
    pub time: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub body: EventBody,
}

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Actor {
    /// Object id; absent for Portcullis itself and for those who could not be identified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<PrincipalId>,
    /// What people read: a user principal name, an application name, `portcullis`, or the name that was claimed.
    pub name: String,
    /// A person or a workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<PrincipalKind>,
}

impl Actor {
    /// Portcullis itself: reconciliation, expiry, rotation.
    pub fn portcullis() -> Self {
        Self { id: None, name: "portcullis".to_owned(), kind: None }
    }

    /// Someone who was not identified, under the name that they claimed.
    pub fn claimed(name: impl Into<String>) -> Self {
        Self { id: None, name: name.into(), kind: None }
    }
}

impl From<&crate::Principal> for Actor {
    fn from(principal: &crate::Principal) -> Self {
        Self { id: Some(principal.id), name: principal.name.clone(), kind: Some(principal.kind) }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum EventBody {
    /// The process began; `unknownOutcomes` statements of the former process have no outcome.
    Started {
        /// Version of the binary.
        version: String,
        /// Statements of the former process that got `unknown (gateway stopped)`.
        #[serde(default)]
        unknown_outcomes: u64,
    },
    /// The process stopped in order.
    Stopped,
    /// A connection was turned away.
    SessionRefused {
        /// The connection.
        session: SessionId,
        /// Who, or who they claimed to be.
        actor: Actor,
        /// From where.
        source: IpAddr,
        /// The server, once the route was known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        server: Option<ServerName>,
        /// The database asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        database: Option<String>,
        /// The refusal's stable code.
        code: String,
        /// What the client was told.
        message: String,
        /// The cause, which the client was not told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<String>,
    },
    /// A session was opened.
    SessionOpened(Box<SessionOpened>),
    /// A session ended, however.
    SessionEnded(Box<SessionEnded>),
    /// A statement was received; recorded before it was forwarded.
    Statement(Box<Statement>),
    /// What became of a statement.
    StatementOutcome(Box<StatementOutcome>),
    /// A live session was cut because its decision changed.
    SessionCut(Box<SessionCut>),
    /// A database user's login was withdrawn, and what was verified on the server.
    DatabaseUserWithdrawn {
        /// The server.
        server: ServerName,
        /// Whose user.
        actor: Actor,
        /// The user's name there.
        user: String,
        /// When NOLOGIN and the loss of memberships were committed.
        login_disabled_at: Timestamp,
        /// When the last backend was seen gone; absent while one remains.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        backends_gone_at: Option<Timestamp>,
        /// Owned objects moved, prepared transactions found.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        left_behind: Vec<String>,
    },
    /// A database user was created, or its memberships changed.
    DatabaseUserChanged {
        /// The server.
        server: ServerName,
        /// Whose user.
        actor: Actor,
        /// The user's name there.
        user: String,
        /// Memberships now.
        roles: BTreeSet<DatabaseRoleName>,
        /// Whether the server has the `testStack` attribute.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        test_stack: bool,
    },
    /// Reconciliation found something on a server that no resource explains.
    Drift {
        /// The server.
        server: ServerName,
        /// What, in words.
        finding: String,
    },
    /// What a table is called whose oid stands in outcomes: looked up at its first sight, again when it has changed, and
    /// once a day while it is in use. Of a MySQL server every table, once a session was on it.
    RelationNamed(Box<RelationNamed>),
    /// A resource was written, or a write was refused.
    Write(Box<Write>),
    /// An activation took a step.
    ActivationChanged(Box<ActivationChanged>),
    /// Someone signed in, enrolled a key or got a pass.
    SignIn {
        /// Who, or who they claimed to be.
        actor: Actor,
        /// From where.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<IpAddr>,
        /// `enrol`, `signIn`, `deviceCode`, `passkey`, `authorize`, …; `hostJoin` and `hostRenew` of a machine.
        step: String,
        /// The program that it was for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client: Option<String>,
        /// Whether it succeeded.
        outcome: Outcome,
    },
    /// A token was issued or refused.
    Token {
        /// To whom, or who they claimed to be.
        actor: Actor,
        /// From where.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<IpAddr>,
        /// OAuth grant type.
        grant: String,
        /// What it is for.
        audience: String,
        /// Its id, when issued.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<TokenId>,
        /// Until when.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<Timestamp>,
        /// What the client proved itself with: `secret ID`, `certificate THUMBPRINT`, `federated NAME: ISSUER SUBJECT`;
        /// of a managed identity the host that vouched for the process: `host NAME: uid …`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        credential: Option<String>,
        /// Whether it succeeded.
        outcome: Outcome,
    },
    /// Something that an attacker does and nobody else: someone should look.
    Alert {
        /// Whose credential it was.
        actor: Actor,
        /// From where it was used.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<IpAddr>,
        /// What, as a stable word: `refreshTokenReused`, `authorizationCodeReused`, `passkeyCopied`.
        alert: String,
        /// What it means and what was done about it, in words.
        message: String,
    },
    /// The audit log was read through the API.
    AuditRead {
        /// By whom.
        actor: Actor,
        /// What they asked for.
        query: String,
    },
    /// A matter of the installation itself: a key rotated, an authority near its end, a log that had to be closed.
    Installation {
        /// By whom.
        actor: Actor,
        /// What, as a stable word: `masterKeyRotated`, `authorityRotated`, `ownerRecovered`, `certificateEnding`.
        action: String,
        /// On what.
        subject: String,
        /// Anything else that a reader needs.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        detail: BTreeMap<String, Value>,
    },
}

/// The two events of every statement, written as [`EventBody`] writes them without being given away.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum StatementEvent<'a> {
    /// A statement was received.
    Statement(&'a Statement),
    /// What became of a statement.
    StatementOutcome(&'a StatementOutcome),
}

/// Whether something succeeded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// It did.
    Succeeded,
    /// It was refused under this code.
    #[serde(rename_all = "camelCase")]
    Refused {
        /// Stable code.
        code: String,
        /// What the asker was told.
        message: String,
    },
}

/// How a statement arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StatementProtocol {
    /// PostgreSQL's Query.
    Simple,
    /// Execute of a portal.
    Extended,
    /// FunctionCall.
    Function,
    /// A command of a replication connection.
    Replication,
    /// COM_QUERY.
    Query,
    /// COM_STMT_EXECUTE.
    Execute,
    /// COM_STMT_BULK_EXECUTE.
    BulkExecute,
    /// COM_STMT_FETCH: more rows of a statement that was executed with a cursor.
    Fetch,
    /// Another command of MySQL's protocol, as the statement that says the same.
    Command,
}

/// A statement was received.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    /// The session.
    pub session: SessionId,
    /// Number within the session, from 1.
    pub number: u64,
    /// Who.
    pub actor: Actor,
    /// Where.
    pub server: ServerName,
    /// In which database.
    pub database: String,
    /// How it arrived.
    pub protocol: StatementProtocol,
    /// The text, in UTF-8 or as `\x…` when `encoding` says that it could not be read as such.
    pub sql: String,
    /// Bytes of the whole text when `sql` is only its beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql_bytes: Option<u64>,
    /// SHA-256 of the whole text, in hex, when `sql` is only its beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql_sha256: Option<String>,
    /// Client encoding, when not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// A backslash in a literal of the text is a character like any other: MySQL's NO_BACKSLASH_ESCAPES.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plain_backslash: bool,
    /// The MySQL session may have changed its default database in a way that was not seen, and `database` be the former.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub database_doubtful: bool,
    /// Bind values, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<Parameter>,
}

/// A bind value as it was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Parameter {
    /// SQL NULL.
    Null,
    /// In text format, or decoded from binary where the type is known.
    Text(String),
    /// In binary format, as hex.
    Binary(String),
    /// Its beginning; it was longer than the log keeps.
    #[serde(rename_all = "camelCase")]
    Truncated {
        /// The beginning, as text or hex.
        start: String,
        /// Bytes in all.
        bytes: u64,
        /// SHA-256 of all, in hex.
        sha256: String,
    },
    /// Left out by the server's rules.
    #[serde(rename_all = "camelCase")]
    Redacted {
        /// Bytes in all.
        bytes: u64,
        /// SHA-256 of all, in hex.
        sha256: String,
    },
}

/// What became of a statement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatementOutcome {
    /// The session.
    pub session: SessionId,
    /// The statement's number.
    pub number: u64,
    /// Command tags, one for each statement of a Query, as the server sent them (`INSERT 0 5`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Rows that the tags speak of, all together; with MySQL the rows that were sent.
    pub rows: u64,
    /// What MySQL says besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mysql: Option<MySqlOutcome>,
    /// Oids of the tables that its rows come from, as the server described them; a list of 64 may have been longer.
    /// `relationNamed` says what they are called.
    #[serde(default, skip_serializing_if = "<[u32]>::is_empty")]
    pub relations: Arc<[u32]>,
    /// SQLSTATE and message, when the server refused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<StatementError>,
    /// From the record of the statement to its outcome, in microseconds.
    pub duration_us: u64,
    /// `unknown` after a crash, `suspended` for a portal that was not read to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What MySQL and MariaDB say of a statement besides its rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MySqlOutcome {
    /// Results that ended well: more than one of several statements, or of a procedure.
    pub results: u64,
    /// Rows affected, of all results together; with CLIENT_FOUND_ROWS those found.
    pub affected: u64,
    /// The last AUTO_INCREMENT value; 0 when there was none.
    pub last_insert_id: u64,
    /// Warnings of the last result.
    pub warnings: u16,
    /// Files of the client's that were loaded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<LocalFile>,
}

/// A file of the client's that a statement loaded (`LOAD DATA LOCAL INFILE`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalFile {
    /// Its name, as the statement has it.
    pub name: String,
    /// What was sent of it.
    pub bytes: u64,
}

/// What a table is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RelationNamed {
    /// The server.
    pub server: ServerName,
    /// The database.
    pub database: String,
    /// The oid there; absent for MySQL's tables, which have a name and no number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oid: Option<u32>,
    /// What the catalogue says; absent when it could not be asked, or has no such oid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relation: Option<Relation>,
    /// Why `relation` is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

/// A table, view or the like as the catalogue has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Relation {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// `table`, `partitionedTable`, `view`, `materializedView`, `foreignTable`, `sequence`, `index`, `compositeType`, …
    pub kind: String,
    /// What a reading of it does besides, in words: `row security`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_read: Vec<String>,
    /// What a change of it does besides, in words: `triggers`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_write: Vec<String>,
    /// Of a view: schema and name of the tables that its definition reads, through other views too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub over: Vec<(String, String)>,
}

/// An error as the server reported it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatementError {
    /// SQLSTATE.
    pub sqlstate: String,
    /// MySQL's number of the error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u16>,
    /// Primary message.
    pub message: String,
}

/// A resource was written, or a write was refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Write {
    /// By whom.
    pub actor: Actor,
    /// From where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// The control-plane verb.
    pub verb: String,
    /// Kind and name of what was written, as `Kind/name`.
    pub subject: String,
    /// The store's revision after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// Fields before and after, as JSON Pointers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub changes: BTreeMap<String, Change>,
    /// Whether it was taken.
    pub outcome: Outcome,
}

/// A field before and after.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// Before; absent when it was not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Value>,
    /// After; absent when it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Value>,
}

/// An activation took a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActivationChanged {
    /// The activation.
    pub activation: ActivationId,
    /// Who took the step.
    pub actor: Actor,
    /// `request`, `approve`, `deny`, `cancel`, `deactivate`, `revoke`, `expire`.
    pub step: String,
    /// Whose membership.
    pub user: String,
    /// Of what.
    pub group: String,
    /// What was said to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Until when membership holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The store's revision after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// Whether it was taken.
    pub outcome: Outcome,
}
