//! What the plans of all engines share.

use std::net::{IpAddr, Ipv4Addr};

use model::kind::database_role::Privileges;
use model::{DatabaseRoleName, ServerName};

use super::*;

/// What the API says of a server `orders` with a database `orders`.
pub(super) fn input_of(engine: &str) -> EnrollInput {
    let server = serde_json::from_value(serde_json::json!({
        "engine": engine, "host": "localhost", "port": 5432, "ca": "",
        "databases": {"only": ["orders"]},
    }))
    .unwrap();
    EnrollInput {
        server: Document::new("orders", server),
        roles: Vec::new(),
        client_authority: "-----BEGIN CERTIFICATE-----\n".to_owned(),
        gateway_addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        additional_authorities: Vec::new(),
        observed: None,
    }
}

/// A database role of that server's.
pub(super) fn role(privileges: Privileges) -> Document<DatabaseRole> {
    let spec = DatabaseRole {
        server: ServerName::new("orders").unwrap(),
        privileges,
        databases: Vec::new(),
        schemas: vec!["public".to_owned()],
        replication: false,
    };
    Document::new(DatabaseRoleName::new("orders.own").unwrap().as_str(), spec)
}

#[test]
fn a_second_authority_is_for_test_stacks_only() {
    for engine in ["postgresql", "mysql"] {
        let mut input = input_of(engine);
        input.additional_authorities.push("-----BEGIN CERTIFICATE-----\n".to_owned());
        assert_eq!(plan(&input).unwrap_err().code, &code::TEST_STACK_ONLY);
        input.server.spec.test_stack = true;
        assert!(plan(&input).is_ok());
    }
}

#[test]
fn a_gateway_without_an_address_cannot_be_let_in() {
    for engine in ["postgresql", "mysql"] {
        let mut input = input_of(engine);
        input.gateway_addresses.clear();
        assert_eq!(plan(&input).unwrap_err().code, &code::INVALID);
    }
}

#[test]
fn what_one_engine_said_is_never_planned_for_as_another() {
    let mut input = input_of("mysql");
    let observed = pg::Observed::fresh(&input_of("postgresql").server.spec);
    input.observed = Some(Observed::PostgreSql(observed));
    assert_eq!(plan(&input).unwrap_err().code, &code::INVALID);
}
