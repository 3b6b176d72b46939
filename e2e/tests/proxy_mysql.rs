//! `portcullis proxy` for MySQL and MariaDB: the same for their clients.

use std::process::Stdio;
use std::time::Duration;

use e2e::sidecar::Sidecar;
use serde_json::json;
use testkit::process::Identity;
use testkit::stack::{Credential, Facts, MARIADB_SERVER};
use testkit::{program, wait};

use crate::mariadb::{member, shared};
use crate::proxy::without_tokens;
use crate::support::assert_says;

fn of_workload(facts: &Facts) -> Sidecar {
    let arguments = ["proxy", MARIADB_SERVER];
    Sidecar::start(facts.api.portcullis(Credential::Certificate, &arguments).unwrap()).unwrap()
}

fn said(proxy: &Sidecar, arguments: &[&str]) -> program::Said {
    program::run(proxy.mariadb().unwrap().args(arguments)).unwrap()
}

#[test]
fn an_application_that_knows_no_tokens_works_with_any_user_and_password() {
    let proxy = of_workload(&shared().facts);
    let sql = "select current_user(), database()";
    for more in [
        &["--skip-ssl"][..],
        &["--default-auth=mysql_native_password"],
        &["--default-auth=caching_sha2_password"],
        &["--default-auth=client_ed25519"],
    ] {
        let mut arguments = more.to_vec();
        arguments.extend(["-D", "orders", "-e", sql]);
        let said = said(&proxy, &arguments).expect_success().unwrap();
        assert_eq!(said.trim(), "orders-api@127.0.0.1\torders", "{more:?}");
    }
    // An empty password is any password too.
    let mut command = proxy.mariadb().unwrap();
    command.args(["-e", "select 1"]).env_remove("MYSQL_PWD");
    assert_eq!(program::run(&mut command).unwrap().expect_success().unwrap(), "1");
    let refused = said(&proxy, &["-D", "nowhere", "-e", "select 1"]).expect_failure(1).unwrap();
    assert_says(&refused.stderr, &["ERROR 1049 (42000)", "PC1202"]);
}

#[test]
fn a_driver_that_is_not_connector_c_connects_with_what_stands_in_its_settings() {
    let proxy = of_workload(&shared().facts);
    let seen = without_tokens(&proxy, "pymysql");
    let row = json!(["orders-api@127.0.0.1", 42]);
    assert_eq!(seen, json!({ "users": vec![row; 5], "error": "1054" }));
}

#[test]
fn a_client_that_insists_on_tls_is_told_that_there_is_none() {
    let proxy = of_workload(&shared().facts);
    let refused = said(&proxy, &["--ssl", "--ssl-verify-server-cert", "-e", "select 1"]);
    assert_says(&refused.expect_failure(1).unwrap().stderr, &["SSL"]);
}

#[test]
fn megabytes_pass_whole_and_results_end_as_they_should() {
    let proxy = of_workload(&shared().facts);
    let sql = "select length(repeat('x', 5000000)); select repeat('y', 5000000); select 'last'";
    let said = said(&proxy, &["-e", sql]).expect_success().unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!((lines[0], lines[1].len(), lines[2]), ("5000000", 5_000_000, "last"));
}

#[test]
fn ctrl_c_kills_the_statement_by_the_number_that_the_greeting_named() {
    let proxy = of_workload(&shared().facts);
    let mut command = proxy.mariadb().unwrap();
    command.args(["-e", "select sleep(300)"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let running = "select count(*) from information_schema.processlist where info like '%sleep(300)' and state like 'User sleep%'";
    wait::until(Duration::from_secs(20), "the statement", || {
        (said(&proxy, &["-e", running]).stdout.trim() == "1").then_some(())
    });
    assert!(Identity::of(child.id()).unwrap().interrupt());
    let ended = child.wait_with_output().unwrap();
    // The server's own word for a statement that was killed, and not for a client that went away.
    assert_says(&String::from_utf8_lossy(&ended.stderr), &["ERROR 1317"]);
}

#[test]
fn whoever_has_no_access_is_told_why_by_the_gateway() {
    let facts = &shared().facts;
    let (person, activation, _) = member(facts, "orders-readers");
    let proxy = Sidecar::start(person.portcullis(&["proxy", MARIADB_SERVER])).unwrap();
    assert_eq!(said(&proxy, &["-e", "select 1"]).expect_success().unwrap(), "1");
    facts.approver.must(&["revoke", &activation]).unwrap();
    let refused = said(&proxy, &["-e", "select 1"]).expect_failure(1).unwrap();
    assert_says(&refused.stderr, &["ERROR 1045 (28000)", "PC1203", "portcullis request"]);
}
