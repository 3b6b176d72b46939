//! `portcullis server enroll` for MariaDB, applied: whole, or not at all.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use gateway::enroll::{self, Change, EnrollInput, Host, HostError, Local, Plan, Step, Undone};
use model::Document;
use testkit::mariadb::{DirectAccess, DirectLogin, MariaDb, Options};

const OPTION_FILE: &str = "zz-portcullis.cnf";
const CLIENT_AUTHORITY: &str = "portcullis-client-ca.pem";
const PROVISIONER: &str = "portcullis_provisioner";

/// As the distribution leaves it, with an application's account.
pub(crate) fn start() -> MariaDb {
    let settings = [("skip_name_resolve", "OFF"), ("require_secure_transport", "OFF")];
    let server = MariaDb::start_with(&Options {
        direct_access: DirectAccess::Superuser,
        settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        ..Options::default()
    })
    .unwrap();
    let accounts = "create database orders; create table orders.orders (id int); create role reporting; \
                    create user 'app'@'10.0.0.9' identified by 'secret'; grant select on orders.* to 'app'@'10.0.0.9'";
    server.sql("mysql", accounts).unwrap();
    server
}

pub(crate) fn host(server: &MariaDb) -> Host {
    Host {
        data_directory: server.data_directory(),
        os_user: server.os_user().to_owned(),
        superuser: None,
        local: Local::MySql {
            socket: server.socket(),
            configuration_directory: server.configuration_directory(),
            client: None,
        },
    }
}

pub(crate) fn input(server: &MariaDb) -> EnrollInput {
    let spec = serde_json::json!({
        "engine": "mysql", "host": "127.0.0.1", "port": server.port(), "ca": server.server_ca(),
        "databases": {"only": ["orders"]},
    });
    EnrollInput {
        server: Document::new("orders", serde_json::from_value(spec).unwrap()),
        roles: Vec::new(),
        client_authority: server.direct().unwrap().authority.clone(),
        gateway_addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        additional_authorities: Vec::new(),
        observed: None,
    }
}

fn observed(server: &MariaDb) -> EnrollInput {
    let input = input(server);
    let observed = enroll::observe(&host(server), &input.server).unwrap();
    EnrollInput { observed: Some(observed), ..input }
}

pub(crate) fn planned(server: &MariaDb) -> Plan {
    enroll::plan(&observed(server)).unwrap()
}

/// Files and tables that an enrolment touches, and the settings that it changes without a restart.
pub(crate) fn state(server: &MariaDb) -> BTreeMap<String, String> {
    let mut state = BTreeMap::new();
    for folder in [server.configuration_directory(), server.data_directory()] {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if name.contains("portcullis") || path.extension().is_some_and(|ending| ending == "cnf")
            {
                state.insert(name, fs::read_to_string(&path).unwrap_or("no text".to_owned()));
            }
        }
    }
    for table in ["global_priv", "db", "roles_mapping", "tables_priv", "columns_priv", "procs_priv"]
    {
        let rows = server.sql("mysql", &format!("select * from {table} order by 1, 2, 3")).unwrap();
        state.insert(table.to_owned(), rows);
    }
    let setting = server.sql("mysql", "select @@require_secure_transport").unwrap();
    state.insert("require_secure_transport".to_owned(), setting);
    state
}

/// In with a certificate of the provisioner's, around the gateway.
fn as_provisioner(server: &MariaDb, sql: &str) -> anyhow::Result<String> {
    let direct = server.direct().unwrap().for_user(PROVISIONER).unwrap();
    let login = DirectLogin {
        user: PROVISIONER,
        database: "orders",
        certificate: &direct.certificate,
        key: &direct.key,
    };
    let said = server.sql_directly(&login, sql);
    fs::remove_file(&direct.key).unwrap();
    fs::remove_file(&direct.certificate).unwrap();
    said
}

