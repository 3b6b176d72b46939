//! MariaDB through the gateway, with the distribution's client: in with nothing but a token, and out when access ends.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::sync::LazyLock;
use std::time::Duration;

use e2e::mysql::{self, Claims, Client};
use e2e::raw;
use testkit::stack::{Beside, Credential, Facts, MARIADB_SERVER, Options, Person, Stack};
use testkit::{program, wait};

use crate::support::{assert_says, events, newcomer, own_with, text};

/// The stack that these stories share.
pub(crate) fn shared() -> &'static Stack {
    static STACK: LazyLock<Stack> =
        LazyLock::new(|| own_with(&Options { beside: Beside::MariaDb, ..Options::default() }));
    &STACK
}

/// Someone with access, and a token.
pub(crate) fn member(facts: &Facts, group: &str) -> (Person, String, String) {
    let person = newcomer(facts, &[group]);
    let activation = facts.activate(&person, group, "10m").unwrap();
    let token = person.token().unwrap();
    (person, activation, token)
}

#[test]
fn a_person_with_a_token_reads_as_themselves_and_every_statement_is_recorded() {
    let facts = &shared().facts;
    let (person, _, token) = member(facts, "orders-readers");
    let said = facts.mariadb(&person.user, &token, "select current_user(), count(*) from orders");
    let said = said.unwrap().expect_success().unwrap();
    assert_eq!(said.split_once('\t').unwrap().0, format!("{}@127.0.0.1", person.user));
    let statement = events(facts, "statement", &person.user).pop().unwrap();
    assert_says(text(&statement, "/sql"), &["count(*) from orders"]);
    assert_eq!(text(&statement, "/server"), MARIADB_SERVER);
    // What the role does not give, the server refuses, and the record says so.
    let refused = facts.mariadb(&person.user, &token, "delete from orders").unwrap();
    assert_says(&refused.expect_failure(1).unwrap().stderr, &["ERROR 1142"]);
    let outcomes = events(facts, "statementOutcome", "1142");
    assert_eq!(text(&outcomes[0], "/error/sqlstate"), "42000");
}

#[test]
fn a_workload_comes_in_with_its_own_token() {
    let facts = &shared().facts;
    let token = facts.api.token(Credential::Certificate).unwrap();
    let said = facts.mariadb("orders-api", &token, "select 1").unwrap();
    assert_eq!(said.expect_success().unwrap().trim(), "1");
}

#[test]
fn teleport_8_3_14_texts_of_strangers_of_mysql_are_bounded_everywhere() {
    let facts = &shared().facts;
    let token = facts.api.token(Credential::Certificate).unwrap();
    let (name, kept) = ("n".repeat(40_000), "n".repeat(256));
    let open = |user: &str, database: &str| {
        let claims = Claims { user, database, program: &name };
        Client::open_as((facts.reach.mysql_port, &facts.reach.ca), claims, Some(&token))
    };
    let said = open(&name, "orders").unwrap_err().to_string();
    assert_says(&said, &["#28000", "PC1109", "40000"]);
    let said = open("orders-api", &name).unwrap_err().to_string();
    assert_says(&said, &["#42000", "PC1202", "40000"]);
    // Before TLS a name is heard too.
    let mut plain = raw::connect(facts.reach.mysql_port).unwrap();
    mysql::read_packet(&mut plain).unwrap();
    plain.write_all(&mysql::packet(1, &mysql::plain_response(&name, "no token"))).unwrap();
    assert_says(&String::from_utf8_lossy(&raw::until_closed(&mut plain).unwrap()), &["PC1002"]);
    let refused = wait::until(Duration::from_secs(10), "the refusals", || {
        let refused = facts.audit(&["--type", "sessionRefused", "--text", &kept]).unwrap();
        (refused.len() == 3).then_some(refused)
    });
    for refused in &refused {
        assert!(refused.to_string().len() < 2_000, "{refused}");
    }
    let session = open("orders-api", "orders").unwrap();
    let opened = events(facts, "sessionOpened", &kept);
    assert_eq!(text(&opened[0], "/applicationName"), kept);
    drop(session);
    let log = std::fs::read_to_string(facts.log()).unwrap();
    assert!(log.contains(&kept) && !log.contains(&format!("{kept}n")));
}

