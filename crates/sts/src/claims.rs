//! What tokens say. One access token is readable by both of Entra's families: v1 names (`appid`, `upn`) beside v2 names
//! (`azp`, `preferred_username`).

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::{ApplicationId, PrincipalId, TenantId, Timestamp, TokenId, Workload};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// More bytes of claims than this would make a token of 4 KB; the groups are left out first.
const CLAIMS_BYTES_MAX: usize = 2_600;

/// Names are cut to this in tokens: they are for reading, the identity is `oid`.
const NAME_CHARACTERS_MAX: usize = 64;

/// How the client proved itself (`appidacr`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ClientProof {
    /// A public client: not at all.
    None,
    Secret {
        /// Which one.
        id: Uuid,
    },
    Certificate {
        /// SHA-256, in base64url.
        thumbprint: String,
    },
    /// With another issuer's token.
    Federated {
        /// The federated credential's name.
        credential: String,
        issuer: String,
        subject: String,
    },
    /// Not itself: a host vouches for the process.
    Host {
        host: String,
        /// What its agent saw of the process.
        caller: String,
    },
}

impl ClientProof {
    fn acr(&self) -> &'static str {
        match self {
            Self::None => "0",
            Self::Secret { .. } => "1",
            Self::Certificate { .. } | Self::Federated { .. } | Self::Host { .. } => "2",
        }
    }

    /// Which credential it was, for the record.
    pub(crate) fn credential(&self) -> Option<String> {
        match self {
            Self::None => None,
            Self::Secret { id } => Some(format!("secret {id}")),
            Self::Certificate { thumbprint } => Some(format!("certificate {thumbprint}")),
            Self::Federated { credential, issuer, subject } => {
                Some(format!("federated {credential}: {issuer} {subject}"))
            }
            Self::Host { host, caller } => Some(format!("host {host}: {caller}")),
        }
    }
}

/// How, when and in which series of tokens a person signed in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SignedIn {
    /// `auth_time`.
    pub(crate) at: Timestamp,
    /// `amr`.
    pub(crate) methods: Vec<String>,
    /// `sid`: shared by all tokens of the sign-in.
    pub(crate) session: Uuid,
}

impl SignedIn {
    /// What decides whether it still counts.
    pub(crate) fn when_and_how(&self) -> (Timestamp, &[String]) {
        (self.at, &self.methods)
    }
}

/// Whom a token is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Workload {
        principal: PrincipalId,
        /// A managed identity's resource id.
        resource_id: Option<String>,
    },
    Person {
        principal: PrincipalId,
        /// User principal name.
        name: String,
        display_name: String,
        /// Object ids of the groups of which the person is a member now.
        groups: Vec<Uuid>,
        signed_in: SignedIn,
    },
}

impl Subject {
    pub(crate) fn workload(workload: &Workload) -> Self {
        let resource_id = workload.resource_id().map(str::to_owned);
        Self::Workload { principal: workload.id(), resource_id }
    }

    fn principal(&self) -> PrincipalId {
        match self {
            Self::Workload { principal, .. } | Self::Person { principal, .. } => *principal,
        }
    }
}

/// Everything that a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) id: TokenId,
    pub(crate) issuer: String,
    pub(crate) tenant: TenantId,
    /// Verbatim.
    pub(crate) audience: String,
    pub(crate) client: ApplicationId,
    pub(crate) proof: ClientProof,
    pub(crate) subject: Subject,
    pub(crate) issued_at: Timestamp,
    /// Whole seconds.
    pub(crate) lifetime: Duration,
    /// `acrs`.
    pub(crate) contexts: Vec<String>,
    /// `xms_cc`.
    pub(crate) revocable: bool,
}

#[derive(Serialize)]
pub(crate) struct AccessClaims<'a> {
    aud: &'a str,
    iss: &'a str,
    iat: i64,
    nbf: i64,
    exp: i64,
    tid: TenantId,
    oid: PrincipalId,
    sub: PrincipalId,
    jti: TokenId,
    uti: TokenId,
    ver: &'static str,
    appid: ApplicationId,
    appidacr: &'static str,
    azp: ApplicationId,
    azpacr: &'static str,
    idtyp: &'static str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    acrs: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    xms_cc: Option<[&'static str; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    xms_mirid: Option<&'a str>,
    #[serde(flatten)]
    person: Option<PersonClaims<'a>>,
}

