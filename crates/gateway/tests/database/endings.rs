//! How access ends on the server.

use std::time::Duration;

use model::event::EventBody;
use model::kind::server::Product;
use model::{Kind, code};
use serde_json::json;

use crate::bench::{Bench, resource, roles};
use crate::users::{ADA, BOB, with_ada};

async fn a_disabled_person_cannot_log_in_even_directly_with_a_certificate_that_is_still_valid(
    product: Product,
) {
    let bench = with_ada(product, "reader").await;
    let ada = bench.login(ADA).await;
    let spec = json!({"displayName": ADA, "enabled": false});
    bench.put(resource(Kind::User, ADA, &spec)).await;
    bench.until_disabled(ADA).await;
    assert!(ada.run("SELECT 1").await.unwrap_err().is_cut(), "the open session is gone");
    assert!(bench.direct(ADA).await.err().unwrap().is_shut_out());
    assert_eq!(bench.database.held(ADA), "");
    let withdrawn: Vec<_> = bench
        .events()
        .into_iter()
        .filter_map(|event| match event {
            EventBody::DatabaseUserWithdrawn {
                user, login_disabled_at, backends_gone_at, ..
            } => Some((user, login_disabled_at <= backends_gone_at.unwrap())),
            _ => None,
        })
        .collect();
    assert_eq!(withdrawn, [(ADA.to_owned(), true)]);
}

async fn set_role_does_not_outlive_the_loss_of_one_of_several_roles(product: Product) {
    let bench = with_ada(product, "reader").await;
    bench.members("writer", &[ADA]).await;
    let ada = bench.login(ADA).await;
    // Whoever may become the role keeps it, whatever is taken from them later.
    let set = ada.run(&bench.database.set_role("portcullis_orders.writer")).await;
    assert_eq!(set.is_ok(), bench.may_set_role());
    ada.run("INSERT INTO orders (total) VALUES (1)").await.unwrap();
    bench.members("writer", &[]).await;
    bench
        .until("the loss to be recorded", |_| {
            bench.user(ADA).is_some_and(|user| user.status.roles == roles(&["orders.reader"]))
        })
        .await;
    assert!(ada.run("INSERT INTO orders (total) VALUES (1)").await.is_err());
    let again = bench.login(ADA).await;
    again.run("SELECT * FROM orders").await.unwrap();
    assert!(again.run("INSERT INTO orders (total) VALUES (1)").await.unwrap_err().is_denied());
}

async fn users_of_a_server_that_is_no_longer_protected_cannot_log_in_any_more(product: Product) {
    let bench = with_ada(product, "reader").await;
    let ada = bench.login(ADA).await;
    bench.delete(Kind::RoleAssignment, "orders.reader").await;
    bench.delete(Kind::DatabaseServer, "orders").await;
    bench.until_disabled(ADA).await;
    assert!(ada.run("SELECT 1").await.unwrap_err().is_cut());
    assert!(!bench.database.can_log_in(ADA));
}

async fn users_of_a_deleted_server_are_withdrawn_even_when_the_gateway_starts_anew(
    product: Product,
) {
    let mut bench = with_ada(product, "reader").await;
    bench.prepare(ADA).await.unwrap();
    let owner = json!({"displayName": "Owner", "controlRole": "owner"});
    bench.put(resource(Kind::User, "owner@example.com", &owner)).await;
    bench.stop_provisioner();
    for role in ["reader", "writer", "admin"] {
        let name = format!("orders.{role}");
        bench.delete(Kind::RoleAssignment, &name).await;
        bench.delete(Kind::DatabaseRole, &name).await;
    }
    let caller = bench.caller("owner@example.com");
    let control = bench.control.clone();
    control.delete(&caller, Kind::DatabaseServer, "orders").await.unwrap();
    assert!(bench.database.can_log_in(ADA));
    bench.start_provisioner();
    bench.until_disabled(ADA).await;
    assert!(!bench.database.can_log_in(ADA));
}

async fn an_ending_that_the_server_could_not_take_on_is_made_up_for_when_it_is_back(
    product: Product,
) {
    let bench = with_ada(product, "reader").await;
    drop(bench.login(ADA).await);
    bench.database.crash();
    bench.members("reader", &[]).await;
    bench.until_revoking(ADA).await;
    bench.database.start_again();
    bench.until_disabled(ADA).await;
    assert!(bench.direct(ADA).await.err().unwrap().is_shut_out());
}

