//! Who the client is: a public client, or an application that proves itself by a secret or an assertion.

mod assertion;
mod secret;

use std::sync::Arc;

use axum::http::{HeaderMap, header};
use control::Writing;
use control::credentials::{Hash, Used};
use model::kind::application::Application;
use model::{ApplicationId, Document, Refusal, Snapshot, TenantId, Timestamp, Workload};
use runtime::Secret;

use crate::claims::ClientProof;
use crate::failure::{
    APPLICATION_DISABLED, APPLICATION_UNKNOWN, ASSERTION_REPLAYED, CREDENTIAL_MISSING,
    CREDENTIAL_NEEDED, FORM_MALFORMED, Failure, quoted,
};
use crate::form::{self, Form};
use crate::service::Service;
use assertion::Asserted;

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
    Confidential { workload: Workload, id: ApplicationId, proof: ClientProof },
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
            Self::Confidential { proof, .. } => proof.clone(),
        }
    }
}

/// What a client is called towards people.
pub(crate) fn name(id: ApplicationId, snapshot: &Snapshot) -> String {
    match snapshot.workload(id) {
        Some(workload) => workload.display_name().to_owned(),
        None if id == PUBLIC_CLIENT => PUBLIC_CLIENT_NAME.to_owned(),
        None => id.to_string(),
    }
}

/// The application with this client id: people sign in to applications only.
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
pub(crate) async fn authenticate(
    service: &Service,
    presented: &Presented,
    address: Address<'_>,
    snapshot: &Snapshot,
) -> Result<(Client, Option<OneTime>), Failure> {
    let id = presented.id;
    let Some(workload) = snapshot.workload(id) else {
        return match &presented.proof {
            Proof::None if id == PUBLIC_CLIENT => Ok((Client::Public(id), None)),
            Proof::None | Proof::Secret(_) | Proof::Assertion(_) => Err(unknown(&id.to_string())),
        };
    };
    if public(&workload) && matches!(presented.proof, Proof::None) {
        enabled(&workload, id)?;
        return Ok((Client::Public(id), None));
    }
    let (proof, one_time) = match &presented.proof {
        Proof::None => return Err(needs_proof(&workload)),
        Proof::Secret(secret) => (secret::check(service, &workload, secret, snapshot)?, None),
        Proof::Assertion(assertion) => {
            let asserted = Asserted { id, assertion, address };
            assertion::check(service, &workload, &asserted).await?
        }
    };
    enabled(&workload, id)?;
    Ok((Client::Confidential { workload, id, proof }, one_time))
}

/// A program on people's own machines.
fn public(workload: &Workload) -> bool {
    match workload {
        Workload::Application(application) => application.spec.public_client,
        Workload::ManagedIdentity(_) => false,
    }
}

fn enabled(workload: &Workload, id: ApplicationId) -> Result<(), Failure> {
    if workload.enabled() {
        return Ok(());
    }
    Err(Failure::new(&APPLICATION_DISABLED, format!("Application '{id}' is disabled.")))
}

fn needs_proof(workload: &Workload) -> Failure {
    if workload.certificates().is_empty() && workload.subject_name_issuers().is_empty() {
        Failure::new(&CREDENTIAL_MISSING, "The request body must contain 'client_secret'.")
    } else {
        Failure::new(
            &CREDENTIAL_NEEDED,
            "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
        )
    }
}

/// Who the audit log names for a client.
pub(crate) fn actor(id: ApplicationId, snapshot: &Snapshot) -> model::event::Actor {
    match snapshot.workload(id) {
        Some(workload) => (&workload.principal()).into(),
        None => model::event::Actor::claimed(id.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use base64::Engine;
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
}
