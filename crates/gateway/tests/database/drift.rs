//! What people do by hand to users of ours, and what becomes of users whose server is no longer protected.

use model::event::EventBody;
use model::kind::database_user::DatabaseUserState::{Disabled, Enabled, Planned};
use model::{Kind, code};
use serde_json::json;

use crate::bench::{Bench, Stack, resource, server_name};

const ADA: &str = "ada@example.com";
const BOB: &str = "bob@example.com";

async fn with_ada(role: &str) -> Bench {
    let bench = Bench::start(Stack::Production).await;
    bench.person(ADA).await;
    bench.members(role, &[ADA]).await;
    drop(bench.login(ADA).await);
    bench
}

/// Anything that changes makes the provisioner look again.
async fn look_again(bench: &Bench) {
    bench.person(BOB).await;
    bench.members("writer", &[BOB]).await;
    bench.prepare(BOB).await.unwrap();
}

fn told(bench: &Bench, wanted: &str) -> bool {
    bench.events().iter().any(|event| match event {
        EventBody::Drift { finding, .. } => finding.contains(wanted),
        _ => false,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_was_dropped_by_hand_is_made_anew_at_the_next_login() {
    let bench = with_ada("reader").await;
    bench.postgres.psql("postgres", "DROP ROLE \"ada@example.com\"").unwrap();
    look_again(&bench).await;
    bench.until_state(ADA, Planned).await;
    let ada = bench.login(ADA).await;
    ada.query("SELECT * FROM orders", &[]).await.unwrap();
    assert_eq!(bench.user(ADA).unwrap().status.state, Enabled);
    look_again(&bench).await;
    bench
        .until("the drift to be told", |_| told(&bench, "`ada@example.com` was dropped by hand"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_user_with_the_name_and_the_oid_of_ours_is_not_used() {
    let bench = with_ada("reader").await;
    // As on a server that was built anew: the same name and number, and nothing that says whose it is.
    bench.postgres.psql("postgres", "COMMENT ON ROLE \"ada@example.com\" IS NULL").unwrap();
    look_again(&bench).await;
    bench.until_state(ADA, Planned).await;
    let refused = bench.prepare(ADA).await.unwrap_err();
    assert_eq!(refused.code, &code::DATABASE_USER_EXISTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_provisioner_does_not_stay_a_member_of_a_persons_user() {
    let bench = with_ada("reader").await;
    let enter =
        "SET ROLE portcullis_provisioner; GRANT \"ada@example.com\" TO portcullis_provisioner";
    bench.postgres.psql("postgres", enter).unwrap();
    look_again(&bench).await;
    let inherited = "SELECT pg_has_role('portcullis_provisioner', 'ada@example.com', 'USAGE')";
    bench.until_sql("postgres", inherited, "f").await;
    bench
        .until_finding("the provisioner was left a member of database user `ada@example.com`")
        .await;
    assert_eq!(bench.user(ADA).unwrap().status.state, Enabled);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_acts_through_a_persons_user_that_owns_a_schema() {
    let bench = with_ada("reader").await;
    let schema = "CREATE SCHEMA adas AUTHORIZATION \"ada@example.com\"";
    bench.postgres.psql("orders", schema).unwrap();
    let spec = json!({"server": "orders", "privileges": "admin", "databases": ["orders"], "schemas": ["adas"]});
    bench.put(resource(Kind::DatabaseRole, "orders.admin", &spec)).await;
    bench.until_finding("`orders.admin` would act through `ada@example.com`").await;
    let members = "SELECT count(*) FROM pg_auth_members m JOIN pg_roles u ON u.oid = m.member
                   WHERE m.roleid = '\"ada@example.com\"'::regrole AND u.rolname <> 'portcullis_provisioner'";
    assert_eq!(bench.postgres.psql("postgres", members).unwrap(), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_a_person_left_runs_with_nobody_elses_rights() {
    let bench = with_ada("writer").await;
    let create = "GRANT CREATE ON SCHEMA public TO \"portcullis_orders.writer\"";
    bench.postgres.psql("orders", create).unwrap();
    let ada = bench.direct(ADA).await.unwrap();
    ada.batch_execute(
        "CREATE TABLE mine (n int);
         CREATE RULE \"my Trap\" AS ON INSERT TO mine DO ALSO DELETE FROM app_log",
    )
    .await
    .unwrap();
    bench.members("writer", &[]).await;
    bench.until_state(ADA, Disabled).await;
    let rules = "SELECT count(*) FROM pg_rules WHERE tablename = 'mine'";
    assert_eq!(bench.postgres.psql("orders", rules).unwrap(), "0");
    assert_eq!(
        bench.user(ADA).unwrap().status.left_behind,
        [
            "orders: table public.mine went to orders_owner",
            "orders: rule my Trap on public.mine, which ran with its owner's rights, was dropped",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn users_of_a_deleted_server_are_withdrawn_even_when_the_gateway_starts_anew() {
    let mut bench = with_ada("reader").await;
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
    assert_eq!(bench.user(ADA).unwrap().status.state, Enabled);
    let login = "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'ada@example.com'";
    assert_eq!(bench.postgres.psql("postgres", login).unwrap(), "t");
    bench.start_provisioner();
    bench.until_state(ADA, Disabled).await;
    assert_eq!(bench.postgres.psql("postgres", login).unwrap(), "f");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_an_owner_took_over_is_ours_from_then_on_and_is_taken_over_once() {
    let bench = Bench::start(Stack::Production).await;
    bench.postgres.psql("postgres", "CREATE ROLE \"ada@example.com\" LOGIN").unwrap();
    bench.person(ADA).await;
    bench.members("reader", &[ADA]).await;
    let owner = json!({"displayName": "Owner", "controlRole": "owner"});
    bench.put(resource(Kind::User, "owner@example.com", &owner)).await;
    assert_eq!(bench.prepare(ADA).await.unwrap_err().code, &code::DATABASE_USER_EXISTS);

    let (caller, ada) = (bench.caller("owner@example.com"), bench.caller(ADA).principal);
    let server = server_name();
    let adopt = || bench.provisioner.adopt(&caller, &server, (ADA, &ada));
    adopt().await.unwrap();
    let session = bench.login(ADA).await;
    session.query("SELECT * FROM orders", &[]).await.unwrap();
    assert_eq!(adopt().await.unwrap_err().code, &code::CONFLICT);
    bench.members("reader", &[]).await;
    bench.until_state(ADA, Disabled).await;
    assert!(session.query("SELECT 1", &[]).await.is_err());
}
