//! What only MySQL's own servers have: accounts and roles that say in their attributes whose they are, default roles,
//! accounts that nobody without SYSTEM_USER can change, password policies, roles that everybody is given.

use std::net::{IpAddr, Ipv4Addr};

use model::Kind;
use model::kind::database_user::DatabaseUserState::Enabled;
use model::kind::server::Product::MySql;
use serde_json::json;

use crate::bench::{Bench, HERE, resource};
use crate::database::{Database, Stack};
use crate::users::{ADA, BOB, with_ada};

/// Another of the gateway's addresses, from which it does not dial in tests.
const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 6));

/// Looks of the provisioner's that may come between two statements of a test, one after the other.
const TRIES_MAX: u32 = 50;

/// Ada's accounts: from where, locked, what opens them, and what a session of hers begins with.
const ACCOUNTS: &str = "SELECT Host, account_locked, ssl_type, x509_subject, plugin, authentication_string = '' \
                        FROM user WHERE User = 'ada@example.com' ORDER BY Host";
const AS_WANTED: &str = "127.0.0.1\tN\tSPECIFIED\t/CN=ada@example.com\tcaching_sha2_password\t1";
const DEFAULT_ROLES: &str = "SELECT GROUP_CONCAT(DEFAULT_ROLE_USER ORDER BY 1) FROM default_roles \
                             WHERE USER = 'ada@example.com'";

