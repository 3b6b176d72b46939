//! The developer's hour: asks, is approved, reads under their own name, is refused a write, and is cut when it is over.

use std::time::Duration;

use serde_json::json;
use testkit::stack::{APPROVER, Facts};
use testkit::wait;

use crate::support::{assert_says, events, newcomer, now, shared, text};

#[test]
fn a_developer_asks_is_approved_reads_as_themselves_and_cannot_write() {
    let facts = shared();
    let dev = newcomer(facts, &["orders-readers"]);

    let refused = dev.psql("select 1").unwrap().expect_failure(2).unwrap();
    assert_says(&refused.stderr, &["FATAL:", "PC1203", "portcullis request orders-readers"]);

    let activation = facts.activate(&dev, "orders-readers", "10m").unwrap();
    let read = dev.psql("select session_user; select count(*) from orders").unwrap();
    assert_eq!(read.expect_success().unwrap(), format!("{}\n25000", dev.user));

    let write = dev.psql("update orders set status = 'new' where id = 1").unwrap();
    assert_says(&write.stderr, &["permission denied for table orders"]);
    let ddl = dev.psql("create table mine (id int)").unwrap();
    assert_says(&ddl.stderr, &["permission denied for schema public"]);

    let opened = events(facts, "sessionOpened", &dev.user);
    let opened = opened.last().unwrap();
    assert_eq!(text(opened, "/databaseUser"), dev.user);
    assert_eq!(opened.pointer("/roles").unwrap(), &json!(["orders.reader"]));
    assert_eq!(opened.pointer("/activations").unwrap(), &json!([activation]));
}

#[test]
fn statements_are_recorded_with_rows_duration_and_error() {
    let facts = shared();
    let dev = newcomer(facts, &["orders-readers"]);
    facts.activate(&dev, "orders-readers", "10m").unwrap();

    dev.psql("select id from products where id <= 3").unwrap().expect_success().unwrap();
    dev.psql("delete from products where id = 17").unwrap();

    let statement = events(facts, "statement", "where id <= 3");
    let statement = statement.iter().find(|event| text(event, "/actor/name") == dev.user).unwrap();
    assert_eq!(text(statement, "/sql"), "select id from products where id <= 3");
    let session = text(statement, "/session");
    let outcome = outcome_of(facts, session, statement.pointer("/number").unwrap());
    assert_eq!(outcome.pointer("/rows").unwrap(), 3);
    assert_eq!(outcome.pointer("/tags").unwrap(), &json!(["SELECT 3"]));

    let refused = events(facts, "statement", "where id = 17");
    let refused = refused.iter().find(|event| text(event, "/actor/name") == dev.user).unwrap();
    let session = text(refused, "/session");
    let outcome = outcome_of(facts, session, refused.pointer("/number").unwrap());
    assert_eq!(text(&outcome, "/error/sqlstate"), "42501");
}

fn outcome_of(facts: &Facts, session: &str, number: &serde_json::Value) -> serde_json::Value {
    wait::until(Duration::from_secs(10), "the statement's outcome", || {
        let outcomes = facts.audit(&["--type", "statementOutcome", "--session", session]).unwrap();
        outcomes.into_iter().find(|outcome| outcome.pointer("/number") == Some(number))
    })
}

#[test]
fn explain_names_each_condition_before_and_after_the_approval() {
    let facts = shared();
    let dev = newcomer(facts, &["orders-readers"]);
    let explain = ["explain", &dev.user, "--server", "orders", "--database", "orders"];

    let before = dev.must(&explain).unwrap();
    assert_says(&before, &["may not open", "PC1203", "portcullis request orders-readers"]);
    facts.activate(&dev, "orders-readers", "10m").unwrap();
    let after = dev.must(&explain).unwrap();
    assert_says(&after, &[&format!("{} may open `orders` on `orders`", dev.user), "orders.reader"]);
}

#[test]
fn a_writer_writes_and_loses_it_with_the_role() {
    let facts = shared();
    let dev = newcomer(facts, &["orders-writers"]);
    let activation = facts.activate(&dev, "orders-writers", "10m").unwrap();

    let insert = "insert into orders (customer_id, ordered_at, status) values (1, now(), 'new')";
    dev.psql(insert).unwrap().expect_success().unwrap();
    dev.must(&["deactivate", &activation]).unwrap();
    let refused = dev.psql(insert).unwrap().expect_failure(2).unwrap();
    assert_says(&refused.stderr, &["PC1203"]);
}

#[test]
fn a_handle_opens_sessions_is_short_and_names_nothing() {
    let facts = shared();
    let dev = newcomer(facts, &["orders-readers"]);
    facts.activate(&dev, "orders-readers", "10m").unwrap();

    let handle = dev.must(&["token", "--handle"]).unwrap();
    assert!(handle.starts_with("pct_") && handle.len() <= 100, "{} characters", handle.len());
    let read = dev.reach.psql(&dev.user, &handle, "select count(*) from customers").unwrap();
    assert_eq!(read.expect_success().unwrap(), "5000");
    let other = dev.must(&["token", "--handle", "--server", "elsewhere"]);
    assert!(other.is_err(), "a handle for a server that does not exist: {other:?}");
}