#[test]
fn whoever_has_no_access_is_told_why() {
    let facts = &shared().facts;
    let person = newcomer(facts, &["orders-readers"]);
    let token = person.token().unwrap();
    let refused = facts.mariadb(&person.user, &token, "select 1").unwrap();
    assert_says(&refused.expect_failure(1).unwrap().stderr, &["PC1203", "portcullis request"]);
    let refused = facts.mariadb(&person.user, "not a token", "select 1").unwrap();
    assert_says(&refused.expect_failure(1).unwrap().stderr, &["ERROR 1045 (28000)", "PC11"]);
}

#[test]
fn a_clients_file_is_loaded_only_where_the_servers_rules_allow_it() {
    let facts = &shared().facts;
    let (person, _, token) = member(facts, "orders-admins");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("new.csv");
    std::fs::write(&file, "1\n2\n3\n").unwrap();
    let name = file.display().to_string();
    let load = || {
        let sql = format!(
            "create or replace table loaded (id int); \
             load data local infile '{name}' into table loaded; select count(*) from loaded"
        );
        let mut command = facts.mariadb_command(&person.user);
        command.arg("--local-infile=1").args(["-e", &sql]).env("MYSQL_PWD", &token);
        program::run(&mut command).unwrap()
    };
    // It was not offered, so the server says what it says to any client without it.
    assert_says(&load().expect_failure(1).unwrap().stderr, &["ERROR 4166 (HY000)"]);
    let documents = std::fs::read_to_string(facts.folder.join("seed/6-mariadb.yaml")).unwrap();
    let server = documents.split_inclusive("\n---\n").next().unwrap();
    let server = server.strip_suffix("---\n").unwrap();
    facts.apply(&format!("{server}  localInfile: allowed\n")).unwrap().expect_success().unwrap();
    assert_eq!(load().expect_success().unwrap().trim(), "3");
    let outcomes = events(facts, "statementOutcome", &name);
    assert_eq!(text(&outcomes[0], "/mysql/files/0/name"), name);
    assert_eq!(outcomes[0].pointer("/mysql/files/0/bytes").unwrap(), 6);
    facts.apply(server).unwrap().expect_success().unwrap();
}

#[test]
fn clients_that_name_no_database_come_in_and_reach_what_their_roles_hold() {
    let facts = &shared().facts;
    let (person, _, token) = member(facts, "orders-readers");
    let run = |client: &str, arguments: &[&str]| {
        let mut command = program::clean(client);
        command
            .args(["--no-defaults", "--protocol=tcp", "-h", "127.0.0.1", "-u", &person.user])
            .args(["-P", &facts.reach.mysql_port.to_string(), "--ssl", "--ssl-verify-server-cert"])
            .arg("--ssl-ca")
            .arg(&facts.reach.ca)
            .args(arguments)
            .env("MYSQL_PWD", &token);
        program::run(&mut command).unwrap()
    };
    assert_says(&run("mariadb-admin", &["ping"]).expect_success().unwrap(), &["is alive"]);
    let dump = run("mariadb-dump", &["--single-transaction", "--no-tablespaces", "orders"]);
    assert_says(&dump.expect_success().unwrap(), &["INSERT INTO `customers`", "Dump completed"]);
    let databases = run("mariadb", &["-N", "-B", "-e", "show databases"]).expect_success().unwrap();
    assert_eq!(databases.lines().collect::<Vec<_>>(), ["information_schema", "orders"]);
    let refused = run("mariadb", &["-N", "-B", "-e", "use mysql"]).expect_failure(1).unwrap();
    assert_says(&refused.stderr, &["ERROR 1044 (42000)"]);
}

#[test]
fn nothing_is_said_without_tls() {
    let facts = &shared().facts;
    let mut command = program::clean("mariadb");
    command.args(["--no-defaults", "--protocol=tcp", "-h", "127.0.0.1", "--skip-ssl"]);
    command.args(["-P", &facts.reach.mysql_port.to_string(), "-u", "ada", "-e", "select 1"]);
    let refused = program::run(&mut command).unwrap().expect_failure(1).unwrap();
    assert_says(&refused.stderr, &["PC1002", "not encrypted"]);
}

