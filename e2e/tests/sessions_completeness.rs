//! Nothing reaches the server that is not in the audit log, whatever happens to us.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use e2e::raw::Client;
use serde_json::Value;
use testkit::stack::{Beside, Credential, Options, Privileges};
use testkit::statement_log::{self, Agreement};
use testkit::{general_log, program, wait};

use crate::mariadb::member;
use crate::support::{assert_says, own_with};

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

#[test]
fn the_servers_own_statement_log_agrees_with_ours_and_a_removed_record_is_missed() {
    let stack = own_with(&Options {
        privileges: Privileges::TestStack,
        postgres: statement_log::settings(),
        ..Options::default()
    });
    let owner = stack.facts.owner.as_ref().unwrap();
    let token = owner.token(Credential::Secret).unwrap();
    let file = stack.facts.folder.join("large-object");
    std::fs::write(&file, "x".repeat(100_000)).unwrap();
    let said = owner.psql(&format!(
        "select 1; select 2;\n\nselec 3;\nselect 1/0;\nbegin;\nselect nothing;\nselect 4;\nrollback;\n\
         prepare p as select $1::int; execute p(1);\n-- nothing but a comment\n;\n\
         create temp table t (a int);\ncopy t from stdin;\n1\n2\n\\.\ncopy t from stdin;\nx\n\\.\n\
         select 'äöü' \\; select '{}';\n\\lo_import {}\n\\c\nselect 'again';\n",
        "long ".repeat(20_000),
        file.display(),
    ));
    assert!(said.unwrap().stderr.contains("division by zero"));
    for mode in ["simple", "extended", "prepared"] {
        let mut pgbench = stack.facts.reach.client("pgbench", "orders-owner", &token);
        let script = stack.facts.folder.join("two.sql");
        std::fs::write(&script, "\\set n random(1, 1000)\nselect :n;\nselect :n + 1;\n").unwrap();
        pgbench.args(["-n", "-M", mode, "-c", "4", "-t", "25", "-f"]).arg(script);
        program::run(&mut pgbench).unwrap().expect_success().unwrap();
    }
    let mut client = Client::open(&stack.facts.reach, "orders-owner", &token).unwrap();
    for unit in ["good", "parse fails", "bind fails", "good"] {
        let (sql, portal) = match unit {
            "parse fails" => ("selec 1", "\0\0\0\0\0\0\0\0"),
            "bind fails" => ("select $1::int", "\0\0\0\0\0\x01\0\0\0\x01x\0\0"),
            _ => ("select 5", "\0\0\0\0\0\0\0\0"),
        };
        client.message(b'P', format!("\0{sql}\0\0\0").as_bytes()).unwrap();
        client.message(b'B', portal.as_bytes()).unwrap();
        client.message(b'E', b"\0\0\0\0\0").unwrap();
        client.message(b'P', b"\0select 6\0\0\0").unwrap();
        client.message(b'B', b"\0\0\0\0\0\0\0\0").unwrap();
        client.message(b'E', b"\0\0\0\0\0").unwrap();
        client.message(b'S', b"").unwrap();
        while client.read().unwrap().tag != b'Z' {}
    }
    client.message(b'X', b"").unwrap();
    drop(client);

    let Agreement { agrees, printed } =
        statement_log::compare(&stack, &stack.facts.audit_log()).unwrap();
    assert!(agrees, "{printed}");
    let reduced = statement_log::without_one_statement(&stack.facts.audit_log()).unwrap();
    let Agreement { agrees, printed } = statement_log::compare(&stack, reduced.path()).unwrap();
    assert!(!agrees, "{printed}");
    assert!(printed.contains("missing             1"), "{printed}");
    assert!(printed.contains("extra               0"), "{printed}");
}

/// Built with what Connector/C's own program says.
fn connector_c(folder: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("completeness/workload.c");
    let flags =
        program::run(program::clean("mariadb_config").args(["--cflags", "--libs"])).unwrap();
    let flags = flags.expect_success().unwrap();
    let binary = folder.join("workload");
    let mut cc = program::clean("cc");
    cc.arg("-Wall").arg("-o").arg(&binary).arg(source).args(flags.split_ascii_whitespace());
    program::run(&mut cc).unwrap().expect_success().unwrap();
    binary
}

#[test]
fn mariadbs_own_general_log_agrees_with_ours_and_a_removed_record_is_missed() {
    let stack = own_with(&Options { beside: Beside::MariaDb, ..Options::default() });
    let facts = &stack.facts;
    let log = general_log::begin(stack.mariadb.as_ref().unwrap()).unwrap();
    let (person, _, token) = member(facts, "orders-admins");
    // Commands, prepared statements with values, cursors, bulk executes, several statements in one, long texts.
    let binary = connector_c(&facts.folder);
    let mut workload = program::clean(binary.to_str().unwrap());
    workload.args(["127.0.0.1", &facts.reach.mysql_port.to_string(), &person.user, "orders"]);
    workload.arg(&facts.reach.ca).env("MYSQL_PWD", &token);
    program::run(&mut workload).unwrap().expect_success().unwrap();
    // What people's clients send, in sessions side by side.
    let threads: Vec<_> = (1..=4)
        .map(|number| {
            let mut client = facts.mariadb_command(&person.user);
            client.args(["--force", "--auto-rehash"]).env("MYSQL_PWD", &token);
            let script = format!(
                "select {number};\nuse orders;\nselect nothing;\nselect count(*) from customers;\n\
                 delimiter //\nbegin not atomic select 1; select 2; end //\ndelimiter ;\n\
                 kill query connection_id();\nselect 'again';\n"
            )
            .repeat(20);
            std::thread::spawn(move || program::feed(&mut client, &script).unwrap())
        })
        .collect();
    for thread in threads {
        assert_says(&thread.join().unwrap().stderr, &["ERROR 1054"]);
    }

    let Agreement { agrees, printed } =
        general_log::compare(&stack, &log, &facts.audit_log()).unwrap();
    assert!(agrees, "{printed}");
    let reduced = statement_log::without_one_statement(&facts.audit_log()).unwrap();
    let Agreement { agrees, printed } = general_log::compare(&stack, &log, reduced.path()).unwrap();
    assert!(!agrees, "{printed}");
    assert_says(&printed, &["missing             1", "extra               0"]);
}
