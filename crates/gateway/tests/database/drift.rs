//! What people do by hand to users of ours.

use model::code;
use model::kind::database_user::DatabaseUserState::{Enabled, Planned};
use model::kind::server::Product;

use crate::bench::Bench;
use crate::users::{ADA, with_ada};

async fn with_ada_in_use(product: Product) -> Bench {
    let bench = with_ada(product, "reader").await;
    bench.prepare(ADA).await.unwrap();
    bench
}

async fn a_user_that_was_dropped_by_hand_is_made_anew_at_the_next_login(product: Product) {
    let bench = with_ada_in_use(product).await;
    bench.database.drop_user(ADA);
    bench.look_again().await;
    bench.until_state(ADA, Planned).await;
    let ada = bench.login(ADA).await;
    ada.run("SELECT * FROM orders").await.unwrap();
    assert_eq!(bench.user(ADA).unwrap().status.state, Enabled);
    bench.look_again().await;
    bench
        .until("the drift to be told", |_| {
            bench.told_of_drift("`ada@example.com` was dropped by hand") > 0
        })
        .await;
}

async fn a_foreign_user_with_the_name_of_ours_is_not_used(product: Product) {
    let bench = with_ada_in_use(product).await;
    // As on a server that was built anew: the same name, and nothing that says whose it is.
    bench.database.unmark(ADA);
    bench.look_again().await;
    bench.until_state(ADA, Planned).await;
    let refused = bench.prepare(ADA).await.unwrap_err();
    assert_eq!(refused.code, &code::DATABASE_USER_EXISTS);
}

async fn memberships_and_passwords_given_by_hand_are_reported_and_taken_away(product: Product) {
    let bench = with_ada_in_use(product).await;
    let role = bench.database.give_role(ADA);
    bench.database.give_password(ADA);
    bench.look_again().await;
    // From PostgreSQL 16 on only who granted a membership takes it away, and superusers. On MariaDB
    // everything is taken away at once, which is not asked for.
    if product != Product::PostgreSql || bench.is_postgres_before_16() {
        let held = |server: &crate::database::Database| server.held(ADA);
        bench.until_told("ada's roles", held, "portcullis_orders.reader").await;
    }
    bench
        .until("the drift to be told", |_| {
            bench.told_of_drift("`ada@example.com` has a password") > 0
        })
        .await;
    assert_eq!(bench.told_of_drift(&format!("was made a member of `{role}` by hand")), 1);
    assert_eq!(bench.told_of_drift("has a password"), 1);
}

on_each_engine! {
    a_user_that_was_dropped_by_hand_is_made_anew_at_the_next_login,
    a_foreign_user_with_the_name_of_ours_is_not_used,
    memberships_and_passwords_given_by_hand_are_reported_and_taken_away,
}
