//! `portcullis connect`: the client that a person has, started signed in.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::Duration;

use testkit::process::Identity;
use testkit::stack::{Credential, MARIADB_SERVER};
use testkit::{program, wait};

use crate::mariadb;
use crate::support::{assert_says, newcomer, shared};

const FAILED: i32 = 1;
const REFUSED: i32 = 3;
const NOT_SIGNED_IN: i32 = 4;

#[test]
fn psql_starts_signed_in_and_ends_as_it_ends() {
    let facts = shared();
    let person = newcomer(facts, &["orders-readers"]);
    facts.activate(&person, "orders-readers", "10m").unwrap();
    let connect = |arguments: &[&str]| {
        let mut command = person.portcullis(&["connect", "orders", "--", "-X", "-A", "-t"]);
        // What a person may have set for other servers leads nowhere else.
        command.env("PGSERVICE", "elsewhere").env("PGHOSTADDR", "192.0.2.1");
        program::feed(command.args(arguments), "select 1 / 0;\n").unwrap()
    };
    let sql = "select session_user || ' in ' || current_database() || ', ' || ssl from pg_stat_ssl where pid = pg_backend_pid()";
    let said = connect(&["-c", sql]).expect_success().unwrap();
    assert_eq!(said, format!("{} in orders, true", person.user));
    // psql's own: 3 is a script that failed.
    let failed = connect(&["-v", "ON_ERROR_STOP=1", "-f", "-"]).expect_failure(3).unwrap();
    assert_says(&failed.stderr, &["division by zero"]);
}

#[test]
fn the_process_becomes_the_client_and_the_token_is_no_argument_of_it() {
    let facts = shared();
    let person = newcomer(facts, &["orders-readers"]);
    facts.activate(&person, "orders-readers", "10m").unwrap();
    let mut command = person.portcullis(&["connect", "orders", "--", "-X"]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let of = |file: &str| fs::read_to_string(format!("/proc/{}/{file}", child.id())).ok();
    wait::until(Duration::from_secs(30), "psql in its place", || {
        (of("comm")?.trim() == "psql").then_some(())
    });
    let arguments = of("cmdline").unwrap();
    // Debian starts psql through a script of its own, which becomes it.
    assert!(arguments.ends_with("psql\0-X\0") && !arguments.contains("pct_"), "{arguments:?}");
    assert!(Identity::of(child.id()).unwrap().terminate());
    // Not ours, that would end in order.
    assert_eq!(child.wait().unwrap().signal(), Some(15));
}

#[test]
fn whoever_is_no_member_is_told_which_request_gets_it_before_any_client_starts() {
    let facts = shared();
    let person = newcomer(facts, &["orders-readers"]);
    let said = person.run(&["connect", "orders", "--client", "nonesuch"]).unwrap();
    let said = said.expect_failure(REFUSED).unwrap();
    assert_says(
        &said.stderr,
        &["cannot connect to `orders`", "PC1203", "portcullis request orders-readers"],
    );
}

#[test]
fn an_unknown_server_a_client_that_is_not_there_and_nobody_signed_in_are_named() {
    let facts = shared();
    let person = newcomer(facts, &["orders-readers"]);
    facts.activate(&person, "orders-readers", "10m").unwrap();
    let said = person.run(&["connect", "order"]).unwrap().expect_failure(FAILED).unwrap();
    assert_says(&said.stderr, &["PC2003", "`orders`"]);
    let missing = person.run(&["connect", "orders", "--client", "nonesuch"]).unwrap();
    let missing = missing.expect_failure(FAILED).unwrap();
    assert_says(&missing.stderr, &["there is no `nonesuch`", "Debian: postgresql-client"]);
    let database = person.run(&["connect", "orders", "--database", "ordres"]).unwrap();
    assert_says(&database.expect_failure(REFUSED).unwrap().stderr, &["PC1202", "`orders`"]);
    person.must(&["logout"]).unwrap();
    let stranger = person.run(&["connect", "orders"]).unwrap();
    assert_says(&stranger.expect_failure(NOT_SIGNED_IN).unwrap().stderr, &["portcullis login"]);
}

#[test]
fn a_workload_starts_other_programs_of_libpqs_in_the_same_way() {
    let facts = shared();
    let arguments = ["connect", "orders", "--client", "pgbench", "--", "-n", "-c", "2", "-t", "3"];
    let script = tempfile::NamedTempFile::new().unwrap();
    fs::write(script.path(), "select count(*) from orders;\n").unwrap();
    let mut command = facts.api.portcullis(Credential::Certificate, &arguments).unwrap();
    let said = program::run(command.arg("-f").arg(script.path())).unwrap();
    assert_says(&said.expect_success().unwrap(), &["6/6"]);
}

#[test]
fn mariadb_starts_signed_in() {
    let facts = &mariadb::shared().facts;
    let (person, _, _) = mariadb::member(facts, "orders-readers");
    let arguments = ["connect", MARIADB_SERVER, "--", "--no-defaults", "-N", "-B", "-e"];
    let sql = "select concat(current_user(), ' in ', database()), variable_value <> '' \
               from information_schema.session_status where variable_name = 'ssl_cipher'";
    let said = program::run(person.portcullis(&arguments).arg(sql)).unwrap();
    let said = said.expect_success().unwrap();
    assert_eq!(said, format!("{}@127.0.0.1 in orders\t1", person.user));
    let failed = program::run(person.portcullis(&arguments).arg("select nonsense")).unwrap();
    assert_says(&failed.expect_failure(1).unwrap().stderr, &["ERROR 1054"]);
}
