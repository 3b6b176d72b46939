//! Where a browser may take an authorization code: addresses that were registered, and nothing that merely looks alike.

use serde::{Deserialize, Serialize};

/// Longer addresses are refused: they come back in headers.
pub const REDIRECT_URI_BYTES_MAX: usize = 2_000;

/// Hosts on which only programs of the same machine listen.
const LOOPBACK: &[&str] = &["localhost", "127.0.0.1", "[::1]"];

/// An address of a program on the person's own machine: `http://localhost:8400/cb`, taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Loopback<'a> {
    host: &'a str,
    /// With the query.
    path: &'a str,
}

impl<'a> Loopback<'a> {
    fn parse(uri: &'a str) -> Option<Self> {
        let rest = uri.strip_prefix("http://")?;
        let host = *LOOPBACK.iter().find(|host| rest.starts_with(**host))?;
        let rest = rest.strip_prefix(host)?;
        let rest = match rest.strip_prefix(':') {
            None => rest,
            Some(rest) => {
                let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
                let (port, rest) = rest.split_at(end);
                port.parse::<u16>().ok()?;
                rest
            }
        };
        let path = if rest.is_empty() { "/" } else { rest };
        path.starts_with('/').then_some(Self { host, path })
    }
}

/// Why an address cannot be registered; nothing when it can.
pub fn unfit(uri: &str) -> Option<&'static str> {
    if uri.is_empty() || uri.len() > REDIRECT_URI_BYTES_MAX {
        return Some("it is empty or too long");
    }
    if !uri.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'<>\\^`{|}*;,#".contains(&byte)) {
        return Some(
            "it has characters that do not belong there (a fragment, a wildcard, a blank)",
        );
    }
    if Loopback::parse(uri).is_some() {
        return None;
    }
    let Some(rest) = uri.strip_prefix("https://") else {
        return Some("it is neither https:// nor http:// on the person's own machine");
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if authority.is_empty() || authority.contains('@') {
        return Some("it names no host, or a user beside it");
    }
    None
}

/// Whether a code may be taken to `asked`. Byte for byte; programs on people's machines (`public`) choose their port.
pub fn allowed(registered: &[String], asked: &str, public: Public) -> bool {
    if unfit(asked).is_some() {
        return false;
    }
    let loopback = match public {
        Public::Yes => Loopback::parse(asked),
        Public::No => None,
    };
    registered
        .iter()
        .any(|known| known == asked || (loopback.is_some() && loopback == Loopback::parse(known)))
}

/// Whether the client is a program on people's own machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Public {
    /// It is; RFC 8252 applies.
    Yes,
    /// It runs on a server and has a credential.
    No,
}

impl From<bool> for Public {
    /// `spec.publicClient`.
    fn from(public_client: bool) -> Self {
        if public_client { Self::Yes } else { Self::No }
    }
}

/// Scheme and authority: what a content security policy names.
pub fn origin(uri: &str) -> &str {
    let after = uri.find("://").map_or(0, |at| at + 3);
    let end = uri.get(after..).and_then(|rest| rest.find(['/', '?', '#'])).map(|at| after + at);
    uri.get(..end.unwrap_or(uri.len())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(uris: &[&str]) -> Vec<String> {
        uris.iter().map(|uri| (*uri).to_owned()).collect()
    }

    #[test]
    fn what_is_registered_is_https_or_on_the_persons_own_machine() {
        for fit in [
            "https://app.example.com",
            "https://app.example.com:8443/cb?x=1",
            "http://localhost",
            "http://localhost:8765/cb",
            "http://127.0.0.1/",
            "http://[::1]:1/",
        ] {
            assert_eq!(unfit(fit), None, "{fit}");
        }
        for other in [
            "",
            "http://app.example.com/cb",
            "http://localhost.evil.test/",
            "http://localhost@evil.test/",
            "http://localhost:80@evil.test/",
            "http://localhost:99999/",
            "https://*.example.com/cb",
            "https://app.example.com/#x",
            "https://user@app.example.com/",
            "https:///cb",
            "javascript:alert(1)",
            "https://app.example.com/\ncb",
        ] {
            assert!(unfit(other).is_some(), "{other}");
        }
    }

    #[test]
    fn a_server_is_found_byte_for_byte_and_a_program_on_any_port() {
        let server = known(&["https://app.example.com/cb", "http://localhost:8765/cb"]);
        for (asked, may) in [
            ("https://app.example.com/cb", true),
            ("https://app.example.com/cb/", false),
            ("https://app.example.com/cb?next=evil", false),
            ("https://APP.example.com/cb", false),
            ("https://app.example.com.evil.test/cb", false),
            ("https://app.example.com/cb/../evil", false),
            ("http://localhost:8765/cb", true),
            ("http://localhost:8766/cb", false),
        ] {
            assert_eq!(allowed(&server, asked, Public::No), may, "{asked}");
        }
        let program = known(&["http://localhost", "http://127.0.0.1/cb"]);
        for (asked, may) in [
            ("http://localhost:8400", true),
            ("http://localhost:65535/", true),
            ("http://localhost:8400/other", false),
            ("http://127.0.0.1:1/cb", true),
            ("http://127.0.0.1:1/", false),
            ("http://localhost:8400@evil.test/", false),
            ("http://localhost.evil.test:8400/", false),
            ("https://localhost:8400/", false),
        ] {
            assert_eq!(allowed(&program, asked, Public::Yes), may, "{asked}");
        }
    }

    #[test]
    fn an_origin_is_scheme_and_authority() {
        assert_eq!(origin("https://app.example.com/cb?x"), "https://app.example.com");
        assert_eq!(origin("http://localhost:8400"), "http://localhost:8400");
        assert_eq!(origin("http://[::1]:9/x"), "http://[::1]:9");
    }
}
