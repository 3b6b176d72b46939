//! What a document must obey.

use control::ApplyOptions;
use model::code::{
    Code, IMMUTABLE, INVALID, LAST_OWNER, NOT_FOUND, READ_ONLY_KIND, REFERENCE_UNKNOWN, REFERENCED,
    TEST_STACK_ONLY, TOO_LARGE,
};
use model::{Kind, Refusal, Resource};
use serde_json::{Value, json};

use crate::fixture::{APPROVER, DEV, OWNER, PEM, Plane, document, manifest, refused, server};

async fn put(plane: &Plane, kind: &str, name: &str, spec: Value) -> Result<Resource, Refusal> {
    plane.put(document(kind, name, spec)).await
}

fn server_with(changes: Value) -> Value {
    let mut spec = server();
    let Value::Object(changes) = changes else { panic!("an object") };
    for (name, value) in changes {
        spec[name] = value;
    }
    spec
}

fn redirecting(uri: &str) -> Value {
    json!({ "displayName": "A", "redirectUris": [uri] })
}

type Row = (&'static str, &'static str, Value, &'static Code);

/// The directory itself, and servers.
fn directory_and_servers() -> Vec<Row> {
    vec![
        ("Tenant", "example.com", json!({ "displayName": "T", "domains": ["nodot"] }), &INVALID),
        ("Tenant", "second", json!({ "displayName": "T" }), &INVALID),
        ("User", "u", json!({ "displayName": "x".repeat(1025) }), &TOO_LARGE),
        ("Group", "g", json!({ "members": ["nobody"] }), &REFERENCE_UNKNOWN),
        ("Application", "a", json!({ "displayName": "A", "certificates": ["x"] }), &INVALID),
        ("Application", "a", redirecting("http://app.example.com/cb"), &INVALID),
        ("Application", "a", redirecting("https://app.example.com/#fragment"), &INVALID),
        ("Application", DEV, json!({ "displayName": "A" }), &INVALID), // a person has the name
        ("User", "orders-api", json!({ "displayName": "U" }), &INVALID), // a workload has it
        ("ManagedIdentity", DEV, json!({ "displayName": "I" }), &INVALID), // a person has it
        ("ManagedIdentity", "orders-api", json!({ "displayName": "I" }), &INVALID), // a workload has it
        ("ManagedIdentity", "i", json!({ "displayName": "I", "resourceId": "i" }), &INVALID),
        (
            "ManagedIdentity",
            "i",
            json!({ "displayName": "I", "assignment": { "systemAssigned": { "host": "a b" } } }),
            &INVALID,
        ),
        ("DatabaseServer", "s", server_with(json!({ "port": 0 })), &INVALID),
        ("DatabaseServer", "s", server_with(json!({ "ca": "x" })), &INVALID),
        ("DatabaseServer", "s", server_with(json!({ "host": "" })), &INVALID),
        ("DatabaseServer", "s", server(), &INVALID), // the database name `orders` is taken
        ("DatabaseServer", "s", server_with(json!({ "databases": { "only": [""] } })), &INVALID),
    ]
}

/// Database roles.
fn roles() -> Vec<Row> {
    vec![
        ("DatabaseRole", "reader", json!({ "server": "orders", "privileges": "reader" }), &INVALID),
        (
            "DatabaseRole",
            "orders.",
            json!({ "server": "orders", "privileges": "reader" }),
            &INVALID,
        ),
        (
            "DatabaseRole",
            "nowhere.reader",
            json!({ "server": "nowhere", "privileges": "reader" }),
            &REFERENCE_UNKNOWN,
        ),
        (
            "DatabaseRole",
            "orders.super",
            json!({ "server": "orders", "privileges": "superuser" }),
            &TEST_STACK_ONLY,
        ),
        (
            "DatabaseRole",
            "orders.copy",
            json!({ "server": "orders", "privileges": "reader", "replication": true }),
            &TEST_STACK_ONLY,
        ),
        (
            "DatabaseRole",
            "orders.own",
            json!({ "server": "orders", "privileges": { "existingRole": "portcullis_provisioner" } }),
            &INVALID,
        ),
        (
            "DatabaseRole",
            "orders.long",
            json!({ "server": "orders", "privileges": { "existingRole": "x".repeat(64) } }),
            &INVALID,
        ),
    ]
}

/// Who holds them, and who may ask.
fn access() -> Vec<Row> {
    vec![
        (
            "RoleAssignment",
            "twin",
            json!({ "principal": { "group": "orders-readers" }, "role": "orders.reader" }),
            &INVALID,
        ),
        (
            "RoleAssignment",
            "unknown",
            json!({ "principal": { "application": "orders-apu" }, "role": "orders.reader" }),
            &REFERENCE_UNKNOWN,
        ),
        (
            "Eligibility",
            "e",
            json!({
                "user": DEV, "group": "orders-readers",
                "startsAt": "2026-11-25T00:00:00Z", "endsAt": "2026-11-25T00:00:00Z",
            }),
            &INVALID,
        ),
        (
            "AccessRules",
            "second",
            json!({ "group": "orders-readers", "durationMax": "1h" }),
            &INVALID,
        ),
        (
            "AccessRules",
            "orders-readers",
            json!({ "group": "orders-readers", "durationMax": "0s" }),
            &INVALID,
        ),
        (
            "AccessRules",
            "orders-readers",
            json!({ "group": "orders-readers", "durationMax": "1h", "durationDefault": "2h" }),
            &INVALID,
        ),
        (
            "AccessRules",
            "orders-readers",
            json!({ "group": "orders-readers", "durationMax": "1h", "approvers": [DEV] }),
            &INVALID,
        ),
    ]
}

#[tokio::test]
async fn documents_that_cannot_be_right_are_refused_by_kind() {
    let plane = Plane::new().await;
    for (kind, name, spec, code) in
        directory_and_servers().into_iter().chain(roles()).chain(access())
    {
        let before = plane.control.snapshots().load();
        let put = put(&plane, kind, name, spec.clone()).await;
        assert_eq!(refused(put), code, "{kind} {spec}");
        assert_eq!(*plane.control.snapshots().load(), *before);
    }
}

#[tokio::test]
async fn teleport_18_7_6_the_gateway_dials_no_metadata_service_and_no_many() {
    let plane = Plane::new().await;
    for host in [
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "[fe80::1]",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
    ] {
        let spec = server_with(json!({ "host": host }));
        let refusal = put(&plane, "DatabaseServer", "orders", spec).await.unwrap_err();
        assert!(refusal.message.contains("no address at which a database can be"), "{refusal}");
    }
    for host in ["127.0.0.1", "10.0.0.1", "::1", "[fd00::1]", "db.internal"] {
        let spec = server_with(json!({ "host": host }));
        put(&plane, "DatabaseServer", "orders", spec).await.unwrap();
    }
}

#[tokio::test]
async fn cve_2022_36130_a_reference_is_checked_whoever_writes_it() {
    let plane = Plane::new().await;
    // Through the API, through files, and when a document that was right is changed.
    let assignment =
        |role: &str| json!({ "principal": { "group": "orders-readers" }, "role": role });
    let by_api = put(&plane, "RoleAssignment", "x", assignment("pay.reader")).await;
    assert_eq!(refused(by_api), &REFERENCE_UNKNOWN);
    let file = vec![manifest("RoleAssignment", "x", assignment("pay.reader"))];
    let by_file = plane.control.apply(&plane.caller(OWNER), file, ApplyOptions::default()).await;
    assert_eq!(refused(by_file), &REFERENCE_UNKNOWN);
    let changed = put(&plane, "RoleAssignment", "readers-read", assignment("pay.reader")).await;
    assert_eq!(refused(changed), &REFERENCE_UNKNOWN);
    let moved = json!({ "server": "pay", "privileges": "reader" });
    assert_eq!(refused(put(&plane, "DatabaseRole", "orders.reader", moved).await), &INVALID);
}

#[tokio::test]
async fn firewall_ranges_are_of_one_family_in_order_and_unmapped() {
    let plane = Plane::new().await;
    let range = |start: &str, end: &str| json!({ "server": "orders", "startIpAddress": start, "endIpAddress": end });
    for (start, end) in
        [("10.0.0.9", "10.0.0.1"), ("10.0.0.1", "fd00::1"), ("::ffff:10.0.0.1", "::ffff:10.0.0.9")]
    {
        let put = put(&plane, "FirewallRule", "r", range(start, end)).await;
        assert_eq!(refused(put), &INVALID, "{start} - {end}");
    }
    for (start, end) in [("10.0.0.1", "10.0.0.1"), ("fd00::", "fd00::ffff")] {
        put(&plane, "FirewallRule", "r", range(start, end)).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_set_at_creation_never_changes() {
    let plane = Plane::new().await;
    let test_stack = server_with(json!({ "testStack": true }));
    assert_eq!(refused(put(&plane, "DatabaseServer", "orders", test_stack).await), &IMMUTABLE);
    let other = server_with(json!({ "databases": { "only": ["t"] }, "testStack": true }));
    put(&plane, "DatabaseServer", "other", other.clone()).await.unwrap();
    let superuser = json!({ "server": "other", "privileges": "superuser" });
    put(&plane, "DatabaseRole", "other.super", superuser).await.unwrap();
    let mut tamed = other;
    tamed["testStack"] = json!(false);
    assert_eq!(refused(put(&plane, "DatabaseServer", "other", tamed).await), &IMMUTABLE);

    let id = "6f1f3c86-4c1b-4d3c-8d6c-0d9f2c3b7a11";
    let application = |id: Option<&str>| json!({ "displayName": "A", "clientId": id });
    let made = put(&plane, "Application", "a", application(Some(id))).await.unwrap();
    let Resource::Application(made) = made else { panic!() };
    assert_eq!(made.status.client_id.unwrap().to_string(), id);
    let kept = put(&plane, "Application", "a", json!({ "displayName": "B" })).await.unwrap();
    let Resource::Application(kept) = kept else { panic!() };
    assert_eq!(kept.status.client_id, made.status.client_id);
    let other = "00000000-4c1b-4d3c-8d6c-0d9f2c3b7a11";
    let changed = put(&plane, "Application", "a", application(Some(other))).await;
    assert_eq!(refused(changed), &IMMUTABLE);
    assert_eq!(refused(put(&plane, "Application", "b", application(Some(id))).await), &INVALID);
}

#[tokio::test]
async fn federated_credentials_are_bounded_sound_and_different() {
    let plane = Plane::new().await;
    let credential = |changes: Value| {
        let mut credential =
            json!({ "name": "k8s", "issuer": "https://cluster.example.com/a", "subject": "s" });
        for (name, value) in changes.as_object().unwrap() {
            credential[name] = value.clone();
        }
        credential
    };
    let workload =
        |credentials: Value| json!({ "displayName": "W", "federatedCredentials": credentials });
    for kind in ["Application", "ManagedIdentity"] {
        let numbered = |count: usize| -> Vec<Value> {
            let number = |number| {
                credential(json!({ "name": format!("c{number}"), "subject": format!("s{number}") }))
            };
            (0..count).map(number).collect()
        };
        put(&plane, kind, &format!("w-{kind}"), workload(json!(numbered(20)))).await.unwrap();
        let expression = "claims['sub'] matches 'repo:contoso/*'";
        let flexible =
            credential(json!({ "subject": null, "claimsMatchingExpression": expression }));
        put(&plane, kind, &format!("x-{kind}"), workload(json!([flexible]))).await.unwrap();
        for (credentials, why) in [
            (json!(numbered(21)), "20 are allowed"),
            (json!([credential(json!({})), credential(json!({}))]), "the name is there twice"),
            (
                json!([credential(json!({})), credential(json!({ "name": "other" }))]),
                "`k8s` has the same issuer and subject",
            ),
            (json!([credential(json!({ "name": "a b" }))]), "a name has 1 to 120"),
            (json!([credential(json!({ "name": "x".repeat(121) }))]), "a name has 1 to 120"),
            (json!([credential(json!({ "issuer": "http://cluster" }))]), "is not an issuer"),
            (json!([credential(json!({ "issuer": "https://" }))]), "is not an issuer"),
            (json!([credential(json!({ "issuer": "https://a@cluster" }))]), "is not an issuer"),
            (json!([credential(json!({ "issuer": "https://cluster?x" }))]), "is not an issuer"),
            (json!([credential(json!({ "subject": "" }))]), "have 1 to 600 bytes"),
            (json!([credential(json!({ "subject": "x".repeat(601) }))]), "have 1 to 600 bytes"),
            (json!([credential(json!({ "audience": "" }))]), "have 1 to 600 bytes"),
            (json!([credential(json!({ "subject": null }))]), "it has either `subject` or"),
            (
                json!([credential(json!({ "claimsMatchingExpression": expression }))]),
                "it has either `subject` or",
            ),
            (
                json!([credential(json!({ "subject": null, "claimsMatchingExpression": "true" }))]),
                "`claimsMatchingExpression`: at byte 0",
            ),
        ] {
            let refusal = put(&plane, kind, "w", workload(credentials)).await.unwrap_err();
            assert_eq!(refusal.code, &INVALID, "{why}");
            assert!(refusal.message.contains(why), "{why}: {}", refusal.message);
        }
    }
}

#[tokio::test]
async fn a_managed_identity_keeps_its_ids_and_its_host() {
    let plane = Plane::new().await;
    let host = json!({ "systemAssigned": { "host": "vm1" } });
    let spec = json!({ "displayName": "I", "assignment": host });
    let alone = put(&plane, "ManagedIdentity", "i", spec.clone()).await;
    assert_eq!(refused(alone), &REFERENCE_UNKNOWN);
    put(&plane, "Host", "vm1", json!({ "displayName": "VM" })).await.unwrap();
    let made = put(&plane, "ManagedIdentity", "i", spec.clone()).await.unwrap();
    let Resource::ManagedIdentity(made) = made else { panic!() };
    let tenant = plane.control.snapshots().load().tenant().unwrap().uid();
    assert_eq!(
        made.status.resource_id.unwrap(),
        format!(
            "/subscriptions/{tenant}/resourcegroups/portcullis/providers/Microsoft.Compute/virtualMachines/vm1"
        )
    );
    let client = made.status.client_id.unwrap();
    let kept = put(&plane, "ManagedIdentity", "i", spec.clone()).await.unwrap();
    let Resource::ManagedIdentity(kept) = kept else { panic!() };
    assert_eq!(kept.status.client_id, Some(client));
    let moved = json!({ "displayName": "I" });
    assert_eq!(refused(put(&plane, "ManagedIdentity", "i", moved).await), &IMMUTABLE);
    assert_eq!(refused(put(&plane, "ManagedIdentity", "j", spec).await), &INVALID); // the host has one
    let taken = json!({ "displayName": "A", "clientId": client });
    assert_eq!(refused(put(&plane, "Application", "a", taken).await), &INVALID);
    let id = "/subscriptions/s/resourcegroups/r/providers/Microsoft.ManagedIdentity/userAssignedIdentities/k";
    let own = |id: &str| json!({ "displayName": "K", "resourceId": id });
    put(&plane, "ManagedIdentity", "k", own(id)).await.unwrap();
    let twin = put(&plane, "ManagedIdentity", "l", own(&id.to_uppercase())).await;
    assert_eq!(refused(twin), &INVALID);
    let changed = put(&plane, "ManagedIdentity", "k", own("/subscriptions/other")).await;
    assert_eq!(refused(changed), &IMMUTABLE);
}

#[tokio::test]
async fn a_host_says_of_every_identity_who_on_it_may_be_it() {
    let plane = Plane::new().await;
    for name in ["vm1", "vm2"] {
        put(&plane, "Host", name, json!({ "displayName": "VM" })).await.unwrap();
    }
    let own = json!({ "displayName": "I", "assignment": { "systemAssigned": { "host": "vm2" } } });
    put(&plane, "ManagedIdentity", "vm2-own", own).await.unwrap();
    put(&plane, "ManagedIdentity", "i", json!({ "displayName": "I" })).await.unwrap();
    let listing = |identities: Value| json!({ "displayName": "VM", "identities": identities });
    let callers = |callers: Value| listing(json!([{ "identity": "i", "callers": callers }]));
    for sound in [
        json!([{ "uid": 0 }]),
        json!([{ "cgroup": "/system.slice/orders.service" }, { "networkNamespace": "web" }]),
    ] {
        put(&plane, "Host", "vm1", callers(sound)).await.unwrap();
    }
    for (spec, why) in [
        (callers(json!([])), "it has no `callers`"),
        (callers(json!([{ "uid": 1 }, {}])), "says nothing"),
        (callers(json!([{ "cgroup": "/" }])), "`/` is not a control group"),
        (callers(json!([{ "cgroup": "system.slice" }])), "is not a control group"),
        (callers(json!([{ "cgroup": "/a/" }])), "is not a control group"),
        (callers(json!([{ "cgroup": "/a/../b" }])), "is not a control group"),
        (callers(json!([{ "networkNamespace": "a/b" }])), "is not the name of a network namespace"),
        (
            listing(json!([
                { "identity": "i", "callers": [{ "uid": 1 }] },
                { "identity": "i", "callers": [{ "uid": 2 }] },
            ])),
            "the identity is there twice",
        ),
        (
            listing(json!([{ "identity": "vm2-own", "callers": [{ "uid": 1 }] }])),
            "it is the system-assigned identity of `vm2`",
        ),
    ] {
        let refusal = put(&plane, "Host", "vm1", spec).await.unwrap_err();
        assert_eq!(refusal.code, &INVALID, "{why}");
        assert!(refusal.message.contains(why), "{why}: {}", refusal.message);
    }
    let unknown = listing(json!([{ "identity": "none", "callers": [{ "uid": 1 }] }]));
    assert_eq!(refused(put(&plane, "Host", "vm1", unknown).await), &REFERENCE_UNKNOWN);
}

#[tokio::test]
async fn a_client_id_is_drawn_when_none_is_given() {
    let plane = Plane::new().await;
    let state = plane.control.snapshots().load();
    let application = state.applications.get("orders-api").unwrap();
    assert!(application.status.client_id.is_some() && application.spec.client_id.is_none());
}

#[tokio::test]
async fn what_others_refer_to_stays_and_they_are_named() {
    let plane = Plane::new().await;
    let owner = plane.caller(OWNER);
    let refusal = plane.control.delete(&owner, Kind::Group, "orders-readers").await.unwrap_err();
    assert_eq!(refusal.code, &REFERENCED);
    assert_eq!(
        refusal.message,
        "`Group/orders-readers` cannot go: `RoleAssignment/readers-read`, `Eligibility/dev-reads`, \
         `AccessRules/orders-readers` refer to it"
    );
    for (kind, name) in [
        (Kind::User, DEV),
        (Kind::User, APPROVER),
        (Kind::DatabaseServer, "orders"),
        (Kind::DatabaseRole, "orders.reader"),
    ] {
        assert_eq!(refused(plane.control.delete(&owner, kind, name).await), &REFERENCED, "{name}");
    }
}

#[tokio::test]
async fn the_last_enabled_owner_stays() {
    let plane = Plane::new().await;
    let owner = plane.caller(OWNER);
    assert_eq!(refused(plane.control.delete(&owner, Kind::User, OWNER).await), &LAST_OWNER);
    let as_owner =
        |enabled| json!({ "displayName": "O", "controlRole": "owner", "enabled": enabled });
    assert_eq!(refused(put(&plane, "User", OWNER, as_owner(false)).await), &LAST_OWNER);
    put(&plane, "User", "second@example.com", as_owner(false)).await.unwrap();
    assert_eq!(refused(plane.control.delete(&owner, Kind::User, OWNER).await), &LAST_OWNER);
    put(&plane, "User", "second@example.com", as_owner(true)).await.unwrap();
    plane.control.delete(&owner, Kind::User, OWNER).await.unwrap();
}

#[tokio::test]
async fn the_tenant_stays() {
    let plane = Plane::new().await;
    let delete = plane.control.delete(&plane.caller(OWNER), Kind::Tenant, "example.com").await;
    assert_eq!(refused(delete), &INVALID);
}

#[tokio::test]
async fn nobody_writes_what_only_portcullis_writes() {
    let plane = Plane::new().await;
    let id = plane.active().await;
    let owner = plane.caller(OWNER);
    let activation = Resource::from(plane.activation(id));
    assert_eq!(refused(plane.control.put(&owner, activation).await), &READ_ONLY_KIND);
    let delete = plane.control.delete(&owner, Kind::Activation, &id.to_string()).await;
    assert_eq!(refused(delete), &READ_ONLY_KIND);
}

#[tokio::test]
async fn a_status_comes_back_as_it_was_read_or_not_at_all() {
    let plane = Plane::new().await;
    let owner = plane.caller(OWNER);
    let Resource::Application(mut read) =
        plane.control.get(&owner, Kind::Application, "orders-api").unwrap()
    else {
        panic!()
    };
    read.spec.display_name = "Renamed".to_owned();
    let put = plane.control.put(&owner, read.clone().into()).await.unwrap().value;
    let Resource::Application(mut put) = put else { panic!() };
    assert_eq!(put.status, read.status);
    put.status.client_id = Some(model::ApplicationId::random());
    assert_eq!(refused(plane.control.put(&owner, put.into()).await), &INVALID);
}

#[tokio::test]
async fn servers_told_apart_by_tls_name_may_hold_databases_of_one_name() {
    let plane = Plane::new().await;
    let named = |name: &str| {
        json!({
            "engine": "postgresql", "host": "db2", "port": 5432, "ca": PEM,
            "databases": { "only": ["orders"] }, "serverNames": [name],
        })
    };
    put(&plane, "DatabaseServer", "second", named("two.example.com")).await.unwrap();
    let third = put(&plane, "DatabaseServer", "third", named("TWO.example.com")).await;
    assert_eq!(refused(third), &INVALID);
}

#[tokio::test]
async fn only_mysql_asks_clients_for_files() {
    let plane = Plane::new().await;
    let server = |engine: &str| {
        json!({
            "engine": engine, "host": "db2", "port": 5432, "ca": PEM, "listeners": [engine],
            "localInfile": "allowed",
        })
    };
    put(&plane, "DatabaseServer", "second", server("mysql")).await.unwrap();
    let third = put(&plane, "DatabaseServer", "third", server("postgresql")).await;
    assert_eq!(refused(third), &INVALID);
}

#[tokio::test]
async fn shared_users_are_told_apart_and_their_secrets_lie_in_one_folder() {
    let plane = Plane::new().await;
    let user = |user: &str, roles: &[&str], secret: &str| json!({ "user": user, "roles": roles, "credential": { "password": { "secret": secret } } });
    let server = |users: Vec<Value>| {
        json!({
            "engine": "mysql", "host": "db2", "port": 3306, "ca": PEM, "listeners": ["mysql"],
            "upstreamIdentity": { "sharedUsers": users },
        })
    };
    let reader = || user("app_reader", &["orders.reader"], "reader");
    for wrong in [
        vec![],
        vec![user("app_reader", &[], "reader")],
        vec![user("", &["orders.reader"], "reader")],
        vec![reader(), user("app_reader", &["orders.writer"], "writer")],
        vec![reader(), user("app_other", &["orders.reader"], "other")],
        vec![user("app_reader", &["orders.reader"], "../master.key")],
        vec![user("app_reader", &["orders.reader"], ".hidden")],
        vec![user("app_reader", &["orders.reader"], "portcullis.master-key")],
        vec![user("app_reader", &["orders.reader"], "")],
    ] {
        let said = format!("{wrong:?}");
        let refusal = put(&plane, "DatabaseServer", "second", server(wrong)).await.err();
        assert_eq!(refusal.map(|refusal| refusal.code), Some(&INVALID), "{said}");
    }
    let token = json!({ "user": "gateway", "roles": ["orders.writer"],
                        "credential": { "entraToken": { "clientId": "0-1" } } });
    put(&plane, "DatabaseServer", "second", server(vec![reader(), token])).await.unwrap();
}

#[tokio::test]
async fn what_is_not_there_is_said_with_the_nearest_name() {
    let plane = Plane::new().await;
    let owner = plane.caller(OWNER);
    let refusal = plane.control.delete(&owner, Kind::Group, "orders-reader").await.unwrap_err();
    assert_eq!(refusal.code, &NOT_FOUND);
    assert_eq!(refusal.hint.as_deref(), Some("did you mean `orders-readers`?"));
}
