//! Assertions: one that the application signed itself, or another issuer's token that stands for the workload. `iss` tells
//! them apart, and only that.

use access::token::{AssertionError, Foreign, ForeignError, Mismatch};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use control::credentials::Hash;
use model::{ApplicationId, Timestamp, Workload};
use serde::Deserialize;

use super::{Address, OneTime};
use crate::claims::ClientProof;
use crate::failure::{
    ASSERTION_AUDIENCE, ASSERTION_MALFORMED, ASSERTION_SIGNATURE, ASSERTION_SUBJECT,
    ASSERTION_TIME, FEDERATED_AUDIENCE, FEDERATED_ISSUER, FEDERATED_SIGNATURE, FEDERATED_SUBJECT,
    Failure, FailureKind, ISSUER_UNAVAILABLE, quoted,
};
use crate::federation::{FetchError, Wanted};
use crate::service::Service;
use crate::tenant;

/// What was presented, for whom, and where.
pub(super) struct Asserted<'a> {
    pub(super) id: ApplicationId,
    pub(super) assertion: &'a str,
    pub(super) address: Address<'a>,
}

/// What the assertion proves; one that the application signed counts once.
pub(super) async fn check(
    service: &Service,
    workload: &Workload,
    asserted: &Asserted<'_>,
) -> Result<(ClientProof, Option<OneTime>), Failure> {
    let issuer = unverified_issuer(asserted.assertion)?;
    if !issuer.eq_ignore_ascii_case(&asserted.id.to_string()) {
        return Ok((federated(service, workload, asserted.assertion).await?, None));
    }
    let verified = own(service, workload, asserted, service.now())?;
    let key = Hash::of(format!("assertion {} {}", asserted.id, verified.id).as_bytes());
    let proof = ClientProof::Certificate { thumbprint: verified.certificate };
    Ok((proof, Some(OneTime { key, keep_until: verified.expires_at })))
}

fn own(
    service: &Service,
    workload: &Workload,
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
        certificates: workload.certificates(),
        subject_name_issuers: workload.subject_name_issuers(),
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

/// Matched first, so that nobody is asked for keys whom no credential names; then verified, with newer keys when the
/// issuer seems to have made one.
async fn federated(
    service: &Service,
    workload: &Workload,
    assertion: &str,
) -> Result<ClientProof, Failure> {
    let foreign = Foreign::read(assertion).map_err(|error| invalid(&error))?;
    let credential = foreign
        .matching(workload.federated_credentials())
        .map_err(|mismatch| unmatched(mismatch, &foreign))?;
    let issuer = foreign.issuer();
    let keys = |wanted| service.issuers.keys(issuer, wanted, &service.state.clock);
    let away = |error| unavailable(issuer, &error);
    let known = keys(Wanted::Known).await.map_err(away)?;
    let verified = match foreign.verify(&known, service.now()) {
        Err(ForeignError::KeyUnknown(_)) => {
            let newer = keys(Wanted::Newer).await.map_err(away)?;
            foreign.verify(&newer, service.now())
        }
        verified => verified,
    };
    let verified = verified.map_err(|error| invalid(&error))?;
    Ok(ClientProof::Federated {
        credential: credential.name.clone(),
        issuer: issuer.to_owned(),
        subject: verified.subject,
    })
}

fn unmatched(mismatch: Mismatch, foreign: &Foreign<'_>) -> Failure {
    let (kind, what, value): (&'static FailureKind, _, _) = match mismatch {
        Mismatch::Issuer => (&FEDERATED_ISSUER, "issuer", quoted(foreign.issuer())),
        Mismatch::Subject => {
            (&FEDERATED_SUBJECT, "subject", quoted(foreign.subject().unwrap_or_default()))
        }
        Mismatch::Audience => {
            (&FEDERATED_AUDIENCE, "audience", quoted(&foreign.audiences().join(" ")))
        }
    };
    Failure::new(
        kind,
        format!(
            "No matching federated identity record found for presented assertion {what} {value}. Please check your federated identity credential Subject, Audience and Issuer against the presented assertion."
        ),
    )
}

fn invalid(error: &ForeignError) -> Failure {
    let kind = match error {
        ForeignError::Malformed(_) => &ASSERTION_MALFORMED,
        ForeignError::Algorithm(_) | ForeignError::KeyUnknown(_) | ForeignError::Signature => {
            &FEDERATED_SIGNATURE
        }
        ForeignError::Time => &ASSERTION_TIME,
    };
    Failure::new(kind, format!("Client assertion is not valid: {error}."))
}

fn unavailable(issuer: &str, error: &FetchError) -> Failure {
    Failure::new(
        &ISSUER_UNAVAILABLE,
        format!("Request to External OIDC endpoint failed. Issuer {}: {error}.", quoted(issuer)),
    )
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

#[cfg(test)]
mod tests {
    use super::*;

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
