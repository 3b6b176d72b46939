//! What the listeners show.

use super::*;

#[tokio::test]
async fn the_leaf_is_renewed_when_a_third_of_its_life_remains_and_the_listener_shows_it() {
    let installation = Installation::new().await;
    let shown = installation.keyring.listener_certificate();
    let first = shown.chain();
    installation.round().await;
    assert_eq!(shown.chain(), first);
    installation.hand.advance(60 * DAY);
    installation.round().await;
    let renewed = shown.chain();
    assert_ne!(renewed, first);
    let ends = keys::authority::not_after(&renewed[0]).unwrap();
    assert_eq!(ends, installation.clock.now().plus(90 * DAY));
}

#[tokio::test]
async fn the_leaf_has_the_names_of_the_process_and_those_that_route_to_servers() {
    let installation = Installation::new().await;
    let shown = installation.keyring.https_certificate();
    let has = |name: &str| {
        let chain = shown.chain();
        let leaf = chain.first().unwrap();
        leaf.windows(name.len()).any(|window| window == name.as_bytes())
    };
    assert!(has("localhost") && !has("orders.db.example.com"));
    installation.keyring.serve_as(["portcullis.example.com".to_owned()]).unwrap();
    installation.put_server("orders", &["orders.db.example.com"]).await;
    installation.round().await;
    assert!(has("portcullis.example.com") && has("orders.db.example.com") && has("localhost"));
}
