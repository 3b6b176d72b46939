//! Secrets that are shown once, and tokens that no longer count.

use std::time::Duration;

use control::credentials::{AccessPass, ClientSecrets, Hash, RefreshFamily};
use control::{Revoke, Verb};
use model::code::{
    FORBIDDEN, INVALID, NOT_FOUND, PRINCIPAL_DISABLED, SECRETS_FORBIDDEN, TOO_LARGE,
};
use model::event::EventBody;
use model::kind::revocation::RevokedTokens;
use model::{Lifetime, PrincipalId, TokenId};
use serde_json::json;

use crate::fixture::{DEV, OWNER, Plane, at, document, refused};

const DAY: Lifetime = Lifetime::from_seconds(86_400);

#[tokio::test]
async fn a_pass_is_kept_as_a_hash_for_an_hour_and_the_next_one_replaces_it() {
    let plane = Plane::new().await;
    let owner = plane.caller(OWNER);
    let dev = plane.caller(DEV).principal.id.to_string();
    let kept = || plane.control.store().read(|reader| reader.record::<AccessPass>(&dev)).unwrap();
    let (first, _) = plane.control.issue_pass(&owner, DEV.parse().unwrap()).await.unwrap();
    let (second, until) = plane.control.issue_pass(&owner, DEV.parse().unwrap()).await.unwrap();
    assert_ne!(first.expose(), second.expose());
    assert_eq!(until, at("2026-11-24T11:00:00Z"));
    let pass = kept().unwrap();
    assert_eq!(pass.hash, Hash::of(second.expose().as_bytes()));
    assert_eq!((pass.tries, pass.expires_at), (0, until));
    plane.hand.advance(Duration::from_hours(1));
    assert_eq!(kept(), None);
}

#[tokio::test]
async fn nobody_gets_a_pass_who_does_not_exist_or_is_disabled() {
    let plane = Plane::new().await;
    let owner = plane.caller(OWNER);
    let pass = |name: &str| plane.control.issue_pass(&owner, name.parse().unwrap());
    assert_eq!(refused(pass("nobody@example.com").await), &NOT_FOUND);
    let disabled = json!({ "displayName": "D", "enabled": false });
    plane.put(document("User", DEV, disabled)).await.unwrap();
    assert_eq!(refused(pass(DEV).await), &PRINCIPAL_DISABLED);
}

#[tokio::test]
async fn no_secret_is_ever_in_the_audit_log() {
    let plane = Plane::new().await;
    let owner = plane.caller(OWNER);
    let (pass, _) = plane.control.issue_pass(&owner, DEV.parse().unwrap()).await.unwrap();
    let application = "orders-api".parse().unwrap();
    let (_, secret, _) = plane.control.add_client_secret(&owner, application, DAY).await.unwrap();
    let log = serde_json::to_string(&plane.events()).unwrap();
    let hashes = [pass.expose(), secret.expose()].map(|text| Hash::of(text.as_bytes()));
    let (pass, secret) = (pass.expose().as_str(), secret.expose().as_str());
    for secret in [pass, secret, hashes[0].as_str(), hashes[1].as_str()] {
        assert!(!log.contains(secret));
    }
}

#[tokio::test]
async fn a_tenant_that_forbids_secrets_makes_none() {
    let plane = Plane::new().await;
    let forbidden = json!({ "displayName": "Example", "clientSecrets": "forbidden" });
    plane.put(document("Tenant", "example.com", forbidden)).await.unwrap();
    let application = "orders-api".parse().unwrap();
    let made = plane.control.add_client_secret(&plane.caller(OWNER), application, DAY).await;
    assert_eq!(refused(made), &SECRETS_FORBIDDEN);
}

