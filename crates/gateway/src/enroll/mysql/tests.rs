use std::collections::{BTreeMap, BTreeSet};

use model::code;
use model::kind::database_role::Privileges;
use model::kind::server::{Databases, Product};

use super::*;
use crate::enroll::tests::{input_of, role};
use crate::enroll::{self, plan};
use crate::provision::mysql::catalog::{Catalog, Names};
use crate::provision::mysql::grants::handed_on;

fn input(observed: Option<Observed>) -> EnrollInput {
    EnrollInput { observed: observed.map(enroll::Observed::MySql), ..input_of("mysql") }
}

fn fresh() -> Observed {
    Observed::fresh(&input_of("mysql").server)
}

fn held(words: &[&str], grantable: bool) -> Held {
    Held { privileges: words.iter().map(|word| (*word).to_owned()).collect(), grantable }
}

/// The provisioner's account as the plan makes it.
fn complete(host: &str) -> Provisioner {
    let everything = handed_on(Catalog::MariaDb);
    Provisioner {
        host: host.to_owned(),
        require: "REQUIRE SUBJECT '/CN=portcullis_provisioner'".to_owned(),
        global: held(&["CREATE USER", "PROCESS", "CONNECTION ADMIN"], false),
        databases: BTreeMap::from([
            ("mysql".to_owned(), held(&["SELECT", "UPDATE"], false)),
            ("orders".to_owned(), held(&everything, true)),
        ]),
        ..Provisioner::default()
    }
}

/// A server on which everything has been done, and which has been restarted.
fn enrolled() -> Observed {
    let planned = plan(&input(None)).unwrap();
    let file = |name: &str| {
        planned.steps.iter().find_map(|step| match &step.change {
            Change::File { path, content, .. } if path.ends_with(name) => Some(content.clone()),
            Change::File { .. } | Change::Sql { .. } => None,
        })
    };
    Observed {
        option_file: file(OPTION_FILE),
        client_authorities: file(CLIENT_AUTHORITY_FILE),
        ssl_ca: format!("/var/lib/mysql/{CLIENT_AUTHORITY_FILE}"),
        require_secure_transport: true,
        skip_name_resolve: true,
        provisioners: vec![complete("127.0.0.1")],
        ..fresh()
    }
}

fn sql(plan: &Plan) -> Vec<(&str, &str)> {
    let scripts = plan.steps.iter().filter_map(|step| match &step.change {
        Change::Sql { statements, undo, .. } => Some((statements, undo)),
        Change::File { .. } => None,
    });
    scripts
        .flat_map(|(statements, undo)| {
            assert_eq!(statements.len(), undo.len(), "one way back each: {statements:?}");
            statements.iter().zip(undo.iter().rev())
        })
        .map(|(statement, undo)| (statement.as_str(), undo.as_str()))
        .collect()
}

#[test]
fn a_fresh_server_is_told_every_change_and_its_reason() {
    let plan = plan(&input(None)).unwrap();
    let text = plan.to_string();
    for wanted in [
        "File portcullis-client-ca.pem:",
        "File /etc/mysql/mariadb.conf.d/zz-portcullis.cnf:",
        "ssl_ca = /var/lib/mysql/portcullis-client-ca.pem",
        "require_secure_transport = ON",
        "skip_name_resolve = ON",
        "CREATE USER 'portcullis_provisioner'@'127.0.0.1' REQUIRE SUBJECT '/CN=portcullis_provisioner';",
        "GRANT CONNECTION ADMIN, CREATE USER, PROCESS ON *.* TO 'portcullis_provisioner'@'127.0.0.1';",
        "GRANT SELECT, UPDATE ON `mysql`.* TO 'portcullis_provisioner'@'127.0.0.1';",
        "ON `orders`.* TO 'portcullis_provisioner'@'127.0.0.1' WITH GRANT OPTION;",
        "SET GLOBAL require_secure_transport = ON;",
        "Restart the server: it reads `ssl_ca`, `skip_name_resolve` at its start only.",
        "this is what MariaDB needs",
    ] {
        assert!(text.contains(wanted), "{wanted} is missing in:\n{text}");
    }
    assert!(plan.steps.iter().all(|step| !step.reason.is_empty()));
    assert_eq!((plan.obstacles, plan.findings), (vec![], vec![]));
}

