//! What was affected: tables through views, functions, temporary tables, search paths, prepared statements and COPY, and
//! what cannot be known said so.

use serde_json::{Value, json};
use testkit::program;
use testkit::stack::{Beside, Options, Person};

use crate::mariadb::member;
use crate::support::{assert_says, events, newcomer, own, own_with, text};

const SETUP: &str = "\
create view big_customers as select * from customers where id > 10;
create function count_all() returns bigint language sql security definer as 'select count(*) from public.customers';
create schema aside;
create table aside.customers (id integer);
grant usage on schema aside to public;
grant select on aside.customers, big_customers to public;";

const PLAIN: &str =
    "create table plain (id integer, note text); grant select, insert, update on plain to public;";

type Names = &'static [&'static str];

/// Each with the tables read and written, and why there may be others.
const STATEMENTS: &[(&str, Names, Names, Names)] = &[
    ("select * from customers limit 1", &["public.customers"], &[], &[]),
    ("select count(*) from public.customers", &["public.customers"], &[], &[]),
    (
        "select count(*) from customers",
        &["customers"],
        &[],
        &["the schema of `customers` is not known"],
    ),
    (
        "select * from big_customers limit 1",
        &["public.big_customers", "public.customers"],
        &[],
        &["`public.big_customers` is a view"],
    ),
    ("select count_all()", &[], &[], &["it calls `count_all`"]),
    ("copy (select id from public.customers limit 1) to stdout", &["public.customers"], &[], &[]),
    ("copy products to stdout", &["products"], &[], &["the schema of `products` is not known"]),
    (
        "prepare one as select * from public.customers limit 1",
        &["public.customers"],
        &[],
        &["PREPARE runs nothing yet"],
    ),
    ("execute one", &["public.customers"], &[], &["EXECUTE runs what an earlier PREPARE said"]),
    ("set search_path to aside, public", &[], &[], &[]),
    ("select id from customers", &["aside.customers"], &[], &[]),
    (
        "do 'begin perform 1; end'",
        &[],
        &[],
        &[
            "it could not be parsed: its names were picked out of it, and may be too many or too few",
        ],
    ),
    ("select * from missing", &["missing"], &[], &["the schema of `missing` is not known"]),
];

/// One session of psql, each text a Query of its own.
fn run<'a>(person: &Person, texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut psql = person.reach.client("psql", &person.user, &person.token().unwrap());
    for sql in texts {
        psql.args(["-c", sql]);
    }
    let said = program::run(&mut psql).unwrap();
    format!("{}{}", said.stdout, said.stderr)
}