fn locked(bench: &Bench) -> String {
    let sql = "SELECT GROUP_CONCAT(Host, ' ', account_locked ORDER BY Host) FROM user \
               WHERE User = 'ada@example.com'";
    bench.sql("mysql", sql)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_certificate_of_its_own_name_and_of_this_servers_authority_opens_an_account() {
    let bench = with_ada(MySql, "reader").await;
    bench.prepare(ADA).await.unwrap();
    assert_eq!(bench.sql("mysql", ACCOUNTS), AS_WANTED);
    bench.direct(ADA).await.unwrap();
    let mut other = bench.database.spec(Stack::Production);
    other["databases"] = json!({"only": ["other"]});
    bench.put(resource(Kind::DatabaseServer, "other", &other)).await;
    for (what, refused) in bench.without_the_certificate_of(ADA).await {
        assert!(refused.is_shut_out() || refused.is_cut(), "{what}: {refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_begins_with_all_roles_and_what_is_revoked_or_dropped_is_measured() {
    let bench = with_ada(MySql, "reader").await;
    bench.members("writer", &[ADA]).await;
    let ada = bench.login(ADA).await;
    let current = ada.run("SELECT CURRENT_ROLE()").await.unwrap();
    assert_eq!(current, ["`portcullis_orders.reader`@`%`,`portcullis_orders.writer`@`%`"]);
    assert_eq!(
        bench.sql("mysql", DEFAULT_ROLES),
        "portcullis_orders.reader,portcullis_orders.writer"
    );
    // A role that becomes wider or narrower counts from the next statement on.
    let alter = "ALTER TABLE bosses ADD note text";
    assert!(ada.run(alter).await.unwrap_err().is_denied());
    bench.sql("mysql", "GRANT ALTER ON orders.* TO 'portcullis_orders.reader'");
    ada.run("USE orders").await.unwrap();
    ada.run(alter).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_default_role_that_a_user_leaves_off_is_on_again_after_a_look() {
    let bench = with_ada(MySql, "reader").await;
    let ada = bench.login(ADA).await;
    // A look that is under way may mend it before anybody can notice.
    let mut shut_out = false;
    for _ in 0..TRIES_MAX {
        ada.run("SET DEFAULT ROLE NONE TO 'ada@example.com'@'127.0.0.1'").await.unwrap();
        shut_out = bench.direct(ADA).await.is_err();
        if shut_out {
            break;
        }
    }
    assert!(shut_out, "without it there is no database to enter");
    bench.look_again().await;
    bench.until_sql("mysql", DEFAULT_ROLES, "portcullis_orders.reader").await;
    bench.login(ADA).await.run("SELECT * FROM orders").await.unwrap();
    // What its user can do to an account: not to the mark, the certificate, the lock.
    for change in [
        "ATTRIBUTE '{\"portcullis\": null}'",
        "REQUIRE NONE",
        "ACCOUNT UNLOCK",
        "WITH MAX_USER_CONNECTIONS 0",
    ] {
        let sql = &format!("ALTER USER 'ada@example.com'@'127.0.0.1' {change}");
        let refused = ada.run(sql).await.expect_err(sql);
        assert!(refused.is_denied(), "{sql}: {refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_a_user_gives_itself_opens_nothing_and_goes() {
    let bench = with_ada(MySql, "reader").await;
    let ada = bench.login(ADA).await;
    ada.run("ALTER USER USER() IDENTIFIED BY 'keeps the door open'").await.unwrap();
    bench.look_again().await;
    let told = "`ada@example.com` has a password";
    bench.until("the drift to be told", |_| bench.told_of_drift(told) == 1).await;
    bench.members("reader", &[]).await;
    bench.until_disabled(ADA).await;
    assert!(!bench.database.has_password(ADA));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_no_longer_asks_for_its_certificate_is_told_of_and_mended() {
    let bench = with_ada(MySql, "reader").await;
    bench.prepare(ADA).await.unwrap();
    for (told, by_hand) in [(1, "NONE"), (2, "X509"), (3, "SUBJECT '/CN=eve@example.com'")] {
        let sql = format!("ALTER USER 'ada@example.com'@'127.0.0.1' REQUIRE {by_hand}");
        bench.sql("mysql", &sql);
        bench.look_again().await;
        bench.until_sql("mysql", ACCOUNTS, AS_WANTED).await;
        let another = "asks for another certificate than its own, or for none";
        bench.until("the drift to be told", |_| bench.told_of_drift(another) == told).await;
        bench.until("a quiet server", |_| bench.quiet_but_for_its_superusers()).await;
    }
    bench.login(ADA).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_provisioner_can_change_no_account_that_holds_the_server() {
    let bench = with_ada(MySql, "reader").await;
    bench.prepare(ADA).await.unwrap();
    let provisioner = bench.direct("portcullis_provisioner").await.unwrap();
    for sql in [
        "ALTER USER 'root'@'localhost' IDENTIFIED BY 'x'",
        "DROP USER 'root'@'localhost'",
        "GRANT 'root'@'localhost' TO 'portcullis_provisioner'@'127.0.0.1'",
        "GRANT ALL PRIVILEGES ON *.* TO 'portcullis_provisioner'@'127.0.0.1'",
        "GRANT SYSTEM_USER ON *.* TO 'portcullis_provisioner'@'127.0.0.1'",
        "UPDATE mysql.user SET authentication_string = '' WHERE User = 'root'",
    ] {
        let refused = provisioner.run(sql).await.expect_err(sql);
        assert!(refused.is_denied() || refused.is_shut_out(), "{sql}: {refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_for_passwords_and_everybodys_roles_are_no_obstacle_and_the_latter_are_told() {
    let bench = with_ada(MySql, "reader").await;
    bench.sql(
        "mysql",
        "INSTALL COMPONENT 'file://component_validate_password'; SET GLOBAL validate_password.policy = STRONG; \
         SET GLOBAL default_password_lifetime = 1; CREATE ROLE everyones; SET GLOBAL mandatory_roles = 'everyones'",
    );
    bench.login(ADA).await.run("SELECT * FROM orders").await.unwrap();
    bench.members("reader", &[]).await;
    bench.until_disabled(ADA).await;
    bench.members("writer", &[ADA]).await;
    let ada = bench.login(ADA).await;
    ada.run("INSERT INTO orders (total) VALUES (1)").await.unwrap();
    bench.until_finding("`everybody (`mandatory_roles`)` was made a member of `everyones`").await;
    let lifetime = "SELECT COALESCE(password_lifetime, 'the default') FROM user \
                    WHERE User = 'ada@example.com'";
    assert_eq!(bench.sql("mysql", lifetime), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_defined_runs_with_nobodys_rights_when_theirs_have_ended() {
    let bench = with_ada(MySql, "admin").await;
    let ada = bench.login(ADA).await;
    for sql in [
        "CREATE VIEW of_account AS SELECT COUNT(*) FROM orders",
        "CREATE SQL SECURITY INVOKER VIEW of_nobody AS SELECT COUNT(*) FROM orders",
        "CREATE PROCEDURE sweep() DELETE FROM app_log",
        "CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY DO DELETE FROM app_log",
        "CREATE TRIGGER noted AFTER INSERT ON bosses FOR EACH ROW INSERT INTO app_log VALUES ('boss')",
    ] {
        ada.run(sql).await.unwrap_or_else(|said| panic!("{sql}: {said:?}"));
    }
    bench.person(BOB).await;
    bench.members("writer", &[BOB]).await;
    let bob = bench.login(BOB).await;
    // Default roles are on when something runs as their account.
    for sql in ["SELECT * FROM of_account", "SELECT * FROM of_nobody", "CALL sweep()"] {
        bob.run(sql).await.unwrap_or_else(|said| panic!("{sql}: {said:?}"));
    }
    bench.members("admin", &[]).await;
    bench.until_disabled(ADA).await;
    let runs = |what: &str| {
        format!("orders: {what} runs with the rights of its definer, who has none now")
    };
    assert_eq!(
        bench.user(ADA).unwrap().status.left_behind,
        ["event nightly", "procedure sweep", "trigger noted", "view of_account"].map(runs)
    );
    bob.run("SELECT * FROM of_nobody").await.unwrap();
    for (refused, code) in [
        ("SELECT * FROM of_account", "1356"),
        ("CALL sweep()", "1370"),
        ("INSERT INTO bosses VALUES ('eve')", "1142"),
    ] {
        assert_eq!(bob.run(refused).await.unwrap_err().code, code, "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_from_an_address_of_before_go_whatever_they_have_defined() {
    let mut bench = Bench::start_at(MySql, Stack::Production, &[HERE, THERE]).await;
    for person in [ADA, BOB] {
        bench.person(person).await;
    }
    bench.members("admin", &[ADA, BOB]).await;
    bench.login(ADA).await;
    bench.prepare(BOB).await.unwrap();
    assert_eq!(locked(&bench), "10.0.0.6 N,127.0.0.1 N");
    bench.sql(
        "orders",
        "CREATE DEFINER = 'ada@example.com'@'10.0.0.6' PROCEDURE theirs() DELETE FROM app_log",
    );
    bench.members("admin", &[ADA]).await;
    bench.until_disabled(BOB).await;
    bench.move_to(&[HERE]).await;
    bench.prepare(ADA).await.unwrap();
    bench.login(ADA).await.run("SELECT * FROM orders").await.unwrap();
    // Looked at, not logged in: Bob's go too, and stay locked where he still has one.
    let accounts = "SELECT GROUP_CONCAT(User, ' ', Host, ' ', account_locked ORDER BY User) FROM user \
                    WHERE User LIKE '%@example.com'";
    let wanted = "ada@example.com 127.0.0.1 N,bob@example.com 127.0.0.1 Y";
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
    let bench = with_ada(MySql, "reader").await;
    let owner = json!({"displayName": "Owner", "controlRole": "owner"});
    bench.put(resource(Kind::User, "owner@example.com", &owner)).await;
    let login = async || bench.login(ADA).await.run("SELECT * FROM orders").await.unwrap();
    login().await;
    for _ in 0..2 {
        bench.rotate_client_authority("owner@example.com").await;
        login().await;
        bench.enrol_again().await;
        login().await;
        // It reads them at its start only: what signed its own certificate is not among them.
        bench.database.take_enrolment_into_force();
        login().await;
    }
    let issuers = "SELECT COUNT(DISTINCT x509_issuer) FROM user WHERE User = 'ada@example.com'";
    assert_eq!(bench.sql("mysql", issuers), "1");
    bench.members("reader", &[]).await;
    bench.until_disabled(ADA).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_was_dropped_by_hand_is_made_again_with_its_members() {
    let bench = with_ada(MySql, "reader").await;
    drop(bench.login(ADA).await);
    bench.sql("mysql", "DROP ROLE 'portcullis_orders.reader'");
    bench.look_again().await;
    let held = |server: &Database| server.held(ADA);
    bench.until_told("ada's roles", held, "portcullis_orders.reader").await;
    bench.login(ADA).await.run("SELECT * FROM orders").await.unwrap();
    let role = "SELECT account_locked, password_expired, x509_subject, \
                User_attributes->>'$.metadata.portcullis' LIKE 'portcullis-role:%' \
                FROM user WHERE User = 'portcullis_orders.reader'";
    assert_eq!(bench.sql("mysql", role), "Y\tY\t/CN=portcullis_orders.reader\t1");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_databases_are_plain_under_partial_revokes_and_patterns_otherwise() {
    let bench = with_ada(MySql, "reader").await;
    for (setting, name) in [("OFF", "my\\\\_shop"), ("ON", "my_shop")] {
        bench.sql(
            "mysql",
            &format!(
                "SET GLOBAL partial_revokes = {setting}; CREATE DATABASE IF NOT EXISTS my_shop; \
                 CREATE TABLE IF NOT EXISTS my_shop.goods (n int)"
            ),
        );
        let mut server = bench.database.spec(Stack::Production);
        server["databases"] = json!({"only": ["orders", "my_shop"]});
        bench.put(resource(Kind::DatabaseServer, "orders", &server)).await;
        bench.enrol_again().await;
        let spec =
            json!({"server": "orders", "privileges": "reader", "databases": ["orders", "my_shop"]});
        bench.put(resource(Kind::DatabaseRole, "orders.reader", &spec)).await;
        bench.look_again().await;
        let held = format!(
            "SELECT COUNT(*) FROM db WHERE User = 'portcullis_orders.reader' AND Db = '{name}'"
        );
        bench.until_sql("mysql", &held, "1").await;
        bench.login(ADA).await.run("SELECT * FROM my_shop.goods").await.unwrap();
    }
}