#[test]
fn a_notice_at_login_says_until_when_and_as_what() {
    let facts = shared();
    let dev = newcomer(facts, &["orders-readers"]);
    facts.activate(&dev, "orders-readers", "10m").unwrap();

    let said = dev.psql("select 1").unwrap();
    assert_says(&said.stderr, &["NOTICE", "orders.reader"]);
}

#[test]
fn what_the_rules_do_not_allow_is_refused_before_anyone_is_asked() {
    let facts = shared();
    let dev = newcomer(facts, &["orders-readers"]);

    for (arguments, code) in [
        (&["request", "orders-readers", "--for", "10m"][..], "PC2011"),
        (&["request", "orders-readers", "--for", "31m", "--because", "x"], "PC2012"),
        (&["request", "orders-admins", "--because", "x"], "PC2010"),
    ] {
        let refused = dev.run(arguments).unwrap().expect_failure(3).unwrap();
        assert_says(&refused.stderr, &[code]);
    }
    let unknown = dev.run(&["request", "orders-reader", "--because", "x"]).unwrap();
    assert!(!unknown.ok(), "{unknown}");
}

#[test]
fn nobody_decides_on_their_own_request_and_only_named_approvers_decide() {
    let facts = shared();
    let dev = newcomer(facts, &["orders-readers"]);
    let activation = dev.request("orders-readers", "10m").unwrap();

    for (person, codes) in
        [(&dev, &["PC2015", "PC2014", "PC2002"][..]), (&facts.auditor, &["PC2014", "PC2002"])]
    {
        let refused = person.run(&["approve", &activation]).unwrap().expect_failure(3).unwrap();
        assert!(codes.iter().any(|code| refused.stderr.contains(code)), "{refused}");
    }
    facts.approver.must(&["approve", &activation]).unwrap();
}

#[test]
fn a_request_can_be_denied_or_taken_back_and_then_opens_nothing() {
    let facts = shared();
    let dev = newcomer(facts, &["orders-readers"]);

    let denied = dev.request("orders-readers", "10m").unwrap();
    facts.approver.must(&["deny", &denied, "--note", "not today"]).unwrap();
    let cancelled = dev.request("orders-readers", "10m").unwrap();
    dev.must(&["cancel", &cancelled]).unwrap();
    let late = facts.approver.run(&["approve", &cancelled]).unwrap().expect_failure(3).unwrap();
    assert_says(&late.stderr, &["PC2016"]);
    dev.psql("select 1").unwrap().expect_failure(2).unwrap();

    let steps = facts.audit(&["--type", "activationChanged", "--text", &dev.user]).unwrap();
    let steps: Vec<(&str, &str)> =
        steps.iter().map(|event| (text(event, "/step"), text(event, "/actor/name"))).collect();
    assert_eq!(steps[0], ("request", dev.user.as_str()));
    assert_eq!(steps[1], ("deny", APPROVER));
    assert_eq!(steps[2], ("request", dev.user.as_str()));
    assert_eq!(steps[3], ("cancel", dev.user.as_str()));
}

#[test]
fn another_persons_name_opens_nothing() {
    let facts = shared();
    let dev = newcomer(facts, &["orders-readers"]);
    facts.activate(&dev, "orders-readers", "10m").unwrap();
    let token = dev.token().unwrap();

    for user in ["postgres", "portcullis_provisioner", "orders_owner", APPROVER] {
        let refused = dev.reach.psql(user, &token, "select 1").unwrap().expect_failure(2).unwrap();
        assert_says(&refused.stderr, &["PC1109", &dev.user]);
    }
}

#[test]
fn a_long_result_and_a_copy_in_both_directions_come_through_whole() {
    let facts = shared();
    let dev = newcomer(facts, &["orders-writers"]);
    facts.activate(&dev, "orders-writers", "10m").unwrap();

    let all = dev.psql("copy order_lines to stdout").unwrap().expect_success().unwrap();
    assert_eq!(all.lines().count(), 72_737);
    let copied = dev
        .psql(&format!(
            "begin;\ncreate temporary table copied (like order_lines);\ncopy copied from stdin;\n{all}\n\\.\nselect count(*) from copied;\ncommit;"
        ))
        .unwrap();
    assert_says(&copied.expect_success().unwrap(), &["72737"]);
}

#[test]
fn ctrl_c_reaches_the_running_statement() {
    let facts = shared();
    let dev = newcomer(facts, &["orders-readers"]);
    facts.activate(&dev, "orders-readers", "10m").unwrap();
    let token = dev.token().unwrap();

    let mut psql = dev.reach.client("psql", &dev.user, &token);
    psql.args(["-X", "-c", "select pg_sleep(60)"]).stderr(std::process::Stdio::piped());
    let child = psql.stdout(std::process::Stdio::null()).spawn().unwrap();
    let started = now();
    wait::until(Duration::from_secs(20), "the statement", || {
        let sessions = facts.admin.must(&["sessions", "--principal", &dev.user]).ok()?;
        sessions.contains("pg_sleep").then_some(())
    });
    let psql = testkit::process::Identity::of(child.id()).unwrap();
    assert!(psql.interrupt());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_says(&said, &["canceling statement due to user request"]);
    assert!(started.elapsed() < Duration::from_secs(40));
}