#[test]
fn a_token_that_was_sent_without_tls_is_revoked() {
    let facts = &shared().facts;
    let (person, _, token) = member(facts, "orders-readers");
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", facts.reach.mysql_port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let greeting = mysql::read_packet(&mut stream).unwrap();
    assert_eq!(greeting.first(), Some(&10));
    let response = mysql::plain_response(&person.user, &token);
    stream.write_all(&mysql::packet(1, &response)).unwrap();
    let refused = mysql::read_packet(&mut stream).unwrap();
    assert_says(&String::from_utf8_lossy(&refused), &["not encrypted", "revoked"]);
    let refused = facts.mariadb(&person.user, &token, "select 1").unwrap();
    assert_says(&refused.expect_failure(1).unwrap().stderr, &["ERROR 1045"]);
}

#[test]
fn a_session_is_cut_when_its_access_ends_whatever_it_does() {
    let facts = &shared().facts;
    let (person, activation, token) = member(facts, "orders-readers");
    let mut command = facts.mariadb_command(&person.user);
    command.args(["-e", "select sleep(60)"]).env("MYSQL_PWD", &token);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let client = command.spawn().unwrap();
    events(facts, "statement", &person.user);
    facts.approver.must(&["revoke", &activation, "--note", "test"]).unwrap();
    let said = client.wait_with_output().unwrap();
    assert!(!said.status.success());
    let cut = events(facts, "sessionCut", &person.user).pop().unwrap();
    assert_eq!(text(&cut, "/code"), "PC1204");
    // The statement itself has ended on the server, and nobody comes in as that user.
    let mariadb = shared().mariadb.as_ref().unwrap();
    let running = format!(
        "select count(*) from information_schema.processlist where user = '{}'",
        person.user
    );
    wait::until(Duration::from_secs(10), "the end of what ran on the server", || {
        (mariadb.sql("mysql", &running).unwrap() == "0").then_some(())
    });
    let made = format!("show create user '{}'@'127.0.0.1'", person.user);
    wait::until(Duration::from_secs(10), "the lock of the account", || {
        mariadb.sql("mysql", &made).unwrap().contains("ACCOUNT LOCK").then_some(())
    });
}

#[test]
fn an_account_that_is_not_ours_is_never_taken_over() {
    let stack = shared();
    let (facts, mariadb) = (&stack.facts, stack.mariadb.as_ref().unwrap());
    let person = newcomer(facts, &["orders-readers"]);
    let account = format!("create user '{}'@'127.0.0.1' identified by 'secret'", person.user);
    mariadb.sql("mysql", &account).unwrap();
    facts.activate(&person, "orders-readers", "10m").unwrap();
    let refused = facts.mariadb(&person.user, &person.token().unwrap(), "select 1").unwrap();
    assert_says(
        &refused.expect_failure(1).unwrap().stderr,
        &["exists that Portcullis did not make"],
    );
}

#[test]
fn another_connection_of_ones_own_is_killed_by_the_number_that_the_client_knows() {
    let facts = &shared().facts;
    let (person, _, token) = member(facts, "orders-readers");
    let client = facts.mariadb_command(&person.user);
    // Its output line by line, although nobody sees it.
    let mut command = program::clean("stdbuf");
    command.arg("-oL").arg(client.get_program()).args(client.get_args());
    command.env("MYSQL_PWD", &token);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut client = command.spawn().unwrap();
    // `\s` shows the number of the greeting.
    let mut input = client.stdin.take().unwrap();
    input.write_all(b"\\s\nselect sleep(60);\n").unwrap();
    drop(input);
    let mut said = BufReader::new(client.stdout.take().unwrap()).lines();
    let number = said.by_ref().find_map(|line| {
        let line = line.unwrap();
        line.strip_prefix("Connection id:").map(|number| number.trim().to_owned())
    });
    let number = number.unwrap();
    wait::until(Duration::from_secs(10), "the statement", || {
        let events = facts.audit(&["--type", "statement", "--text", "sleep(60)"]).unwrap();
        events.iter().any(|event| event.to_string().contains(&person.user)).then_some(())
    });
    let kill = format!("kill query {number}");
    facts.mariadb(&person.user, &token, &kill).unwrap().expect_success().unwrap();
    let ended = client.wait_with_output().unwrap();
    assert_says(&String::from_utf8_lossy(&ended.stderr), &["ERROR 1317"]);
    // Nobody else's: not even its number is known.
    let (other, _, token) = member(facts, "orders-readers");
    let refused = facts.mariadb(&other.user, &token, &kill).unwrap();
    assert_says(&refused.expect_failure(1).unwrap().stderr, &["ERROR 1094"]);
}
