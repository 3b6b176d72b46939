//! `portcullis doctor`: each usual mistake is made on purpose and then found, and a healthy stack has none.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use testkit::program::Said;
use testkit::stack::{Facts, Options, Person, Stack};
use testkit::wait;

use crate::clock;
use crate::support::{assert_says, own_with, text};

/// Fewer connections than the machine's own limit on open files allows.
fn stack() -> Stack {
    let limits = "connectionsMax: 1000";
    own_with(&Options { limits, ..Options::default() })
}

fn asked(person: &Person) -> Said {
    person.run(&["doctor", "-o", "json"]).unwrap()
}

fn offline(facts: &Facts) -> Said {
    facts.on_host(&["doctor", "--offline", "--json"]).unwrap()
}

fn codes(said: &Said) -> BTreeSet<String> {
    let findings: Value = serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("{said}"));
    let found: BTreeSet<String> =
        findings.as_array().unwrap().iter().map(|found| text(found, "/code").to_owned()).collect();
    assert_eq!(said.code, if found.is_empty() { 0 } else { 6 }, "{said}");
    found
}

/// Waits until exactly these are found: settings are reloaded in their own time.
#[track_caller]
fn until_found(expected: &[&str], ask: impl Fn() -> Said) -> Said {
    let expected: BTreeSet<String> = expected.iter().map(|code| (*code).to_owned()).collect();
    let mut last = String::new();
    let found = wait::try_until(Duration::from_secs(20), || {
        let said = ask();
        last.clone_from(&said.stdout);
        (codes(&said) == expected).then_some(said)
    });
    found.unwrap_or_else(|| panic!("expected {expected:?}, found {last}"))
}

fn hba(stack: &Stack) -> PathBuf {
    stack.postgres.data_directory().join("pg_hba.conf")
}

fn with_line(stack: &Stack, line: &str) {
    let rules = fs::read_to_string(hba(stack)).unwrap();
    fs::write(hba(stack), format!("{rules}\n{line}\n")).unwrap();
    stack.postgres.reload().unwrap();
}

#[test]
fn a_healthy_stack_gives_no_finding_and_only_owners_and_auditors_ask() {
    let stack = stack();
    let facts = &stack.facts;
    facts.api.psql("select 1").unwrap().expect_success().unwrap();
    let said = facts.on_host(&["doctor", "--offline"]).unwrap().expect_success().unwrap();
    assert_eq!(said, "nothing is wrong that the doctor knows of");
    until_found(&[], || asked(&facts.admin));
    until_found(&[], || asked(&facts.auditor));
    let refused = facts.dev.run(&["doctor"]).unwrap().expect_failure(3).unwrap();
    assert_says(&refused.stderr, &["PC2002"]);
}

#[test]
fn each_way_around_the_gateway_is_found_on_the_database_server() {
    let stack = stack();
    let (facts, postgres) = (&stack.facts, &stack.postgres);
    facts.api.psql("select 1").unwrap().expect_success().unwrap();
    let sql = |database: &str, text: &str| postgres.psql(database, text).unwrap();
    until_found(&[], || asked(&facts.auditor));

    sql("postgres", "alter role \"orders-api\" password 'left behind'");
    let said = until_found(&["PH208"], || asked(&facts.auditor));
    assert_says(&said.stdout, &["`orders-api` has a password", "PASSWORD NULL"]);
    sql("postgres", "alter role \"orders-api\" password null");

    sql("postgres", "grant connect on database orders to public");
    let said = until_found(&["PH210"], || asked(&facts.auditor));
    assert_says(&said.stdout, &["`orders`"]);
    sql("postgres", "revoke connect on database orders from public");

    sql("postgres", "create role legacy login");
    until_found(&["PH211"], || asked(&facts.auditor));
    sql("postgres", "drop role legacy");

    // The library refuses 1.1 by itself unless it is told otherwise.
    sql("postgres", "alter system set ssl_min_protocol_version = 'TLSv1'");
    sql("postgres", "alter system set ssl_ciphers = 'ALL:@SECLEVEL=0'");
    postgres.reload().unwrap();
    until_found(&["PH204"], || asked(&facts.auditor));
    sql("postgres", "alter system reset ssl_min_protocol_version");
    sql("postgres", "alter system reset ssl_ciphers");
    postgres.reload().unwrap();
    until_found(&[], || asked(&facts.auditor));

    let rules = fs::read(hba(&stack)).unwrap();
    for line in [
        "host all all 0.0.0.0/0 scram-sha-256",
        "hostssl all all 10.0.0.0/8 cert",
        "local all all trust",
    ] {
        with_line(&stack, line);
        let said = until_found(&["PH206"], || asked(&facts.auditor));
        assert_says(&said.stdout, &["another way in", line.rsplit(' ').next().unwrap()]);
        fs::write(hba(&stack), &rules).unwrap();
        postgres.reload().unwrap();
    }
    until_found(&[], || asked(&facts.auditor));
    let table = facts.auditor.run(&["doctor"]).unwrap().expect_success().unwrap();
    assert_eq!(table, "nothing is wrong that the doctor knows of");
}

