//! Budgets by source: who fails too often waits, and costs the others nothing.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;

use crate::fixture::{Answer, CLIENT, DATABASE_SCOPE, Sts, encoded};

async fn from(sts: &Sts, source: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
    let mut request = Request::post(path).body(Body::from(encoded(fields))).unwrap();
    let peer: SocketAddr = source.parse().unwrap();
    request.extensions_mut().insert(ConnectInfo(peer));
    sts.ask(request).await
}

#[tokio::test]
async fn who_guesses_is_throttled_and_another_address_is_not() {
    let sts = Sts::new().await;
    let (client, secret) = sts.with_secret("orders-api").await;
    let client = client.to_string();
    let path = "/common/oauth2/v2.0/token";
    let with = |secret: &str| {
        [
            ("grant_type", "client_credentials".to_owned()),
            ("client_id", client.clone()),
            ("client_secret", secret.to_owned()),
            ("scope", DATABASE_SCOPE.to_owned()),
        ]
    };
    let ask = async |source: &str, secret: &str| {
        let fields = with(secret);
        let fields: Vec<(&str, &str)> =
            fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        from(&sts, source, path, &fields).await
    };
    for guess in 0..60 {
        let answer = ask("198.51.100.9:1", &guess.to_string()).await;
        assert_eq!(answer.refusal().2, 7_000_215);
    }
    let records = sts.token_events().len();
    let throttled = ask("198.51.100.9:2", &secret).await;
    assert_eq!(throttled.refusal(), (429, "temporarily_unavailable".to_owned(), 90_055));
    assert_eq!(throttled.headers["retry-after"], "5");
    assert_eq!(sts.token_events().len(), records, "what is not looked at is not recorded");
    ask("198.51.100.10:1", &secret).await.ok();
    let mut keys = Request::get("/common/discovery/keys").body(Body::empty()).unwrap();
    let peer: SocketAddr = "198.51.100.9:4".parse().unwrap();
    keys.extensions_mut().insert(ConnectInfo(peer));
    sts.ask(keys).await.ok();
    sts.forward(2);
    ask("198.51.100.9:3", &secret).await.ok();
}

#[tokio::test]
async fn device_codes_cannot_be_hoarded() {
    let sts = Sts::new().await;
    let path = "/common/oauth2/v2.0/devicecode";
    let fields = [("client_id", CLIENT), ("scope", DATABASE_SCOPE)];
    for _ in 0..30 {
        from(&sts, "198.51.100.9:1", path, &fields).await.ok();
    }
    assert_eq!(from(&sts, "198.51.100.9:1", path, &fields).await.refusal().0, 429);
    from(&sts, "198.51.100.10:1", path, &fields).await.ok();
}
