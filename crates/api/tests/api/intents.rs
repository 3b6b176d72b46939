//! What routes do: each hands over to one intent, and answers with what became of it.

use serde_json::{Value, json};

use super::fixture::{APPROVER, DEV, Installation, OWNER, at};

#[tokio::test]
async fn a_request_is_made_seen_approved_and_revoked() {
    let installation = Installation::new().await;
    let body = json!({"group": "orders-readers", "duration": "10m", "justification": "ticket 7"});
    let asked = installation.ask(DEV, "POST", "/v1/activations", body).await.ok();
    let id = asked["metadata"]["name"].as_str().unwrap().to_owned();
    let list = installation.ask(APPROVER, "GET", "/v1/activations", Value::Null).await.ok();
    assert_eq!(list["items"][0]["metadata"]["name"], id.as_str());
    let step = async |user: &str, step: &str| {
        let path = format!("/v1/activations/{id}/{step}");
        installation.ask(user, "POST", &path, json!({"note": "fine"})).await
    };
    assert_eq!(step(DEV, "approve").await.refusal(), (403, "PC2002".to_owned()));
    let active = step(APPROVER, "approve").await.ok();
    assert_eq!(active["status"]["state"], "active");
    assert_eq!(active["status"]["decisionNote"], "fine");
    assert_eq!(at(active["status"]["activeUntil"].as_str().unwrap()), at("2026-11-24T10:10:00Z"));
    let revoked = step(APPROVER, "revoke").await.ok();
    assert_eq!(revoked["status"]["state"], "revoked");
    assert_eq!(step(APPROVER, "revoke").await.refusal(), (409, "PC2016".to_owned()));
    assert_eq!(step(APPROVER, "forget").await.status.as_u16(), 400);
}

#[tokio::test]
async fn files_are_applied_together_and_a_dry_run_changes_nothing() {
    let installation = Installation::new().await;
    let group = |members: Value| {
        json!({
            "apiVersion": "portcullis.dev/v1", "kind": "Group", "metadata": {"name": "new"},
            "spec": {"members": members},
        })
    };
    let apply = async |documents: Value, dry_run: bool| {
        let body = json!({"documents": documents, "dryRun": dry_run});
        installation.ask(OWNER, "POST", "/v1/apply", body).await
    };
    let rehearsed = apply(json!([group(json!([]))]), true).await.ok();
    assert_eq!(rehearsed["items"][0]["change"], "created");
    let missing = installation.ask(OWNER, "GET", "/v1/groups/new", Value::Null).await;
    assert_eq!(missing.refusal(), (404, "PC2003".to_owned()));
    let wrong = apply(json!([group(json!([DEV])), {"kind": "Gruop"}]), false).await;
    assert_eq!(wrong.refusal(), (400, "PC2004".to_owned()));
    assert_eq!(wrong.json()["detail"], "document 2: `Gruop` is not a kind; did you mean `Group`?");
    apply(json!([group(json!([DEV]))]), false).await.ok();
    let unchanged = apply(json!([group(json!([DEV]))]), false).await.ok();
    assert_eq!(unchanged["items"][0]["change"], "unchanged");
}

#[tokio::test]
async fn a_document_is_put_where_its_address_says() {
    let installation = Installation::new().await;
    let group = json!({
        "apiVersion": "portcullis.dev/v1", "kind": "Group", "metadata": {"name": "new"}, "spec": {},
    });
    for path in ["/v1/groups/other", "/v1/users/new"] {
        let answer = installation.ask(OWNER, "PUT", path, group.clone()).await;
        assert_eq!(answer.refusal(), (400, "PC2004".to_owned()), "{path}");
    }
    let put = installation.ask(OWNER, "PUT", "/v1/groups/new", group).await.ok();
    assert_eq!(put["metadata"]["name"], "new");
}

#[tokio::test]
async fn live_sessions_are_listed_filtered_and_cut() {
    let installation = Installation::new().await;
    let mut own = installation.session(DEV);
    let other = installation.session(APPROVER);
    let listed = async |user: &str, query: &str| {
        let path = format!("/v1/sessions{query}");
        let list = installation.ask(user, "GET", &path, Value::Null).await.ok();
        list["items"].as_array().unwrap().len()
    };
    assert_eq!((listed(OWNER, "").await, listed(DEV, "").await), (2, 1));
    assert_eq!(listed(OWNER, "?principal=dev@example.com").await, 1);
    assert_eq!(listed(OWNER, "?server=billing").await, 0);
    let why = format!("/v1/sessions/{}", own.id());
    let story = installation.ask(DEV, "GET", &why, Value::Null).await.ok();
    assert_eq!(story["live"]["statement"], "select 1");
    let not_mine = format!("/v1/sessions/{}", other.id());
    let hidden = installation.ask(DEV, "GET", &not_mine, Value::Null).await;
    assert_eq!(hidden.refusal(), (404, "PC2003".to_owned()));
    let order = json!({"principal": DEV, "reason": "laptop stolen"});
    let cut = installation.ask(OWNER, "POST", "/v1/sessions/cut", order).await.ok();
    assert_eq!(cut["cut"], json!([own.id()]));
    let told = own.cut().await;
    assert_eq!((told.by.name.as_str(), told.reason.as_deref()), (OWNER, Some("laptop stolen")));
    let both = json!({"principal": DEV, "server": "orders"});
    let unclear = installation.ask(OWNER, "POST", "/v1/sessions/cut", both).await;
    assert_eq!(unclear.refusal(), (400, "PC2004".to_owned()));
}

