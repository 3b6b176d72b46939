//! Where a server is reached, and as whom: what a person would otherwise have to be told.

use std::collections::BTreeSet;

use model::kind::server::Engine;
use model::{Refusal, ServerName, code};
use serde::Deserialize;
use ureq::http::Method;

use crate::installation::encoded;
use crate::{ClientError, Installation, Sent, Token};

/// All that a client needs to connect, but a token.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// What is spoken there.
    pub engine: Engine,
    /// The gateway, by a name that its certificate has.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
    /// The user name to log in as.
    pub user: String,
    /// The database that is meant when nobody names one.
    #[serde(default)]
    pub database: Option<String>,
    /// Those that are reachable; empty when any is.
    #[serde(default)]
    pub databases: BTreeSet<String>,
    #[serde(default)]
    unmet: Option<Unmet>,
}

/// What is not met yet.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Unmet {
    detail: String,
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    hint: Option<String>,
}

impl Connection {
    /// Fails when the gateway would refuse it now, with the gateway's own reason and what to do about it.
    pub fn check(&self) -> Result<(), ClientError> {
        let Some(unmet) = &self.unmet else { return Ok(()) };
        let known = code::ALL.iter().find(|known| Some(known.id) == unmet.code.as_deref());
        // A reason of a later version: the gateway says it itself.
        let Some(code) = known else { return Ok(()) };
        let (message, hint) = (unmet.detail.clone(), unmet.hint.clone());
        Err(ClientError::refused(Refusal { code, message, hint }))
    }
}

/// Asks where a server is reached; `database` is the one that is wanted there.
pub fn connection(
    installation: &Installation,
    token: &Token,
    server: &ServerName,
    database: Option<&str>,
) -> Result<Connection, ClientError> {
    let mut path = format!("/v1/databaseservers/{server}/connection");
    if let Some(database) = database {
        path.push('?');
        path.push_str(&encoded(&[("database", database)]));
    }
    let sent = Sent { body: None, token: Some(&token.text) };
    installation.call(&Method::GET, &path, sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(unmet: &str) -> Connection {
        let text = format!(
            r#"{{ "engine": "mysql", "host": "db.test", "port": 3306, "user": "ada@example.com"{unmet} }}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn what_is_not_met_is_the_gateways_refusal_and_names_the_request_that_helps() {
        assert!(answered("").check().is_ok());
        let unmet = r#", "unmet": { "name": "membership", "met": false, "code": "PC1203",
            "detail": "you are not a member", "hint": "ask with `portcullis request orders-readers`" }"#;
        let ClientError::Refused(refusal) = answered(unmet).check().unwrap_err() else { panic!() };
        assert_eq!(refusal.to_string(), "PC1203: you are not a member");
        assert_eq!(refusal.hint.as_deref(), Some("ask with `portcullis request orders-readers`"));
        let later = r#", "unmet": { "name": "x", "met": false, "code": "PC9999", "detail": "?" }"#;
        assert!(answered(later).check().is_ok());
    }
}
