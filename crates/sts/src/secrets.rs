//! Secrets in an address are refused before anything is done with them: addresses lie in logs and histories.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use model::event::{Actor, EventBody, Outcome};

use crate::failure::{Failure, SECRET_IN_ADDRESS};
use crate::form;
use crate::request::Asker;
use crate::service::Service;

/// Fields that belong in a body.
const SECRET: &[&str] = &[
    "access_token",
    "assertion",
    "client_assertion",
    "client_secret",
    "code",
    "code_verifier",
    "device_code",
    "otp",
    "pass",
    "password",
    "refresh_token",
];

/// Refuses a request with a secret in its address, and says so on record. What was sent must be thought known to others.
pub(crate) async fn not_in_address(
    State(service): State<Arc<Service>>,
    request: Request,
    next: Next,
) -> Response {
    let query = request.uri().query();
    let Some(name) = query.and_then(|query| secret(query, request.method())) else {
        return next.run(request).await;
    };
    let (mut parts, _body) = request.into_parts();
    let Ok(asker) = Asker::from_request_parts(&mut parts, &service).await;
    let failure = match service.admit(asker.source) {
        Ok(()) => refused(&service, &asker, name).await,
        Err(throttled) => throttled,
    };
    failure.respond(&asker, service.origin(), service.now())
}

async fn refused(service: &Service, asker: &Asker, name: &str) -> Failure {
    service.failed(asker.source);
    let failure = Failure::new(
        &SECRET_IN_ADDRESS,
        format!(
            "The parameter '{name}' is a secret and stands in the address, where logs keep it. Send it in the body, and replace the secret that was sent."
        ),
    );
    let event = EventBody::SignIn {
        actor: Actor::claimed("unknown"),
        source: Some(asker.source),
        step: "secretInAddress".to_owned(),
        client: None,
        outcome: Outcome::Refused { code: failure.code(), message: failure.message.clone() },
    };
    service.record(event).await.err().unwrap_or(failure)
}

fn secret(query: &str, method: &Method) -> Option<&'static str> {
    query.split('&').find_map(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        let name = form::decoded(name.as_bytes())?;
        // `/error?code=` asks for the meaning of a number.
        let number = name == "code" && method == Method::GET;
        SECRET.iter().find(|secret| **secret == name && !number).copied()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_however_its_name_is_written() {
        let posted = |query| secret(query, &Method::POST);
        assert_eq!(posted("scope=x&client_secret=y"), Some("client_secret"));
        assert_eq!(posted("client%5Fsecret=y"), Some("client_secret"));
        assert_eq!(posted("code"), Some("code"));
        assert_eq!(secret("code=7000215", &Method::GET), None);
        assert_eq!(posted("code_challenge=x&user_code=y&client-request-id=z"), None);
    }
}
