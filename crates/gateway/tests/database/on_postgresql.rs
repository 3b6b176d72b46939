//! What only PostgreSQL has: owners of objects, members of login users, rules, prepared transactions that belong to somebody.

use model::Kind;
use model::kind::database_user::DatabaseUserState::Enabled;
use model::kind::server::Product::PostgreSql;
use serde_json::json;

use crate::bench::resource;
use crate::users::{ADA, with_ada};

#[tokio::test(flavor = "multi_thread")]
async fn the_provisioner_does_not_stay_a_member_of_a_persons_user() {
    let bench = with_ada(PostgreSql, "reader").await;
    bench.prepare(ADA).await.unwrap();
    let enter =
        "SET ROLE portcullis_provisioner; GRANT \"ada@example.com\" TO portcullis_provisioner";
    bench.sql("postgres", enter);
    bench.look_again().await;
    let inherited = "SELECT pg_has_role('portcullis_provisioner', 'ada@example.com', 'USAGE')";
    bench.until_sql("postgres", inherited, "f").await;
    bench
        .until_finding("the provisioner was left a member of database user `ada@example.com`")
        .await;
    assert_eq!(bench.user(ADA).unwrap().status.state, Enabled);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_acts_through_a_persons_user_that_owns_a_schema() {
    let bench = with_ada(PostgreSql, "reader").await;
    bench.prepare(ADA).await.unwrap();
    let schema = "CREATE SCHEMA adas AUTHORIZATION \"ada@example.com\"";
    bench.sql("orders", schema);
    let spec = json!({"server": "orders", "privileges": "admin", "databases": ["orders"], "schemas": ["adas"]});
    bench.put(resource(Kind::DatabaseRole, "orders.admin", &spec)).await;
    bench.until_finding("`orders.admin` would act through `ada@example.com`").await;
    let members = "SELECT count(*) FROM pg_auth_members m JOIN pg_roles u ON u.oid = m.member
                   WHERE m.roleid = '\"ada@example.com\"'::regrole AND u.rolname <> 'portcullis_provisioner'";
    assert_eq!(bench.sql("postgres", members), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_a_person_left_runs_with_nobody_elses_rights() {
    let bench = with_ada(PostgreSql, "writer").await;
    bench.prepare(ADA).await.unwrap();
    let create = "GRANT CREATE ON SCHEMA public TO \"portcullis_orders.writer\"";
    bench.sql("orders", create);
    let ada = bench.direct(ADA).await.unwrap();
    ada.run(
        "CREATE TABLE mine (n int);
         CREATE RULE \"my Trap\" AS ON INSERT TO mine DO ALSO DELETE FROM app_log",
    )
    .await
    .unwrap();
    bench.members("writer", &[]).await;
    bench.until_disabled(ADA).await;
    let rules = "SELECT count(*) FROM pg_rules WHERE tablename = 'mine'";
    assert_eq!(bench.sql("orders", rules), "0");
    assert_eq!(
        bench.user(ADA).unwrap().status.left_behind,
        [
            "orders: table public.mine went to orders_owner",
            "orders: rule my Trap on public.mine, which ran with its owner's rights, was dropped",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_leaves_behind_is_out_of_reach_when_they_come_back_as_a_reader() {
    let bench = with_ada(PostgreSql, "writer").await;
    let ada = bench.login(ADA).await;
    bench.sql("orders", "GRANT CREATE ON SCHEMA public TO \"portcullis_orders.writer\"");
    ada.run(
        "CREATE TABLE mine (id serial, n int); CREATE VIEW \"my View\" AS SELECT n FROM mine;
         CREATE FUNCTION my_answer() RETURNS int LANGUAGE sql AS 'SELECT 42';
         CREATE FUNCTION my_trap() RETURNS name LANGUAGE sql SECURITY DEFINER AS 'SELECT current_user';
         ALTER ROLE CURRENT_USER SET statement_timeout = '1h';
         ALTER ROLE CURRENT_USER PASSWORD 'keeps the door open';",
    )
    .await
    .unwrap();
    let prepared = "BEGIN; INSERT INTO orders (total) VALUES (1); PREPARE TRANSACTION 'forgotten';";
    ada.run(prepared).await.unwrap();
    bench.members("writer", &[]).await;
    bench.members("reader", &[ADA]).await;
    bench.members("reader", &[]).await;
    bench.until_disabled(ADA).await;
    let user = bench.user(ADA).unwrap();
    let left = user.status.left_behind.join("\n");
    for wanted in [
        "orders: table public.mine went to orders_owner",
        "orders: view public.\"my View\" went to orders_owner and runs with its caller's rights now",
        "orders: function public.my_trap() went to orders_owner and runs with its caller's rights now",
        "orders: function public.my_answer() went to orders_owner",
        "prepared transaction forgotten in orders is still open",
    ] {
        assert!(left.contains(wanted), "{wanted} is missing in:\n{left}");
    }
    let rest = "SELECT rolpassword IS NULL, (SELECT count(*) FROM pg_db_role_setting WHERE setrole = a.oid),
                (SELECT count(*) FROM pg_class WHERE relowner = a.oid) FROM pg_authid a
                WHERE rolname = 'ada@example.com'";
    assert_eq!(bench.sql("orders", rest), "t|0|0");
    bench.sql("orders", "ROLLBACK PREPARED 'forgotten'");
    bench.members("reader", &[ADA]).await;
    let again = bench.login(ADA).await;
    let readable = "SELECT has_table_privilege('ada@example.com', 'mine', 'SELECT')";
    bench.until_sql("orders", readable, "t").await;
    again.run("SELECT * FROM mine").await.unwrap();
    assert_eq!(again.run("SELECT my_trap()::text").await.unwrap(), [ADA]);
    for refused in [
        "ALTER TABLE mine ADD m int",
        "DROP TABLE mine",
        "GRANT SELECT ON mine TO PUBLIC",
        "INSERT INTO mine (n) VALUES (2)",
        "DROP FUNCTION my_answer()",
    ] {
        let outcome = again.run(refused).await;
        match outcome {
            Err(said) => assert_eq!(said.code, "42501", "{refused}"),
            // PostgreSQL only warns when there was nothing to grant.
            Ok(_) => assert!(refused.starts_with("GRANT"), "{refused}"),
        }
    }
    let acl = "SELECT relacl::text LIKE '%=r/%ada%' FROM pg_class WHERE relname = 'mine'";
    assert_eq!(bench.sql("orders", acl), "f");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_transaction_that_locks_the_user_itself_does_not_hold_up_its_ending() {
    let bench = with_ada(PostgreSql, "writer").await;
    let ada = bench.login(ADA).await;
    bench.sql("orders", "GRANT CREATE ON SCHEMA public TO \"portcullis_orders.writer\"");
    ada.run("CREATE TABLE mine (n int)").await.unwrap();
    for (name, locks) in [
        ("me", "ALTER ROLE CURRENT_USER PASSWORD 'keeps the door open'"),
        ("mine", "INSERT INTO mine VALUES (1)"),
    ] {
        let sql = format!("BEGIN; {locks}; PREPARE TRANSACTION '{name}'");
        ada.run(&sql).await.unwrap();
    }
    bench.members("writer", &[]).await;
    bench.until_disabled(ADA).await;
    let left = bench.user(ADA).unwrap().status.left_behind.clone();
    assert_eq!(
        left,
        [
            "prepared transaction me in orders held up the ending and was rolled back",
            "prepared transaction mine in orders held up the ending and was rolled back",
            "orders: table public.mine went to orders_owner",
        ]
    );
    assert!(bench.direct(ADA).await.err().unwrap().is_shut_out());
}
