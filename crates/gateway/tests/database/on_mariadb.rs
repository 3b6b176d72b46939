//! What only MariaDB has: accounts that name their certificate, one for each address; a role of each user's own; definers;
//! sessions that know what they held when they entered their database.

use std::net::{IpAddr, Ipv4Addr};

use model::Kind;
use model::kind::database_user::DatabaseUserState::Enabled;
use model::kind::server::Product::MariaDb;
use serde_json::json;

use crate::bench::{Bench, HERE, resource};
use crate::database::{Database, Stack};
use crate::users::{ADA, BOB, with_ada};

/// Another of the gateway's addresses, from which it does not dial in tests.
const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 6));

/// Looks of the provisioner's that may come between two statements of a test, one after the other.
const TRIES_MAX: u32 = 50;

/// Ada's accounts: from where, locked, and what opens them.
const ACCOUNTS: &str = "SELECT Host, COALESCE(JSON_VALUE(Priv, '$.account_locked'), 0) AS locked, \
                        JSON_VALUE(Priv, '$.ssl_type') AS how, JSON_VALUE(Priv, '$.x509_subject') AS subject \
                        FROM global_priv WHERE User = 'ada@example.com' ORDER BY Host";
const OWN_ROLES: &str = "SELECT COUNT(*) FROM global_priv WHERE User LIKE 'pc~ada@example.com~%'";

fn locked(bench: &Bench) -> String {
    let sql =
        format!("SELECT GROUP_CONCAT(Host, ' ', locked ORDER BY Host) FROM ({ACCOUNTS}) AS a");
    bench.sql("mysql", &sql)
}