#[test]
fn an_enrolled_server_has_nothing_left_to_do_and_waits_for_no_restart() {
    let plan = plan(&input(Some(enrolled()))).unwrap();
    assert_eq!((plan.steps, plan.restart, plan.notes), (vec![], vec![], vec![]));
}

#[test]
fn a_server_that_was_not_restarted_is_told_to_be_and_one_that_was_is_told_where_to_look() {
    let mut observed = Observed { ssl_ca: String::new(), ..enrolled() };
    let before = plan(&input(Some(observed.clone()))).unwrap();
    assert_eq!((before.steps.len(), before.restart), (0, vec!["ssl_ca".to_owned()]));
    assert_eq!(before.notes, Vec::<String>::new());
    observed.started_after_option_file = true;
    let after = plan(&input(Some(observed))).unwrap();
    assert!(after.notes[0].contains("does not go by it"), "{:?}", after.notes);
}

#[test]
fn what_is_missing_is_given_what_is_too_much_is_taken_and_both_have_a_way_back() {
    let mut observed = enrolled();
    let known = &mut observed.provisioners[0];
    known.global = held(&["CREATE USER", "PROCESS", "SUPER"], false);
    known.databases.insert("mysql".to_owned(), held(&["SELECT", "UPDATE", "DELETE"], false));
    known.databases.insert("orders".to_owned(), held(&["SELECT"], true));
    known.locked = true;
    let plan = plan(&input(Some(observed))).unwrap();
    let who = "'portcullis_provisioner'@'127.0.0.1'";
    let sql = sql(&plan);
    let require = "REQUIRE SUBJECT '/CN=portcullis_provisioner'";
    assert_eq!(
        sql[0],
        (
            format!("ALTER USER {who} {require} ACCOUNT UNLOCK").as_str(),
            format!("ALTER USER IF EXISTS {who} {require} ACCOUNT LOCK").as_str()
        )
    );
    assert_eq!(sql[1].0, format!("GRANT CONNECTION ADMIN ON *.* TO {who}"));
    assert!(sql[1].1.contains(&format!("; REVOKE CONNECTION ADMIN ON *.* FROM {who}; END")));
    let taken = (format!("REVOKE SUPER ON *.* FROM {who}"), format!("GRANT SUPER ON *.* TO {who}"));
    assert_eq!(sql[2], (taken.0.as_str(), taken.1.as_str()));
    assert!(sql[3].0.starts_with("GRANT INSERT") || sql[3].0.starts_with("GRANT SHOW VIEW"));
    assert_eq!(sql.len(), 4);
}

#[test]
fn every_address_of_the_gateways_gets_an_account_that_hands_on_what_the_others_made() {
    let mut observed = enrolled();
    observed.provisioners[0].hands_on = BTreeSet::from(["portcullis_orders.reader".to_owned()]);
    let mut input = input(Some(observed));
    input.gateway_addresses.push("10.0.0.6".parse().unwrap());
    let plan = plan(&input).unwrap();
    let statements: Vec<&str> = sql_statements(&plan);
    let who = "'portcullis_provisioner'@'10.0.0.6'";
    assert!(statements[0].starts_with(&format!("CREATE USER {who} REQUIRE SUBJECT")));
    assert_eq!(
        statements.last().unwrap(),
        &format!("GRANT `portcullis_orders.reader` TO {who} WITH ADMIN OPTION")
    );
    assert!(!statements.iter().any(|statement| statement.contains("127.0.0.1")));
}

fn sql_statements(plan: &Plan) -> Vec<&str> {
    let scripts = plan.steps.iter().filter_map(|step| match &step.change {
        Change::Sql { statements, .. } => Some(statements),
        Change::File { .. } => None,
    });
    scripts.flatten().map(String::as_str).collect()
}

#[test]
fn an_account_that_something_else_opens_is_in_the_way() {
    let mut observed = enrolled();
    observed.provisioners[0].other_way_in = true;
    let plan = plan(&input(Some(observed))).unwrap();
    assert_eq!((plan.steps.len(), plan.obstacles.len()), (0, 1));
    assert!(plan.obstacles[0].contains("'portcullis_provisioner'@'127.0.0.1'"));
}