#[test]
fn after_enrolment_nothing_is_left_to_do_and_undo_restores_every_byte() {
    let server = start();
    let before = state(&server);
    let plan = planned(&server);
    assert_eq!(plan.restart, ["ssl_ca", "skip_name_resolve"]);
    enroll::apply(&plan, &host(&server)).unwrap();
    assert_eq!(planned(&server).steps, []);
    server.restart().unwrap();
    let after = planned(&server);
    assert_eq!((after.steps, after.restart), (vec![], vec![]));

    assert_eq!(
        as_provisioner(&server, "select user()").unwrap(),
        format!("{PROVISIONER}@127.0.0.1")
    );
    let grants = as_provisioner(&server, "show grants").unwrap();
    assert!(!grants.contains("ALL PRIVILEGES ON *.*") && !grants.contains("SUPER"), "{grants}");

    assert_eq!(enroll::undo(&host(&server)).unwrap(), Undone::Everything);
    assert_eq!(state(&server), before);
    server.restart().unwrap();
    assert_eq!(state(&server), before);
    assert!(as_provisioner(&server, "select 1").is_err());
    assert_eq!(enroll::undo(&host(&server)).unwrap(), Undone::Nothing);
}

#[test]
fn another_client_authority_is_trusted_without_a_restart() {
    let server = start();
    enroll::apply(&planned(&server), &host(&server)).unwrap();
    server.restart().unwrap();
    let mut input = observed(&server);
    // As after the end of a rotation, with an authority that signed nothing here.
    server.server_ca().clone_into(&mut input.client_authority);
    let plan = enroll::plan(&input).unwrap();
    assert_eq!((plan.steps.len(), plan.restart.len()), (1, 0), "{plan}");
    assert!(as_provisioner(&server, "select 1").is_ok());
    enroll::apply(&plan, &host(&server)).unwrap();
    let refused = as_provisioner(&server, "select 1").unwrap_err().to_string();
    assert!(refused.contains("ERROR"), "{refused}");
    enroll::undo(&host(&server)).unwrap();
}

#[test]
fn what_was_done_by_hand_to_the_provisioners_account_is_mended_and_taken_back_to_that() {
    let server = start();
    let who = format!("'{PROVISIONER}'@'127.0.0.1'");
    // As an older guide said, and less.
    let by_hand = format!(
        "create user {who} require subject '/CN={PROVISIONER}' and issuer '/CN=x'; \
         grant create user, super on *.* to {who}; grant select on orders.* to {who} with grant option; \
         alter user {who} account lock"
    );
    server.sql("mysql", &by_hand).unwrap();
    let before = state(&server);
    enroll::apply(&planned(&server), &host(&server)).unwrap();
    assert_eq!(planned(&server).steps, []);
    server.restart().unwrap();
    assert_eq!(as_provisioner(&server, "select 1").unwrap(), "1");
    let grants = as_provisioner(&server, "show grants").unwrap();
    assert!(!grants.contains("SUPER"), "{grants}");
    enroll::undo(&host(&server)).unwrap();
    assert_eq!(state(&server), before);
}

#[test]
fn an_account_with_a_password_of_the_provisioners_name_is_in_the_way_and_nothing_is_done() {
    let server = start();
    let account = format!("create user '{PROVISIONER}'@'127.0.0.1' identified by 'secret'");
    server.sql("mysql", &account).unwrap();
    let before = state(&server);
    let refused = enroll::apply(&planned(&server), &host(&server)).unwrap_err();
    assert!(matches!(refused, HostError::Obstacles(_)), "{refused}");
    assert!(refused.to_string().contains("drop it and enrol again"), "{refused}");
    assert_eq!(state(&server), before);
}

#[test]
fn every_way_into_an_account_counts_and_not_only_its_first() {
    let server = start();
    let name = |host: &str| format!("'{PROVISIONER}'@'{host}'");
    let (here, there) = (name("127.0.0.1"), name("10.0.0.7"));
    let accounts = format!(
        "create user {here} identified via mysql_native_password using 'invalid' \
           or mysql_native_password using password('secret'); \
         create user {there} identified via unix_socket or mysql_native_password using password('secret')"
    );
    server.sql("mysql", &accounts).unwrap();
    let plan = planned(&server);
    assert!(plan.obstacles[0].starts_with(&here), "{:?}", plan.obstacles);
    for who in [&here, &there] {
        let told = format!("account {who} opens with a password");
        assert!(plan.findings.iter().any(|found| found.message == told), "{:?}", plan.findings);
    }
}

