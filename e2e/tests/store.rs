//! Nothing that was acknowledged is lost, whatever ends the process.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use testkit::{program, wait};

use crate::support::own;

#[test]
fn every_statement_in_the_servers_own_log_is_in_ours_after_kill_minus_nine() {
    let mut stack = own();
    stack.postgres.psql("postgres", "alter system set log_statement = 'all'").unwrap();
    stack.postgres.reload().unwrap();
    let facts = stack.facts.clone();
    let token = facts.api.token(testkit::stack::Credential::Secret).unwrap();
    let script = facts.folder.join("numbered.sql");
    std::fs::write(
        &script,
        "\\set n random(1, 1000000000)\nselect 'completeness', :client_id, :n;\n",
    )
    .unwrap();
    let mut pgbench = facts.reach.client("pgbench", "orders-api", &token);
    pgbench.args(["-n", "-c", "4", "-j", "2", "-T", "20", "-f"]).arg(&script);
    let bench = thread::spawn(move || program::run(&mut pgbench).unwrap());
    // Whether one of pgbench's statements is without an answer when the process ends is chance.
    let mut psql = facts.reach.client("psql", "orders-api", &token);
    psql.args(["-c", "select 'unanswered', pg_sleep(600)"]);
    let unanswered = thread::spawn(move || program::run(&mut psql).unwrap());
    wait::until(Duration::from_secs(20), "a thousand statements and one that waits", || {
        let log = std::fs::read_to_string(stack.postgres.log()).unwrap();
        (log.matches("select 'completeness'").count() > 1000 && log.contains("'unanswered'"))
            .then_some(())
    });
    stack.kill_server().unwrap();
    bench.join().unwrap();
    unanswered.join().unwrap();
    stack.start_server().unwrap();

    let log = std::fs::read_to_string(stack.postgres.log()).unwrap();
    let executed: BTreeSet<&str> = log
        .lines()
        .filter_map(|line| line.split_once("statement: "))
        .map(|(_, sql)| sql)
        .filter(|sql| sql.starts_with("select 'completeness'"))
        .collect();
    let mut recorded = String::new();
    for segment in testkit::damage::segments(&facts.audit_log()).unwrap() {
        recorded.push_str(&std::fs::read_to_string(segment).unwrap());
    }
    let missing: Vec<_> =
        executed.iter().filter(|sql| !recorded.contains(sql.trim_end_matches(';'))).collect();
    assert!(executed.len() > 1000, "{} statements", executed.len());
    assert!(missing.is_empty(), "{} of {} are missing", missing.len(), executed.len());
    assert!(recorded.contains("gateway stopped"), "a statement without an outcome is not named");
}