async fn a_server_that_goes_away_in_the_middle_of_a_change_ends_up_as_the_snapshot_says(
    product: Product,
) {
    let bench = with_ada(product, "reader").await;
    bench.person(BOB).await;
    bench.members("reader", &[ADA, BOB]).await;
    bench.prepare(ADA).await.unwrap();
    bench.prepare(BOB).await.unwrap();
    // Whatever it was doing for whom: one gains a role, one loses all.
    bench.members("writer", &[ADA]).await;
    bench.members("reader", &[ADA]).await;
    bench.database.crash();
    tokio::time::sleep(Duration::from_millis(200)).await;
    bench.members("admin", &[ADA]).await;
    bench.database.start_again();
    bench.until_disabled(BOB).await;
    let all = roles(&["orders.admin", "orders.reader", "orders.writer"]);
    bench
        .until("all of ada's roles", |_| {
            bench.user(ADA).is_some_and(|user| user.status.roles == all)
        })
        .await;
    let wanted = "portcullis_orders.admin portcullis_orders.reader portcullis_orders.writer";
    bench.until_told("ada's roles", |server| server.held(ADA), wanted).await;
    bench.login(ADA).await.run("CREATE TABLE afterwards (n int)").await.unwrap();
    assert!(!bench.database.can_log_in(BOB));
}

async fn an_ending_is_on_the_server_at_once_and_its_times_are_in_the_audit_log(product: Product) {
    let bench = with_ada(product, "reader").await;
    let started = bench.now();
    bench.prepare(ADA).await.unwrap();
    let first = bench.now().since(started);
    let started = bench.now();
    bench.prepare(ADA).await.unwrap();
    let fast = bench.now().since(started);
    bench.person(BOB).await;
    bench.members("writer", &[BOB]).await;
    let started = bench.now();
    bench.prepare(BOB).await.unwrap();
    let next = bench.now().since(started);
    let ada = bench.direct(ADA).await.unwrap();
    let sleep = bench.database.sleep(60);
    let sleeping = ada.run(&sleep);
    let ending = async {
        bench.until_told("the sleep", crate::database::Database::sleeping, "1").await;
        bench.members("reader", &[]).await;
        bench.snapshot().committed_at
    };
    let (slept, committed) = tokio::join!(sleeping, ending);
    assert!(slept.unwrap_err().is_cut());
    bench.until_disabled(ADA).await;
    let (disabled, gone) = times(&bench, committed);
    println!(
        "{product:?}: prepare: first {first:?}, another's first {next:?}, again {fast:?}; ending: no login after \
         {disabled:?}, backends gone after {gone:?}"
    );
    assert!(disabled < Duration::from_secs(2) && gone < Duration::from_secs(2));
    assert!(fast < Duration::from_millis(5));
}

fn times(bench: &Bench, committed: model::Timestamp) -> (Duration, Duration) {
    let found = bench.events().into_iter().find_map(|event| match event {
        EventBody::DatabaseUserWithdrawn { login_disabled_at, backends_gone_at, .. } => {
            Some((login_disabled_at.since(committed), backends_gone_at?.since(committed)))
        }
        _ => None,
    });
    found.unwrap()
}

async fn a_user_that_an_owner_took_over_is_ours_from_then_on_and_is_taken_over_once(
    product: Product,
) {
    let bench = with_ada(product, "reader").await;
    bench.database.make_user(ADA);
    let owner = json!({"displayName": "Owner", "controlRole": "owner"});
    bench.put(resource(Kind::User, "owner@example.com", &owner)).await;
    assert_eq!(bench.prepare(ADA).await.unwrap_err().code, &code::DATABASE_USER_EXISTS);

    let (caller, ada) = (bench.caller("owner@example.com"), bench.caller(ADA).principal);
    let server = crate::bench::server_name();
    let adopt = || bench.provisioner.adopt(&caller, &server, (ADA, &ada));
    adopt().await.unwrap();
    let session = bench.login(ADA).await;
    session.run("SELECT * FROM orders").await.unwrap();
    assert!(!bench.database.has_password(ADA));
    assert_eq!(adopt().await.unwrap_err().code, &code::CONFLICT);
    bench.members("reader", &[]).await;
    bench.until_disabled(ADA).await;
    assert!(session.run("SELECT 1").await.unwrap_err().is_cut());
}

on_each_engine! {
    a_disabled_person_cannot_log_in_even_directly_with_a_certificate_that_is_still_valid,
    set_role_does_not_outlive_the_loss_of_one_of_several_roles,
    users_of_a_server_that_is_no_longer_protected_cannot_log_in_any_more,
    users_of_a_deleted_server_are_withdrawn_even_when_the_gateway_starts_anew,
    an_ending_that_the_server_could_not_take_on_is_made_up_for_when_it_is_back,
    a_server_that_goes_away_in_the_middle_of_a_change_ends_up_as_the_snapshot_says,
    an_ending_is_on_the_server_at_once_and_its_times_are_in_the_audit_log,
    a_user_that_an_owner_took_over_is_ours_from_then_on_and_is_taken_over_once,
}
