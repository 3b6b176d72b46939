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
