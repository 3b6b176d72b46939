use model::code;
use model::kind::database_role::Privileges;

use super::*;
use crate::enroll::tests::{input_of, role};
use crate::enroll::{self, plan};

fn input(observed: Option<Observed>) -> EnrollInput {
    EnrollInput { observed: observed.map(enroll::Observed::PostgreSql), ..input_of("postgresql") }
}

fn statements(plan: &Plan) -> Vec<&str> {
    let sql = plan.steps.iter().filter_map(|step| match &step.change {
        Change::Sql { statements, .. } => Some(statements),
        Change::File { .. } => None,
    });
    sql.flatten().map(String::as_str).collect()
}

#[test]
fn a_fresh_server_is_told_every_change_and_its_reason() {
    let plan = plan(&input(None)).unwrap();
    let text = plan.to_string();
    for wanted in [
        "ALTER SYSTEM SET ssl = E'on'",
        "REVOKE CONNECT ON DATABASE \"orders\" FROM PUBLIC",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
        "CREATE ROLE \"portcullis_provisioner\" LOGIN CREATEROLE NOSUPERUSER",
        "hostssl all all 127.0.0.1/32 cert",
        "local all \"postgres\" peer",
    ] {
        assert!(text.contains(wanted), "{wanted} is missing in:\n{text}");
    }
    assert!(plan.steps.iter().all(|step| !step.reason.is_empty()));
}

#[test]
fn the_provisioner_becomes_a_member_of_owners_and_mapped_roles_but_never_of_a_superuser() {
    let mut observed = Observed::fresh(&input(None).server.spec);
    observed.databases.retain(|database| database.name != "orders");
    observed.databases.push(ObservedDatabase {
        name: "orders".to_owned(),
        schemas: vec![ObservedSchema {
            name: "public".to_owned(),
            owner: "postgres".to_owned(),
            creators: vec!["orders_owner".to_owned()],
            superuser_owners: vec!["postgres".to_owned()],
            ..ObservedSchema::default()
        }],
        ..ObservedDatabase::default()
    });
    let mut input = input(Some(observed));
    input.roles.push(role(Privileges::ExistingRole("app_reports".to_owned())));
    let plan = plan(&input).unwrap();
    let grants: Vec<&str> = statements(&plan)
        .into_iter()
        .filter(|statement| statement.contains("WITH ADMIN OPTION"))
        .collect();
    assert_eq!(
        grants,
        [
            "GRANT \"app_reports\" TO \"portcullis_provisioner\" WITH ADMIN OPTION",
            "GRANT \"portcullis_owner\" TO \"portcullis_provisioner\" WITH ADMIN OPTION",
            "GRANT \"orders_owner\" TO \"portcullis_provisioner\" WITH ADMIN OPTION",
        ]
    );
}

#[test]
fn an_existing_role_that_is_a_superuser_is_refused() {
    let mut observed = Observed::fresh(&input(None).server.spec);
    observed.roles.push(ObservedRole {
        name: "boss".to_owned(),
        superuser: true,
        ..ObservedRole::default()
    });
    let mut input = input(Some(observed));
    input.roles.push(role(Privileges::ExistingRole("boss".to_owned())));
    assert_eq!(plan(&input).unwrap_err().code, &code::INVALID);
}

#[test]
fn databases_that_nobody_reaches_are_closed_but_not_looked_into() {
    let mut observed = Observed::fresh(&input(None).server.spec);
    observed.databases.push(ObservedDatabase {
        name: "payroll".to_owned(),
        public_connects: true,
        schemas: vec![ObservedSchema {
            name: "public".to_owned(),
            owner: "payroll_owner".to_owned(),
            ..ObservedSchema::default()
        }],
        ..ObservedDatabase::default()
    });
    let plan = plan(&input(Some(observed))).unwrap();
    let statements = statements(&plan);
    assert!(statements.contains(&"REVOKE CONNECT ON DATABASE \"payroll\" FROM PUBLIC"));
    assert!(!statements.iter().any(|statement| statement.contains("payroll_owner")));
}