#[tokio::test]
async fn client_secrets_are_counted_bounded_and_removed() {
    let plane = Plane::new().await;
    let owner = plane.caller(OWNER);
    let application = || "orders-api".parse().unwrap();
    let key = plane.caller("orders-api").principal.id.to_string();
    let kept = || {
        let kept = plane.control.store().read(|reader| reader.record::<ClientSecrets>(&key));
        kept.unwrap().unwrap_or_default().secrets
    };
    let add = |lifetime| plane.control.add_client_secret(&owner, application(), lifetime);
    assert_eq!(refused(add(Lifetime::from_seconds(0)).await), &INVALID);
    assert_eq!(refused(add(Lifetime::from_seconds(731 * 86_400)).await), &INVALID);
    let (id, secret, until) = add(DAY).await.unwrap();
    assert!(secret.expose().starts_with("pcs_") && secret.expose().len() == 47);
    assert_eq!(until, at("2026-11-25T10:00:00Z"));
    assert_eq!(kept()[0].hash, Hash::of(secret.expose().as_bytes()));
    for _ in 1..10 {
        add(DAY).await.unwrap();
    }
    assert_eq!(refused(add(DAY).await), &INVALID);
    let remove = |id: String| plane.control.remove_client_secret(&owner, application(), id);
    remove(id.clone()).await.unwrap();
    assert_eq!(refused(remove(id).await), &NOT_FOUND);
    assert_eq!(kept().len(), 9);
    // Dead for a month, they make room.
    plane.hand.advance(Duration::from_hours(24 * 31));
    add(DAY).await.unwrap();
    assert_eq!(kept().len(), 1);
}

#[tokio::test]
async fn deleting_an_application_deletes_its_secrets() {
    let plane = Plane::new().await;
    let owner = plane.caller(OWNER);
    let key = plane.caller("orders-api").principal.id.to_string();
    let application = "orders-api".parse().unwrap();
    plane.control.add_client_secret(&owner, application, DAY).await.unwrap();
    plane.control.delete(&owner, model::Kind::Application, "orders-api").await.unwrap();
    let kept = plane.control.store().read(|reader| reader.record::<ClientSecrets>(&key));
    assert_eq!(kept.unwrap(), None);
}

#[tokio::test]
async fn revoking_a_principal_ends_tokens_and_refresh_tokens_at_once() {
    let plane = Plane::new().await;
    let dev = plane.caller(DEV).principal.id;
    let family = |principal: PrincipalId| RefreshFamily {
        principal,
        client: model::ApplicationId::random(),
        scope: None,
        current: Hash::of(b"token"),
        signed_in_at: at("2026-11-24T09:00:00Z"),
        methods: Vec::new(),
        session: uuid::Uuid::nil(),
        expires_at: at("2026-12-24T09:00:00Z"),
    };
    let kept = plane.control.system(Verb::SignIn, "test", move |writing| {
        writing.put_record("dev", &family(dev), None)?;
        Ok(writing.put_record("other", &family(PrincipalId::random()), None)?)
    });
    kept.await.unwrap();
    plane.forward(5);
    let reason = Some("laptop stolen".to_owned());
    let owner = plane.caller(OWNER);
    let done = plane.control.revoke_tokens(&owner, Revoke::Principal(dev), reason.clone()).await;
    assert_eq!(done.unwrap().lag, None);
    let state = plane.control.snapshots().load();
    let revocation = &state.revocations.iter().next().unwrap().spec;
    let before = at("2026-11-24T10:05:00Z");
    assert_eq!(revocation.tokens, RevokedTokens::IssuedBefore { principal: dev, before });
    assert_eq!(revocation.keep_until, at("2026-11-25T10:05:00Z"));
    assert_eq!(revocation.reason, reason);
    let families = plane.control.store().read(|reader| {
        let families = reader.records::<RefreshFamily>()?;
        Ok(families.into_iter().map(|(key, _)| key).collect::<Vec<_>>())
    });
    assert_eq!(families.unwrap(), ["other"]);
}

#[tokio::test]
async fn everyone_revokes_their_own_tokens_and_only_owners_those_of_others() {
    let plane = Plane::new().await;
    let dev = plane.caller(DEV);
    let others = Revoke::Principal(plane.caller(OWNER).principal.id);
    assert_eq!(refused(plane.control.revoke_tokens(&dev, others, None).await), &FORBIDDEN);
    let token = Revoke::Token(TokenId::random());
    assert_eq!(refused(plane.control.revoke_tokens(&dev, token, None).await), &FORBIDDEN);
    let before = plane.events().len();
    let own = Revoke::Principal(dev.principal.id);
    plane.control.revoke_tokens(&dev, own, None).await.unwrap();
    let events = plane.events_after(before);
    let [EventBody::Write(write)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(write.verb, "revokeOwnTokens");
    let owner = plane.caller(OWNER);
    let long = Some("x".repeat(1025));
    assert_eq!(refused(plane.control.revoke_tokens(&owner, own, long).await), &TOO_LARGE);
    let nobody = Revoke::Principal(PrincipalId::random());
    assert_eq!(refused(plane.control.revoke_tokens(&owner, nobody, None).await), &NOT_FOUND);
}
