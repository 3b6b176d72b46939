//! MariaDB through the gateway with drivers as applications install them: the programs that `cargo xtask conformance --mysql`
//! compares for all drivers, here for those of Python.

use std::path::Path;

use serde_json::Value;
use testkit::program;

use crate::mariadb::{member, shared};
use crate::token_service::python;

const CLIENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/mysql");

/// What a driver's program says of each feature, as someone who may define things in the database.
fn outcomes(script: &str, more: &[(&str, &str)]) -> Vec<(String, String)> {
    let stack = shared();
    let (facts, mariadb) = (&stack.facts, stack.mariadb.as_ref().unwrap());
    prepare(mariadb);
    let (person, _, token) = member(facts, "orders-admins");
    let handle = person.must(&["token", "--handle"]).unwrap();
    let port = facts.reach.mysql_port.to_string();
    let mut command = program::clean(python());
    command
        .arg(Path::new(CLIENTS).join("python").join(script))
        .envs([("DB_HOST", "127.0.0.1"), ("DB_PORT", &port), ("DB_NAME", "orders")])
        .envs([("DB_USER", &person.user), ("DB_PASSWORD", &token), ("DB_HANDLE", &handle)])
        .env("DB_CA", &facts.reach.ca)
        .env("DB_REFUSED", format!("PC1102=no-token PC1102={handle}x"))
        .envs(more.iter().copied());
    let said = program::run(&mut command).unwrap();
    let lines = said.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let outcome = |line: Value| {
        let text = |name: &str| line.get(name)?.as_str().map(str::to_owned);
        let outcome = text("outcome")?;
        assert_ne!(outcome, "fails", "{line}\n{}", said.stderr);
        Some((text("feature")?, outcome))
    };
    lines.filter_map(outcome).collect()
}

/// What the programs find in the database.
fn prepare(mariadb: &testkit::mariadb::MariaDb) {
    let fixture = std::fs::read_to_string(Path::new(CLIENTS).join("fixture.sql")).unwrap();
    let sql = format!(
        "set global max_allowed_packet = 64 * 1024 * 1024;\ndrop table if exists every_type;\n\
         drop procedure if exists both_ways;\n{fixture}"
    );
    mariadb.sql("orders", &sql).unwrap();
}

/// The features that work.
fn working(outcomes: &[(String, String)]) -> Vec<&str> {
    let works = outcomes.iter().filter(|(_, outcome)| outcome == "works");
    works.map(|(feature, _)| feature.as_str()).collect()
}

/// One after the other: they share what `prepare` makes.
#[test]
fn pythons_drivers_do_all_that_they_can_with_a_token() {
    let common = ["login", "handle", "refused", "query", "types"];
    let outcomes_of_pymysql = outcomes("via_pymysql.py", &[]);
    let seen = working(&outcomes_of_pymysql);
    assert!(seen.starts_with(&common), "{seen:?}");
    assert_eq!(
        seen[common.len()..],
        [
            "multi",
            "procedure",
            "stream",
            "largeIn",
            "largeOut",
            "transaction",
            "kill",
            "reconnect",
            "charset",
            "orm"
        ]
    );
    for (by_c, expected) in [
        ("yes", &["prepared", "reset", "changeUser"][..]),
        ("no", &["prepared", "cursor", "longData", "reset", "changeUser"]),
    ] {
        let outcomes_of_connector = outcomes("via_connector.py", &[("CONNECTOR_C", by_c)]);
        let seen = working(&outcomes_of_connector);
        for feature in common.iter().chain(expected) {
            assert!(seen.contains(feature), "{feature} in {seen:?}");
        }
    }
}
