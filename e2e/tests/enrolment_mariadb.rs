//! A MariaDB server as the distribution leaves it: enrolled, used, and given back as it was.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use testkit::mariadb::MariaDb;
use testkit::program::{self, Said};
use testkit::stack::{Beside, Credential, Enrolment, MARIADB_SERVER, Options, Stack, on_its_host};
use testkit::wait;

use crate::support::{assert_says, own_with};

/// What an ordinary server has that one behind the gateway must not.
const USUAL: &str =
    "[mariadbd]\nskip_name_resolve = OFF\nrequire_secure_transport = OFF\nlocal_infile = ON\n";
const USUAL_ACCOUNTS: &str = "\
create user 'app'@'%' identified by 'secret';
grant select on orders.* to 'app'@'%';
create user ''@'localhost';
create role reporting;
";

fn usual_server() -> Stack {
    let options =
        Options { beside: Beside::MariaDb, enrolment: Enrolment::Left, ..Options::default() };
    let stack = own_with(&options);
    let mariadb = mariadb(&stack);
    let file = mariadb.configuration_directory().join("usual.cnf");
    fs::write(&file, USUAL).unwrap();
    mariadb.own(&file).unwrap();
    mariadb.restart().unwrap();
    mariadb.sql("mysql", USUAL_ACCOUNTS).unwrap();
    stack
}

fn mariadb(stack: &Stack) -> &MariaDb {
    stack.mariadb.as_ref().unwrap()
}

fn enroll(stack: &Stack, more: &[&str]) -> Said {
    let mut command = stack.facts.admin.portcullis(&["server", "enroll", MARIADB_SERVER]);
    program::run(on_its_host(&mut command, mariadb(stack)).args(more)).unwrap()
}

/// Everything that an enrolment touches.
#[derive(Debug, PartialEq)]
struct State {
    /// Text, owner and mode of what lies in the configuration directory, and of ours beside the data.
    files: BTreeMap<String, (String, u32, u32)>,
    /// The server's tables of accounts and rights, row by row.
    accounts: Vec<String>,
    settings: String,
}

impl State {
    fn of(mariadb: &MariaDb) -> Self {
        let mut files = BTreeMap::new();
        let mut add = |path: &Path| {
            let about = fs::metadata(path).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            files.insert(name, (fs::read_to_string(path).unwrap(), about.uid(), about.mode()));
        };
        let inside = |folder: &Path| {
            let entries = fs::read_dir(folder).unwrap();
            entries.map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
        };
        for path in inside(&mariadb.configuration_directory()) {
            add(&path);
        }
        for path in inside(&mariadb.data_directory()) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.starts_with("portcullis") {
                add(&path);
            }
        }
        Self { files, accounts: accounts(mariadb), settings: settings(mariadb) }
    }
}

fn accounts(mariadb: &MariaDb) -> Vec<String> {
    let mut rows = Vec::new();
    for table in ["global_priv", "db", "roles_mapping", "tables_priv", "columns_priv", "procs_priv"]
    {
        let said = mariadb.sql("mysql", &format!("select * from {table}")).unwrap();
        rows.extend(said.lines().map(|row| format!("{table}\t{row}")));
    }
    rows.sort();
    rows
}

fn settings(mariadb: &MariaDb) -> String {
    let sql = "select variable_name, global_value from information_schema.system_variables \
               where variable_name not in ('TIMESTAMP', 'PSEUDO_THREAD_ID') and global_value is not null \
               order by 1";
    mariadb.sql("mysql", sql).unwrap()
}

#[test]
fn a_mariadb_server_is_enrolled_used_and_given_back_as_it_was() {
    let stack = usual_server();
    let server = mariadb(&stack);
    let before = State::of(server);

    let shown = enroll(&stack, &[]).expect_success().unwrap();
    assert_says(&shown, &["zz-portcullis.cnf", "CREATE USER 'portcullis_provisioner'@'127.0.0.1'"]);
    assert_says(&shown, &["PH206 (error): account 'app'@'%'", "PH217 (error): account 'app'@'%'"]);
    assert_says(&shown, &["PH218", "PH221", "PH222", "Restart the server"]);
    assert_eq!(State::of(server), before, "a dry run changes nothing");

    let applied = enroll(&stack, &["--apply"]);
    assert_says(&applied.stderr, &["restart the server", "`ssl_ca`, `skip_name_resolve`"]);
    applied.expect_success().unwrap();
    // Plain text is refused at once, the rest after a restart, and until then enrolling again says so.
    assert_eq!(server.sql("mysql", "select @@require_secure_transport").unwrap(), "1");
    let waiting = enroll(&stack, &["--apply"]).expect_success().unwrap();
    assert_says(&waiting, &["nothing is left to do", "Restart the server"]);
    server.restart().unwrap();

    let facts = &stack.facts;
    let token = facts.api.token(Credential::Certificate).unwrap();
    let read = || facts.mariadb("orders-api", &token, "select count(*) > 0 from orders").unwrap();
    wait::until(Duration::from_secs(10), "the first login", || read().ok().then_some(()));
    assert_eq!(read().expect_success().unwrap().trim(), "1");

    let enrolled = State::of(server);
    let again = enroll(&stack, &["--apply"]).expect_success().unwrap();
    assert_says(&again, &["nothing is left to do"]);
    assert!(!again.contains("Restart"), "{again}");
    assert_eq!(State::of(server), enrolled, "a second run changes nothing");

    assert_says(&enroll(&stack, &["--undo"]).expect_success().unwrap(), &["as it was before"]);
    server.restart().unwrap();
    let after = State::of(server);
    assert_eq!((&after.files, &after.settings), (&before.files, &before.settings));
    let lost: Vec<&String> =
        before.accounts.iter().filter(|row| !after.accounts.contains(row)).collect();
    assert_eq!(lost, Vec::<&String>::new(), "what was there before is there, byte for byte");
    // What is new is what the gateway made for its people; its own account stays with that, and can do nothing.
    let new = after.accounts.iter().filter(|row| !before.accounts.contains(row));
    let strange: Vec<&String> = new
        .filter(|row| {
            !["orders-api", "portcullis_orders-mariadb."].iter().any(|ours| row.contains(ours))
        })
        .collect();
    let [provisioner] = strange.as_slice() else { panic!("{strange:?}") };
    assert_says(
        provisioner,
        &["global_priv", "portcullis_provisioner", "\"account_locked\":true", "\"access\":0"],
    );
    wait::until(Duration::from_secs(10), "the closed server", || (!read().ok()).then_some(()));

    // Whoever enrols it again has everything as it was.
    enroll(&stack, &["--apply"]).expect_success().unwrap();
    server.restart().unwrap();
    wait::until(Duration::from_secs(30), "the way back in", || read().ok().then_some(()));
}