async fn with_owner(bench: &Bench) -> &'static str {
    let owner = json!({"displayName": "Owner", "controlRole": "owner"});
    bench.put(resource(Kind::User, "owner@example.com", &owner)).await;
    "owner@example.com"
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_knows_what_it_held_when_it_entered_its_database() {
    let bench = with_ada(MariaDb, "reader").await;
    let ada = bench.login(ADA).await;
    let insert = "INSERT INTO orders (total) VALUES (1)";
    let by_hand = |sql: &str| bench.sql("mysql", sql);
    by_hand("GRANT INSERT ON orders.* TO `portcullis_orders.reader`");
    assert!(ada.run(insert).await.unwrap_err().is_denied(), "not at the next statement");
    ada.run("USE orders").await.unwrap();
    ada.run(insert).await.unwrap();
    by_hand("REVOKE INSERT ON orders.* FROM `portcullis_orders.reader`");
    ada.run(insert).await.expect("what was taken is held on to");
    // The role itself gone: the same.
    by_hand("DROP ROLE `portcullis_orders.reader`");
    ada.run(insert).await.unwrap();
    ada.run("SELECT * FROM orders.orders").await.unwrap();
    assert_eq!(ada.run("USE orders").await.unwrap_err().code, "1044");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_was_dropped_by_hand_is_made_again_with_its_members() {
    let bench = with_ada(MariaDb, "reader").await;
    drop(bench.login(ADA).await);
    bench.sql("mysql", "DROP ROLE `portcullis_orders.reader`");
    bench.look_again().await;
    let held = |server: &Database| server.held(ADA);
    bench.until_told("ada's roles", held, "portcullis_orders.reader").await;
    bench
        .until("the drift to be told", |_| {
            bench.told_of_drift("lost its membership of `portcullis_orders.reader` by hand") > 0
        })
        .await;
    bench.login(ADA).await.run("SELECT * FROM orders").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_role_is_the_users_own_to_choose_and_changes_nothing_about_whose_it_is() {
    let bench = with_ada(MariaDb, "reader").await;
    let ada = bench.login(ADA).await;
    // A look that is under way may mend it before anybody can notice.
    let mut shut_out = false;
    for _ in 0..TRIES_MAX {
        ada.run("SET DEFAULT ROLE NONE").await.unwrap();
        shut_out = bench.direct(ADA).await.is_err();
        if shut_out {
            break;
        }
    }
    assert!(shut_out, "without it there is no database to enter");
    bench.look_again().await;
    let default_role = "SELECT default_role LIKE 'pc~ada@example.com~%' FROM user \
                        WHERE User = 'ada@example.com'";
    bench.until_sql("mysql", default_role, "1").await;
    bench.login(ADA).await.run("SELECT * FROM orders").await.unwrap();
    // Nor does it keep anybody in.
    ada.run("SET DEFAULT ROLE NONE").await.unwrap();
    bench.members("reader", &[]).await;
    bench.until_disabled(ADA).await;
    assert!(ada.run("SELECT 1").await.unwrap_err().is_cut());
    assert_eq!(locked(&bench), "127.0.0.1 1");
    assert_eq!(bench.database.held(ADA), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_no_longer_asks_for_its_certificate_is_told_of_and_mended() {
    let bench = with_ada(MariaDb, "reader").await;
    bench.prepare(ADA).await.unwrap();
    let wanted = bench.sql("mysql", ACCOUNTS);
    assert_eq!(wanted, "127.0.0.1\t0\t3\t/CN=ada@example.com");
    for (told, by_hand) in [(1, "NONE"), (2, "X509"), (3, "SUBJECT '/CN=eve@example.com'")] {
        let sql = format!("ALTER USER 'ada@example.com'@'127.0.0.1' REQUIRE {by_hand}");
        bench.sql("mysql", &sql);
        bench.look_again().await;
        bench.until_sql("mysql", ACCOUNTS, &wanted).await;
        let another = "asks for another certificate than its own, or for none";
        bench.until("the drift to be told", |_| bench.told_of_drift(another) == told).await;
        bench.until("a quiet server", |_| bench.server().status.findings.is_empty()).await;
    }
    bench.login(ADA).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_as_a_second_way_into_an_account_is_told_of() {
    let bench = with_ada(MariaDb, "reader").await;
    bench.prepare(ADA).await.unwrap();
    let second = "ALTER USER 'ada@example.com'@'127.0.0.1' IDENTIFIED VIA mysql_native_password USING 'invalid' \
                  OR mysql_native_password USING PASSWORD('keeps the door open')";
    bench.sql("mysql", second);
    bench.look_again().await;
    let told = "`ada@example.com` has a password";
    bench.until("the drift to be told", |_| bench.told_of_drift(told) == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_defined_runs_with_nobodys_rights_when_theirs_have_ended() {
    let bench = with_ada(MariaDb, "admin").await;
    let ada = bench.login(ADA).await;
    let own = ada.run("SELECT CURRENT_ROLE()").await.unwrap().remove(0);
    for sql in [
        "CREATE VIEW of_role AS SELECT COUNT(*) FROM orders".replacen("VIEW", "DEFINER = CURRENT_ROLE VIEW", 1),
        "CREATE VIEW of_account AS SELECT COUNT(*) FROM orders".to_owned(),
        "CREATE SQL SECURITY INVOKER VIEW of_nobody AS SELECT COUNT(*) FROM orders".to_owned(),
        "CREATE PROCEDURE sweep() DELETE FROM app_log".to_owned(),
        "CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY DO DELETE FROM app_log".to_owned(),
        "CREATE TRIGGER noted AFTER INSERT ON bosses FOR EACH ROW INSERT INTO app_log VALUES ('boss')".to_owned(),
    ] {
        ada.run(&sql).await.unwrap_or_else(|said| panic!("{sql}: {said:?}"));
    }
    bench.person(BOB).await;
    bench.members("writer", &[BOB]).await;
    let bob = bench.login(BOB).await;
    bob.run("SELECT * FROM of_role").await.unwrap();
    bob.run("SELECT * FROM of_nobody").await.unwrap();
    // An account's rights come through its role, which is not on when something runs as that account (measured on 10.11).
    assert_eq!(bob.run("SELECT * FROM of_account").await.unwrap_err().code, "1356");
    bench.members("admin", &[]).await;
    bench.until_disabled(ADA).await;
    let runs = |what: &str| {
        format!("orders: {what} runs with the rights of its definer, who has none now")
    };
    assert_eq!(
        bench.user(ADA).unwrap().status.left_behind,
        ["event nightly", "procedure sweep", "trigger noted", "view of_account", "view of_role"]
            .map(runs)
    );
    assert!(own.starts_with("pc~ada@example.com~"), "{own}");
    bob.run("SELECT * FROM of_nobody").await.unwrap();
    for (refused, code) in [
        ("SELECT * FROM of_role", "1356"),
        ("CALL sweep()", "1370"),
        ("INSERT INTO bosses VALUES ('eve')", "1142"),
    ] {
        assert_eq!(bob.run(refused).await.unwrap_err().code, code, "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_address_of_the_gateways_has_an_account_and_all_of_them_end() {
    let bench = Bench::start_at(MariaDb, Stack::Production, &[HERE, THERE]).await;
    bench.person(ADA).await;
    bench.members("reader", &[ADA]).await;
    bench.login(ADA).await;
    assert_eq!(locked(&bench), "10.0.0.6 0,127.0.0.1 0");
    assert_eq!(bench.sql("mysql", OWN_ROLES), "1");
    // Whichever address the gateway dials from next, it may hand on what it has made.
    let may = "SELECT COUNT(*), COUNT(DISTINCT Role) FROM roles_mapping \
               WHERE User = 'portcullis_provisioner' AND Admin_option = 'Y'";
    assert_eq!(bench.sql("mysql", may), "8\t4");
    bench.members("reader", &[]).await;
    bench.until_disabled(ADA).await;
    assert_eq!(locked(&bench), "10.0.0.6 1,127.0.0.1 1");
    assert_eq!(bench.database.held(ADA), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_from_an_address_of_before_are_known_to_be_ours_and_go() {
    let mut bench = Bench::start_at(MariaDb, Stack::Production, &[HERE, THERE]).await;
    for person in [ADA, BOB] {
        bench.person(person).await;
    }
    bench.members("reader", &[ADA, BOB]).await;
    bench.prepare(ADA).await.unwrap();
    bench.prepare(BOB).await.unwrap();
    bench.members("reader", &[ADA]).await;
    bench.until_disabled(BOB).await;
    bench.move_to(&[HERE]).await;
    bench.prepare(ADA).await.unwrap();
    bench.login(ADA).await.run("SELECT * FROM orders").await.unwrap();
    // Looked at, not logged in: Bob's go too, and stay locked where he still has one.
    let accounts = "SELECT GROUP_CONCAT(User, ' ', Host, ' ', COALESCE(JSON_VALUE(Priv, '$.account_locked'), 0) \
                    ORDER BY User) FROM global_priv WHERE User LIKE '%@example.com'";
    let wanted = "ada@example.com 127.0.0.1 0,bob@example.com 127.0.0.1 1";
    bench.until_sql("mysql", accounts, wanted).await;
    assert_eq!(bench.user(ADA).unwrap().status.state, Enabled);
    // One of the name that carries nothing of ours is somebody else's, wherever it is from.
    bench.sql("mysql", "CREATE USER 'ada@example.com'@'10.0.0.9'");
    bench.members("writer", &[ADA]).await;
    let refused = bench.prepare(ADA).await.unwrap_err();
    assert_eq!(refused.code, &model::code::DATABASE_USER_EXISTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_authority_rotates_and_no_login_fails_on_the_way() {
    let bench = with_ada(MariaDb, "reader").await;
    let owner = with_owner(&bench).await;
    let login = async || bench.login(ADA).await.run("SELECT * FROM orders").await.unwrap();
    login().await;
    bench.rotate_client_authority(owner).await;
    login().await;
    bench.enrol_again().await;
    login().await;
    bench.rotate_client_authority(owner).await;
    login().await;
    bench.enrol_again().await;
    login().await;
    let issuers = "SELECT COUNT(DISTINCT JSON_VALUE(Priv, '$.x509_issuer')) FROM global_priv \
                   WHERE User = 'ada@example.com'";
    assert_eq!(bench.sql("mysql", issuers), "1");
    bench.members("reader", &[]).await;
    bench.until_disabled(ADA).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_somebody_else_gave_goes_with_the_accounts_when_access_ends() {
    let bench = with_ada(MariaDb, "reader").await;
    bench.members("writer", &[ADA]).await;
    let ada = bench.login(ADA).await;
    let role = bench.database.give_role(ADA);
    ada.run(&format!("SET ROLE {role}")).await.unwrap();
    // Named before ours: what cannot be taken away holds up nothing.
    assert!(role < "portcullis_orders.writer");
    bench.members("writer", &[]).await;
    let held = |server: &Database| server.held(ADA);
    bench.until_told("ada's roles", held, "portcullis_orders.reader").await;
    bench.until_refused(&ada, "INSERT INTO orders (total) VALUES (1)").await;
    bench.database.give_role(ADA);
    bench.members("reader", &[]).await;
    bench.until_disabled(ADA).await;
    assert_eq!(bench.database.held(ADA), "");
    assert_eq!(locked(&bench), "127.0.0.1 1");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_gave_a_role_of_ours_is_told_and_ends_its_sessions_once_not_at_each_look()
 {
    let bench = with_ada(MariaDb, "reader").await;
    drop(bench.login(ADA).await);
    // Whoever made it is the only one who may take it away.
    bench.sql("mysql", "CREATE ROLE a_strangers; GRANT a_strangers TO `portcullis_orders.reader`");
    bench.look_again().await;
    bench.until_finding("the server refused to hand on roles").await;
    let ada = bench.login(ADA).await;
    bench.look_again().await;
    bench.look_again().await;
    ada.run("SELECT * FROM orders").await.expect("a look is no end");
}
