//! Servers on which the gateway makes no users: everyone who holds the same roles logs in as one user, with a password
//! out of the gateway's folder of secrets or a token of its managed identity. Who it was is in the log.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;

use e2e::azure::Azure;
use testkit::stack::{Beside, Facts, MARIADB_SERVER, Options, Person, Stack};
use testkit::{program, wait};

use crate::mariadb::member;
use crate::support::{assert_says, events, own_with, text};

const CLIENT_ID: &str = "6f1c5ed0-3b6a-4a3f-9d0e-0d2b54f1c9aa";
const BACKEND_GONE_WITHIN: Duration = Duration::from_secs(5);

fn own() -> Stack {
    own_with(&Options { beside: Beside::MariaDb, ..Options::default() })
}

fn write_secret(facts: &Facts, name: &str, secret: &str) {
    let folder = facts.folder.join("secrets");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    fs::write(&path, format!("{secret}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// The seed's document of a server, with other users.
fn share(facts: &Facts, file: &str, change: impl Fn(&str) -> String, identity: &str) {
    let documents = fs::read_to_string(facts.folder.join("seed").join(file)).unwrap();
    let server = documents.split("\n---\n").find(|it| it.contains("kind: DatabaseServer")).unwrap();
    let document = change(&format!("{}\n  upstreamIdentity:\n{identity}", server.trim_end()));
    facts.apply(&document).unwrap().expect_success().unwrap();
}

fn shared_users(server: &str, user: &str) -> String {
    format!(
        "    sharedUsers:\n      - roles: [{server}.reader]\n        user: {user}\n        \
         credential: {{ password: {{ secret: {user} }} }}\n"
    )
}

/// What `select current_user()` says, or why nothing does.
fn mariadb_user(facts: &Facts, person: &Person, token: &str) -> Result<String, String> {
    let said = facts.mariadb(&person.user, token, "select current_user()").unwrap();
    match said.expect_success() {
        Ok(user) => Ok(user.trim().to_owned()),
        Err(error) => Err(format!("{error:#}")),
    }
}

#[test]
fn mariadbs_users_can_be_shared_with_a_password_of_either_plugin() {
    let stack = own();
    let (facts, mariadb) = (&stack.facts, stack.mariadb.as_ref().unwrap());
    mariadb
        .sql(
            "mysql",
            "install soname 'auth_ed25519';
create user app_reader@'127.0.0.1' identified via mysql_native_password using password('first') require ssl;
grant select on orders.* to app_reader@'127.0.0.1';",
        )
        .unwrap();
    write_secret(facts, "app_reader", "first");
    share(facts, "6-mariadb.yaml", str::to_owned, &shared_users(MARIADB_SERVER, "app_reader"));
    let (person, activation, token) = member(facts, "orders-readers");
    assert_eq!(mariadb_user(facts, &person, &token).unwrap(), "app_reader@127.0.0.1");
    let opened = events(facts, "sessionOpened", &person.user).pop().unwrap();
    assert_eq!(text(&opened, "/databaseUser"), "app_reader");
    assert_eq!(text(&opened, "/actor/name"), person.user);

    // Rotated in place: by the next login, without a restart, and to another plugin.
    mariadb
        .sql(
            "mysql",
            "alter user app_reader@'127.0.0.1' identified via ed25519 using password('second ä')",
        )
        .unwrap();
    let refused = mariadb_user(facts, &person, &token).unwrap_err();
    assert_says(&refused, &["PC1308", "does not take the password"]);
    assert!(!refused.contains("app_reader") && !refused.contains("first"), "{refused}");
    write_secret(facts, "app_reader", "second ä");
    for _ in 0..20 {
        assert_eq!(mariadb_user(facts, &person, &token).unwrap(), "app_reader@127.0.0.1");
    }

    // The cut ends the backend, which nobody but the user itself may end here.
    let running = || {
        let sql = "select count(*) from information_schema.processlist where user = 'app_reader'";
        mariadb.sql("mysql", sql).unwrap().trim().to_owned()
    };
    let sleep = |person: &Person, token: &str| {
        let mut command = facts.mariadb_command(&person.user);
        command.args(["-e", "select sleep(600), 'shared'"]).env("MYSQL_PWD", token);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let client = sleep(&person, &token);
    wait::until(Duration::from_secs(10), "the statement", || (running() == "1").then_some(()));
    facts.approver.must(&["revoke", &activation, "--note", "test"]).unwrap();
    let said = client.wait_with_output().unwrap();
    assert_says(&String::from_utf8_lossy(&said.stderr), &["PC1204"]);
    wait::until(BACKEND_GONE_WITHIN, "an end of the backend", || (running() == "0").then_some(()));

    // Nor does a session outlast its user in the document.
    let (other, _, token) = member(facts, "orders-readers");
    let client = sleep(&other, &token);
    wait::until(Duration::from_secs(10), "the statement", || (running() == "1").then_some(()));
    share(facts, "6-mariadb.yaml", str::to_owned, &shared_users(MARIADB_SERVER, "app_other"));
    let said = client.wait_with_output().unwrap();
    assert_says(&String::from_utf8_lossy(&said.stderr), &["PC1210"]);

    // Whoever holds no role that a user stands for has no user.
    let (writer, _, token) = member(facts, "orders-writers");
    assert_says(&mariadb_user(facts, &writer, &token).unwrap_err(), &["PC1210", "no shared user"]);
    let described = facts.admin.must(&["get", "databaseservers", MARIADB_SERVER, "-o", "json"]);
    assert_says(&described.unwrap(), &["database users are shared"]);
}

#[test]
fn postgresqls_users_can_be_shared_with_a_password_by_any_of_its_methods() {
    let stack = own();
    let (facts, postgres) = (&stack.facts, &stack.postgres);
    let sql = "create role app_reader login; grant connect on database orders to app_reader; \
               grant usage on schema public to app_reader; \
               grant select on all tables in schema public to app_reader";
    postgres.psql("orders", sql).unwrap();
    write_secret(facts, "app_reader_pg", "p4ss wörd");
    let identity =
        shared_users("orders", "app_reader").replace("secret: app_reader", "secret: app_reader_pg");
    share(facts, "2-server.yaml", str::to_owned, &identity);
    let (person, activation, token) = member(facts, "orders-readers");
    let ask = || {
        let sql = "select current_user, count(*) > 0 from orders";
        let mut psql = facts.reach.client("psql", &person.user, &token);
        program::run(psql.args(["-X", "-A", "-t", "-c", sql])).unwrap()
    };
    let hba = postgres.data_directory().join("pg_hba.conf");
    let before = fs::read_to_string(&hba).unwrap();
    for (method, encryption) in
        [("scram-sha-256", "scram-sha-256"), ("md5", "md5"), ("password", "scram-sha-256")]
    {
        let rule = format!("hostssl orders app_reader 127.0.0.1/32 {method}\n{before}");
        fs::write(&hba, rule).unwrap();
        let sql = format!(
            "set password_encryption = '{encryption}'; alter role app_reader password 'p4ss wörd'"
        );
        postgres.psql("orders", &sql).unwrap();
        postgres.reload().unwrap();
        let said = wait::until(Duration::from_secs(10), method, || ask().expect_success().ok());
        assert_eq!(said.trim(), "app_reader|t", "{method}");
    }
    postgres.psql("orders", "alter role app_reader password 'another'").unwrap();
    let refused = ask().expect_failure(2).unwrap().stderr;
    assert_says(&refused, &["PC1308"]);
    assert!(!refused.contains("app_reader"), "{refused}");
    postgres.psql("orders", "alter role app_reader password 'p4ss wörd'").unwrap();
    let running = || {
        let sql = "select count(*) from pg_stat_activity where usename = 'app_reader'";
        postgres.psql("orders", sql).unwrap().trim().to_owned()
    };
    let mut psql = facts.reach.client("psql", &person.user, &token);
    psql.args(["-X", "-c", "select pg_sleep(600)"]).stdout(Stdio::null()).stderr(Stdio::piped());
    let client = psql.stdin(Stdio::null()).spawn().unwrap();
    wait::until(Duration::from_secs(10), "the statement", || (running() == "1").then_some(()));
    facts.approver.must(&["revoke", &activation, "--note", "test"]).unwrap();
    let said = client.wait_with_output().unwrap();
    assert_says(&String::from_utf8_lossy(&said.stderr), &["PC1204"]);
    wait::until(BACKEND_GONE_WITHIN, "an end of the backend", || (running() == "0").then_some(()));
}

#[test]
fn azures_database_is_opened_with_a_token_of_the_gateways_managed_identity() {
    let azure = Azure::start(CLIENT_ID, "gateway").unwrap();
    let stack = own_with(&Options {
        beside: Beside::MariaDb,
        gateway: format!("  instanceMetadata: http://127.0.0.1:{}", azure.metadata_port),
        ..Options::default()
    });
    let (facts, mariadb) = (&stack.facts, stack.mariadb.as_ref().unwrap());
    let file = |name: &str| mariadb.directory().join(name);
    let database =
        azure.database(mariadb.port(), (&file("server.crt"), &file("server.key"))).unwrap();
    let place = |document: &str| {
        document.replace(&format!("port: {}", mariadb.port()), &format!("port: {database}"))
    };
    let with = |client_id: &str| {
        format!(
            "    sharedUsers:\n      - roles: [{MARIADB_SERVER}.reader]\n        user: gateway\n        \
             credential: {{ entraToken: {{ clientId: {client_id} }} }}\n"
        )
    };
    share(facts, "6-mariadb.yaml", place, &with(CLIENT_ID));
    let (person, _, token) = member(facts, "orders-readers");
    let ask = || facts.mariadb(&person.user, &token, "do 1").unwrap();
    for _ in 0..3 {
        ask().expect_success().unwrap();
    }
    // One token does for many logins.
    assert_eq!((azure.issued(), azure.refused()), (1, Vec::<String>::new()));
    let opened = events(facts, "sessionOpened", &person.user).pop().unwrap();
    assert_eq!(text(&opened, "/databaseUser"), "gateway");
    // An identity that the machine does not have gets none, and the client hears no more than that.
    share(facts, "6-mariadb.yaml", place, &with("00000000-0000-0000-0000-000000000000"));
    let refused = ask().expect_failure(1).unwrap().stderr;
    assert_says(&refused, &["PC1308", "managed identity gets no token"]);
    assert!(!refused.contains("Identity not found"), "{refused}");
}
