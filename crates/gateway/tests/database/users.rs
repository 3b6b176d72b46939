//! Database users: prepared, changed, withdrawn.

use std::time::Duration;

use model::event::EventBody;
use model::kind::database_user::DatabaseUserState::{Disabled, Enabled};
use model::{Kind, code};
use serde_json::json;

use crate::bench::{Bench, Stack, resource, roles, sqlstate};

const ADA: &str = "ada@example.com";

async fn with_ada(role: &str) -> Bench {
    let bench = Bench::start(Stack::Production).await;
    bench.person(ADA).await;
    bench.members(role, &[ADA]).await;
    bench
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_reads_what_there_is_and_what_is_made_tomorrow_by_whomever_but_writes_nothing() {
    let bench = with_ada("reader").await;
    let ada = bench.login(ADA).await;
    let who = ada.query_one("SELECT session_user::text", &[]).await.unwrap();
    assert_eq!(who.get::<_, &str>(0), ADA);
    for table in ["orders", "app_log", "bosses"] {
        ada.query(&format!("SELECT * FROM {table}"), &[]).await.unwrap();
    }
    let refused = ada.execute("INSERT INTO orders (total) VALUES (1)", &[]).await.unwrap_err();
    assert_eq!(sqlstate(&refused), "42501");
    bench.postgres.psql("orders", "SET ROLE app; CREATE TABLE tomorrow (n int)").unwrap();
    ada.query("SELECT * FROM tomorrow", &[]).await.unwrap();
    // What a superuser makes is shared with the next look, at the latest a minute later.
    bench.postgres.psql("orders", "CREATE TABLE later (n int)").unwrap();
    bench.person("someone@example.com").await;
    bench.members("writer", &["someone@example.com"]).await;
    bench.prepare("someone@example.com").await.unwrap();
    let readable = "SELECT has_table_privilege('ada@example.com', 'later', 'SELECT')";
    bench.until_sql("orders", readable, "t").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_writes_rows_but_changes_no_table_and_an_admin_does_without_any_attribute() {
    let bench = with_ada("writer").await;
    let ada = bench.login(ADA).await;
    ada.execute("INSERT INTO orders (total) VALUES (1)", &[]).await.unwrap();
    let refused = ada.batch_execute("ALTER TABLE orders ADD note text").await.unwrap_err();
    assert_eq!(sqlstate(&refused), "42501");
    bench.members("admin", &[ADA]).await;
    bench
        .until("ada's new role", |_| {
            bench
                .user(ADA)
                .is_some_and(|user| user.status.roles == roles(&["orders.admin", "orders.writer"]))
        })
        .await;
    ada.batch_execute("ALTER TABLE orders ADD note text")
        .await
        .expect("a role gained takes effect at once");
    let attributes = "SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls \
                      FROM pg_roles WHERE rolname = 'ada@example.com'";
    assert_eq!(bench.postgres.psql("orders", attributes).unwrap(), "f");
    ada.batch_execute("CREATE TABLE by_ada (n int)").await.unwrap();
    bench.person("bob@example.com").await;
    bench.members("reader", &["bob@example.com"]).await;
    let bob = bench.login("bob@example.com").await;
    let readable = "SELECT has_table_privilege('bob@example.com', 'by_ada', 'SELECT')";
    bench.until_sql("orders", readable, "t").await;
    ada.batch_execute("CREATE TABLE by_ada_later (n int)").await.unwrap();
    bob.query("SELECT * FROM by_ada_later", &[])
        .await
        .expect("an admin's tables are readable at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_person_cannot_log_in_even_directly_with_a_certificate_that_is_still_valid() {
    let bench = with_ada("reader").await;
    let ada = bench.login(ADA).await;
    let spec = json!({"displayName": ADA, "enabled": false});
    bench.put(resource(Kind::User, ADA, &spec)).await;
    bench.until_state(ADA, Disabled).await;
    assert!(ada.query("SELECT 1", &[]).await.is_err(), "the open session is gone");
    let refused = bench.direct(ADA).await.unwrap_err();
    assert_eq!(sqlstate(&refused), "28000");
    let memberships = "SELECT count(*) FROM pg_auth_members m JOIN pg_roles u ON u.oid = m.member \
                       WHERE u.rolname = 'ada@example.com'";
    assert_eq!(bench.postgres.psql("postgres", memberships).unwrap(), "0");
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

#[tokio::test(flavor = "multi_thread")]
async fn set_role_does_not_outlive_the_loss_of_one_of_several_roles() {
    let bench = with_ada("reader").await;
    bench.members("writer", &[ADA]).await;
    let ada = bench.login(ADA).await;
    let set = ada.batch_execute("SET ROLE \"portcullis_orders.writer\"").await;
    assert_eq!(set.is_ok(), bench.hands_on_set_role());
    ada.execute("INSERT INTO orders (total) VALUES (1)", &[]).await.unwrap();
    bench.members("writer", &[]).await;
    bench
        .until("the loss to be recorded", |_| {
            bench.user(ADA).is_some_and(|user| user.status.roles == roles(&["orders.reader"]))
        })
        .await;
    assert!(ada.execute("INSERT INTO orders (total) VALUES (1)", &[]).await.is_err());
    let again = bench.login(ADA).await;
    again.query("SELECT * FROM orders", &[]).await.unwrap();
    let refused = again.execute("INSERT INTO orders (total) VALUES (1)", &[]).await.unwrap_err();
    assert_eq!(sqlstate(&refused), "42501");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_role_that_becomes_narrower_takes_effect_on_open_sessions_too() {
    let bench = with_ada("admin").await;
    let ada = bench.login(ADA).await;
    if bench.hands_on_set_role() {
        ada.batch_execute("SET ROLE orders_owner").await.unwrap();
    }
    ada.batch_execute("ALTER TABLE orders ADD note text").await.unwrap();
    let spec = json!({"server": "orders", "privileges": "reader", "databases": ["orders"]});
    bench.put(resource(Kind::DatabaseRole, "orders.admin", &spec)).await;
    let memberships = "SELECT count(*) FROM pg_auth_members m JOIN pg_roles u ON u.oid = m.member \
                       WHERE u.rolname = 'portcullis_orders.admin'";
    bench.until_sql("postgres", memberships, "0").await;
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'ada@example.com'";
    bench.until_sql("postgres", sessions, "0").await;
    assert!(ada.batch_execute("ALTER TABLE orders ADD note2 text").await.is_err());
    let again = bench.login(ADA).await;
    again.query("SELECT * FROM orders", &[]).await.unwrap();
    let refused = again.execute("INSERT INTO orders (total) VALUES (1)", &[]).await.unwrap_err();
    assert_eq!(sqlstate(&refused), "42501");
}

#[tokio::test(flavor = "multi_thread")]
async fn users_of_a_server_that_is_no_longer_protected_cannot_log_in_any_more() {
    let bench = with_ada("reader").await;
    let ada = bench.login(ADA).await;
    bench.delete(Kind::RoleAssignment, "orders.reader").await;
    bench.delete(Kind::DatabaseServer, "orders").await;
    bench.until_state(ADA, Disabled).await;
    assert!(ada.query("SELECT 1", &[]).await.is_err());
    let login = "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'ada@example.com'";
    assert_eq!(bench.postgres.psql("postgres", login).unwrap(), "f");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_another_membership_still_gives_is_not_lost() {
    let bench = with_ada("reader").await;
    bench.put(resource(Kind::Group, "auditors", &json!({"members": [ADA]}))).await;
    let second = json!({"principal": {"group": "auditors"}, "role": "orders.reader"});
    bench.put(resource(Kind::RoleAssignment, "auditors-read", &second)).await;
    let ada = bench.login(ADA).await;
    let before = bench.user(ADA).unwrap().status.clone();
    bench.members("reader", &[]).await;
    bench.person("witness@example.com").await;
    bench.members("writer", &["witness@example.com"]).await;
    bench.login("witness@example.com").await;
    ada.query("SELECT * FROM orders", &[]).await.unwrap();
    assert_eq!(bench.user(ADA).unwrap().status, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_leaves_behind_is_out_of_reach_when_they_come_back_as_a_reader() {
    let bench = with_ada("writer").await;
    let ada = bench.login(ADA).await;
    bench
        .postgres
        .psql("orders", "GRANT CREATE ON SCHEMA public TO \"portcullis_orders.writer\"")
        .unwrap();
    ada.batch_execute(
        "CREATE TABLE mine (id serial, n int); CREATE VIEW \"my View\" AS SELECT n FROM mine;
         CREATE FUNCTION my_answer() RETURNS int LANGUAGE sql AS 'SELECT 42';
         CREATE FUNCTION my_trap() RETURNS name LANGUAGE sql SECURITY DEFINER AS 'SELECT current_user';
         ALTER ROLE CURRENT_USER SET statement_timeout = '1h';
         ALTER ROLE CURRENT_USER PASSWORD 'keeps the door open';",
    )
    .await
    .unwrap();
    let prepared = "BEGIN; INSERT INTO orders (total) VALUES (1); PREPARE TRANSACTION 'forgotten';";
    ada.batch_execute(prepared).await.unwrap();
    bench.members("writer", &[]).await;
    bench.members("reader", &[ADA]).await;
    bench.members("reader", &[]).await;
    bench.until_state(ADA, Disabled).await;
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
    assert_eq!(bench.postgres.psql("orders", rest).unwrap(), "t|0|0");
    bench.postgres.psql("orders", "ROLLBACK PREPARED 'forgotten'").unwrap();
    bench.members("reader", &[ADA]).await;
    let again = bench.login(ADA).await;
    let readable = "SELECT has_table_privilege('ada@example.com', 'mine', 'SELECT')";
    bench.until_sql("orders", readable, "t").await;
    again.query("SELECT * FROM mine", &[]).await.unwrap();
    let trapped = again.query_one("SELECT my_trap()::text", &[]).await.unwrap();
    assert_eq!(trapped.get::<_, &str>(0), ADA);
    for refused in [
        "ALTER TABLE mine ADD m int",
        "DROP TABLE mine",
        "GRANT SELECT ON mine TO PUBLIC",
        "INSERT INTO mine (n) VALUES (2)",
        "DROP FUNCTION my_answer()",
    ] {
        let outcome = again.batch_execute(refused).await;
        match outcome {
            Err(error) => assert_eq!(sqlstate(&error), "42501", "{refused}"),
            // PostgreSQL only warns when there was nothing to grant.
            Ok(()) => assert!(refused.starts_with("GRANT"), "{refused}"),
        }
    }
    let acl = "SELECT relacl::text LIKE '%=r/%ada%' FROM pg_class WHERE relname = 'mine'";
    assert_eq!(bench.postgres.psql("orders", acl).unwrap(), "f");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_transaction_that_locks_the_user_itself_does_not_hold_up_its_ending() {
    let bench = with_ada("writer").await;
    let ada = bench.login(ADA).await;
    bench
        .postgres
        .psql("orders", "GRANT CREATE ON SCHEMA public TO \"portcullis_orders.writer\"")
        .unwrap();
    ada.batch_execute("CREATE TABLE mine (n int)").await.unwrap();
    for (name, locks) in [
        ("me", "ALTER ROLE CURRENT_USER PASSWORD 'keeps the door open'"),
        ("mine", "INSERT INTO mine VALUES (1)"),
    ] {
        let sql = format!("BEGIN; {locks}; PREPARE TRANSACTION '{name}'");
        ada.batch_execute(&sql).await.unwrap();
    }
    bench.members("writer", &[]).await;
    bench.until_state(ADA, Disabled).await;
    let left = bench.user(ADA).unwrap().status.left_behind.clone();
    assert_eq!(
        left,
        [
            "prepared transaction me in orders held up the ending and was rolled back",
            "prepared transaction mine in orders held up the ending and was rolled back",
            "orders: table public.mine went to orders_owner",
        ]
    );
    assert_eq!(sqlstate(&bench.direct(ADA).await.unwrap_err()), "28000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_portcullis_did_not_make_is_never_adopted() {
    let bench = Bench::start(Stack::Production).await;
    bench.postgres.psql("postgres", "CREATE ROLE \"eve@example.com\" LOGIN").unwrap();
    for name in ["postgres", "eve@example.com"] {
        bench.person(name).await;
        bench.members("reader", &[name]).await;
        let refused = bench.prepare(name).await.unwrap_err();
        assert_eq!(refused.code, &code::DATABASE_USER_EXISTS, "{name}: {refused}");
        assert!(bench.user(name).is_none(), "{name}");
    }
    let members = "SELECT count(*) FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid \
                   WHERE g.rolname = 'portcullis_orders.reader' AND m.member <> 'portcullis_provisioner'::regrole";
    assert_eq!(bench.postgres.psql("postgres", members).unwrap(), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_was_dropped_and_made_again_by_hand_is_not_ours_any_more() {
    let bench = with_ada("reader").await;
    drop(bench.login(ADA).await);
    bench.members("reader", &[]).await;
    bench.until_state(ADA, Disabled).await;
    bench
        .postgres
        .psql(
            "postgres",
            "DROP ROLE \"ada@example.com\"; CREATE ROLE \"ada@example.com\" LOGIN SUPERUSER",
        )
        .unwrap();
    bench.members("reader", &[ADA]).await;
    let refused = bench.prepare(ADA).await.unwrap_err();
    assert_eq!(refused.code, &code::DATABASE_USER_EXISTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recreated_principal_of_the_same_name_gets_another_user_and_nothing_of_the_former() {
    let bench = with_ada("reader").await;
    let first = bench.login(ADA).await;
    bench.members("reader", &[]).await;
    bench.delete(Kind::User, ADA).await;
    bench.until_state(ADA, Disabled).await;
    assert!(first.query("SELECT 1", &[]).await.is_err());
    bench.person(ADA).await;
    bench.members("reader", &[ADA]).await;
    let second = bench.prepare(ADA).await.unwrap();
    assert!(second.starts_with("ada@example.com~"), "{second}");
    assert_eq!(bench.user(ADA).unwrap().status.state, Disabled);
    assert_eq!(sqlstate(&bench.direct(ADA).await.unwrap_err()), "28000");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_long_names_with_the_same_first_63_bytes_get_two_users() {
    let bench = Bench::start(Stack::Production).await;
    let names = [
        format!("{}@one.example.com", "a".repeat(70)),
        format!("{}@two.example.com", "a".repeat(70)),
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
        let who = session.query_one("SELECT session_user::text", &[]).await.unwrap();
        assert_eq!(who.get::<_, &str>(0), user);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memberships_given_by_hand_are_reported_and_taken_away() {
    let bench = with_ada("reader").await;
    let _session = bench.login(ADA).await;
    bench
        .postgres
        .psql("postgres", "GRANT pg_read_all_data TO \"ada@example.com\"; ALTER ROLE \"ada@example.com\" PASSWORD 'x'")
        .unwrap();
    // Anything that changes makes it look again.
    bench.person("bob@example.com").await;
    bench.members("writer", &["bob@example.com"]).await;
    bench.prepare("bob@example.com").await.unwrap();
    let held = "SELECT string_agg(g.rolname, ' ') FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
                WHERE m.member = '\"ada@example.com\"'::regrole";
    if bench.revokes_what_others_granted() {
        bench.until_sql("postgres", held, "portcullis_orders.reader").await;
    }
    bench.until_finding("database user `ada@example.com` has a password").await;
    let told = |wanted: &str| {
        bench.events().iter().filter(|event| matches!(event, EventBody::Drift { finding, .. } if finding.contains(wanted))).count()
    };
    assert_eq!(told("was made a member of `pg_read_all_data` by hand"), 1);
    assert_eq!(told("has a password"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_superuser_attribute_goes_with_the_role() {
    let bench = Bench::start(Stack::Test).await;
    bench.person(ADA).await;
    bench.members("superuser", &[ADA]).await;
    bench.members("reader", &[ADA]).await;
    let ada = bench.login(ADA).await;
    ada.batch_execute("CREATE ROLE made_by_a_superuser SUPERUSER").await.unwrap();
    bench.members("superuser", &[]).await;
    bench
        .until("the loss to be recorded", |_| {
            bench.user(ADA).is_some_and(|user| user.status.roles == roles(&["orders.reader"]))
        })
        .await;
    assert!(ada.query("SELECT 1", &[]).await.is_err());
    let attribute = "SELECT rolsuper FROM pg_roles WHERE rolname = 'ada@example.com'";
    assert_eq!(bench.postgres.psql("postgres", attribute).unwrap(), "f");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ending_that_the_server_could_not_take_on_is_made_up_for_when_it_is_back() {
    let bench = with_ada("reader").await;
    drop(bench.login(ADA).await);
    bench.postgres.crash().unwrap();
    bench.members("reader", &[]).await;
    bench
        .until("an ending that waits", |snapshot| {
            snapshot.database_users.get("orders~ada@example.com").is_some_and(|user| {
                user.status.state == model::kind::database_user::DatabaseUserState::Revoking
            })
        })
        .await;
    bench.postgres.restart().unwrap();
    bench.until_state(ADA, Disabled).await;
    assert_eq!(sqlstate(&bench.direct(ADA).await.unwrap_err()), "28000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_login_asks_the_server_nothing() {
    let bench = with_ada("reader").await;
    bench.prepare(ADA).await.unwrap();
    assert_eq!(bench.user(ADA).unwrap().status.state, Enabled);
    bench.postgres.crash().unwrap();
    let answered = tokio::time::timeout(Duration::from_millis(100), bench.prepare(ADA)).await;
    assert_eq!(answered.unwrap().unwrap(), ADA);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ending_is_on_the_server_at_once_and_its_times_are_in_the_audit_log() {
    let bench = with_ada("reader").await;
    let started = bench.now();
    bench.prepare(ADA).await.unwrap();
    let first = bench.now().since(started);
    let started = bench.now();
    bench.prepare(ADA).await.unwrap();
    let fast = bench.now().since(started);
    bench.person("bob@example.com").await;
    bench.members("writer", &["bob@example.com"]).await;
    let started = bench.now();
    bench.prepare("bob@example.com").await.unwrap();
    let next = bench.now().since(started);
    let ada = bench.direct(ADA).await.unwrap();
    let sleeping = ada.query("SELECT pg_sleep(60)", &[]);
    let ending = async {
        bench
            .until_sql(
                "orders",
                "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'",
                "1",
            )
            .await;
        bench.members("reader", &[]).await;
        bench.snapshot().committed_at
    };
    let (slept, committed) = tokio::join!(sleeping, ending);
    assert_eq!(sqlstate(&slept.unwrap_err()), "57P01");
    bench.until_state(ADA, Disabled).await;
    let (disabled, gone) = bench
        .events()
        .into_iter()
        .find_map(|event| match event {
            EventBody::DatabaseUserWithdrawn { login_disabled_at, backends_gone_at, .. } => {
                Some((login_disabled_at.since(committed), backends_gone_at?.since(committed)))
            }
            _ => None,
        })
        .unwrap();
    println!(
        "prepare: first {first:?}, another's first {next:?}, again {fast:?}; ending: no login after {disabled:?}, backends gone after {gone:?}"
    );
    assert!(disabled < Duration::from_secs(2) && gone < Duration::from_secs(2));
    assert!(fast < Duration::from_millis(5));
}
