use std::sync::Arc;

use model::kind::role_assignment::{Assignee, RoleAssignment};
use model::{Kind, Resource, Revision};
use serde_json::json;

use super::*;

fn resource(kind: Kind, name: &str, spec: &serde_json::Value) -> Resource {
    let value = json!({
        "apiVersion": "portcullis.dev/v1", "kind": kind.name(), "spec": spec,
        "metadata": {"name": name, "uid": uuid::Uuid::new_v4(), "createdAt": "2026-11-24T09:00:00Z"},
    });
    Resource::from_value(kind, value).unwrap()
}

fn assignment(application: &str, role: &str) -> Resource {
    let spec = RoleAssignment {
        principal: Assignee::Application(application.parse().unwrap()),
        role: role.parse().unwrap(),
    };
    resource(Kind::RoleAssignment, &format!("{application}-{role}"), &json!(spec))
}

fn directory(assigned: &[&str], test_stack: bool) -> Snapshot {
    let server = json!({"engine": "postgresql", "host": "h", "port": 5432, "ca": "", "testStack": test_stack});
    let role = |name: &str, privileges: &str| {
        resource(Kind::DatabaseRole, name, &json!({"server": "orders", "privileges": privileges}))
    };
    let mut all = vec![
        resource(Kind::DatabaseServer, "orders", &server),
        resource(Kind::Application, "api", &json!({"displayName": "API"})),
        role("orders.reader", "reader"),
        role("orders.writer", "writer"),
        role("orders.super", "superuser"),
    ];
    all.extend(assigned.iter().map(|role| assignment("api", role)));
    Snapshot::of(Revision(1), Timestamp::EPOCH, all)
}

fn user(snapshot: &Snapshot, state: DatabaseUserState, roles: &[&str]) -> Document<DatabaseUser> {
    let api: &Arc<_> = snapshot.applications.get("api").unwrap();
    let spec = DatabaseUser {
        server: "orders".parse().unwrap(),
        principal: model::PrincipalId(api.uid()),
        user: "api".to_owned(),
    };
    let mut document = Document::new("orders~api", spec);
    document.status.state = state;
    document.status.roles = names(roles);
    document
}

fn names(roles: &[&str]) -> BTreeSet<DatabaseRoleName> {
    roles.iter().map(|role| role.parse().unwrap()).collect()
}

fn now() -> Timestamp {
    "2026-11-24T10:00:00Z".parse().unwrap()
}

#[test]
fn a_user_is_withdrawn_when_its_last_role_ends_and_stays_away_until_the_next_login() {
    use DatabaseUserState::{Disabled, Enabled, Planned, Revoking};
    let (none, reader) = (directory(&[], false), directory(&["orders.reader"], false));
    for (snapshot, state, step) in [
        (&none, Enabled, UserStep::Withdraw),
        (&none, Planned, UserStep::Withdraw),
        (&none, Revoking, UserStep::Withdraw),
        (&none, Disabled, UserStep::Nothing),
        (&reader, Enabled, UserStep::Nothing),
        (&reader, Planned, UserStep::Nothing),
        (&reader, Disabled, UserStep::Nothing),
        (&reader, Revoking, UserStep::Withdraw),
    ] {
        let user = user(snapshot, state, &["orders.reader"]);
        assert_eq!(user_step(&user, snapshot, now()), step, "{state:?}");
    }
}

#[test]
fn a_change_of_roles_says_what_came_and_what_went() {
    let snapshot = directory(&["orders.writer"], false);
    let user = user(&snapshot, DatabaseUserState::Enabled, &["orders.reader"]);
    let change = Change {
        roles: names(&["orders.writer"]),
        gained: names(&["orders.writer"]),
        lost: names(&["orders.reader"]),
    };
    assert_eq!(user_step(&user, &snapshot, now()), UserStep::Change(change));
}

#[test]
fn the_superuser_attribute_exists_on_a_test_stack_only() {
    let roles = names(&["orders.super"]);
    let server = "orders".parse().unwrap();
    for (test_stack, superuser) in [(true, true), (false, false)] {
        let snapshot = directory(&["orders.super"], test_stack);
        assert_eq!(attributes(&roles, &server, &snapshot).superuser, superuser);
    }
}
