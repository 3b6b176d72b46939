//! Who asks: a bearer token for the control plane, verified against the snapshot on every request.

use std::net::SocketAddr;
use std::sync::Arc;

use access::token::{self, CONTROL_AUDIENCE, Credential, Expected};
use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use control::Caller;
use model::{ControlRole, Principal, PrincipalKind, Refusal, Snapshot, Timestamp, UserName, code};

use crate::Api;
use crate::problem::Problem;

/// A caller that was identified, and the snapshot that said so.
#[derive(Clone, Debug)]
pub(crate) struct Authenticated {
    pub(crate) caller: Caller,
    pub(crate) snapshot: Arc<Snapshot>,
    /// What the caller showed; a long answer asks again whether it still counts.
    pub(crate) credential: Credential,
}

impl Authenticated {
    /// The caller as a person; workloads have no memberships to ask for.
    pub(crate) fn user(&self) -> Result<UserName, Refusal> {
        let principal = &self.caller.principal;
        match principal.kind {
            PrincipalKind::User => UserName::new(principal.name.clone())
                .map_err(|error| Refusal::new(&code::INVALID, error.to_string())),
            PrincipalKind::Application | PrincipalKind::ManagedIdentity => {
                Err(Refusal::new(&code::FORBIDDEN, "only people ask for membership"))
            }
        }
    }

    /// The person or workload of that name.
    pub(crate) fn principal_named(&self, name: &str) -> Result<Principal, Refusal> {
        self.snapshot.principal_named(name).ok_or_else(|| {
            Refusal::new(&code::NOT_FOUND, format!("there is no person or workload `{name}`"))
        })
    }
}

impl FromRequestParts<Api> for Authenticated {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
        let header = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let jwt = header.and_then(bearer).ok_or_else(|| {
            Refusal::new(&code::UNAUTHENTICATED, "the request has no bearer token")
        })?;
        let snapshot = api.snapshots.load();
        let credential = verify(api, jwt, &snapshot)?;
        let caller = standing(&credential, &snapshot, api.clock.now())?;
        let caller = Caller { source: peer.map(|peer| peer.ip()), ..caller };
        Ok(Self { caller, snapshot, credential })
    }
}

/// RFC 6750 §2.1; the scheme's case does not matter (RFC 9110 §11.1).
pub(crate) fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

fn verify(api: &Api, jwt: &str, snapshot: &Snapshot) -> Result<Credential, Refusal> {
    let expected = Expected { issuer: &api.issuer, tenant: api.tenant, audience: CONTROL_AUDIENCE };
    token::verify(jwt, &expected, snapshot, api.clock.now()).map_err(sign_in)
}

/// Whom the credential stands for and in which role, while it still counts.
pub(crate) fn standing(
    credential: &Credential,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Result<Caller, Refusal> {
    if now >= credential.expires_at {
        let message = format!("the token expired at {}", credential.expires_at);
        return Err(sign_in(Refusal::new(&code::TOKEN_EXPIRED, message)));
    }
    if token::revoked(credential, snapshot) {
        return Err(sign_in(Refusal::new(&code::TOKEN_REVOKED, "the token was revoked")));
    }
    let Some(principal) = snapshot.principal(credential.principal) else {
        let message = format!("object id {} does not exist here", credential.principal);
        return Err(Refusal::new(&code::PRINCIPAL_UNKNOWN, message));
    };
    if !principal.enabled {
        let message = format!("`{}` is disabled", principal.name);
        return Err(Refusal::new(&code::PRINCIPAL_DISABLED, message));
    }
    // Workloads have no say in the control plane beyond what everyone has.
    let role = snapshot
        .users
        .by_uid(principal.id.0)
        .map_or(ControlRole::User, |user| user.spec.control_role);
    Ok(Caller { principal, role, source: None })
}

/// Codes of the data path say how to get a database token; here the way back is to sign in.
fn sign_in(refusal: Refusal) -> Refusal {
    refusal.hint("sign in with `portcullis login`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_bearer_scheme_carries_a_token() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bearer abc"), Some("abc"));
        assert_eq!(bearer("Basic abc"), None);
        assert_eq!(bearer("abc"), None);
    }
}
