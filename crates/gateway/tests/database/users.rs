//! Database users: whose they are, and what their roles give.

use model::kind::server::Product;
use model::{Kind, code};
use serde_json::json;

use crate::bench::{Bench, resource, roles};
use crate::database::Stack;

pub(crate) const ADA: &str = "ada@example.com";
pub(crate) const BOB: &str = "bob@example.com";

/// A server that Ada may use, and has not.
pub(crate) async fn with_ada(product: Product, role: &str) -> Bench {
    let bench = Bench::start(product, Stack::Production).await;
    bench.person(ADA).await;
    bench.members(role, &[ADA]).await;
    bench
}

async fn a_reader_reads_what_there_is_and_what_is_made_tomorrow_by_whomever_but_writes_nothing(
    product: Product,
) {
    let bench = with_ada(product, "reader").await;
    let ada = bench.login(ADA).await;
    assert!(ada.run("SELECT current_user").await.unwrap()[0].starts_with(ADA));
    for table in ["orders", "app_log", "bosses"] {
        ada.run(&format!("SELECT * FROM {table}")).await.unwrap();
    }
    assert!(ada.run("INSERT INTO orders (total) VALUES (1)").await.unwrap_err().is_denied());
    let by_the_application = bench.database.as_application("CREATE TABLE tomorrow (n int)");
    bench.sql("orders", &by_the_application);
    ada.run("SELECT * FROM tomorrow").await.unwrap();
    // What a superuser makes is shared with the next look, at the latest a minute later.
    bench.sql("orders", "CREATE TABLE later (n int)");
    bench.person("someone@example.com").await;
    bench.members("writer", &["someone@example.com"]).await;
    bench.prepare("someone@example.com").await.unwrap();
    bench.until_answered(&ada, "SELECT * FROM later").await;
}

async fn a_writer_writes_rows_but_changes_no_table_and_an_admin_does_without_any_attribute(
    product: Product,
) {
    let bench = with_ada(product, "writer").await;
    let ada = bench.login(ADA).await;
    ada.run("INSERT INTO orders (total) VALUES (1)").await.unwrap();
    assert!(ada.run("ALTER TABLE orders ADD note text").await.unwrap_err().is_denied());
    bench.members("admin", &[ADA]).await;
    bench
        .until("ada's new role", |_| {
            bench
                .user(ADA)
                .is_some_and(|user| user.status.roles == roles(&["orders.admin", "orders.writer"]))
        })
        .await;
    ada.run(bench.database.enter_again()).await.unwrap();
    ada.run("ALTER TABLE orders ADD note text").await.expect("a role gained takes effect at once");
    assert_eq!(bench.database.attributes(ADA), "0");
    ada.run("CREATE TABLE by_ada (n int)").await.unwrap();
    bench.person(BOB).await;
    bench.members("reader", &[BOB]).await;
    let bob = bench.login(BOB).await;
    bench.until_answered(&bob, "SELECT * FROM by_ada").await;
    ada.run("CREATE TABLE by_ada_later (n int)").await.unwrap();
    bob.run("SELECT * FROM by_ada_later").await.expect("an admin's tables are readable at once");
}

async fn a_database_role_that_becomes_narrower_takes_effect_on_open_sessions_too(product: Product) {
    let bench = with_ada(product, "admin").await;
    let ada = bench.login(ADA).await;
    if bench.is_postgres_before_16() {
        ada.run("SET ROLE orders_owner").await.unwrap();
    }
    ada.run("ALTER TABLE orders ADD note text").await.unwrap();
    let spec = json!({"server": "orders", "privileges": "reader", "databases": ["orders"]});
    bench.put(resource(Kind::DatabaseRole, "orders.admin", &spec)).await;
    bench.until_refused(&ada, "ALTER TABLE orders ADD note2 text").await;
    let again = bench.login(ADA).await;
    again.run("SELECT * FROM orders").await.unwrap();
    assert!(again.run("INSERT INTO orders (total) VALUES (1)").await.unwrap_err().is_denied());
}

async fn a_role_that_another_membership_still_gives_is_not_lost(product: Product) {
    let bench = with_ada(product, "reader").await;
    bench.put(resource(Kind::Group, "auditors", &json!({"members": [ADA]}))).await;
    let second = json!({"principal": {"group": "auditors"}, "role": "orders.reader"});
    bench.put(resource(Kind::RoleAssignment, "auditors-read", &second)).await;
    let ada = bench.login(ADA).await;
    let before = bench.user(ADA).unwrap().status.clone();
    bench.members("reader", &[]).await;
    bench.person("witness@example.com").await;
    bench.members("writer", &["witness@example.com"]).await;
    bench.login("witness@example.com").await;
    ada.run("SELECT * FROM orders").await.unwrap();
    assert_eq!(bench.user(ADA).unwrap().status, before);
}

