//! Who the client is: a public client, or an application that proves itself by a secret or a signed assertion.

use std::sync::Arc;

use access::token::AssertionError;
use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use control::Writing;
use control::credentials::{ClientSecrets, Hash, Used};
use model::kind::application::Application;
use model::{
    ApplicationId, Document, Principal, PrincipalId, Refusal, Snapshot, TenantId, Timestamp,
};
use runtime::Secret;
use serde::Deserialize;

use crate::claims::ClientProof;
use crate::failure::{
    APPLICATION_DISABLED, APPLICATION_UNKNOWN, ASSERTION_AUDIENCE, ASSERTION_FEDERATED,
    ASSERTION_MALFORMED, ASSERTION_REPLAYED, ASSERTION_SIGNATURE, ASSERTION_SUBJECT,
    ASSERTION_TIME, CREDENTIAL_MISSING, CREDENTIAL_NEEDED, FORM_MALFORMED, Failure, SECRET_EXPIRED,
    SECRET_WRONG, quoted,
};
use crate::form::{self, Form};
use crate::service::{Service, store_failed};
use crate::tenant;

/// The public client that Azure's own tools and libraries sign people in with; it needs no registration.
pub const PUBLIC_CLIENT: ApplicationId =
    ApplicationId(uuid::uuid!("04b07795-8ddb-461a-bbee-02f9e1bf7b46"));

/// What [`PUBLIC_CLIENT`] is called towards people.
const PUBLIC_CLIENT_NAME: &str = "Azure CLI and SDKs (public client)";

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Who a request says it is, and how it wants to prove it.
#[derive(Debug)]
pub(crate) struct Presented {
    pub(crate) id: ApplicationId,
    proof: Proof,
}

#[derive(Debug)]
enum Proof {
    None,
    Secret(Secret<String>),
    Assertion(String),
}

/// A client that is known, and proved itself if it had to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Client {
    Public(ApplicationId),
    Confidential { application: Arc<Document<Application>>, id: ApplicationId, proof: ClientProof },
}

impl Client {
    pub(crate) fn id(&self) -> ApplicationId {
        match self {
            Self::Public(id) | Self::Confidential { id, .. } => *id,
        }
    }

    pub(crate) fn proof(&self) -> ClientProof {
        match self {
            Self::Public(_) => ClientProof::None,
            Self::Confidential { proof, .. } => *proof,
        }
    }
}

/// What a client is called towards people.
pub(crate) fn name(id: ApplicationId, snapshot: &Snapshot) -> String {
    match find(id, snapshot) {
        Some(application) => application.spec.display_name.clone(),
        None if id == PUBLIC_CLIENT => PUBLIC_CLIENT_NAME.to_owned(),
        None => id.to_string(),
    }
}

/// The application with this client id.
pub(crate) fn find(id: ApplicationId, snapshot: &Snapshot) -> Option<&Arc<Document<Application>>> {
    snapshot
        .applications
        .iter()
        .find(|application| application.status.client_id.or(application.spec.client_id) == Some(id))
}

/// Reads the client's id and proof from the form or from HTTP Basic.
pub(crate) fn presented(form: &Form, headers: &HeaderMap) -> Result<Presented, Failure> {
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let basic = authorization.map(form::basic).transpose()?.flatten();
    let (id, secret) = match &basic {
        Some((id, secret)) => {
            let other = form.get("client_id").filter(|other| !other.eq_ignore_ascii_case(id));
            if other.is_some() || form.get("client_secret").is_some() {
                return Err(Failure::new(
                    &FORM_MALFORMED,
                    "The client is named both in the Authorization header and in the request body.",
                ));
            }
            (id.as_str(), Some(secret.as_str()).filter(|secret| !secret.is_empty()))
        }
        None => (form.required("client_id")?, form.get("client_secret")),
    };
    let id = id.parse().map_err(|_| unknown(id))?;
    let proof = match (secret, form.get("client_assertion")) {
        (Some(secret), _) => Proof::Secret(Secret::new(secret.to_owned())),
        (None, Some(assertion)) => {
            let kind = form.required("client_assertion_type")?;
            if kind != ASSERTION_TYPE {
                return Err(Failure::new(
                    &FORM_MALFORMED,
                    format!("The client_assertion_type {} is not supported.", quoted(kind)),
                ));
            }
            Proof::Assertion(assertion.to_owned())
        }
        (None, None) => Proof::None,
    };
    Ok(Presented { id, proof })
}

fn unknown(id: &str) -> Failure {
    Failure::new(
        &APPLICATION_UNKNOWN,
        format!("Application with identifier {} was not found in the directory.", quoted(id)),
    )
}

/// Where the request went: what an assertion's `aud` may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address<'a> {
    pub(crate) tenant: TenantId,
    /// As it stands in the address.
    pub(crate) segment: &'a str,
}

