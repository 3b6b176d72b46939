//! OAUTHBEARER (RFC 7628) on the listener of its own: byte for byte, and with libpq 18.

use e2e::raw::{Client, Message};
use serde_json::{Value, json};
use testkit::program;
use testkit::stack::{Credential, Facts, Reach};

use crate::support::{assert_says, events, newcomer, shared, text};
use crate::token_service::{CLIENTS, python};

const SASL: u32 = 10;
const SASL_CONTINUE: u32 = 11;
const SCOPE: &str = "https://ossrdbms-aad.database.windows.net/.default";

fn door(facts: &Facts) -> Reach {
    Reach { port: facts.reach.oauth_port, ..facts.reach.clone() }
}

fn issuer(facts: &Facts) -> String {
    format!("{}/{}/v2.0", facts.reach.url, facts.reach.tenant)
}

fn configuration(facts: &Facts) -> String {
    format!("{}/.well-known/openid-configuration", issuer(facts))
}

/// Code and data of an authentication message.
fn authentication(message: &Message) -> (u32, &[u8]) {
    assert_eq!(message.tag, b'R', "{}", message.text());
    let (code, data) = message.body.split_first_chunk::<4>().unwrap();
    (u32::from_be_bytes(*code), data)
}

/// Up to the server's answer to the first response.
fn answered(facts: &Facts, user: &str, first: &str) -> (Client, Message) {
    let mut client =
        Client::started(&door(facts), &[("user", user), ("database", "orders")]).unwrap();
    assert_eq!(authentication(&client.read().unwrap()), (SASL, &b"OAUTHBEARER\0\0"[..]));
    let length = u32::try_from(first.len()).unwrap().to_be_bytes();
    let body = [b"OAUTHBEARER\0", &length[..], first.as_bytes()].concat();
    client.message(b'p', &body).unwrap();
    let answer = client.read().unwrap();
    (client, answer)
}

fn assert_explains(facts: &Facts, answer: &Message) {
    let (code, data) = authentication(answer);
    let said: Value = serde_json::from_slice(data).unwrap();
    let wanted = json!({
        "status": "invalid_token", "openid-configuration": configuration(facts), "scope": SCOPE,
    });
    assert_eq!((code, said), (SASL_CONTINUE, wanted));
}

#[test]
fn who_asks_where_to_get_a_token_is_told_and_has_not_failed_to_log_in_but_a_wrong_token_has() {
    let facts = shared();
    let person = newcomer(facts, &[]);
    let (mut client, answer) = answered(facts, &person.user, "n,,\x01auth=\x01\x01");
    assert_explains(facts, &answer);
    client.message(b'p', b"\x01").unwrap();
    assert_says(&client.until_closed().unwrap(), &["SFATAL", "C28000", "PC1101"]);

    let first = "n,,\x01auth=Bearer not-a-token\x01\x01";
    let (mut client, answer) = answered(facts, &person.user, first);
    assert_explains(facts, &answer);
    client.message(b'p', b"\x01").unwrap();
    assert_says(&client.until_closed().unwrap(), &["SFATAL", "C28000", "PC1102"]);

    let refused = events(facts, "sessionRefused", &person.user);
    let codes: Vec<&str> = refused.iter().map(|event| text(event, "/code")).collect();
    assert_eq!(codes, ["PC1102"]);
}

#[test]
fn an_exchange_that_is_not_rfc_7628s_is_a_protocol_violation() {
    let facts = shared();
    for first in [
        "p=tls-server-end-point,,\x01auth=\x01\x01",
        "n,a=somebody,\x01auth=\x01\x01",
        "n,,\x01auth=Basic YTpi\x01\x01",
        "n,,\x01auth=",
    ] {
        let (_client, answer) = answered(facts, "orders-api", first);
        assert_eq!(answer.tag, b'E', "{first:?}");
        assert_says(&answer.text(), &["SFATAL", "C08P01"]);
    }
    let (mut client, answer) = answered(facts, "orders-api", "n,,\x01auth=\x01\x01");
    assert_explains(facts, &answer);
    client.message(b'p', b"more").unwrap();
    assert_says(&client.until_closed().unwrap(), &["SFATAL", "C08P01"]);
}

/// What libpq 18 says with these parameters beside those of the stack.
fn libpq(facts: &Facts, user: &str, token: Option<&str>, more: &str) -> Value {
    let mut command = program::clean(python());
    command.arg(format!("{CLIENTS}/oauth_bearer.py")).arg(format!(
        "host=localhost port={} dbname=orders user={user} sslmode=verify-full sslrootcert={} {more}",
        facts.reach.oauth_port,
        facts.reach.ca.display()
    ));
    command.envs(token.map(|token| ("PORTCULLIS_TOKEN", token)));
    program::run(&mut command).unwrap().json().unwrap()
}

fn refused(said: &Value, why: &str) {
    assert_eq!(said["open"], false, "{said}");
    assert_says(text(said, "/error"), &[why]);
}

#[test]
fn libpq_18_finds_its_way_and_logs_in_with_a_token_of_the_applications() {
    let facts = shared();
    let oauth = format!("oauth_issuer={} oauth_client_id=client", issuer(facts));
    let token = facts.api.token(Credential::Secret).unwrap();

    // Two connections: it asks, and comes back with what its hook gave it.
    let asked = json!([{ "configuration": configuration(facts), "scope": SCOPE }]);
    for more in ["", "sslnegotiation=direct", "max_protocol_version=3.2", "require_auth=oauth"] {
        let said = libpq(facts, "orders-api", Some(&token), &format!("{oauth} {more}"));
        assert_eq!((&said["open"], &said["user"]), (&json!(true), &json!("orders-api")), "{said}");
        assert_eq!(said["asked"], asked);
    }
    // One: where to get a token is known.
    let known = format!("oauth_issuer={} oauth_client_id=client", configuration(facts));
    let said = libpq(facts, "orders-api", Some(&token), &known);
    assert_eq!((&said["open"], &said["user"]), (&json!(true), &json!("orders-api")), "{said}");

    refused(
        &libpq(facts, "orders-api", None, ""),
        "server requires OAuth authentication, but oauth_issuer and oauth_client_id are not both set",
    );
    refused(
        &libpq(facts, "orders-api", None, &oauth),
        "no OAuth flows are available (try installing the libpq-oauth package)",
    );
    refused(
        &libpq(facts, "orders-api", None, "require_auth=password"),
        "authentication method requirement \"password\" failed: server requested SASL authentication",
    );
    let wrong = libpq(facts, "orders-api", Some("not-a-token"), &known);
    refused(&wrong, "FATAL:  PC1102");
}

#[test]
fn an_older_client_is_told_by_its_own_library_that_it_cannot() {
    let facts = shared();
    let token = facts.api.token(Credential::Secret).unwrap();
    let said = door(facts).psql("orders-api", &token, "select 1").unwrap();
    let said = said.expect_failure(2).unwrap();
    assert_says(
        &said.stderr,
        &["none of the server's SASL authentication mechanisms are supported"],
    );
}
