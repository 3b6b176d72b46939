//! Trust in tokens of another issuer: what federated identity credentials say.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What clients ask other issuers for, when nothing else was agreed.
pub const EXCHANGE_AUDIENCE: &str = "api://AzureADTokenExchange";

/// So many at most on one application or managed identity, as in Entra.
pub const FEDERATED_CREDENTIALS_MAX: usize = 20;

/// Whoever shows a token of this issuer about this subject is the workload (Entra: federated identity credential).
/// Compared byte for byte: a slash at the end of the issuer or a capital letter makes another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FederatedCredential {
    /// Names it among those of the workload: letters, digits and `- _ . ~`, at most 120.
    pub name: String,
    /// `iss` of the tokens: an address with `https`, under which the issuer describes itself (OIDC discovery), unless the
    /// configuration has its keys.
    pub issuer: String,
    /// `sub` of the tokens. Either this or `claimsMatchingExpression`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// What the claims of the tokens must be, where one subject is not enough:
    /// `claims['sub'] matches 'repo:contoso/app:ref:refs/heads/*' and claims['ref_protected'] eq 'true'`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claims_matching_expression: Option<String>,
    /// `aud` of the tokens.
    #[serde(default = "exchange_audience")]
    pub audience: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

fn exchange_audience() -> String {
    EXCHANGE_AUDIENCE.to_owned()
}
