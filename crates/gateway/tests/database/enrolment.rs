//! `portcullis server enroll`, applied.

use std::net::{IpAddr, Ipv4Addr};

use gateway::enroll::{self, EnrollInput, Host, Local};
use model::Document;
use model::kind::server::DatabaseServer;
use testkit::postgres::{DirectAccess, DirectLogin, Options, Postgres};

fn server(postgres: &Postgres, test_stack: bool) -> Document<DatabaseServer> {
    let spec = serde_json::json!({
        "engine": "postgresql", "host": "127.0.0.1", "port": postgres.port(),
        "ca": postgres.server_ca(), "testStack": test_stack,
    });
    Document::new("orders", serde_json::from_value(spec).unwrap())
}

pub(crate) fn input(postgres: &Postgres, test_stack: bool) -> EnrollInput {
    EnrollInput {
        server: server(postgres, test_stack),
        roles: Vec::new(),
        client_authority: postgres.direct().unwrap().authority.clone(),
        gateway_addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        additional_authorities: Vec::new(),
        observed: None,
    }
}

pub(crate) fn observed(postgres: &Postgres, input: EnrollInput) -> EnrollInput {
    let observed = enroll::observe(&host(postgres), &input.server).unwrap();
    EnrollInput { observed: Some(observed), ..input }
}

pub(crate) fn host(postgres: &Postgres) -> Host {
    Host {
        data_directory: postgres.data_directory(),
        os_user: postgres.os_user().to_owned(),
        superuser: Some("postgres".to_owned()),
        local: Local::PostgreSql { socket_directory: postgres.socket_directory() },
    }
}

pub(crate) fn start() -> Postgres {
    let options = Options { direct_access: DirectAccess::Superuser, ..Options::default() };
    let postgres = Postgres::start_with(&options).unwrap();
    postgres
        .psql(
            "postgres",
            "CREATE ROLE orders_owner; CREATE DATABASE orders OWNER orders_owner; CREATE ROLE app LOGIN PASSWORD 'x';",
        )
        .unwrap();
    postgres
        .psql(
            "orders",
            "SET ROLE orders_owner; CREATE TABLE orders (id int); RESET ROLE; CREATE TABLE public.log (id int);
             CREATE SCHEMA reports; GRANT CREATE, USAGE ON SCHEMA reports TO app;",
        )
        .unwrap();
    postgres
}

/// Connects around the gateway with the certificate that the test's client authority made.
fn direct(postgres: &Postgres, sql: &str) -> anyhow::Result<String> {
    let direct = postgres.direct().unwrap();
    let login = DirectLogin {
        user: "postgres",
        database: "orders",
        certificate: &direct.certificate,
        key: &direct.key,
    };
    postgres.psql_directly(&login, sql)
}

#[test]
fn after_enrolment_nothing_is_left_to_do_and_undo_restores_everything() {
    for test_stack in [false, true] {
        let postgres = start();
        let hba = postgres.data_directory().join("pg_hba.conf");
        let before = std::fs::read_to_string(&hba).unwrap();
        let roles = "SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY 1";
        let acls = "SELECT datname, datacl FROM pg_database ORDER BY 1";
        let (roles_before, acls_before) =
            (postgres.psql("orders", roles).unwrap(), postgres.psql("orders", acls).unwrap());

        let input = observed(&postgres, input(&postgres, test_stack));
        let plan = enroll::plan(&input).unwrap();
        enroll::apply(&plan, &host(&postgres)).unwrap();
        let again = observed(&postgres, input.clone());
        let left = enroll::plan(&again).unwrap();
        assert!(left.is_empty(), "test stack {test_stack}: {left}");
        assert_eq!(
            direct(&postgres, "select ssl from pg_stat_ssl where pid = pg_backend_pid()").unwrap(),
            "t"
        );

        enroll::undo(&host(&postgres)).unwrap();
        assert_eq!(std::fs::read_to_string(&hba).unwrap(), before);
        assert_eq!(postgres.psql("orders", roles).unwrap(), roles_before);
        let public = "SELECT has_database_privilege('app', 'orders', 'CONNECT')";
        assert_eq!(postgres.psql("orders", public).unwrap(), "t", "{acls_before}");
        assert!(direct(&postgres, "select 1").is_err());
        enroll::undo(&host(&postgres)).unwrap();
    }
}

#[test]
fn an_enrolled_server_has_no_other_way_in() {
    let postgres = start();
    let input = observed(&postgres, input(&postgres, false));
    enroll::apply(&enroll::plan(&input).unwrap(), &host(&postgres)).unwrap();
    let lines = postgres
        .psql("postgres", "SELECT type, database, user_name, address, auth_method FROM pg_hba_file_rules ORDER BY line_number")
        .unwrap();
    let local = "local|{all}|{postgres}||peer";
    assert_eq!(lines, format!("{local}\nhostssl|{{all}}|{{all}}|127.0.0.1|cert"));
    let connects = "SELECT bool_or(has_database_privilege('app', datname, 'CONNECT')) FROM pg_database WHERE datallowconn";
    assert_eq!(postgres.psql("postgres", connects).unwrap(), "f");
    enroll::close_local_door(&observed(&postgres, input), &host(&postgres)).unwrap();
    let shut = (0..50).any(|_| postgres.psql("postgres", "SELECT 1").is_err());
    assert!(shut, "the server's own account still comes in");
    enroll::undo(&host(&postgres)).unwrap();
    assert_eq!(postgres.psql("postgres", "SELECT 1").unwrap(), "1");
}

#[test]
fn the_provisioner_holds_what_it_needs_and_is_no_superuser() {
    let postgres = start();
    let input = observed(&postgres, input(&postgres, false));
    enroll::apply(&enroll::plan(&input).unwrap(), &host(&postgres)).unwrap();
    let held = postgres
        .psql(
            "postgres",
            "SELECT rolsuper, rolcreaterole, rolcanlogin, (SELECT string_agg(roleid::regrole::text, ' ' ORDER BY roleid::regrole::text)
             FROM pg_auth_members WHERE member = r.oid AND roleid::regrole::text <> 'pg_use_reserved_connections') FROM pg_roles r WHERE rolname = 'portcullis_provisioner'",
        )
        .unwrap();
    let roles = "app orders_owner pg_read_all_stats pg_signal_backend portcullis_owner";
    assert_eq!(held, format!("f|t|t|{roles}"));
}

#[test]
fn rules_that_the_server_cannot_read_never_come_into_force() {
    let postgres = start();
    let mut input = observed(&postgres, input(&postgres, false));
    let mut plan = enroll::plan(&input).unwrap();
    for step in &mut plan.steps {
        if let enroll::Change::File { path, content, .. } = &mut step.change
            && path.ends_with("pg_hba.conf")
        {
            content.push_str("nonsense\n");
        }
    }
    let failed = enroll::apply(&plan, &host(&postgres)).unwrap_err().to_string();
    assert!(failed.contains("cannot read pg_hba.conf"), "{failed}");
    assert!(failed.contains("has been taken back"), "{failed}");
    assert_eq!(postgres.psql("postgres", "SELECT 1").unwrap(), "1");
    input = observed(&postgres, input);
    assert!(!enroll::plan(&input).unwrap().is_empty());
}