#[tokio::test]
async fn secrets_are_shown_once_and_nowhere_else() {
    let installation = Installation::new().await;
    let made = installation
        .ask(OWNER, "POST", "/v1/applications/orders-api/secrets", json!({"lifetime": "30d"}))
        .await
        .ok();
    let pass =
        installation.ask(OWNER, "POST", "/v1/users/dev@example.com/pass", json!({})).await.ok();
    let secrets = [made["secret"].as_str().unwrap(), pass["pass"].as_str().unwrap()];
    let log = installation.ask(OWNER, "GET", "/v1/audit", Value::Null).await.text;
    let application =
        installation.ask(OWNER, "GET", "/v1/applications/orders-api", Value::Null).await.text;
    for secret in secrets {
        assert!(secret.len() > 16 && !log.contains(secret) && !application.contains(secret));
    }
    let path = format!("/v1/applications/orders-api/secrets/{}", made["id"].as_str().unwrap());
    installation.ask(OWNER, "DELETE", &path, Value::Null).await.ok();
    let again = installation.ask(OWNER, "DELETE", &path, Value::Null).await;
    assert_eq!(again.refusal(), (404, "PC2003".to_owned()));
}

#[tokio::test]
async fn explain_answers_with_every_condition() {
    let installation = Installation::new().await;
    let path = "/v1/explain?server=orders&database=orders";
    let explained = installation.ask(DEV, "GET", path, Value::Null).await.ok();
    assert_eq!((&explained["principal"], &explained["allowed"]), (&json!(DEV), &json!(false)));
    let conditions = explained["conditions"].as_array().unwrap();
    assert_eq!(conditions[0]["name"], "server");
    assert_eq!(conditions[0]["code"], "PC1201");
}

#[tokio::test]
async fn explain_names_the_first_reachable_database_and_none_where_any_is_reachable() {
    let installation = Installation::new().await;
    for (databases, named) in
        [(json!({"only": ["orders"]}), json!("orders")), (json!("any"), Value::Null)]
    {
        let server = json!({
            "apiVersion": "portcullis.dev/v1", "kind": "DatabaseServer", "metadata": {"name": "orders"},
            "spec": {
                "engine": "postgresql", "host": "db.example.com", "port": 5432,
                "ca": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
                "databases": databases,
            },
        });
        installation.ask(OWNER, "PUT", "/v1/databaseservers/orders", server).await.ok();
        let explained =
            installation.ask(DEV, "GET", "/v1/explain?server=orders", Value::Null).await.ok();
        assert_eq!(explained["database"], named);
    }
}

#[tokio::test]
async fn whoever_may_reach_a_server_learns_where_it_is_as_whom_and_what_is_missing() {
    let installation = Installation::new().await;
    let path = "/v1/databaseservers/orders/connection";
    let hidden = installation.ask(DEV, "GET", path, Value::Null).await;
    assert_eq!(hidden.refusal(), (404, "PC2003".to_owned()));
    let server = |listeners: Value| {
        json!({
            "apiVersion": "portcullis.dev/v1", "kind": "DatabaseServer", "metadata": {"name": "orders"},
            "spec": {
                "engine": "postgresql", "host": "db.example.com", "port": 5432,
                "ca": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
                "databases": {"only": ["orders", "archive"]}, "listeners": listeners,
            },
        })
    };
    let put = async |document| {
        installation.ask(OWNER, "PUT", "/v1/databaseservers/orders", document).await.ok()
    };
    put(server(json!(["postgresql"]))).await;
    let connection = installation.ask(OWNER, "GET", path, Value::Null).await.ok();
    assert_eq!(
        (&connection["engine"], &connection["host"], &connection["port"], &connection["user"]),
        (&json!("postgresql"), &json!("gateway.test"), &json!(6432), &json!(OWNER))
    );
    assert_eq!(connection["database"], "archive");
    assert_eq!(connection["databases"], json!(["archive", "orders"]));
    // The address is not asked about: the firewall has no rule yet, but what is missing first is a membership.
    assert_eq!(connection["unmet"]["code"], "PC1203");
    let mistyped = format!("{path}?database=ordres");
    let mistyped = installation.ask(OWNER, "GET", &mistyped, Value::Null).await.ok();
    assert_eq!(mistyped["unmet"]["code"], "PC1202");
    // No rule of the installation hides a server from its owner, and still nothing leads there.
    put(server(json!(["elsewhere"]))).await;
    let nowhere = installation.ask(OWNER, "GET", path, Value::Null).await;
    assert_eq!(nowhere.refusal(), (404, "PC1201".to_owned()));
}

#[tokio::test]
async fn adoption_and_rotation_reach_those_who_do_them() {
    let installation = Installation::new().await;
    let adopt = json!({"user": "ada", "principal": DEV});
    installation.ask(OWNER, "POST", "/v1/databaseservers/orders/adopt", adopt).await.ok();
    assert_eq!(*installation.servers.0.lock().unwrap(), ["owner@example.com: orders/ada"]);
    let rotate = async |user: &str| {
        installation.ask(user, "POST", "/v1/authorities/rotate", json!({})).await
    };
    assert_eq!(rotate(DEV).await.refusal(), (403, "PC2002".to_owned()));
    let before = installation.keyring.ca_pem();
    assert_eq!(rotate(OWNER).await.ok()["phase"], "published");
    assert_eq!(rotate(OWNER).await.ok()["phase"], "tookOver");
    assert_ne!(installation.keyring.ca_pem(), before);
}
