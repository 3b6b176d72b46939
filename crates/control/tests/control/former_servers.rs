//! Servers that are no longer protected, and users that people have on a server.

use control::{ApplyOptions, Verb};
use model::{Kind, Refusal, Resource, code};
use serde_json::json;

use crate::fixture::{OWNER, Plane, directory_files, document, manifest, server};

/// What the provisioner records.
async fn user(plane: &Plane, state: &str) {
    let spec = json!({
        "server": "orders", "user": "dev@example.com",
        "principal": "1c1f1a52-6e0f-4d43-9d6c-0f6d7f1f0a11",
    });
    let mut user = document("DatabaseUser", "orders~dev@example.com", spec);
    user["status"] = json!({ "state": state });
    let user = Resource::read(user).unwrap();
    let write = plane.control.system(Verb::Provision, "test", move |writing| {
        writing.put_resource(user)?;
        Ok::<(), Refusal>(())
    });
    write.await.unwrap();
}

#[tokio::test]
async fn a_pruned_server_keeps_its_users_and_its_name_until_they_are_withdrawn() {
    let plane = Plane::new().await;
    user(&plane, "enabled").await;
    let options = ApplyOptions { prune: true, ..ApplyOptions::default() };
    let mut rest = directory_files();
    rest.retain(|file| {
        let (kind, name) = (file.resource().kind(), file.resource().name());
        let on_server = [Kind::DatabaseServer, Kind::DatabaseRole, Kind::FirewallRule];
        !on_server.contains(&kind) && (kind != Kind::RoleAssignment || !name.ends_with("-read"))
    });
    plane.control.apply(&plane.caller(OWNER), rest, options).await.unwrap();
    let state = plane.control.snapshots().load();
    assert!(state.servers.get("orders").is_none());
    assert!(state.database_users.get("orders~dev@example.com").is_some());

    let again = || async {
        let files = vec![manifest("DatabaseServer", "orders", server())];
        plane.control.apply(&plane.caller(OWNER), files, ApplyOptions::default()).await
    };
    assert_eq!(again().await.unwrap_err().code, &code::CONFLICT);
    user(&plane, "disabled").await;
    again().await.unwrap();
}

#[tokio::test]
async fn nobody_acts_through_the_login_user_of_someone_else() {
    let plane = Plane::new().await;
    user(&plane, "enabled").await;
    let through = |name: &str| {
        let spec = json!({ "server": "orders", "privileges": { "existingRole": name } });
        Resource::read(document("DatabaseRole", "orders.through", spec)).unwrap()
    };
    let owner = plane.caller(OWNER);
    let refused = plane.control.put(&owner, through("dev@example.com")).await.unwrap_err();
    assert_eq!(refused.code, &code::INVALID);
    plane.control.put(&owner, through("app")).await.unwrap();
}
