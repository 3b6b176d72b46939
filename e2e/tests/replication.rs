//! Replication: only where a role allows it, and then the real tools, recorded by command.

use std::process::Command;
use std::time::Duration;

use e2e::raw::Client;
use serde_json::Value;
use testkit::stack::{Credential, Facts, Options, Privileges, Workload};
use testkit::{program, wait};

use crate::support::{assert_says, own_with, shared, text};

fn tool(facts: &Facts, name: &str, workload: &Workload) -> Command {
    let token = workload.token(Credential::Secret).unwrap();
    facts.reach.client(name, &workload.application, &token)
}

/// Statements recorded as commands of the replication protocol, with their outcomes, once the last is known.
fn commands(facts: &Facts, last: &str) -> Vec<(String, Value)> {
    wait::until(Duration::from_secs(10), &format!("the outcome of {last}"), || {
        let statements = facts.audit(&["--type", "statement"]).unwrap();
        let outcomes = facts.audit(&["--type", "statementOutcome"]).unwrap();
        let outcome = |statement: &Value| {
            let same = |other: &&Value| {
                other["session"] == statement["session"] && other["number"] == statement["number"]
            };
            outcomes.iter().find(same).cloned().unwrap_or_default()
        };
        let ours = statements.iter().filter(|statement| statement["protocol"] == "replication");
        let commands: Vec<_> =
            ours.map(|each| (text(each, "/sql").to_owned(), outcome(each))).collect();
        let known = |(sql, outcome): &(String, Value)| sql.starts_with(last) && !outcome.is_null();
        commands.iter().any(known).then_some(commands)
    })
}

#[test]
fn a_role_without_replication_is_refused_as_postgresql_refuses_and_with_our_code() {
    let facts = shared();
    for replication in ["database", "true"] {
        let mut psql = tool(facts, "psql", &facts.api);
        psql.args(["-X", "-c", "identify_system"]);
        psql.arg(format!("dbname=orders replication={replication}"));
        let said = program::run(&mut psql).unwrap().expect_failure(2).unwrap();
        assert_says(&said.stderr, &["FATAL:  PC1205:", "replication"]);
    }
    // PostgreSQL's own class for it is 42501; psql shows no class of what ends a connection.
    let start = [("user", "orders-api"), ("database", "orders"), ("replication", "1")];
    let mut client = Client::started(&facts.reach, &start).unwrap();
    client.read_until(b'R').unwrap();
    let token = facts.api.token(Credential::Secret).unwrap();
    client.message(b'p', &[token.as_bytes(), b"\0"].concat()).unwrap();
    assert_says(&client.until_closed().unwrap(), &["C42501", "PC1205"]);

    let refused = facts.audit(&["--type", "sessionRefused", "--text", "PC1205"]).unwrap();
    assert!(refused.iter().all(|event| text(event, "/actor/name") == "orders-api"));
    assert!(refused.len() >= 2, "{refused:?}");
}

#[test]
fn a_base_backup_and_the_write_ahead_log_pass_whole_and_are_recorded_by_command() {
    let stack = own_with(&Options { privileges: Privileges::TestStack, ..Options::default() });
    let facts = &stack.facts;
    let owner = facts.owner.as_ref().unwrap();

    let backup = facts.folder.join("backup");
    let mut pg_basebackup = tool(facts, "pg_basebackup", owner);
    pg_basebackup.args(["--wal-method=stream", "--checkpoint=fast", "-D"]).arg(&backup);
    program::run(&mut pg_basebackup).unwrap().expect_success().unwrap();
    let mut verify = program::clean(testkit::postgres::programs().unwrap().join("pg_verifybackup"));
    let said = program::run(verify.arg(&backup)).unwrap().expect_success().unwrap();
    assert_says(&said, &["backup successfully verified"]);

    let slot = ["--slot", "story"];
    let sql = |sql: &str| stack.postgres.psql("orders", sql).unwrap();
    sql("select pg_create_physical_replication_slot('story', true)");
    sql("create table worked as select generate_series(1, 50000)");
    let segment = sql("select pg_walfile_name(pg_current_wal_lsn())");
    sql("select pg_switch_wal()");
    // The segment with the work is complete once one behind it has begun.
    let end = sql("create table further as select 1; select pg_current_wal_lsn()");
    sql("select pg_switch_wal()");
    let folder = facts.folder.join("write-ahead-log");
    std::fs::create_dir(&folder).unwrap();
    let mut receive = tool(facts, "pg_receivewal", owner);
    receive.args(slot).args(["--no-loop", "--endpos", &end, "-D"]).arg(&folder);
    program::run(&mut receive).unwrap().expect_success().unwrap();
    let theirs = stack.postgres.data_directory().join("pg_wal").join(&segment);
    let same = std::fs::read(theirs).unwrap() == std::fs::read(folder.join(&segment)).unwrap();
    assert!(same, "segment {segment} differs");

    let commands = commands(facts, "BASE_BACKUP");
    let heads: Vec<&str> = commands.iter().map(|(sql, _)| sql.as_str()).collect();
    let expected = [
        "IDENTIFY_SYSTEM",
        "SHOW wal_segment_size",
        "CREATE_REPLICATION_SLOT",
        "READ_REPLICATION_SLOT",
        "BASE_BACKUP",
        "START_REPLICATION",
    ];
    for head in expected {
        assert!(heads.iter().any(|sql| sql.starts_with(head)), "no {head} in {heads:#?}");
    }
    let identified = commands.iter().find(|(sql, _)| sql == "IDENTIFY_SYSTEM").unwrap();
    assert_eq!(identified.1["tags"][0], "IDENTIFY_SYSTEM");
    let backed_up = commands.iter().find(|(sql, _)| sql.starts_with("BASE_BACKUP")).unwrap();
    assert_eq!(backed_up.1["error"], Value::Null);
}