/// An assertion that proved a client. It counts once: whoever issues something for it spends it in the same write.
#[derive(Clone, Debug)]
pub(crate) struct OneTime {
    key: Hash,
    keep_until: Timestamp,
}

impl OneTime {
    /// Marks it used; refused when it was.
    pub(crate) fn spend(
        &self,
        writing: &mut Writing<'_, '_>,
    ) -> Result<Result<(), Failure>, Refusal> {
        if let Some(before) = writing.record::<Used>(self.key.as_str())? {
            return Ok(Err(Failure::new(
                &ASSERTION_REPLAYED,
                format!(
                    "The client assertion was used before, at {}. Each assertion counts once.",
                    before.at
                ),
            )));
        }
        let used = Used { at: writing.now() };
        writing.put_record(self.key.as_str(), &used, Some(self.keep_until))?;
        Ok(Ok(()))
    }
}

/// Finds the client and checks its proof.
pub(crate) fn authenticate(
    service: &Service,
    presented: &Presented,
    address: Address<'_>,
    snapshot: &Snapshot,
) -> Result<(Client, Option<OneTime>), Failure> {
    let id = presented.id;
    let Some(application) = find(id, snapshot) else {
        return match &presented.proof {
            Proof::None if id == PUBLIC_CLIENT => Ok((Client::Public(id), None)),
            Proof::None | Proof::Secret(_) | Proof::Assertion(_) => Err(unknown(&id.to_string())),
        };
    };
    if application.spec.public_client && matches!(presented.proof, Proof::None) {
        enabled(application, id)?;
        return Ok((Client::Public(id), None));
    }
    let (proof, one_time) = match &presented.proof {
        Proof::None => return Err(needs_proof(application)),
        Proof::Secret(secret) => {
            check_secret(service, application, secret)?;
            (ClientProof::Secret, None)
        }
        Proof::Assertion(assertion) => {
            let asserted = Asserted { id, assertion, address };
            (ClientProof::Certificate, Some(check_assertion(service, application, &asserted)?))
        }
    };
    enabled(application, id)?;
    Ok((Client::Confidential { application: Arc::clone(application), id, proof }, one_time))
}

fn enabled(application: &Document<Application>, id: ApplicationId) -> Result<(), Failure> {
    if application.spec.enabled {
        return Ok(());
    }
    Err(Failure::new(&APPLICATION_DISABLED, format!("Application '{id}' is disabled.")))
}

fn needs_proof(application: &Document<Application>) -> Failure {
    if application.spec.certificates.is_empty() {
        Failure::new(&CREDENTIAL_MISSING, "The request body must contain 'client_secret'.")
    } else {
        Failure::new(
            &CREDENTIAL_NEEDED,
            "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
        )
    }
}

fn check_secret(
    service: &Service,
    application: &Document<Application>,
    secret: &Secret<String>,
) -> Result<(), Failure> {
    let now = service.now();
    let key = PrincipalId(application.uid()).to_string();
    let known = service
        .store()
        .read(|reader| reader.record::<ClientSecrets>(&key))
        .map_err(store_failed)?
        .unwrap_or_default();
    let hash = Hash::of(secret.expose().as_bytes());
    // Every secret is compared, so that time does not tell which one was close.
    let matching = known.secrets.iter().filter(|known| known.hash == hash);
    match matching.map(|known| known.expires_at).max() {
        None => Err(Failure::new(
            &SECRET_WRONG,
            "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID.",
        )),
        Some(expires_at) if expires_at <= now => Err(Failure::new(
            &SECRET_EXPIRED,
            format!("The provided client secret keys are expired. It expired at {expires_at}."),
        )),
        Some(_) => Ok(()),
    }
}

struct Asserted<'a> {
    id: ApplicationId,
    assertion: &'a str,
    address: Address<'a>,
}

fn check_assertion(
    service: &Service,
    application: &Document<Application>,
    asserted: &Asserted<'_>,
) -> Result<OneTime, Failure> {
    let issuer = unverified_issuer(asserted.assertion)?;
    if !issuer.eq_ignore_ascii_case(&asserted.id.to_string()) {
        return Err(Failure::new(
            &ASSERTION_FEDERATED,
            format!(
                "No matching federated identity record found for presented assertion issuer {}. Federated credentials are not available in this version; sign the assertion with a certificate of the application.",
                quoted(&issuer)
            ),
        ));
    }
    let verified = verify(service, application, asserted, service.now())?;
    let key = Hash::of(format!("assertion {} {}", asserted.id, verified.id).as_bytes());
    Ok(OneTime { key, keep_until: verified.expires_at })
}

