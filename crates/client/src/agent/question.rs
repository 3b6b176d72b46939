//! What a client asks, in the words of Azure's instance metadata service or of App Service, and how it is answered.
//! Pure: a request in, a question or a refusal out.

use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Method, Uri};
use model::Selector;
use serde_json::json;

/// The two services that client libraries know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// A virtual machine's, at an address that every process knows.
    InstanceMetadata,
    /// App Service's, at an address and with a header that a process finds in its environment.
    AppService,
}

/// The path of App Service's; `IDENTITY_ENDPOINT` names it.
pub(crate) const APP_SERVICE_PATH: &str = "/msi/token";
const INSTANCE_METADATA_PATH: &str = "/metadata/identity/oauth2/token";
/// The first version that either service had in this form.
const VERSION_MIN: &str = "2018-02-01";
/// Nothing that a client needs to say is longer.
const QUERY_BYTES_MAX: usize = 8_192;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) resource: String,
    pub(crate) selector: Option<Selector>,
    /// App Service's header, which is still to be verified.
    pub(crate) header: Option<String>,
}

/// A refusal in the words that libraries expect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) status: u16,
    pub(crate) error: &'static str,
    pub(crate) description: String,
    /// When a client may come again.
    pub(crate) retry_after_seconds: Option<u32>,
}

impl Failure {
    pub(crate) fn new(status: u16, error: &'static str, description: impl Into<String>) -> Self {
        Self { status, error, description: description.into(), retry_after_seconds: None }
    }

    fn invalid(description: impl Into<String>) -> Self {
        Self::new(400, "invalid_request", description)
    }

    /// There is no such identity for this process, or none at all: never a status that libraries retry.
    pub(crate) fn not_found() -> Self {
        Self::invalid("Identity not found")
    }

    /// As Azure words it.
    pub(crate) fn ambiguous() -> Self {
        Self::invalid(
            "Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in the token request",
        )
    }

    /// It passes by itself.
    pub(crate) fn unavailable() -> Self {
        let description = "The token service cannot be reached now";
        Self {
            retry_after_seconds: Some(5),
            ..Self::new(503, "temporarily_unavailable", description)
        }
    }

    pub(crate) fn body(&self) -> String {
        json!({ "error": self.error, "error_description": self.description }).to_string()
    }
}

/// Reads a request.
pub(crate) fn read(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap<HeaderValue>,
) -> Result<Question, Failure> {
    // Somebody else's request, which a proxy on this machine passes on (CWE-918).
    if headers.contains_key("x-forwarded-for") || headers.contains_key("forwarded") {
        return Err(Failure::invalid("A request that was forwarded is not answered"));
    }
    let flavour = match uri.path().strip_suffix('/').unwrap_or(uri.path()) {
        INSTANCE_METADATA_PATH => Flavour::InstanceMetadata,
        APP_SERVICE_PATH => Flavour::AppService,
        _ => return Err(Failure::new(404, "not_found", "There is nothing at this address")),
    };
    if method != Method::GET {
        return Err(Failure::new(405, "method_not_allowed", "Only GET is answered"));
    }
    let header = proven(flavour, headers)?;
    let query = pairs(uri.query().unwrap_or_default())?;
    version(&query)?;
    let resource = one(&query, "resource")?
        .ok_or_else(|| required("bad_request_101", "query variable 'resource' is missing"))?;
    let selector = selector(&query)?;
    Ok(Question { resource: resource.to_owned(), selector, header })
}

/// Headers that a page in a browser, or a server that is talked into fetching an address, cannot set.
fn proven(flavour: Flavour, headers: &HeaderMap<HeaderValue>) -> Result<Option<String>, Failure> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match flavour {
        Flavour::InstanceMetadata => {
            let set = text("metadata").is_some_and(|value| value.eq_ignore_ascii_case("true"));
            let missing = || required("bad_request_102", "metadata header not specified");
            if set { Ok(None) } else { Err(missing()) }
        }
        Flavour::AppService => {
            let missing = "The X-IDENTITY-HEADER header is missing or is not this process's";
            let header = text("x-identity-header").filter(|header| !header.is_empty());
            let header = header.ok_or_else(|| Failure::new(401, "unauthorized", missing))?;
            Ok(Some(header.to_owned()))
        }
    }
}

fn required(error: &'static str, what: &str) -> Failure {
    Failure::new(400, error, format!("Required {what}"))
}

fn version(query: &[(String, String)]) -> Result<(), Failure> {
    let version = one(query, "api-version")?
        .ok_or_else(|| required("bad_request_100", "query variable 'api-version' is missing"))?;
    let shape = version.bytes().enumerate().all(|(at, byte)| match at {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    });
    // Dates in this form compare as texts do.
    if version.len() == VERSION_MIN.len() && shape && version >= VERSION_MIN {
        return Ok(());
    }
    Err(Failure::invalid("The api-version is not supported"))
}