fn list(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[test]
fn every_statement_says_which_tables_it_affected_or_why_that_is_not_known() {
    let stack = own();
    let facts = &stack.facts;
    stack.postgres.psql("orders", SETUP).unwrap();
    let reader = newcomer(facts, &["orders-readers"]);
    let activation = facts.activate(&reader, "orders-readers", "10m").unwrap();
    let said = run(&reader, STATEMENTS.iter().map(|(sql, ..)| *sql));
    assert_says(&said, &["missing"]);
    for table in ["big_customers", "\"aside\""] {
        events(facts, "relationNamed", table.trim_matches('"'));
    }
    let statements = facts.audit(&["--type", "statement", "--actor", &reader.user]).unwrap();
    assert_eq!(statements.len(), STATEMENTS.len(), "{said}");
    for (statement, (sql, read, written, because)) in statements.iter().zip(STATEMENTS) {
        let affected = &statement["affected"];
        assert_eq!(text(statement, "/sql"), *sql);
        assert_eq!(list(&affected["read"]), *read, "{sql}: {affected}");
        assert_eq!(list(&affected["written"]), *written, "{sql}: {affected}");
        assert_eq!(list(&affected["because"]), *because, "{sql}: {affected}");
        assert_eq!(affected["complete"], because.is_empty(), "{sql}: {affected}");
    }

    // By table, from the log as it lies there.
    let found = |table: &str| {
        let query = ["--type", "statement", "--actor", &reader.user, "--table", table];
        let found = facts.audit(&query).unwrap();
        found.iter().map(|event| text(event, "/sql").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        found("aside.customers"),
        ["select count(*) from customers", "select id from customers"]
    );
    assert_eq!(found("public.big_customers"), ["select * from big_customers limit 1"]);

    // One record answers: who, under which approval, what, on which tables, how many rows, with what outcome.
    let (session, number) = (text(&statements[3], "/session"), statements[3]["number"].to_string());
    let story = facts.auditor.run(&["audit", "show", session, &number, "-o", "json"]).unwrap();
    let story = story.json().unwrap();
    assert_eq!(story["statement"]["actor"]["name"], reader.user);
    assert_eq!(story["outcome"]["rows"], 1);
    assert_eq!(story["outcome"]["tags"], json!(["SELECT 1"]));
    assert_eq!(list(&story["affected"]["read"]), ["public.big_customers", "public.customers"]);
    assert_eq!(story["session"]["activations"], json!([activation]));
    let steps = story["activations"].as_array().unwrap();
    let steps: Vec<&str> = steps.iter().map(|step| text(step, "/step")).collect();
    assert_eq!(steps, ["request", "approve"]);
    let told = facts.auditor.must(&["audit", "show", session, &number]).unwrap();
    assert_says(
        &told,
        &[
            &reader.user,
            "request of `orders-readers`",
            "approve of `orders-readers`",
            "big_customers",
        ],
    );
}

#[test]
fn changes_and_prepared_statements_name_their_tables() {
    let stack = own();
    let facts = &stack.facts;
    stack.postgres.psql("orders", PLAIN).unwrap();
    let writer = newcomer(facts, &["orders-writers"]);
    facts.activate(&writer, "orders-writers", "10m").unwrap();
    let texts = [
        "insert into plain values (1, 'a'), (2, 'b') returning id",
        "update public.plain set note = 'c' where id = 1",
        "delete from public.order_lines where false returning order_id",
    ];
    run(&writer, texts);
    let script = facts.folder.join("affected.sql");
    std::fs::write(&script, "\\set n 7\nselect name from public.customers where id = :n;\n")
        .unwrap();
    let token = writer.token().unwrap();
    let mut pgbench = writer.reach.client("pgbench", &writer.user, &token);
    pgbench.args(["-n", "-M", "prepared", "-t", "3", "-f"]).arg(&script);
    let said = program::run(&mut pgbench).unwrap();
    said.expect_success().unwrap();
    for table in ["plain", "order_lines", "customers"] {
        events(facts, "relationNamed", table);
    }
    let of = |sql: &str| {
        let found = facts.audit(&["--type", "statement", "--actor", &writer.user, "--text", sql]);
        found.unwrap().into_iter().map(|event| event["affected"].clone()).collect::<Vec<_>>()
    };
    let plain = json!({"read": ["public.plain"], "written": ["public.plain"], "complete": true});
    assert_eq!(of("insert into plain"), std::slice::from_ref(&plain));
    assert_eq!(of("update public.plain"), [plain]);
    let [deleted] = of("delete from").try_into().unwrap();
    assert_eq!(deleted["complete"], false);
    assert_eq!(list(&deleted["because"]), ["`public.order_lines` has foreign keys"]);
    let read = json!({"read": ["public.customers"], "written": [], "complete": true});
    assert_eq!(of("select name from"), [read.clone(), read.clone(), read]);
}

const MARIADB_SETUP: &str = "\
create table plain (id integer primary key, note varchar(200));
create table watched (id integer primary key);
create trigger watching after insert on watched for each row insert into plain values (new.id, 'seen');
create function count_all() returns bigint reads sql data return (select count(*) from customers);";

/// Each with the tables read and written, and why there may be others.
const MARIADB_STATEMENTS: &[(&str, Names, Names, Names)] = &[
    ("select * from customers limit 1", &["orders.customers"], &[], &[]),
    ("select count(*) from `orders`.`customers` # all", &["orders.customers"], &[], &[]),
    ("select 1 /*! from customers */ limit 1", &["orders.customers"], &[], &[]),
    (
        "select country from revenue_by_country limit 1",
        &["orders.customers", "orders.order_lines", "orders.orders", "orders.revenue_by_country"],
        &[],
        &["`orders.revenue_by_country` is a view"],
    ),
    ("insert into plain values (1, 'a'), (2, 'it\\'s')", &[], &["orders.plain"], &[]),
    ("replace into plain values (1, \"b\")", &["orders.plain"], &["orders.plain"], &[]),
    (
        "update plain p, customers c set p.note = c.name where p.id = c.id",
        &["orders.customers", "orders.plain"],
        &["orders.plain"],
        &[],
    ),
    (
        "delete p from plain p join customers using (id) where p.id = 2",
        &["orders.customers", "orders.plain"],
        &["orders.plain"],
        &[],
    ),
    (
        "insert into watched values (7)",
        &[],
        &["orders.watched"],
        &["`orders.watched` has triggers"],
    ),
    (
        "delete from order_lines where false",
        &["orders.order_lines"],
        &["orders.order_lines"],
        &["`orders.order_lines` has foreign keys"],
    ),
    ("select count_all()", &[], &[], &["it calls `count_all`"]),
    ("prepare s from 'select * from customers limit 1'", &[], &[], &["PREPARE runs nothing yet"]),
    ("execute s", &[], &[], &["EXECUTE runs what an earlier PREPARE said"]),
    ("call nothing_there()", &[], &[], &["it calls `nothing_there`"]),
    (
        "select * from missing",
        &["orders.missing"],
        &[],
        &[
            "`orders.missing` was not looked up in the catalogue",
            "the session may have changed its default database unseen",
        ],
    ),
    ("show tables", &[], &[], &[]),
    ("USE `information_schema`", &[], &[], &[]),
    ("select count(*) from tables", &["information_schema.tables"], &[], &[]),
    ("select name from orders.customers limit 1", &["orders.customers"], &[], &[]),
    ("set sql_mode = 'NO_BACKSLASH_ESCAPES'", &[], &[], &[]),
    (r"select 'C:\', name from orders.customers limit 1", &["orders.customers"], &[], &[]),
];

#[test]
fn every_statement_of_mariadbs_says_which_tables_it_affected_or_why_that_is_not_known() {
    let stack = own_with(&Options { beside: Beside::MariaDb, ..Options::default() });
    let (facts, mariadb) = (&stack.facts, stack.mariadb.as_ref().unwrap());
    mariadb.sql("orders", MARIADB_SETUP).unwrap();
    let (writer, _, token) = member(facts, "orders-writers");
    let script: String = MARIADB_STATEMENTS
        .iter()
        .map(|(sql, ..)| match sql.strip_prefix("USE `") {
            Some(database) => format!("use {};\n", database.trim_end_matches('`')),
            None => format!("{sql}\n;\n"),
        })
        .collect();
    let mut client = facts.mariadb_command(&writer.user);
    client.args(["--force", "--comments"]).env("MYSQL_PWD", &token);
    let said = program::feed(&mut client, &script).unwrap();
    assert_says(&said.stderr, &["ERROR 1305", "ERROR 1146"]);
    for table in ["watched", "revenue_by_country"] {
        events(facts, "relationNamed", table);
    }
    let all = ["--type", "statement", "--actor", &writer.user];
    // The client asks this of itself, before it uses another.
    let own = |event: &Value| text(event, "/sql") == "SELECT DATABASE()";
    let mut statements = facts.audit(&all).unwrap();
    statements.retain(|event| !own(event));
    for (statement, (sql, read, written, because)) in statements.iter().zip(MARIADB_STATEMENTS) {
        let affected = &statement["affected"];
        assert_eq!(text(statement, "/sql").trim(), *sql);
        assert_eq!(list(&affected["read"]), *read, "{sql}: {affected}");
        assert_eq!(list(&affected["written"]), *written, "{sql}: {affected}");
        assert_eq!(list(&affected["because"]), *because, "{sql}: {affected}");
        assert_eq!(affected["complete"], because.is_empty(), "{sql}: {affected}");
    }
    assert_eq!(statements.len(), MARIADB_STATEMENTS.len(), "{said}");

    let found = |query: &[&str]| {
        let found = facts.audit(&[&all[..], query].concat()).unwrap();
        found.iter().map(|event| text(event, "/sql").trim().to_owned()).collect::<Vec<_>>()
    };
    let wrote = ["insert into plain", "replace into plain", "update plain", "delete p from plain"];
    let seen = found(&["--table", "orders.plain", "--wrote"]);
    assert_eq!(seen.len(), wrote.len(), "{seen:?}");
    assert!(seen.iter().zip(wrote).all(|(sql, begins)| sql.starts_with(begins)), "{seen:?}");
    // Through a view, whose name is all that the text has.
    let through = found(&["--table", "orders.order_lines", "--read"]);
    assert_eq!(through.len(), 2, "{through:?}");
    assert_says(&through[0], &["revenue_by_country"]);

    let (session, number) = (text(&statements[6], "/session"), statements[6]["number"].to_string());
    let told = facts.auditor.must(&["audit", "show", session, &number]).unwrap();
    let expected =
        [writer.user.as_str(), "orders.customers, orders.plain", "yes: there are no others"];
    assert_says(&told, &expected);
}