fn verify(
    service: &Service,
    application: &Document<Application>,
    asserted: &Asserted<'_>,
    now: Timestamp,
) -> Result<access::token::Assertion, Failure> {
    let Address { tenant, segment } = asserted.address;
    let origin = service.origin();
    let audiences: Vec<String> = [tenant.to_string().as_str(), segment]
        .iter()
        .flat_map(|tenant| {
            ["oauth2/v2.0/token", "oauth2/token", "v2.0"]
                .map(|path| format!("{origin}/{tenant}/{path}"))
        })
        .collect();
    let client = access::token::Client {
        id: asserted.id,
        certificates: &application.spec.certificates,
        audiences: &audiences,
    };
    access::token::verify_assertion(asserted.assertion, &client, now).map_err(|error| {
        let kind = match &error {
            AssertionError::Malformed(_) => &ASSERTION_MALFORMED,
            AssertionError::Algorithm(_)
            | AssertionError::Signature
            | AssertionError::CertificateExpired => &ASSERTION_SIGNATURE,
            AssertionError::Subject => &ASSERTION_SUBJECT,
            AssertionError::Audience(_) => &ASSERTION_AUDIENCE,
            AssertionError::Time => &ASSERTION_TIME,
        };
        let expected = match kind.number {
            700_023 => format!(" Expected: '{origin}/{tenant}/{}'.", tenant::TOKEN_PATH),
            _ => String::new(),
        };
        Failure::new(kind, format!("Client assertion is not valid: {error}.{expected}"))
    })
}

/// `iss`, only to tell assertions that the application signed from those of other issuers.
fn unverified_issuer(assertion: &str) -> Result<String, Failure> {
    #[derive(Deserialize)]
    struct Issuer {
        iss: String,
    }
    let payload = assertion.split('.').nth(1).unwrap_or_default().trim_end_matches('=');
    let read = URL_SAFE_NO_PAD
        .decode(payload)
        .ok()
        .and_then(|json| serde_json::from_slice::<Issuer>(&json).ok());
    read.map(|issuer| issuer.iss).ok_or_else(|| {
        Failure::new(
            &ASSERTION_MALFORMED,
            "The client assertion is not a JSON web token with an issuer.",
        )
    })
}

/// Who the audit log names for a client.
pub(crate) fn actor(id: ApplicationId, snapshot: &Snapshot) -> model::event::Actor {
    match find(id, snapshot) {
        Some(application) => (&Principal::application(application)).into(),
        None => model::event::Actor::claimed(id.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn read(body: &str, authorization: Option<&str>) -> Result<Presented, Failure> {
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        presented(&Form::parse(body.as_bytes()).unwrap(), &headers)
    }

    #[test]
    fn a_client_is_named_in_the_form_or_in_the_header_and_not_in_both() {
        let basic = format!("Basic {}", STANDARD.encode(format!("{PUBLIC_CLIENT}:s%2Bcret")));
        let named = read("grant_type=x", Some(&basic)).unwrap();
        assert_eq!(named.id, PUBLIC_CLIENT);
        assert!(matches!(named.proof, Proof::Secret(secret) if secret.expose() == "s+cret"));
        let same = format!("client_id={PUBLIC_CLIENT}");
        assert!(read(&same, Some(&basic)).is_ok());
        let other = "client_id=00000000-0000-0000-0000-000000000001";
        assert_eq!(read(other, Some(&basic)).unwrap_err().code(), "AADSTS90013");
        let public = format!("Basic {}", STANDARD.encode(format!("{PUBLIC_CLIENT}:")));
        assert!(matches!(read("", Some(&public)).unwrap().proof, Proof::None));
        assert_eq!(read("", None).unwrap_err().code(), "AADSTS900144");
        assert_eq!(read("client_id=demo", None).unwrap_err().code(), "AADSTS700016");
    }

    #[test]
    fn an_assertion_needs_its_type() {
        let body = format!("client_id={PUBLIC_CLIENT}&client_assertion=a.b.c");
        assert_eq!(read(&body, None).unwrap_err().code(), "AADSTS900144");
        let wrong = format!("{body}&client_assertion_type=saml");
        assert_eq!(read(&wrong, None).unwrap_err().code(), "AADSTS90013");
        let right = format!("{body}&client_assertion_type={ASSERTION_TYPE}");
        assert!(
            matches!(read(&right, None).unwrap().proof, Proof::Assertion(jwt) if jwt == "a.b.c")
        );
    }

    #[test]
    fn the_issuer_is_read_with_or_without_padding() {
        for payload in ["eyJpc3MiOiJrOHMifQ", "eyJpc3MiOiJrOHMifQ=="] {
            assert_eq!(unverified_issuer(&format!("h.{payload}.s")).unwrap(), "k8s");
        }
        for malformed in ["", "a", "a.b", "a.!!.c", "a.e30.c"] {
            assert_eq!(unverified_issuer(malformed).unwrap_err().code(), "AADSTS50027");
        }
    }
}
