//! What clients read first.

use axum::body::Body;
use axum::http::Request;
use serde_json::json;

use crate::fixture::{ORIGIN, Sts};

#[tokio::test]
async fn the_configuration_is_the_same_tenant_under_each_of_its_names() {
    let sts = Sts::new().await;
    let tenant = sts.tenant();
    for segment in [&tenant.to_string(), "example.com", "common", "organizations"] {
        let path = format!("/{segment}/v2.0/.well-known/openid-configuration");
        let document = sts.get(&path).await.ok();
        assert_eq!(document["issuer"], format!("{ORIGIN}/{tenant}/v2.0"));
        assert_eq!(document["token_endpoint"], format!("{ORIGIN}/{segment}/oauth2/v2.0/token"));
        let keys = document["jwks_uri"].as_str().unwrap().strip_prefix(ORIGIN).unwrap();
        let keys = sts.get(keys).await.ok();
        assert_eq!(keys["keys"][0]["issuer"], document["issuer"]);
    }
    let first = sts.get("/common/.well-known/openid-configuration").await.ok();
    assert_eq!(first["token_endpoint"], format!("{ORIGIN}/common/oauth2/token"));
}

#[tokio::test]
async fn an_unknown_tenant_is_a_client_error_everywhere() {
    let sts = Sts::new().await;
    for path in [
        "/elsewhere.test/v2.0/.well-known/openid-configuration",
        "/elsewhere.test/.well-known/openid-configuration",
        "/elsewhere.test/discovery/v2.0/keys",
        "/elsewhere.test/discovery/keys",
    ] {
        let refusal = sts.get(path).await.refusal();
        assert_eq!(refusal, (400, "invalid_tenant".to_owned(), 90002), "{path}");
    }
    let fields = [("grant_type", "client_credentials")];
    let refusal = sts.form("/elsewhere.test/oauth2/v2.0/token", &fields).await.refusal();
    assert_eq!(refusal, (400, "invalid_tenant".to_owned(), 90002));
}

#[tokio::test]
async fn instance_discovery_knows_this_authority_only() {
    let sts = Sts::new().await;
    // As MSAL for Python writes it: without the port.
    let known = sts
        .get("/common/discovery/instance?api-version=1.0&authorization_endpoint=https%3A%2F%2Fsts.test%2Fexample.com%2Foauth2%2Fv2.0%2Fauthorize")
        .await
        .ok();
    assert_eq!(
        known["tenant_discovery_endpoint"],
        format!("{ORIGIN}/example.com/v2.0/.well-known/openid-configuration")
    );
    assert_eq!(known["metadata"][0]["aliases"], json!(["sts.test:8443", "sts.test"]));
    for query in [
        "?authorization_endpoint=https%3A%2F%2Flogin.microsoftonline.com%2Fcommon%2Foauth2%2Fv2.0%2Fauthorize",
        "?api-version=1.1",
        "",
    ] {
        let refusal = sts.get(&format!("/common/discovery/instance{query}")).await.refusal();
        assert_eq!(refusal, (400, "invalid_instance".to_owned(), 50049), "{query}");
    }
}

#[tokio::test]
async fn every_answer_carries_the_security_headers_and_is_not_kept() {
    let sts = Sts::new().await;
    for path in ["/common/v2.0/.well-known/openid-configuration", "/device", "/nowhere/at/all"] {
        let headers = sts.get(path).await.headers;
        assert_eq!(headers["cache-control"], "no-store", "{path}");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["x-frame-options"], "DENY");
        assert_eq!(headers["strict-transport-security"], "max-age=31536000");
        assert!(
            headers["content-security-policy"].to_str().unwrap().contains("default-src 'none'")
        );
    }
}

#[tokio::test]
async fn the_clients_own_request_id_comes_back() {
    let sts = Sts::new().await;
    let id = "7e57ab1e-0000-4000-8000-000000000001";
    let request = Request::get("/elsewhere.test/discovery/keys")
        .header("client-request-id", id)
        .body(Body::empty())
        .unwrap();
    let answer = sts.ask(request).await;
    assert_eq!(answer.headers["client-request-id"], id);
    assert_eq!(answer.json()["correlation_id"], id);
    let in_query = format!("/elsewhere.test/discovery/keys?client-request-id={id}");
    assert_eq!(sts.get(&in_query).await.json()["correlation_id"], id);
    let request = Request::get("/common/discovery/keys")
        .header("client-request-id", "not a GUID")
        .body(Body::empty())
        .unwrap();
    assert!(!sts.ask(request).await.headers.contains_key("client-request-id"));
}

#[tokio::test]
async fn there_are_pages_for_browsers_that_run_nothing_inline() {
    let sts = Sts::new().await;
    for (path, status, text) in [
        ("/device", 200, "to approve a device"),
        ("/account", 200, "to your account"),
        ("/common/oauth2/v2.0/logout", 200, "Nobody is signed in"),
        ("/error?code=7000215", 200, "AADSTS"),
    ] {
        let answer = sts.get(path).await;
        assert_eq!(answer.status.as_u16(), status, "{path}");
        assert!(answer.text.contains(text), "{}", answer.text);
        assert!(!answer.text.contains("<script>") && !answer.text.contains("style=\""), "{path}");
        let policy = answer.headers["content-security-policy"].to_str().unwrap();
        assert!(!policy.contains("'unsafe-inline'") || path.starts_with("/error"), "{policy}");
    }
}
