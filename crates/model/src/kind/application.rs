//! Workload identities with a credential of their own.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ApplicationId;

/// An application with its service principal (Entra: app registration and enterprise application). `metadata.uid` is
/// the service principal's object id. Secrets are never in here: they are hashed, in the store's credentials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Application {
    /// Shown to people.
    pub display_name: String,
    /// A disabled application gets no token, and every live session of its is cut.
    #[serde(default = "crate::document::yes")]
    pub enabled: bool,
    /// The client id; drawn at creation when absent, immutable afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<ApplicationId>,
    /// PEM certificates whose keys may sign client assertions (RFC 7523).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<String>,
    /// Where a browser may take an authorization code back to. Compared byte for byte, but for the port of a public
    /// client's `http://localhost`, `http://127.0.0.1` and `http://[::1]` (RFC 8252 §7.3).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redirect_uris: Vec<String>,
    /// A program on people's own machines: it can keep no secret, so it has none, and its codes need PKCE.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub public_client: bool,
}

/// What the directory knows of an application.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApplicationStatus {
    /// The client id in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<ApplicationId>,
}

impl crate::Spec for Application {
    const KIND: crate::Kind = crate::Kind::Application;
    type Status = ApplicationStatus;
}
