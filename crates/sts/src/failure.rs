//! Refusals in OAuth's shape with Entra's numbers (RFC 6749 §5.2): every client library parses exactly this.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use model::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use crate::request::Asker;

/// One kind of refusal: HTTP status, OAuth error, AADSTS number.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FailureKind {
    pub(crate) status: u16,
    pub(crate) error: &'static str,
    pub(crate) number: i32,
    suberror: Option<&'static str>,
    /// MSAL for Python keeps an exact 400 for a minute unless the answer says when to come again.
    retry_after_seconds: Option<u32>,
}

impl FailureKind {
    /// When to come again.
    pub(crate) fn retry_after(&self) -> Option<u32> {
        self.retry_after_seconds
    }
}

macro_rules! failures {
    ($($(#[$doc:meta])* $name:ident = $status:literal $error:literal $number:literal $(suberror $suberror:literal)? $(retry $retry:literal)?;)*) => {$(
        $(#[$doc])*
        pub(crate) static $name: FailureKind = FailureKind {
            status: $status,
            error: $error,
            number: $number,
            suberror: failures!(@option $($suberror)?),
            retry_after_seconds: failures!(@option $($retry)?),
        };
    )*
    #[cfg(test)]
    static ALL: &[&FailureKind] = &[$(&$name,)*];
    };
    (@option) => { None };
    (@option $value:literal) => { Some($value) };
}

// Credential errors are 401, which MSAL for Python does not keep; a 400 that an operator can repair says `retry`.
failures! {
    /// The secret is none of the application's.
    SECRET_WRONG = 401 "invalid_client" 7000215;
    /// The secret was the application's, until it expired.
    SECRET_EXPIRED = 401 "invalid_client" 7000222;
    /// The secret is right, and the tenant accepts none.
    SECRET_FORBIDDEN = 401 "invalid_client" 7000231;
    /// A confidential client gave no credential at all.
    CREDENTIAL_MISSING = 401 "invalid_client" 7000216;
    /// The same, where a public client could have asked.
    CREDENTIAL_NEEDED = 401 "invalid_client" 7000218;
    /// The assertion is not a JWT.
    ASSERTION_MALFORMED = 401 "invalid_client" 50027;
    /// The assertion's key is not registered, or did not make the signature.
    ASSERTION_SIGNATURE = 401 "invalid_client" 700027;
    /// The assertion is outside its time.
    ASSERTION_TIME = 401 "invalid_client" 700024;
    /// The assertion is meant for another service.
    ASSERTION_AUDIENCE = 401 "invalid_client" 700023;
    /// The assertion names another client than the request does.
    ASSERTION_SUBJECT = 401 "invalid_client" 700021;
    /// The assertion was presented before.
    ASSERTION_REPLAYED = 401 "invalid_client" 7002131;
    /// The assertion is of an issuer that no federated credential of the workload names.
    FEDERATED_ISSUER = 401 "invalid_client" 700211;
    /// None of them is for its audience.
    FEDERATED_AUDIENCE = 401 "invalid_client" 700212;
    /// None of them is about its subject.
    FEDERATED_SUBJECT = 401 "invalid_client" 700213;
    /// The issuer's keys did not make its signature.
    FEDERATED_SIGNATURE = 401 "invalid_client" 50013;
    /// The issuer's keys are not to be had now. Not 5xx: MSAL for Python would drop the text.
    ISSUER_UNAVAILABLE = 400 "temporarily_unavailable" 50166 retry 5;
    /// No application has this client id.
    APPLICATION_UNKNOWN = 400 "unauthorized_client" 700016 retry 1;
    /// The application is disabled.
    APPLICATION_DISABLED = 400 "unauthorized_client" 7000112 retry 1;
    /// The tenant in the address is not this installation's.
    TENANT_UNKNOWN = 400 "invalid_tenant" 90002;
    /// The authority asked about is not this one.
    INSTANCE_UNKNOWN = 400 "invalid_instance" 50049;
    /// A field that must be there is not.
    FIELD_MISSING = 400 "invalid_request" 900144;
    /// The same, for `scope`.
    SCOPE_MISSING = 400 "invalid_request" 90014;
    /// The body is not a form.
    FORM_MALFORMED = 400 "invalid_request" 90013;
    /// A field that counts is there twice (RFC 6749 §3.2).
    FIELD_REPEATED = 400 "invalid_request" 9000411;
    /// The body is larger than the token service reads.
    BODY_TOO_LARGE = 413 "invalid_request" 90013;
    /// The token endpoint was asked with a method other than POST.
    METHOD_NOT_ALLOWED = 405 "invalid_request" 900561;
    /// The grant type is not one of ours.
    GRANT_UNSUPPORTED = 400 "unsupported_grant_type" 70003;
    /// A workload's scope must end in `/.default`.
    SCOPE_INVALID = 400 "invalid_scope" 1002012;
    /// Scopes of two resources in one request.
    SCOPE_MIXED = 400 "invalid_scope" 28000;
    /// The resource is none of ours.
    RESOURCE_UNKNOWN = 400 "invalid_resource" 500011 retry 1;
    /// The refresh token is not one of ours.
    REFRESH_MALFORMED = 400 "invalid_grant" 9002313 suberror "bad_token";
    /// The refresh token has expired.
    REFRESH_EXPIRED = 400 "invalid_grant" 700082 suberror "token_expired";
    /// The refresh token was revoked, used before, or superseded.
    REFRESH_REVOKED = 400 "invalid_grant" 50173 suberror "bad_token";
    /// The refresh token is another client's.
    REFRESH_CLIENT = 400 "invalid_grant" 700007 suberror "client_mismatch";
    /// The person is disabled or gone.
    USER_DISABLED = 400 "invalid_grant" 50057;
    /// The person has not decided yet.
    DEVICE_PENDING = 400 "authorization_pending" 70016;
    /// The client polls more often than it was told.
    DEVICE_SLOW_DOWN = 400 "slow_down" 70016;
    /// The device code's time is over.
    DEVICE_EXPIRED = 400 "expired_token" 70020;
    /// The person said no.
    DEVICE_DECLINED = 400 "authorization_declined" 70018;
    /// There is no such device code.
    DEVICE_UNKNOWN = 400 "bad_verification_code" 70019;
    /// The device code was redeemed before.
    DEVICE_REDEEMED = 400 "invalid_grant" 54005;
    /// The address is none of the client's. Never sent there.
    REDIRECT_UNKNOWN = 400 "invalid_request" 50011;
    /// The code was taken to another address than the one presented.
    REDIRECT_OTHER = 400 "invalid_grant" 500112;
    /// A parameter of the request is not what it must be.
    REQUEST_INVALID = 400 "invalid_request" 90023;
    /// A response type other than `code`.
    RESPONSE_TYPE = 400 "unsupported_response_type" 700054;
    /// A response mode that is none of ours.
    RESPONSE_MODE = 400 "invalid_request" 70007;
    /// A public client without PKCE.
    PKCE_NEEDED = 400 "invalid_request" 9002325;
    /// PKCE with anything but S256.
    PKCE_METHOD = 400 "invalid_request" 501491;
    /// The code was asked for with PKCE and is redeemed without.
    PKCE_MISSING = 400 "invalid_grant" 50148;
    /// The verifier is not the challenge's.
    PKCE_WRONG = 400 "invalid_grant" 501481;
    /// The authorization code has expired or never was.
    CODE_EXPIRED = 400 "invalid_grant" 70008;
    /// The authorization code was redeemed before.
    CODE_USED = 400 "invalid_grant" 54005;
    /// The authorization code is another client's.
    CODE_CLIENT = 400 "invalid_grant" 70000;
    /// Nobody is signed in, and nobody may be asked.
    LOGIN_NEEDED = 400 "login_required" 50058;
    /// A person must do something, and may not be asked.
    INTERACTION_NEEDED = 400 "interaction_required" 500113;
    /// The sign-in is not strong or recent enough.
    STEP_UP = 400 "interaction_required" 50076 suberror "basic_action";
    /// The person said no.
    DECLINED = 400 "access_denied" 65004;
    /// A secret stands in the address, where logs keep it.
    SECRET_IN_ADDRESS = 400 "invalid_request" 9000412;
    /// Too many requests from one address.
    THROTTLED = 429 "temporarily_unavailable" 90055 retry 5;
    /// The store or the audit log cannot be written. Not 5xx: MSAL for Python would drop the text.
    UNAVAILABLE = 400 "temporarily_unavailable" 90033 retry 5;
}

/// A refusal on its way to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: &'static FailureKind,
    pub(crate) message: String,
    /// A claims challenge, as JSON.
    claims: Option<String>,
}

impl Failure {
    /// A refusal in words. `message` ends with a full stop, as Entra's do.
    pub(crate) fn new(kind: &'static FailureKind, message: impl AsRef<str>) -> Self {
        Self { kind, message: plain(message.as_ref()), claims: None }
    }

    /// With what the client must ask for at the authorize endpoint.
    #[must_use]
    pub(crate) fn claims(mut self, claims: String) -> Self {
        self.claims = Some(claims);
        self
    }

    /// `AADSTS` and the number: what tools search for, and the stable code in the audit log.
    pub(crate) fn code(&self) -> String {
        format!("AADSTS{}", self.kind.number)
    }

    /// The answer to `asker`.
    pub(crate) fn respond(&self, asker: &Asker, origin: &str, now: Timestamp) -> Response {
        let body = Body::of(self, asker.correlation, origin, now);
        let status = StatusCode::from_u16(self.kind.status).unwrap_or(StatusCode::BAD_REQUEST);
        let mut response = crate::respond::json(status, &body);
        let headers = response.headers_mut();
        if let Some(seconds) = self.kind.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.kind.status == 405 {
            headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        asker.echo(response).into_response()
    }
}

#[derive(Serialize)]
struct Body {
    error: &'static str,
    error_description: String,
    error_codes: [i32; 1],
    timestamp: String,
    trace_id: Uuid,
    correlation_id: Uuid,
    error_uri: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    suberror: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    claims: Option<String>,
}

impl Body {
    fn of(failure: &Failure, correlation_id: Uuid, origin: &str, now: Timestamp) -> Self {
        let trace_id = Uuid::new_v4();
        let timestamp = Timestamp::from_seconds(now.seconds()).to_string().replace('T', " ");
        let code = failure.code();
        Self {
            error: failure.kind.error,
            error_description: format!(
                "{code}: {} Trace ID: {trace_id} Correlation ID: {correlation_id} Timestamp: {timestamp}",
                failure.message
            ),
            error_codes: [failure.kind.number],
            error_uri: format!("{origin}/error?code={}", failure.kind.number),
            timestamp,
            trace_id,
            correlation_id,
            suberror: failure.kind.suberror,
            claims: failure.claims.clone(),
        }
    }
}

/// The Rust client reads `error_description` as a borrowed string: nothing in it may need a JSON escape.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '"' => '\'',
            '\\' => '/',
            c if c.is_control() => ' ',
            c => c,
        })
        .collect()
}