#[test]
fn a_server_that_is_away_untrusted_or_does_not_trust_us_is_told_apart() {
    let mut stack = stack();
    let other = testkit::postgres::Postgres::start().unwrap();
    let data = stack.postgres.data_directory();
    let facts = stack.facts.clone();
    until_found(&[], || asked(&facts.auditor));
    let file = stack.postgres.psql("postgres", "show ssl_ca_file").unwrap();
    let trusted = data.join(file.trim());
    let ours = fs::read(&trusted).unwrap();
    fs::write(&trusted, other.server_ca()).unwrap();
    stack.postgres.reload().unwrap();
    until_found(&["PH212"], || asked(&facts.auditor));
    fs::write(&trusted, ours).unwrap();
    stack.postgres.reload().unwrap();
    until_found(&[], || asked(&facts.auditor));

    for file in ["server.crt", "server.key"] {
        fs::copy(other.data_directory().join(file), data.join(file)).unwrap();
    }
    stack.postgres.reload().unwrap();
    let said = until_found(&["PH202"], || asked(&facts.auditor));
    assert_says(&said.stdout, &["invalid peer certificate"]);
    stack.postgres.crash().unwrap();
    until_found(&["PH201"], || asked(&facts.auditor));
    stack.stop_server().unwrap();
    let unreachable = facts.auditor.run(&["doctor"]).unwrap();
    unreachable.expect_failure(5).unwrap();
}

#[test]
fn mistakes_on_the_gateways_own_host_are_found_whether_it_runs_or_not() {
    let mut stack = stack();
    let facts = stack.facts.clone();
    let data = facts.folder.join("data");
    let mode =
        |path: PathBuf, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    assert_eq!(codes(&offline(&facts)), BTreeSet::new());

    mode(data.join("master.key"), 0o640);
    mode(data.clone(), 0o750);
    let checkpoint = facts.folder.join("checkpoint.json");
    stack.stop_server().unwrap();
    fs::write(&checkpoint, "").unwrap();
    let found = codes(&offline(&facts));
    assert_eq!(found, ["PH101", "PH104", "PH107", "PH110"].map(str::to_owned).into());
    mode(data.join("master.key"), 0o600);
    mode(data.clone(), 0o700);
    stack.start_server().unwrap();
    until_found(&[], || offline(&facts));

    // Whoever hands clients an authority that is not ours.
    let authority = fs::read(data.join("ca.pem")).unwrap();
    fs::write(data.join("ca.pem"), stack.postgres.server_ca()).unwrap();
    until_found(&["PH109"], || offline(&facts));
    fs::write(data.join("ca.pem"), authority).unwrap();

    stack.stop_server().unwrap();
    fs::rename(data.join("master.key"), data.join("elsewhere")).unwrap();
    let store = data.join("portcullis.db");
    let mut pages = fs::read(&store).unwrap();
    let middle = pages.len() / 2;
    pages[middle..middle + 4096].fill(0xa5);
    fs::write(&store, pages).unwrap();
    let found = codes(&offline(&facts));
    assert_eq!(found, ["PH102", "PH105", "PH107"].map(str::to_owned).into());
}

#[test]
fn clocks_that_differ_and_authorities_that_end_soon_are_found() {
    let mut stack = stack();
    let facts = stack.facts.clone();
    facts.api.psql("select 1").unwrap().expect_success().unwrap();
    clock::restart(&mut stack, "+3m");
    // The database's clock is true, the gateway's and this machine's are not.
    until_found(&["PH205"], || asked(&clock::with_clock(&facts.admin, "+3m")));
    let said = until_found(&["PH111", "PH205"], || asked(&facts.admin));
    assert_says(&said.stdout, &["this machine says"]);

    let later = "+1800d";
    clock::restart(&mut stack, later);
    let owner = clock::with_clock(&facts.admin, later);
    owner.sign_in().unwrap();
    let found = codes(&asked(&owner));
    assert!(found.contains("PH213") && found.contains("PH301"), "{found:?}");
}