#[test]
fn a_superuser_whose_name_has_an_at_sign_holds_what_it_holds() {
    let server = start();
    let accounts = "create user 'dba@corp'@'localhost'; create user 'clerk@corp'@'localhost'; \
                    grant all privileges on *.* to 'dba@corp'@'localhost' with grant option";
    server.sql("mysql", accounts).unwrap();
    let named = |name: &str| Host { superuser: Some(name.to_owned()), ..host(&server) };
    let document = input(&server).server;
    enroll::observe(&named("dba@corp"), &document).unwrap();
    let refused = enroll::observe(&named("clerk@corp"), &document).unwrap_err();
    assert!(matches!(&refused, HostError::NotSuperuser(name) if name == "clerk@corp"), "{refused}");
}

/// What stands in the way of looking at the server, and what is said of it.
fn refusal(host: &Host, server: &MariaDb) -> HostError {
    enroll::observe(host, &input(server).server).unwrap_err()
}

fn way(socket: PathBuf, configuration_directory: PathBuf) -> Local {
    Local::MySql { socket, configuration_directory, client: None }
}

/// The same with a change to where the server is said to be.
fn refusal_with(server: &MariaDb, change: impl FnOnce(&mut Host)) -> (String, HostError) {
    let mut host = host(server);
    change(&mut host);
    let refused = refusal(&host, server);
    (refused.to_string(), refused)
}

#[test]
fn whoever_cannot_come_in_or_may_not_do_it_is_told_why() {
    let server = start();
    server.sql("mysql", "create user 'small'@'localhost'").unwrap();
    let before = state(&server);
    let nowhere = PathBuf::from("/nonexistent/mysqld.sock");
    let (said, refused) = refusal_with(&server, |host| {
        host.local = way(nowhere, server.configuration_directory());
    });
    assert!(matches!(refused, HostError::NoSocket { .. }), "{said}");
    assert!(said.contains("/nonexistent/mysqld.sock"), "{said}");

    let (said, refused) =
        refusal_with(&server, |host| host.superuser = Some("stranger".to_owned()));
    assert!(matches!(refused, HostError::NoSocketLogin { .. }), "{said}");
    assert!(said.contains("`stranger`@`localhost`") && said.contains("unix_socket"), "{said}");

    let (said, refused) = refusal_with(&server, |host| host.superuser = Some("small".to_owned()));
    assert!(matches!(refused, HostError::NotSuperuser(_)), "{said}");
    assert!(said.contains("`small`") && said.contains("--superuser"), "{said}");
    assert_eq!(state(&server), before);
}

#[test]
fn whoever_names_the_wrong_place_is_told_which() {
    let server = start();
    let before = state(&server);
    let missing = server.directory().join("no-such-folder");
    let (said, refused) = refusal_with(&server, |host| host.local = way(server.socket(), missing));
    assert!(matches!(refused, HostError::NoFolder(_)), "{said}");
    assert!(said.contains("no-such-folder"), "{said}");

    let other = server.directory().join("other");
    fs::create_dir_all(other.join("mysql")).unwrap();
    server.own(&other).unwrap();
    let (said, refused) = refusal_with(&server, |host| host.data_directory.clone_from(&other));
    assert!(matches!(refused, HostError::OtherServer { .. }), "{said}");

    let (said, refused) =
        refusal_with(&server, |host| host.data_directory = server.directory().to_owned());
    assert!(matches!(refused, HostError::NoData(_)), "{said}");

    let mut postgresql = input(&server).server;
    postgresql.spec.engine = model::kind::server::Engine::PostgreSql;
    let refused = enroll::observe(&host(&server), &postgresql).unwrap_err();
    assert!(matches!(refused, HostError::OtherEngine { .. }), "{refused}");

    let way_of_postgresql = Host {
        local: Local::PostgreSql { socket_directory: server.directory().to_owned() },
        ..host(&server)
    };
    let refused = enroll::undo(&way_of_postgresql).unwrap_err();
    assert!(refused.to_string().contains("--socket"), "{refused}");
    assert_eq!(state(&server), before);
}

