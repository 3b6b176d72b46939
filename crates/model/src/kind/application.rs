//! Workload identities with a credential of their own.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ApplicationId, FederatedCredential};

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
    /// Certificates that are known by their issuer and subject: an assertion that brings its chain (`x5c`) counts when one
    /// of these authorities issued its certificate for the name beside it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subject_name_issuers: Vec<SubjectNameIssuer>,
    /// Tokens of other issuers that stand for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub federated_credentials: Vec<FederatedCredential>,
}

/// An authority, and whom a certificate of its must name (Entra: subject name and issuer).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SubjectNameIssuer {
    /// The certificate's common name, or one of its DNS names.
    pub subject_name: String,
    /// PEM of the authority: a root, or the only intermediate that counts.
    pub authority: String,
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
