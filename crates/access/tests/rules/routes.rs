//! Which server a connection is for.

use std::collections::BTreeSet;

use access::network::listener_allows;
use access::route::{Asked, route};
use model::kind::server::{DatabaseServer, Databases};
use model::{Document, Snapshot, code};
use uuid::Uuid;

use crate::directory::{ip, resources, server, snapshot};

fn second(databases: Databases) -> Document<DatabaseServer> {
    let mut other = server();
    other.metadata.name = "billing".to_owned();
    other.metadata.uid = Some(Uuid::from_u128(2));
    other.spec.databases = databases;
    other.spec.server_names = vec!["billing.db.example.com".to_owned()];
    other
}

fn asked<'a>(server_name: Option<&'a str>, database: &'a str) -> Asked<'a> {
    Asked { listener: "postgresql", server_name, database }
}

fn with(servers: Vec<Document<DatabaseServer>>) -> Snapshot {
    snapshot(servers.into_iter().map(Into::into).collect())
}

#[test]
fn the_only_server_behind_a_listener_answers_to_every_name() {
    let one = with(vec![server()]);
    assert_eq!(route(&asked(None, "anything"), &one).unwrap().name(), "orders");
    assert_eq!(route(&asked(Some("10.0.0.1"), "anything"), &one).unwrap().name(), "orders");
}

#[test]
fn the_server_name_comes_before_the_database_name() {
    let two = with(vec![server(), second(Databases::Only(BTreeSet::from(["billing".to_owned()])))]);
    let name = |server_name, database| {
        route(&asked(server_name, database), &two)
            .map(|server| server.name().to_owned())
            .map_err(|refusal| refusal.code.id)
    };
    assert_eq!(name(Some("BILLING.db.example.com"), "orders"), Ok("billing".to_owned()));
    assert_eq!(name(Some("unknown.example.com"), "billing"), Ok("billing".to_owned()));
    assert_eq!(name(None, "orders"), Ok("orders".to_owned()));
    assert_eq!(name(None, "nowhere"), Err("PC1201"));
}

#[test]
fn two_servers_that_list_the_same_database_are_not_guessed_between() {
    let two = with(vec![server(), second(Databases::Only(BTreeSet::from(["orders".to_owned()])))]);
    assert_eq!(route(&asked(None, "orders"), &two).unwrap_err().code, &code::SERVER_UNKNOWN);
}

#[test]
fn a_listener_without_a_server_answers_nobody() {
    let one = with(vec![server()]);
    let elsewhere = Asked { listener: "other", server_name: None, database: "orders" };
    assert_eq!(route(&elsewhere, &one).unwrap_err().code, &code::SERVER_UNKNOWN);
    assert_eq!(
        listener_allows("other", ip("10.0.0.7"), &snapshot(resources())).unwrap_err().code,
        &code::NETWORK_DENIED
    );
}

#[test]
fn at_accept_only_addresses_that_some_server_allows_go_on() {
    let snapshot = snapshot(resources());
    assert_eq!(listener_allows("postgresql", ip("10.0.0.7"), &snapshot), Ok(()));
    assert_eq!(listener_allows("postgresql", ip("::ffff:10.0.0.7"), &snapshot), Ok(()));
    assert_eq!(
        listener_allows("postgresql", ip("10.0.1.7"), &snapshot).unwrap_err().code,
        &code::NETWORK_DENIED
    );
}
