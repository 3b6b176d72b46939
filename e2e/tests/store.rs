//! Nothing that was acknowledged is lost, whatever ends the process.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use testkit::stack::Facts;
use testkit::{program, wait};

use crate::support::own;

const ROUNDS: u64 = 6;
const WRITERS: usize = 3;

/// Creates groups until told to stop; the names that were acknowledged.
fn write_until(facts: &Facts, stop: &AtomicBool, prefix: &str) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let name = format!("{prefix}-{number}");
        let document = format!(
            "apiVersion: portcullis.dev/v1\nkind: Group\nmetadata: {{ name: {name} }}\nspec: {{}}\n"
        );
        if facts.apply(&document).unwrap().ok() {
            acknowledged.push(name);
        }
    }
    acknowledged
}

#[test]
fn kill_minus_nine_loses_nothing_that_was_acknowledged() {
    let mut stack = own();
    let mut acknowledged = BTreeSet::new();
    for round in 0..ROUNDS {
        let stop = AtomicBool::new(false);
        let facts = stack.facts.clone();
        let written = thread::scope(|scope| {
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    let (facts, stop) = (&facts, &stop);
                    scope.spawn(move || write_until(facts, stop, &format!("k{round}-{writer}")))
                })
                .collect();
            wait::pause(Duration::from_millis(300 + 170 * round));
            stack.kill_server().unwrap();
            stop.store(true, Ordering::Relaxed);
            writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect::<Vec<_>>()
        });
        acknowledged.extend(written);
        stack.start_server().unwrap();
        let present = stack.facts.admin.run(&["get", "groups", "-o", "json"]).unwrap();
        let present = present.json().unwrap();
        let present: BTreeSet<String> = present
            .as_array()
            .unwrap()
            .iter()
            .map(|group| group.pointer("/metadata/name").unwrap().as_str().unwrap().to_owned())
            .collect();
        let lost: Vec<_> = acknowledged.difference(&present).collect();
        assert!(lost.is_empty(), "lost after round {round}: {lost:?}");
        let whole = stack.facts.on_host(&["audit", "verify"]).unwrap();
        assert!(whole.ok(), "round {round}: {whole}");
    }
    assert!(acknowledged.len() > 10, "only {} writes came through", acknowledged.len());
}

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
    wait::until(Duration::from_secs(20), "a thousand statements", || {
        let log = std::fs::read_to_string(stack.postgres.log()).unwrap();
        (log.matches("select 'completeness'").count() > 1000).then_some(())
    });
    stack.kill_server().unwrap();
    bench.join().unwrap();
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
    assert!(recorded.contains("gateway stopped"), "statements without an outcome are not named");
}