fn selector(query: &[(String, String)]) -> Result<Option<Selector>, Failure> {
    type Kind = fn(String) -> Selector;
    let kinds: [(&str, Kind); 5] = [
        ("client_id", Selector::ClientId),
        ("object_id", Selector::ObjectId),
        ("principal_id", Selector::ObjectId),
        ("mi_res_id", Selector::ResourceId),
        ("msi_res_id", Selector::ResourceId),
    ];
    let mut named = None;
    for (name, kind) in kinds {
        if let Some(value) = one(query, name)?
            && named.replace(kind(value.to_owned())).is_some()
        {
            return Err(Failure::invalid(
                "Only one of client_id, object_id and mi_res_id is allowed",
            ));
        }
    }
    Ok(named)
}

/// A parameter that is there once at most.
fn one<'a>(query: &'a [(String, String)], name: &str) -> Result<Option<&'a str>, Failure> {
    let mut values =
        query.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
    match (values.next(), values.next()) {
        (Some(_), Some(_)) => Err(Failure::invalid(format!("The parameter {name} is there twice"))),
        (value, _) => Ok(value.filter(|value| !value.is_empty())),
    }
}

fn pairs(query: &str) -> Result<Vec<(String, String)>, Failure> {
    if query.len() > QUERY_BYTES_MAX {
        return Err(Failure::invalid("The query is too long"));
    }
    let malformed = || Failure::invalid("The query is malformed");
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Some((decoded(name)?, decoded(value)?))
    };
    query.split('&').filter(|it| !it.is_empty()).map(|it| pair(it).ok_or_else(malformed)).collect()
}

/// Percent-encoding, `+` for a space (application/x-www-form-urlencoded).
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let value = digit(rest.next())? * 16 + digit(rest.next())?;
                u8::try_from(value).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(uri: &str, headers: &[(&'static str, &str)]) -> Result<Question, Failure> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        read(&Method::GET, &uri.parse().unwrap(), &map)
    }

    fn imds(query: &str) -> Result<Question, Failure> {
        ask(&format!("/metadata/identity/oauth2/token?{query}"), &[("metadata", "true")])
    }

    const USUAL: &str =
        "api-version=2018-02-01&resource=https%3A%2F%2Fossrdbms-aad.database.windows.net";

    #[test]
    fn requests_are_read_as_client_libraries_send_them() {
        let expected = Question {
            resource: "https://ossrdbms-aad.database.windows.net".to_owned(),
            selector: None,
            header: None,
        };
        assert_eq!(imds(USUAL), Ok(expected.clone()));
        let slash = format!("/metadata/identity/oauth2/token/?{USUAL}");
        assert_eq!(ask(&slash, &[("metadata", "True")]), Ok(expected));
        for (name, selector) in [
            ("client_id", Selector::ClientId("/a b".to_owned())),
            ("object_id", Selector::ObjectId("/a b".to_owned())),
            ("msi_res_id", Selector::ResourceId("/a b".to_owned())),
            ("mi_res_id", Selector::ResourceId("/a b".to_owned())),
        ] {
            let asked = imds(&format!("{USUAL}&{name}=%2Fa+b")).unwrap();
            assert_eq!(asked.selector, Some(selector));
        }
        let app = "/msi/token?api-version=2019-08-01&resource=r";
        let asked = ask(app, &[("x-identity-header", "secret")]).unwrap();
        assert_eq!((asked.resource.as_str(), asked.header.as_deref()), ("r", Some("secret")));
    }

    #[test]
    fn what_libraries_must_not_retry_is_a_400() {
        let failure = |asked: Result<Question, Failure>| {
            let failure = asked.unwrap_err();
            (failure.status, failure.error, failure.description)
        };
        let path = format!("/metadata/identity/oauth2/token?{USUAL}");
        let missing = "Required metadata header not specified".to_owned();
        assert_eq!(failure(ask(&path, &[])), (400, "bad_request_102", missing.clone()));
        assert_eq!(failure(ask(&path, &[("metadata", "1")])), (400, "bad_request_102", missing));
        let forwarded = [("metadata", "true"), ("x-forwarded-for", "10.0.0.1")];
        assert_eq!(failure(ask(&path, &forwarded)).0, 400);
        for query in [
            "",
            "resource=r",
            "api-version=2018-02-01",
            "api-version=2017-09-01&resource=r",
            "api-version=latest&resource=r",
            "api-version=2018-02-01&resource=r&resource=s",
            "api-version=2018-02-01&resource=r&client_id=1&object_id=2",
            "api-version=2018-02-01&resource=r&client_id=1&client_id=2",
            "api-version=2018-02-01&resource=%zz",
            "api-version=2018-02-01&resource=%ff",
        ] {
            assert_eq!(failure(imds(query)).0, 400, "{query}");
        }
        assert_eq!(failure(ask("/msi/token?api-version=2019-08-01&resource=r", &[])).0, 401);
        assert_eq!(failure(ask("/metadata/instance", &[("metadata", "true")])).0, 404);
        let posted = read(&Method::POST, &path.parse().unwrap(), &HeaderMap::new());
        assert_eq!(posted.unwrap_err().status, 405);
        let not_found = r#"{"error":"invalid_request","error_description":"Identity not found"}"#;
        assert_eq!(Failure::not_found().body(), not_found);
    }
}