#[test]
fn a_server_without_a_certificate_would_lock_everybody_out_and_is_left_alone() {
    let mut observed = fresh();
    observed.weak = Weak { has_certificate: false, ..observed.weak };
    let plan = plan(&input(Some(observed))).unwrap();
    assert!(plan.obstacles[0].contains("`ssl_cert`"), "{:?}", plan.obstacles);
    assert_eq!(plan.findings[0].code, "PH219");
    assert!(plan.to_string().contains("Found: PH219 (error)"));
}

#[test]
fn existing_roles_are_handed_on_but_never_one_that_holds_the_server() {
    let mut observed = enrolled();
    let known = |name: &str, plain: bool| Role { name: name.to_owned(), plain };
    observed.roles = vec![known("app_reports", true), known("boss", false)];
    let mut with = input(Some(observed));
    with.roles = vec![
        role(Privileges::ExistingRole("app_reports".to_owned())),
        role(Privileges::ExistingRole("not_there_yet".to_owned())),
    ];
    assert_eq!(
        sql_statements(&plan(&with).unwrap()),
        ["GRANT `app_reports` TO 'portcullis_provisioner'@'127.0.0.1' WITH ADMIN OPTION"]
    );
    with.roles = vec![role(Privileges::ExistingRole("boss".to_owned()))];
    assert_eq!(plan(&with).unwrap_err().code, &code::INVALID);
}

#[test]
fn all_databases_but_the_servers_own_are_handed_on_when_any_may_be_reached() {
    let mut input = input(None);
    input.server.spec.databases = Databases::Any;
    let mut observed = fresh();
    observed.databases = ["orders", "my_shop"].map(str::to_owned).into();
    input.observed = Some(enroll::Observed::MySql(observed));
    let plan = plan(&input).unwrap();
    let options = sql_statements(&plan)
        .into_iter()
        .filter(|statement| statement.ends_with("WITH GRANT OPTION"))
        .filter_map(|statement| statement.split(" ON ").nth(1).map(str::to_owned));
    let who = "'portcullis_provisioner'@'127.0.0.1' WITH GRANT OPTION";
    assert_eq!(
        options.collect::<Vec<_>>(),
        [format!("`my\\_shop`.* TO {who}"), format!("`orders`.* TO {who}")]
    );
}

#[test]
fn the_provisioner_is_a_superuser_on_test_stacks_only() {
    let mut input = input(Some(enrolled()));
    input.server.spec.test_stack = true;
    assert_eq!(
        sql_statements(&plan(&input).unwrap()),
        ["GRANT ALL PRIVILEGES ON *.* TO 'portcullis_provisioner'@'127.0.0.1' WITH GRANT OPTION"]
    );
}

#[test]
fn a_server_that_listens_on_its_own_host_only_cannot_be_reached_from_another() {
    let mut observed = enrolled();
    observed.bind_address = "127.0.0.1".to_owned();
    let mut input = input(Some(observed));
    assert_eq!(plan(&input).unwrap().notes, Vec::<String>::new());
    input.gateway_addresses.push("10.0.0.6".parse().unwrap());
    assert!(plan(&input).unwrap().notes[0].contains("`bind_address`"));
}

#[test]
fn an_account_of_the_provisioners_from_an_address_of_before_is_named() {
    let mut observed = enrolled();
    observed.provisioners.push(complete("10.0.0.6"));
    observed.provisioners.push(Provisioner { locked: true, ..complete("10.0.0.7") });
    let plan = plan(&input(Some(observed))).unwrap();
    let [note] = plan.notes.as_slice() else { panic!("{:?}", plan.notes) };
    assert!(note.starts_with("'portcullis_provisioner'@'10.0.0.6' is for an address"), "{note}");
    assert_eq!(plan.steps, vec![]);
}

fn mysql() -> Observed {
    Observed { product: Some(Product::MySql), ..fresh() }
}