/// The beginning of what a stranger sent, fit to stand in a message.
pub(crate) fn quoted(text: &str) -> String {
    const CHARACTERS_MAX: usize = 100;
    let mut start: String = text.chars().take(CHARACTERS_MAX).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    format!("'{}'", plain(&start))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn the_body_has_every_field_that_clients_read() {
        let correlation = Uuid::from_u128(7);
        let failure = Failure::new(&SECRET_WRONG, "Invalid client secret provided.");
        let body =
            Body::of(&failure, correlation, "https://sts.test", at("2026-11-24T10:00:00.5Z"));
        let mut json = serde_json::to_value(&body).unwrap();
        let trace = json["trace_id"].as_str().unwrap().to_owned();
        assert_eq!(
            json["error_description"].take(),
            Value::from(format!(
                "AADSTS7000215: Invalid client secret provided. Trace ID: {trace} Correlation ID: \
                 {correlation} Timestamp: 2026-11-24 10:00:00Z"
            ))
        );
        assert_eq!(
            json,
            serde_json::json!({
                "error": "invalid_client", "error_description": null, "error_codes": [7_000_215],
                "timestamp": "2026-11-24 10:00:00Z", "trace_id": trace,
                "correlation_id": correlation, "error_uri": "https://sts.test/error?code=7000215",
            })
        );
    }

    #[test]
    fn no_oauth_error_is_a_server_error() {
        for kind in ALL {
            assert!((400..500).contains(&kind.status), "{kind:?}");
        }
    }

    proptest! {
        #[test]
        fn no_description_needs_a_json_escape(text in any::<String>()) {
            let failure = Failure::new(&RESOURCE_UNKNOWN, quoted(&text));
            let written = serde_json::to_string(&failure.message).unwrap();
            prop_assert!(!written.contains('\\'), "{}", written);
            prop_assert_eq!(written, format!("\"{}\"", failure.message));
        }
    }
}