#[derive(Serialize)]
struct PersonClaims<'a> {
    acr: &'static str,
    amr: &'a [String],
    auth_time: i64,
    sid: Uuid,
    scp: &'static str,
    upn: String,
    unique_name: String,
    preferred_username: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<&'a [Uuid]>,
    /// Entra's sign that the groups did not fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    hasgroups: Option<bool>,
}

impl Grant {
    /// Dead at this instant.
    pub(crate) fn expires_at(&self) -> Timestamp {
        Timestamp::from_seconds(self.issued_at.seconds()).plus(self.lifetime)
    }

    /// The claims of the access token, within [`CLAIMS_BYTES_MAX`].
    pub(crate) fn access(&self) -> AccessClaims<'_> {
        let mut claims = AccessClaims {
            aud: &self.audience,
            iss: &self.issuer,
            iat: self.issued_at.seconds(),
            nbf: self.issued_at.seconds(),
            exp: self.expires_at().seconds(),
            tid: self.tenant,
            oid: self.subject.principal(),
            sub: self.subject.principal(),
            jti: self.id,
            uti: self.id,
            ver: "1.0",
            appid: self.client,
            appidacr: self.proof.acr(),
            azp: self.client,
            azpacr: self.proof.acr(),
            idtyp: match self.subject {
                Subject::Workload { .. } => "app",
                Subject::Person { .. } => "user",
            },
            acrs: &self.contexts,
            xms_cc: self.revocable.then_some(["CP1"]),
            xms_mirid: match &self.subject {
                Subject::Workload { resource_id, .. } => resource_id.as_deref(),
                Subject::Person { .. } => None,
            },
            person: person(&self.subject),
        };
        let bytes = serde_json::to_vec(&claims).map_or(0, |written| written.len());
        if let Some(person) = claims.person.as_mut().filter(|_| bytes > CLAIMS_BYTES_MAX) {
            person.groups = None;
            person.hasgroups = Some(true);
        }
        claims
    }

    /// The claims of the id token, which accounts in client libraries are made of; people only.
    pub(crate) fn identity(&self, nonce: Option<&str>) -> Option<IdentityClaims<'_>> {
        let Subject::Person { principal, name, display_name, signed_in, groups: _ } = &self.subject
        else {
            return None;
        };
        Some(IdentityClaims {
            iss: &self.issuer,
            aud: self.client,
            iat: self.issued_at.seconds(),
            nbf: self.issued_at.seconds(),
            exp: self.expires_at().seconds(),
            tid: self.tenant,
            oid: *principal,
            sub: *principal,
            ver: "2.0",
            name: short(display_name),
            preferred_username: name.clone(),
            upn: name.clone(),
            sid: signed_in.session,
            auth_time: signed_in.at.seconds(),
            nonce: nonce.map(str::to_owned),
        })
    }

    /// `client_info`: the account's home, for the caches of MSAL; people only.
    pub(crate) fn client_info(&self) -> Option<String> {
        let Subject::Person { principal, .. } = &self.subject else { return None };
        let info = serde_json::json!({ "uid": principal, "utid": self.tenant });
        Some(URL_SAFE_NO_PAD.encode(info.to_string()))
    }
}

#[derive(Serialize)]
pub(crate) struct IdentityClaims<'a> {
    iss: &'a str,
    aud: ApplicationId,
    iat: i64,
    nbf: i64,
    exp: i64,
    tid: TenantId,
    oid: PrincipalId,
    sub: PrincipalId,
    ver: &'static str,
    name: String,
    preferred_username: String,
    upn: String,
    sid: Uuid,
    auth_time: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<String>,
}

fn person(subject: &Subject) -> Option<PersonClaims<'_>> {
    let Subject::Person { name, display_name, groups, signed_in, principal: _ } = subject else {
        return None;
    };
    Some(PersonClaims {
        acr: "1",
        amr: &signed_in.methods,
        auth_time: signed_in.at.seconds(),
        sid: signed_in.session,
        scp: "user_impersonation",
        upn: name.clone(),
        unique_name: name.clone(),
        preferred_username: name.clone(),
        name: short(display_name),
        groups: Some(groups),
        hasgroups: None,
    })
}