#[test]
fn a_file_of_somebody_elses_is_never_written_over() {
    let server = start();
    let file = server.configuration_directory().join(OPTION_FILE);
    fs::write(&file, "[mariadbd]\nwait_timeout = 60\n").unwrap();
    let before = state(&server);
    let refused = enroll::apply(&planned(&server), &host(&server)).unwrap_err();
    assert!(matches!(&refused, HostError::NotOurs(path) if *path == file), "{refused}");
    assert_eq!(state(&server), before, "nothing half done");
    fs::remove_file(&file).unwrap();

    // A folder cannot be read as a file.
    fs::create_dir(&file).unwrap();
    let refused = refusal(&host(&server), &server);
    assert!(matches!(&refused, HostError::NoFile(path) if *path == file), "{refused}");
}

#[test]
fn a_file_of_ours_that_a_hand_has_changed_is_left_alone_by_all() {
    let server = start();
    let host = host(&server);
    enroll::apply(&planned(&server), &host).unwrap();
    let file = server.configuration_directory().join(OPTION_FILE);
    let ours = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{ours}wait_timeout = 60\n")).unwrap();
    let before = state(&server);
    for refused in
        [enroll::apply(&planned(&server), &host).unwrap_err(), enroll::undo(&host).unwrap_err()]
    {
        assert!(matches!(&refused, HostError::ChangedByHand(path) if *path == file), "{refused}");
        assert_eq!(state(&server), before);
    }
    // Gone is another matter: it is written again, and there is nothing to lose at the way back.
    fs::remove_file(&file).unwrap();
    enroll::apply(&planned(&server), &host).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), ours);
    fs::remove_file(&file).unwrap();
    enroll::undo(&host).unwrap();
}

#[test]
fn a_step_that_fails_takes_the_former_ones_back() {
    let server = start();
    let host = host(&server);
    let before = state(&server);
    let mut plan = planned(&server);
    plan.steps.push(Step {
        title: "fails half way".to_owned(),
        reason: "a test".to_owned(),
        change: Change::Sql {
            database: "mysql".to_owned(),
            statements: vec![
                "CREATE ROLE half_way".to_owned(),
                "GRANT half_way TO 'nobody'@'nowhere'".to_owned(),
            ],
            undo: vec!["DROP ROLE IF EXISTS half_way".to_owned()],
        },
    });
    let refused = enroll::apply(&plan, &host).unwrap_err();
    assert!(matches!(refused, HostError::TakenBack(_)), "{refused}");
    assert!(refused.to_string().contains("has been taken back"), "{refused}");
    assert_eq!(state(&server), before);

    // The same after an enrolment that succeeded: that one stays.
    enroll::apply(&planned(&server), &host).unwrap();
    let enrolled = state(&server);
    let failing = Plan { steps: plan.steps.split_off(plan.steps.len() - 1), ..plan };
    enroll::apply(&failing, &host).unwrap_err();
    assert_eq!(state(&server), enrolled);
    enroll::undo(&host).unwrap();
    assert_eq!(state(&server), before);
}

#[test]
fn the_files_can_be_read_by_the_server_and_the_journal_is_written_by_whoever_enrols_only() {
    let server = start();
    enroll::apply(&planned(&server), &host(&server)).unwrap();
    let about = |path: &Path| {
        let about = fs::metadata(path).unwrap();
        (about.uid(), about.gid(), about.mode() & 0o777)
    };
    for (folder, name) in [
        (server.configuration_directory(), OPTION_FILE),
        (server.data_directory(), CLIENT_AUTHORITY),
    ] {
        let (uid, gid, mode) = about(&folder);
        assert_eq!(about(&folder.join(name)), (uid, gid, mode & 0o600), "{name}");
    }
    let (_, its_group, _) = about(&server.data_directory());
    let (us, _, _) = about(Path::new("/proc/self"));
    let journal = server.data_directory().join("portcullis-enrolment.json");
    assert_eq!(about(&journal), (us, its_group, 0o640));
}
