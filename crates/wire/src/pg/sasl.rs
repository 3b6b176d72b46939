//! OAUTHBEARER (RFC 7628), the SASL mechanism by which libpq 18 and later send a token.
//!
//! ```text
//! server: AuthenticationSASL [OAUTHBEARER]
//! client: SASLInitialResponse OAUTHBEARER, `n,,^Aauth=Bearer <token>^A^A`
//! server: AuthenticationOk                                      the token was good
//! or
//! client: `n,,^Aauth=^A^A`                                      it has none yet and asks where to get one
//! server: AuthenticationSASLContinue, the JSON of [`Discovery`]
//! client: SASLResponse `^A`
//! server: ErrorResponse FATAL 28000                             and the connection ends; this was no failed login
//! ```

use thiserror::Error;

/// The mechanism's name.
pub const MECHANISM: &str = "OAUTHBEARER";

/// What a client answers to [`Discovery`].
pub const ACKNOWLEDGEMENT: &[u8] = b"\x01";

/// The client's first response.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Response<'a> {
    /// It has no token and asks where to get one.
    Discovery,
    /// A bearer token; its characters are those that RFC 6750 §2.1 allows.
    Bearer(&'a str),
}

impl std::fmt::Debug for Response<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Discovery => "Discovery",
            Self::Bearer(_) => "Bearer([secret])",
        })
    }
}

/// Why a response is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OauthError {
    /// The client insists on channel binding, which the mechanism does not have.
    #[error("OAUTHBEARER has no channel binding, and the client insists on it")]
    ChannelBinding,
    /// The client wants to act as somebody else.
    #[error("an authorization identity is not allowed: the token says who it is")]
    AuthorizationIdentity,
    /// The bytes are not RFC 7628's.
    #[error("the OAUTHBEARER response is malformed: {0}")]
    Malformed(&'static str),
    /// `auth` has another scheme than Bearer.
    #[error("only bearer tokens are accepted")]
    Scheme,
}

/// One separator of keys and values.
const SEPARATOR: u8 = 0x01;

/// Reads the client's first response.
pub fn response(data: &[u8]) -> Result<Response<'_>, OauthError> {
    let text = std::str::from_utf8(data).map_err(|_| OauthError::Malformed("it is not UTF-8"))?;
    let (header, pairs) = text
        .split_once(char::from(SEPARATOR))
        .ok_or(OauthError::Malformed("it has no end of header"))?;
    gs2_header(header)?;
    let authorization = authorization(pairs)?;
    if authorization.is_empty() {
        return Ok(Response::Discovery);
    }
    let (scheme, token) = authorization.split_once(' ').ok_or(OauthError::Scheme)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(OauthError::Scheme);
    }
    let token = token.trim_start_matches(' ');
    if is_bearer_token(token) {
        Ok(Response::Bearer(token))
    } else {
        Err(OauthError::Malformed("the token has characters that no token has"))
    }
}

/// `n,,` or `y,,`: no channel binding, no authorization identity.
fn gs2_header(header: &str) -> Result<(), OauthError> {
    let mut parts = header.split(',');
    let flag = parts.next().unwrap_or_default();
    let identity = parts.next().ok_or(OauthError::Malformed("the header has no second part"))?;
    if parts.next() != Some("") || parts.next().is_some() {
        return Err(OauthError::Malformed("the header does not end with a comma"));
    }
    match flag {
        "n" | "y" => {}
        flag if flag.starts_with("p=") => return Err(OauthError::ChannelBinding),
        _ => return Err(OauthError::Malformed("the channel binding flag is unknown")),
    }
    if identity.is_empty() { Ok(()) } else { Err(OauthError::AuthorizationIdentity) }
}

/// The value of `auth`; unknown keys are ignored (RFC 7628 §3.1), `auth` comes exactly once.
fn authorization(pairs: &str) -> Result<&str, OauthError> {
    let pairs =
        pairs.strip_suffix(char::from(SEPARATOR)).ok_or(OauthError::Malformed("it has no end"))?;
    let mut found = None;
    for pair in pairs.split_terminator(char::from(SEPARATOR)) {
        let (key, value) =
            pair.split_once('=').ok_or(OauthError::Malformed("a key has no value"))?;
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return Err(OauthError::Malformed("a key is not made of letters"));
        }
        if key == "auth" && found.replace(value).is_some() {
            return Err(OauthError::Malformed("`auth` is given twice"));
        }
    }
    if !pairs.ends_with(char::from(SEPARATOR)) {
        return Err(OauthError::Malformed("the last value has no end"));
    }
    found.ok_or(OauthError::Malformed("`auth` is missing"))
}

/// RFC 6750 §2.1: `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`.
fn is_bearer_token(token: &str) -> bool {
    let body = token.trim_end_matches('=');
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    !body.is_empty() && body.bytes().all(allowed)
}

/// Tells a client where to get a token.
#[derive(Clone, Copy, Debug)]
pub struct Discovery<'a> {
    /// The issuer, byte for byte as in its discovery document.
    pub issuer: &'a str,
    /// Scopes to ask for, separated by spaces.
    pub scope: &'a str,
}

impl Discovery<'_> {
    /// The data of AuthenticationSASLContinue.
    pub fn json(&self) -> String {
        let mut json = String::from(r#"{"status":"invalid_token","openid-configuration":""#);
        escape(self.issuer, &mut json);
        json.push_str(r#"/.well-known/openid-configuration","scope":""#);
        escape(self.scope, &mut json);
        json.push_str(r#""}"#);
        json
    }
}

/// RFC 8259 §7.
fn escape(text: &str, json: &mut String) {
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                json.push('\\');
                json.push(character);
            }
            control if u32::from(control) < 0x20 => {
                json.push_str(r"\u00");
                for shift in [4_u32, 0] {
                    let nibble = (u32::from(control) >> shift) & 0xf;
                    json.extend(char::from_digit(nibble, 16));
                }
            }
            other => json.push(other),
        }
    }
}
