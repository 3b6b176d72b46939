//! Nothing reaches the server that is not in the audit log, whatever happens to us.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use testkit::stack::{Credential, Options, Privileges};
use testkit::wait;

use crate::support::own_with;

/// Numbers behind the marker, wherever it stands in the text.
fn numbers(text: &str, marker: &str) -> BTreeSet<String> {
    let behind = |part: &str| part.chars().take_while(char::is_ascii_digit).collect::<String>();
    text.split(marker).skip(1).map(behind).filter(|number| !number.is_empty()).collect()
}

#[test]
fn every_statement_in_the_servers_own_log_is_in_ours_after_kill_9_under_load() {
    for audit_mode in ["bounded", "gated", "durable"] {
        let options =
            Options { privileges: Privileges::TestStack, audit_mode, ..Options::default() };
        let mut stack = own_with(&options);
        stack.postgres.psql("postgres", "alter system set log_statement = 'all'").unwrap();
        stack.postgres.reload().unwrap();
        let marker = format!("complete-{}-{audit_mode}-", std::process::id());
        let script = stack.facts.folder.join("load.sql");
        let load = format!("\\set n random(1, 1000000000)\nselect 1 /* {marker}:n */;\n");
        std::fs::write(&script, load).unwrap();
        let token = stack.facts.api.token(Credential::Secret).unwrap();
        let mut pgbench = stack.facts.reach.client("pgbench", "orders-api", &token);
        pgbench.args(["-n", "-M", "simple", "-c", "8", "-j", "2", "-T", "30", "-f"]).arg(&script);
        let mut pgbench = pgbench.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();

        let log = stack.postgres.log();
        let theirs = || numbers(&String::from_utf8_lossy(&std::fs::read(&log).unwrap()), &marker);
        wait::until(Duration::from_secs(30), "load", || (theirs().len() > 500).then_some(()));
        stack.kill_server().unwrap();
        pgbench.wait().unwrap();
        wait::until(Duration::from_secs(10), "the end of the backends", || {
            let sql = "select count(*) from pg_stat_activity where usename = 'orders-api'";
            (stack.postgres.psql("postgres", sql).ok()?.trim() == "0").then_some(())
        });
        let theirs = theirs();

        stack.start_server().unwrap();
        let statements = stack.facts.audit(&["--type", "statement", "--text", &marker]).unwrap();
        let ours: BTreeSet<String> = statements
            .iter()
            .flat_map(|event| numbers(&event["sql"].to_string(), &marker))
            .collect();
        let missing: Vec<_> = theirs.difference(&ours).collect();
        assert!(
            missing.is_empty(),
            "{audit_mode}: {} of {} are missing",
            missing.len(),
            theirs.len()
        );

        let outcomes = stack.facts.audit(&["--type", "statementOutcome"]).unwrap();
        let key = |event: &Value| (event["session"].to_string(), event["number"].to_string());
        let known: BTreeSet<_> = outcomes.iter().map(key).collect();
        let without: Vec<_> =
            statements.iter().filter(|event| !known.contains(&key(event))).collect();
        assert!(without.is_empty(), "{audit_mode}: {} without an outcome", without.len());
    }
}
