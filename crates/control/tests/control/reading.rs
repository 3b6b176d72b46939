//! What each role sees.

use std::collections::BTreeSet;

use model::code::NOT_FOUND;
use model::{Kind, Resource};
use serde_json::json;

use crate::fixture::{APPROVER, AUDITOR, DEV, OWNER, Plane, ask, document, refused};

/// Everything that the caller can list, as `Kind/name`.
fn sees(plane: &Plane, name: &str) -> BTreeSet<String> {
    let caller = plane.caller(name);
    let kinds = Kind::ALL.iter();
    let resources = kinds.flat_map(|kind| plane.control.list(&caller, *kind).unwrap());
    resources.map(|resource| format!("{}/{}", resource.kind(), resource.name())).collect()
}

/// The example directory with a second group, server and person that have nothing to do with `dev`.
async fn wider() -> Plane {
    let plane = Plane::new().await;
    let server = json!({
        "engine": "postgresql", "host": "pay.example.com", "port": 5432,
        "ca": crate::fixture::PEM, "databases": { "only": ["pay"] },
    });
    for (kind, name, spec) in [
        ("User", "eve@example.com", json!({ "displayName": "Eve" })),
        ("Group", "pay-readers", json!({})),
        ("DatabaseServer", "pay", server),
        ("DatabaseRole", "pay.reader", json!({ "server": "pay", "privileges": "reader" })),
        (
            "RoleAssignment",
            "pay-read",
            json!({ "principal": { "group": "pay-readers" }, "role": "pay.reader" }),
        ),
        ("Eligibility", "eve-pays", json!({ "user": "eve@example.com", "group": "pay-readers" })),
        (
            "AccessRules",
            "pay-readers",
            json!({ "group": "pay-readers", "durationMax": "1h", "approvers": [OWNER] }),
        ),
        (
            "FirewallRule",
            "pay-office",
            json!({ "server": "pay", "startIpAddress": "10.0.0.1", "endIpAddress": "10.0.0.9" }),
        ),
    ] {
        plane.put(document(kind, name, spec)).await.unwrap();
    }
    plane
}

#[tokio::test]
async fn owners_and_auditors_see_everything_and_users_what_is_theirs() {
    let plane = wider().await;
    let mine = plane.request("ticket 7").await.unwrap();
    let eve = plane.caller("eve@example.com");
    let asked = plane.control.request(&eve, ask("eve@example.com", "pay-readers", "audit")).await;
    let theirs = asked.unwrap().value.name().to_owned();
    let all = sees(&plane, OWNER);
    assert_eq!(all.len(), 22);
    assert_eq!(sees(&plane, AUDITOR), all);

    let common = ["Tenant/example.com", "Group/orders-readers", "Group/pay-readers"];
    let orders = [
        "DatabaseServer/orders",
        "DatabaseRole/orders.reader",
        "RoleAssignment/readers-read",
        "Eligibility/dev-reads",
        "AccessRules/orders-readers",
    ];
    let set = |parts: &[&[&str]]| -> BTreeSet<String> {
        parts.iter().flat_map(|part| part.iter()).map(|name| (*name).to_owned()).collect()
    };
    let my_request = format!("Activation/{mine}");
    let own = ["User/dev@example.com", my_request.as_str()];
    assert_eq!(sees(&plane, DEV), set(&[&common, &orders, &own]));

    let decides = ["User/approver@example.com", "Eligibility/dev-reads", my_request.as_str()];
    let rules = ["AccessRules/orders-readers"];
    assert_eq!(sees(&plane, APPROVER), set(&[&common, &decides, &rules]));

    assert_eq!(sees(&plane, "orders-api"), set(&[&common, &["Application/orders-api"]]));
    assert_eq!(
        refused(plane.control.get(&plane.caller(DEV), Kind::Activation, &theirs)),
        &NOT_FOUND
    );
}

#[tokio::test]
async fn where_the_gateway_dials_is_for_owners_and_auditors() {
    let plane = Plane::new().await;
    let server = |name: &str| {
        let caller = plane.caller(name);
        match plane.control.get(&caller, Kind::DatabaseServer, "orders").unwrap() {
            Resource::DatabaseServer(server) => server,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(server(AUDITOR).spec.host, "db.example.com");
    let shown = server(DEV);
    assert_eq!((shown.spec.host.as_str(), shown.spec.port, shown.spec.ca.as_str()), ("", 0, ""));
    assert_eq!(shown.spec.databases, server(OWNER).spec.databases);
}

#[tokio::test]
async fn a_hint_names_nothing_that_the_asker_may_not_see() {
    let plane = wider().await;
    let dev = plane.caller(DEV);
    let refusal = plane.control.get(&dev, Kind::DatabaseServer, "pa").unwrap_err();
    assert_eq!(refusal.code, &NOT_FOUND);
    assert_eq!(
        refusal.hint.as_deref(),
        Some("`portcullis get databaseservers` lists what there is")
    );
}

#[tokio::test]
async fn a_standing_member_sees_the_server_and_a_namesake_of_a_deleted_person_nothing_old() {
    let plane = wider().await;
    let members = json!({ "members": [AUDITOR, "eve@example.com"] });
    plane.put(document("Group", "orders-readers", members)).await.unwrap();
    assert!(sees(&plane, "eve@example.com").contains("DatabaseServer/orders"));
    assert!(!sees(&plane, "eve@example.com").contains("FirewallRule/pay-office"));
}
