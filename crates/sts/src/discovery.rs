//! Discovery: where everything is, and with which keys tokens are signed.

use model::kind::signing_key::SigningKey;
use model::{Document, Snapshot, TenantId, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};

use crate::failure::{Failure, INSTANCE_UNKNOWN};
use crate::{contexts, form, tenant};

/// The two families of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V1,
    V2,
}

impl Version {
    fn prefix(self) -> &'static str {
        match self {
            Self::V1 => "oauth2",
            Self::V2 => "oauth2/v2.0",
        }
    }

    fn keys(self) -> &'static str {
        match self {
            Self::V1 => "discovery/keys",
            Self::V2 => "discovery/v2.0/keys",
        }
    }
}

/// The openid-configuration document. Addresses keep the `segment` that was asked for; the issuer is always the tenant
/// itself: MSAL for Node compares its origin, libpq all of it.
pub(crate) fn configuration(
    origin: &str,
    segment: &str,
    tenant: TenantId,
    version: Version,
) -> Value {
    let base = format!("{origin}/{segment}");
    let oauth = format!("{base}/{}", version.prefix());
    let host = origin.split_once("://").map_or(origin, |(_, host)| host);
    json!({
        "issuer": tenant::issuer(origin, tenant),
        "authorization_endpoint": format!("{oauth}/authorize"),
        "token_endpoint": format!("{oauth}/token"),
        "device_authorization_endpoint": format!("{oauth}/devicecode"),
        "end_session_endpoint": format!("{oauth}/logout"),
        "jwks_uri": format!("{base}/{}", version.keys()),
        "userinfo_endpoint": format!("{origin}/oidc/userinfo"),
        "revocation_endpoint": format!("{base}/oauth2/v2.0/revoke"),
        "authorization_response_iss_parameter_supported": true,
        "acr_values_supported": contexts::KNOWN,
        "response_types_supported": ["code"],
        "response_modes_supported": ["query", "fragment", "form_post"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "token_endpoint_auth_methods_supported":
            ["client_secret_post", "client_secret_basic", "private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["RS256", "PS256", "ES256"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "code_challenge_methods_supported": ["S256"],
        "grant_types_supported":
            ["authorization_code", "client_credentials", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
        "claims_supported": [
            "sub", "iss", "aud", "exp", "iat", "nonce", "preferred_username", "oid", "tid", "ver", "upn",
        ],
        "tenant_region_scope": null,
        "cloud_instance_name": host,
        "msgraph_host": host,
    })
}

/// The instance discovery document: whether `authorization_endpoint` is of this authority, and by which names clients
/// may keep its tokens. The origin comes from configuration: MSAL for Python drops the port from what it sends.
pub(crate) fn instance(
    origin: &str,
    authorization_endpoint: &str,
    snapshot: &Snapshot,
) -> Result<Value, Failure> {
    let foreign = || {
        Failure::new(
            &INSTANCE_UNKNOWN,
            "Unknown or invalid instance. The authorization endpoint is not this authority's.",
        )
    };
    let authority = origin.strip_prefix("https://").unwrap_or(origin);
    let host = host_of(authority);
    let rest = authorization_endpoint.strip_prefix("https://").ok_or_else(foreign)?;
    let (asked, path) = rest.split_once('/').ok_or_else(foreign)?;
    let ours = asked.eq_ignore_ascii_case(authority) || asked.eq_ignore_ascii_case(host);
    let segment = path.split('/').next().unwrap_or_default();
    if !ours {
        return Err(foreign());
    }
    tenant::named(segment, snapshot)?;
    let mut aliases = vec![authority];
    if host != authority {
        aliases.push(host);
    }
    Ok(json!({
        "tenant_discovery_endpoint": format!("{origin}/{segment}/v2.0/.well-known/openid-configuration"),
        "api-version": "1.1",
        "metadata": [{
            "preferred_network": authority, "preferred_cache": authority, "aliases": aliases,
        }],
    }))
}

/// `host` of `host:port`, brackets of an IPv6 address included.
fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// The `authorization_endpoint` of a query, decoded.
pub(crate) fn authorization_endpoint(query: &str) -> Option<String> {
    let encoded = query.split('&').find_map(|pair| pair.strip_prefix("authorization_endpoint="))?;
    form::decoded(encoded.as_bytes())
}

#[derive(Serialize)]
struct Jwk<'a> {
    kty: &'static str,
    #[serde(rename = "use")]
    usage: &'static str,
    kid: &'a str,
    x5t: &'a str,
    n: &'a str,
    e: &'a str,
    alg: &'static str,
    issuer: &'a str,
}

/// Keys that verify tokens now or will soon (RFC 7517 §5); the next one is published before it signs.
pub(crate) fn keys(issuer: &str, snapshot: &Snapshot, now: Timestamp) -> Value {
    let alive = snapshot.signing_keys.iter().filter(|key| now < key.spec.verifies_until);
    let keys: Vec<Value> =
        alive.filter_map(|key| serde_json::to_value(jwk(key, issuer)).ok()).collect();
    json!({ "keys": keys })
}

fn jwk<'a>(key: &'a Document<SigningKey>, issuer: &'a str) -> Jwk<'a> {
    Jwk {
        kty: "RSA",
        usage: "sig",
        kid: key.name(),
        x5t: key.name(),
        n: &key.spec.modulus,
        e: &key.spec.exponent,
        alg: "RS256",
        issuer,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::Revision;
    use model::kind::tenant::Tenant;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    const ORIGIN: &str = "https://sts.test:8443";

    fn snapshot() -> (TenantId, Snapshot) {
        let id = TenantId(Uuid::from_u128(0x77));
        let mut tenant = Document::new(
            "example",
            Tenant {
                display_name: "Example".to_owned(),
                domains: vec!["example.com".to_owned()],
                client_secrets: model::kind::tenant::ClientSecretPolicy::Allowed,
            },
        );
        tenant.metadata.uid = Some(id.0);
        let key = |name: &str, verifies_until| {
            Document::new(
                name,
                SigningKey {
                    modulus: "bW9k".to_owned(),
                    exponent: "AQAB".to_owned(),
                    signs_from: Timestamp::EPOCH,
                    verifies_until,
                },
            )
        };
        let now = Timestamp::from_seconds(1_000);
        let resources = [
            tenant.into(),
            key("old", now).into(),
            key("now", now.plus(Duration::from_secs(1))).into(),
        ];
        (id, Snapshot::of(Revision(1), now, resources))
    }

    #[test]
    fn every_address_stands_at_the_root_under_the_segment_that_was_asked_for() {
        let (tenant, _) = snapshot();
        let document = configuration(ORIGIN, "organizations", tenant, Version::V2);
        for (field, expected) in [
            ("issuer", format!("{ORIGIN}/{tenant}/v2.0")),
            ("authorization_endpoint", format!("{ORIGIN}/organizations/oauth2/v2.0/authorize")),
            ("token_endpoint", format!("{ORIGIN}/organizations/oauth2/v2.0/token")),
            (
                "device_authorization_endpoint",
                format!("{ORIGIN}/organizations/oauth2/v2.0/devicecode"),
            ),
            ("jwks_uri", format!("{ORIGIN}/organizations/discovery/v2.0/keys")),
            ("cloud_instance_name", "sts.test:8443".to_owned()),
        ] {
            assert_eq!(document[field], Value::from(expected), "{field}");
        }
        let first = configuration(ORIGIN, "example.com", tenant, Version::V1);
        assert_eq!(first["token_endpoint"], format!("{ORIGIN}/example.com/oauth2/token"));
        assert_eq!(first["jwks_uri"], format!("{ORIGIN}/example.com/discovery/keys"));
    }

    #[test]
    fn instance_discovery_answers_for_our_host_with_and_without_its_port_only() {
        let (_, snapshot) = snapshot();
        for host in ["sts.test", "STS.test:8443"] {
            let asked = format!("https://{host}/example.com/oauth2/v2.0/authorize");
            assert_eq!(
                instance(ORIGIN, &asked, &snapshot).unwrap(),
                json!({
                    "tenant_discovery_endpoint":
                        format!("{ORIGIN}/example.com/v2.0/.well-known/openid-configuration"),
                    "api-version": "1.1",
                    "metadata": [{
                        "preferred_network": "sts.test:8443", "preferred_cache": "sts.test:8443",
                        "aliases": ["sts.test:8443", "sts.test"],
                    }],
                })
            );
        }
        for asked in [
            "https://sts.test:9/example.com/oauth2/v2.0/authorize",
            "https://sts.test.evil/example.com/oauth2/v2.0/authorize",
            "https://login.microsoftonline.com/common/oauth2/v2.0/authorize",
            "http://sts.test/example.com/oauth2/v2.0/authorize",
            "sts.test",
        ] {
            let failure = instance(ORIGIN, asked, &snapshot).unwrap_err();
            assert_eq!(failure.code(), "AADSTS50049", "{asked}");
        }
        let elsewhere = "https://sts.test/other.test/oauth2/v2.0/authorize";
        assert_eq!(instance(ORIGIN, elsewhere, &snapshot).unwrap_err().code(), "AADSTS90002");
    }

    #[test]
    fn keys_are_published_until_their_last_token_is_dead() {
        let (_, snapshot) = snapshot();
        let issuer = "https://sts.test/t/v2.0";
        assert_eq!(
            keys(issuer, &snapshot, Timestamp::from_seconds(1_000)),
            json!({ "keys": [{
                "kty": "RSA", "use": "sig", "kid": "now", "x5t": "now", "n": "bW9k", "e": "AQAB",
                "alg": "RS256", "issuer": issuer,
            }] })
        );
    }

    proptest! {
        #[test]
        fn no_query_brings_instance_discovery_down(query in "\\PC{0,120}") {
            let (_, snapshot) = snapshot();
            if let Some(asked) = authorization_endpoint(&query) {
                let _document = instance(ORIGIN, &asked, &snapshot);
            }
        }
    }
}
