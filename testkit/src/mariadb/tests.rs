use super::*;

#[test]
fn a_server_starts_answers_its_own_account_and_leaves_nothing_behind() {
    let server = MariaDb::start().unwrap();
    let directory = server.directory().to_owned();
    let who = server.sql("mysql", "select current_user()").unwrap();
    assert_eq!(who, format!("{}@localhost", server.os_user()));
    assert_eq!(server.sql("mysql", "select @@have_ssl").unwrap(), "YES");
    let temporary = server.sql("mysql", "select @@tmpdir").unwrap();
    assert!(Path::new(&temporary).starts_with(&directory), "{temporary} may be another's");
    drop(server);
    assert!(!directory.try_exists().unwrap());
}

#[test]
fn over_tcp_nobody_comes_in_without_tls_and_the_superuser_only_with_its_certificate() {
    let options = Options { direct_access: DirectAccess::Superuser, ..Options::default() };
    let server = MariaDb::start_with(&options).unwrap();
    let direct = server.direct().unwrap();
    let other = direct.for_user("other").unwrap();
    let come = |way: &Direct| {
        let login = DirectLogin {
            user: SUPERUSER,
            database: "mysql",
            certificate: &way.certificate,
            key: &way.key,
        };
        server.sql_directly(&login, "select current_user()")
    };
    assert_eq!(come(direct).unwrap(), "superuser@127.0.0.1");
    assert!(come(&other).unwrap_err().to_string().contains("ERROR 1045"));

    server.sql("mysql", "create user 'plain'@'127.0.0.1'").unwrap();
    let over = |how: &str| {
        let mut command = program::clean(CLIENT);
        command.args(["--no-defaults", how, "-h", "127.0.0.1", "-u", "plain", "-e", "select 1"]);
        program::run(command.args(["-P", &server.port().to_string()])).unwrap()
    };
    assert!(over("--ssl").ok());
    let refused = over("--skip-ssl");
    assert!(refused.stderr.contains("ERROR 1045"), "{refused}");
}

#[test]
fn a_detached_server_outlives_its_value_and_stops_when_told() {
    let directory = MariaDb::start().unwrap().detach().unwrap();
    let again = MariaDb::attach(&directory).unwrap();
    assert_eq!(again.sql("mysql", "select 1").unwrap(), "1");
    drop(again);
    assert!(leftovers::named_in(&pid_file(&directory)).is_some());
    stop(&directory).unwrap();
    assert!(!directory.try_exists().unwrap());
    stop(&directory).unwrap();
}

#[test]
fn a_killed_server_starts_again_on_the_same_port_and_a_restart_reads_the_configuration_again() {
    let server = MariaDb::start().unwrap();
    server.kill().unwrap();
    assert!(server.sql("mysql", "select 1").is_err());
    server.start_again().unwrap();
    assert_eq!(server.sql("mysql", "select @@port").unwrap(), server.port().to_string());
    let more = server.configuration_directory().join("more.cnf");
    fs::write(more, "[mariadbd]\nwait_timeout = 77\n").unwrap();
    server.account.own(&server.configuration_directory()).unwrap();
    server.restart().unwrap();
    assert_eq!(server.sql("mysql", "select @@global.wait_timeout").unwrap(), "77");
}
