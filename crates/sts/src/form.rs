//! Forms and HTTP Basic as OAuth uses them (RFC 6749 §2.3.1, appendix B). Liberal: unknown fields are ignored.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::failure::{FIELD_MISSING, FIELD_REPEATED, FORM_MALFORMED, Failure, quoted};

/// More fields than this in one body are refused; Node sends a dozen of its own.
const FIELDS_MAX: usize = 100;

/// Fields that count: repeating one is refused, whatever a stranger's proxy would make of it.
const SINGULAR: &[&str] = &[
    "assertion",
    "claims",
    "client_assertion",
    "client_assertion_type",
    "client_id",
    "client_secret",
    "code",
    "code_challenge",
    "code_challenge_method",
    "code_verifier",
    "device_code",
    "flow",
    "grant_type",
    "max_age",
    "nonce",
    "prompt",
    "redirect_uri",
    "refresh_token",
    "resource",
    "response_mode",
    "response_type",
    "scope",
    "state",
    "token",
];

/// The fields of a request. May hold secrets: `Debug` shows names only.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Form {
    fields: Vec<(String, String)>,
}

impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.fields.iter().map(|(name, _)| name)).finish()
    }
}

impl Form {
    /// Reads `application/x-www-form-urlencoded`, whatever the header says it is.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Failure> {
        let mut fields: Vec<(String, String)> = Vec::new();
        for pair in body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            if fields.len() == FIELDS_MAX {
                return Err(malformed());
            }
            let (name, value) = match pair.iter().position(|byte| *byte == b'=') {
                Some(at) => pair.split_at(at),
                None => (pair, &b"="[..]),
            };
            let name = decoded(name).ok_or_else(malformed)?;
            let value = decoded(value.get(1..).unwrap_or_default()).ok_or_else(malformed)?;
            if SINGULAR.contains(&name.as_str()) && fields.iter().any(|(known, _)| *known == name) {
                return Err(Failure::new(
                    &FIELD_REPEATED,
                    format!(
                        "The request is not properly formatted. The parameter '{name}' is duplicated."
                    ),
                ));
            }
            fields.push((name, value));
        }
        Ok(Self { fields })
    }

    /// As a query.
    pub(crate) fn written(&self) -> String {
        let pair =
            |(name, value): &(String, String)| format!("{}={}", encoded(name), encoded(value));
        self.fields.iter().map(pair).collect::<Vec<_>>().join("&")
    }

    /// The field's value. An empty value counts as absent, as RFC 6749 §3.2 has it.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.fields.iter().find(|(known, _)| known == name)?;
        (!value.is_empty()).then_some(value)
    }

    /// The field's value, or the refusal that names it.
    pub(crate) fn required(&self, name: &str) -> Result<&str, Failure> {
        self.get(name).ok_or_else(|| {
            Failure::new(
                &FIELD_MISSING,
                format!("The request body must contain the following parameter: '{name}'."),
            )
        })
    }
}

fn malformed() -> Failure {
    Failure::new(
        &FORM_MALFORMED,
        "The request body is not a form (application/x-www-form-urlencoded).",
    )
}

/// Percent-decoding with `+` for a space; nothing when it is not UTF-8 or an escape is broken.
pub(crate) fn decoded(text: &[u8]) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let high = char::from(*rest.next()?).to_digit(16)?;
                let low = char::from(*rest.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            other => *other,
        });
    }
    String::from_utf8(bytes).ok()
}

/// Percent-encoded, so that it is one value in a query or a form.
pub(crate) fn encoded(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            written.push(char::from(byte));
        } else {
            let digit =
                |half: u8| char::from_digit(half.into(), 16).unwrap_or('0').to_ascii_uppercase();
            written.extend(['%', digit(byte >> 4), digit(byte & 0x0f)]);
        }
    }
    written
}

/// Client id and secret of an `Authorization: Basic` header: both form-url-encoded before they are joined.
pub(crate) fn basic(header: &str) -> Result<Option<(String, String)>, Failure> {
    let Some((scheme, encoded)) = header.trim().split_once(' ') else { return Ok(None) };
    if !scheme.eq_ignore_ascii_case("basic") {
        return Ok(None);
    }
    let pair = STANDARD.decode(encoded.trim()).ok().and_then(|bytes| {
        let colon = bytes.iter().position(|byte| *byte == b':')?;
        let (id, secret) = bytes.split_at(colon);
        Some((decoded(id)?, decoded(secret.get(1..)?)?))
    });
    match pair {
        Some(pair) => Ok(Some(pair)),
        None => Err(Failure::new(
            &FORM_MALFORMED,
            format!("The Authorization header {} is not HTTP Basic.", quoted(scheme)),
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn unknown_fields_pass_and_empty_ones_are_absent() {
        let form = Form::parse(b"grant_type=a+b%2Fc&x-client-SKU=MSAL.JS&scope=&&flag").unwrap();
        assert_eq!(form.get("grant_type"), Some("a b/c"));
        assert_eq!(form.get("x-client-SKU"), Some("MSAL.JS"));
        assert_eq!((form.get("scope"), form.get("flag"), form.get("none")), (None, None, None));
        assert_eq!(form.required("scope").unwrap_err().code(), "AADSTS900144");
    }

    #[test]
    fn a_repeated_field_that_counts_is_refused_and_telemetry_is_not() {
        assert_eq!(
            Form::parse(b"client_id=a&client_id=b").unwrap_err().message,
            "The request is not properly formatted. The parameter 'client_id' is duplicated."
        );
        assert!(Form::parse(b"x-client-os=a&x-client-os=b").is_ok());
    }

    #[test]
    fn secrets_do_not_show_in_debug() {
        let form = Form::parse(b"client_secret=hunter2").unwrap();
        assert_eq!(format!("{form:?}"), r#"["client_secret"]"#);
    }

    #[test]
    fn basic_credentials_are_form_decoded_after_the_split() {
        let header = format!("bAsIc {}", STANDARD.encode("my%3Aid:p%2Bss+word%3a"));
        assert_eq!(basic(&header).unwrap(), Some(("my:id".to_owned(), "p+ss word:".to_owned())));
        assert_eq!(basic("Bearer x").unwrap(), None);
        assert_eq!(basic("Basic !!!").unwrap_err().code(), "AADSTS90013");
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_form_or_a_refusal(body in proptest::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(form) = Form::parse(&body) {
                prop_assert!(form.fields.len() <= FIELDS_MAX);
            }
        }

        #[test]
        fn what_a_client_encodes_is_what_we_read(name in "[a-z_]{1,12}", value in "\\PC{1,40}") {
            let mut encoded = format!("{name}=");
            for byte in value.bytes() {
                write!(encoded, "%{byte:02X}").unwrap();
            }
            let form = Form::parse(encoded.as_bytes()).unwrap();
            prop_assert_eq!(form.get(&name), Some(value.as_str()));
        }

        #[test]
        fn any_header_is_basic_or_not_or_a_refusal(header in "\\PC{0,80}") {
            let _pair = basic(&header);
        }
    }
}