async fn a_user_that_portcullis_did_not_make_is_never_adopted(product: Product) {
    let bench = Bench::start(product, Stack::Production).await;
    bench.database.make_user("eve@example.com");
    let superuser = bench.database.superuser().to_owned();
    for name in [superuser.as_str(), "eve@example.com"] {
        bench.person(name).await;
        bench.members("reader", &[name]).await;
        let refused = bench.prepare(name).await.unwrap_err();
        assert_eq!(refused.code, &code::DATABASE_USER_EXISTS, "{name}: {refused}");
        assert!(bench.user(name).is_none(), "{name}");
    }
    assert_eq!(bench.database.members("portcullis_orders.reader"), "0");
}

async fn a_user_that_was_dropped_and_made_again_by_hand_is_not_ours_any_more(product: Product) {
    let bench = with_ada(product, "reader").await;
    drop(bench.login(ADA).await);
    bench.members("reader", &[]).await;
    bench.until_disabled(ADA).await;
    bench.database.make_anew(ADA);
    bench.members("reader", &[ADA]).await;
    let refused = bench.prepare(ADA).await.unwrap_err();
    assert_eq!(refused.code, &code::DATABASE_USER_EXISTS);
}

async fn a_recreated_principal_of_the_same_name_gets_another_user_and_nothing_of_the_former(
    product: Product,
) {
    let bench = with_ada(product, "reader").await;
    let first = bench.login(ADA).await;
    bench.members("reader", &[]).await;
    bench.delete(Kind::User, ADA).await;
    bench.until_disabled(ADA).await;
    assert!(first.run("SELECT 1").await.unwrap_err().is_cut());
    bench.person(ADA).await;
    bench.members("reader", &[ADA]).await;
    let second = bench.prepare(ADA).await.unwrap();
    assert!(second.starts_with("ada@example.com~"), "{second}");
    bench.direct(&second).await.unwrap().run("SELECT * FROM orders").await.unwrap();
    assert!(!bench.database.can_log_in(ADA));
    assert!(bench.direct(ADA).await.err().unwrap().is_shut_out());
}

/// PostgreSQL cuts names after 63 bytes, MariaDB refuses them after 80 characters.
async fn two_long_names_with_the_same_beginning_get_two_users(product: Product) {
    let bench = Bench::start(product, Stack::Production).await;
    let names = [
        format!("{}@one.example.com", "a".repeat(81)),
        format!("{}@two.example.com", "a".repeat(81)),
    ];
    for name in &names {
        bench.person(name).await;
    }
    bench.members("reader", &[&names[0], &names[1]]).await;
    let (first, second) =
        (bench.prepare(&names[0]).await.unwrap(), bench.prepare(&names[1]).await.unwrap());
    assert_ne!(first, second);
    for user in [&first, &second] {
        let session = bench.direct(user).await.unwrap();
        let who = session.run("SELECT current_user").await.unwrap();
        assert_eq!(who[0].trim_end_matches("@127.0.0.1"), user);
    }
}

async fn the_superuser_attribute_goes_with_the_role(product: Product) {
    let bench = Bench::start(product, Stack::Test).await;
    bench.person(ADA).await;
    bench.members("superuser", &[ADA]).await;
    bench.members("reader", &[ADA]).await;
    let ada = bench.login(ADA).await;
    assert_ne!(bench.database.attributes(ADA), "0");
    ada.run("CREATE ROLE made_by_a_superuser").await.unwrap();
    bench.members("superuser", &[]).await;
    bench
        .until("the loss to be recorded", |_| {
            bench.user(ADA).is_some_and(|user| user.status.roles == roles(&["orders.reader"]))
        })
        .await;
    assert!(ada.run("SELECT 1").await.unwrap_err().is_cut());
    assert_eq!(bench.database.attributes(ADA), "0");
}

async fn a_second_login_asks_the_server_nothing(product: Product) {
    let bench = with_ada(product, "reader").await;
    bench.prepare(ADA).await.unwrap();
    bench.database.crash();
    let within = std::time::Duration::from_millis(100);
    let answered = tokio::time::timeout(within, bench.prepare(ADA)).await;
    assert_eq!(answered.unwrap().unwrap(), ADA);
}

on_each_engine! {
    a_reader_reads_what_there_is_and_what_is_made_tomorrow_by_whomever_but_writes_nothing,
    a_writer_writes_rows_but_changes_no_table_and_an_admin_does_without_any_attribute,
    a_database_role_that_becomes_narrower_takes_effect_on_open_sessions_too,
    a_role_that_another_membership_still_gives_is_not_lost,
    a_user_that_portcullis_did_not_make_is_never_adopted,
    a_user_that_was_dropped_and_made_again_by_hand_is_not_ours_any_more,
    a_recreated_principal_of_the_same_name_gets_another_user_and_nothing_of_the_former,
    two_long_names_with_the_same_beginning_get_two_users,
    the_superuser_attribute_goes_with_the_role,
    a_second_login_asks_the_server_nothing,
}