fn short(name: &str) -> String {
    name.chars().take(NAME_CHARACTERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn id(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    fn grant(subject: Subject, proof: ClientProof) -> Grant {
        Grant {
            id: TokenId(id(9)),
            issuer: "https://sts.test/t/v2.0".to_owned(),
            tenant: TenantId(id(1)),
            audience: "https://ossrdbms-aad.database.windows.net/".to_owned(),
            client: ApplicationId(id(2)),
            proof,
            subject,
            issued_at: Timestamp::from_micros(1_795_514_400_900_000),
            lifetime: Duration::from_hours(1),
            contexts: Vec::new(),
            revocable: false,
        }
    }

    fn person(name: String, display_name: String, groups: usize) -> Subject {
        Subject::Person {
            principal: PrincipalId(id(3)),
            name,
            display_name,
            groups: (0..groups).map(|number| id(100 + number as u128)).collect(),
            signed_in: SignedIn {
                at: Timestamp::from_seconds(1_795_514_000),
                methods: ["swk", "otp", "mfa"].map(str::to_owned).to_vec(),
                session: id(8),
            },
        }
    }

    #[test]
    fn a_workload_token_says_who_and_how_in_both_families_words() {
        let subject = Subject::Workload {
            principal: PrincipalId(id(3)),
            resource_id: Some("/subscriptions/s".to_owned()),
        };
        let grant = grant(subject, ClientProof::Certificate { thumbprint: "t".to_owned() });
        assert_eq!(
            serde_json::to_value(grant.access()).unwrap(),
            json!({
                "aud": "https://ossrdbms-aad.database.windows.net/", "iss": "https://sts.test/t/v2.0",
                "iat": 1_795_514_400, "nbf": 1_795_514_400, "exp": 1_795_518_000, "tid": id(1),
                "oid": id(3), "sub": id(3), "jti": id(9), "uti": id(9), "ver": "1.0", "appid": id(2),
                "appidacr": "2", "azp": id(2), "azpacr": "2", "idtyp": "app",
                "xms_mirid": "/subscriptions/s",
            })
        );
        assert!(grant.identity(None).is_none() && grant.client_info().is_none());
    }

    #[test]
    fn a_persons_token_names_them_their_methods_and_their_active_groups() {
        let subject = person("dev@example.com".to_owned(), "Dev".to_owned(), 1);
        let grant = grant(subject, ClientProof::None);
        let claims = serde_json::to_value(grant.access()).unwrap();
        for (claim, expected) in [
            ("idtyp", json!("user")),
            ("appidacr", json!("0")),
            ("amr", json!(["swk", "otp", "mfa"])),
            ("acr", json!("1")),
            ("auth_time", json!(1_795_514_000)),
            ("sid", json!(id(8))),
            ("scp", json!("user_impersonation")),
            ("upn", json!("dev@example.com")),
            ("unique_name", json!("dev@example.com")),
            ("preferred_username", json!("dev@example.com")),
            ("name", json!("Dev")),
            ("groups", json!([id(100)])),
            ("hasgroups", Value::Null),
        ] {
            assert_eq!(claims[claim], expected, "{claim}");
        }
        let identity = serde_json::to_value(grant.identity(Some("n")).unwrap()).unwrap();
        assert_eq!(
            (&identity["aud"], &identity["ver"], &identity["nonce"]),
            (&json!(id(2)), &json!("2.0"), &json!("n"))
        );
        let info = URL_SAFE_NO_PAD.decode(grant.client_info().unwrap()).unwrap();
        assert_eq!(
            serde_json::from_slice::<Value>(&info).unwrap(),
            json!({ "uid": id(3), "utid": id(1) })
        );
    }

    #[test]
    fn a_token_dies_a_whole_lifetime_after_the_second_it_says() {
        let subject = Subject::Workload { principal: PrincipalId(id(3)), resource_id: None };
        let grant = grant(subject, ClientProof::Secret { id: id(5) });
        assert_eq!(grant.expires_at(), Timestamp::from_seconds(1_795_518_000));
    }

    proptest! {
        #[test]
        fn claims_stay_below_what_a_token_of_four_kilobytes_holds(
            name in "[a-z]{1,240}@example.com", display_name in "\\PC{0,400}", groups in 0_usize..300,
        ) {
            let grant = grant(person(name, display_name, groups), ClientProof::None);
            let claims = serde_json::to_value(grant.access()).unwrap();
            let bytes = serde_json::to_vec(&grant.access()).unwrap().len();
            prop_assert!(bytes <= CLAIMS_BYTES_MAX, "{}", bytes);
            prop_assert!(claims["groups"].is_array() != (claims["hasgroups"] == json!(true)));
        }
    }
}