#[test]
fn a_mysql_server_is_told_in_its_own_words() {
    let mut input = input(None);
    input.server.status.product = Some(Product::MySql);
    let text = plan(&input).unwrap().to_string();
    for wanted in [
        "File /etc/mysql/mysql.conf.d/zz-portcullis.cnf:",
        "[mysqld]",
        "' REQUIRE SUBJECT '/CN=portcullis_provisioner' PASSWORD EXPIRE NEVER;",
        "ALTER USER 'portcullis_provisioner'@'127.0.0.1' IDENTIFIED WITH caching_sha2_password AS '';",
        "GRANT ALLOW_NONEXISTENT_DEFINER, CONNECTION_ADMIN, CREATE USER, PROCESS, ROLE_ADMIN ON *.* TO \
         'portcullis_provisioner'@'127.0.0.1';",
        "GRANT SELECT ON `mysql`.* TO 'portcullis_provisioner'@'127.0.0.1';",
        "ON `orders`.* TO 'portcullis_provisioner'@'127.0.0.1' WITH GRANT OPTION;",
    ] {
        assert!(text.contains(wanted), "{wanted} is missing in:\n{text}");
    }
    assert!(!text.contains("DELETE HISTORY") && !text.contains("MariaDB"), "{text}");
}

#[test]
fn what_is_given_to_mysqls_provisioner_is_taken_back_without_a_word_when_it_is_gone() {
    let mut known = complete("127.0.0.1");
    known.global = held(&["CREATE USER", "PROCESS", "SYSTEM_USER"], false);
    known.databases = BTreeMap::from([
        ("mysql".to_owned(), held(&["SELECT"], false)),
        ("my_shop".to_owned(), held(&handed_on(Catalog::MySql(Names::Plain)), true)),
    ]);
    let observed = Observed {
        partial_revokes: true,
        databases: ["my_shop".to_owned()].into(),
        provisioners: vec![known],
        require_secure_transport: true,
        ..mysql()
    };
    let mut input = input(Some(observed));
    input.server.spec.databases = Databases::Any;
    let plan = plan(&input).unwrap();
    let who = "'portcullis_provisioner'@'127.0.0.1'";
    let missing = "ALLOW_NONEXISTENT_DEFINER, CONNECTION_ADMIN, ROLE_ADMIN ON *.*";
    assert_eq!(
        sql(&plan),
        [
            (
                format!("GRANT {missing} TO {who}").as_str(),
                format!("REVOKE IF EXISTS {missing} FROM {who} IGNORE UNKNOWN USER").as_str()
            ),
            (
                format!("REVOKE SYSTEM_USER ON *.* FROM {who}").as_str(),
                format!("GRANT SYSTEM_USER ON *.* TO {who}").as_str()
            ),
        ]
    );
}

#[test]
fn mysqls_provisioner_hands_on_existing_roles_by_a_privilege_that_it_has_already() {
    let mut observed = mysql();
    observed.roles = vec![Role { name: "app_reports".to_owned(), plain: true }];
    let mut with = input(Some(observed));
    with.roles = vec![role(Privileges::ExistingRole("app_reports".to_owned()))];
    let plan = plan(&with).unwrap();
    assert!(!sql_statements(&plan).iter().any(|statement| statement.contains("app_reports")));
}

#[test]
fn mysql_reads_client_authorities_at_its_start_only_and_must_be_able_to() {
    let mut observed = mysql();
    observed.client_authorities = enrolled().client_authorities;
    observed.ssl_ca = enrolled().ssl_ca;
    observed.skip_name_resolve = true;
    let restart = |observed: &Observed| plan(&input(Some(observed.clone()))).unwrap().restart;
    assert_eq!(restart(&observed), [] as [&str; 0]);
    observed.client_authorities_unread = true;
    assert_eq!(restart(&observed), ["ssl_ca"]);
    observed.client_authorities_unread = false;
    observed.client_authorities = Some("another".to_owned());
    assert_eq!(restart(&observed), ["ssl_ca"]);
    observed.tls_certificates_enforced_validation = true;
    let plan = plan(&input(Some(observed))).unwrap();
    assert!(plan.obstacles[0].starts_with("`tls_certificates_enforced_validation` is on"));
}
