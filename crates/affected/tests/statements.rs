//! What texts say: a table of statements, each with what is read, written and hidden.

use affected::{Analysis, Engine, Whole, analyse};

fn said(sql: &str) -> String {
    let Analysis { read, written, because } = analyse(sql, Engine::PostgreSql, Whole::Yes);
    let list = |mut names: Vec<String>| {
        names.sort();
        if names.is_empty() { "-".to_owned() } else { names.join(" ") }
    };
    let read = list(read.iter().map(|name| name.shown(Engine::PostgreSql)).collect());
    let written = list(written.iter().map(|name| name.shown(Engine::PostgreSql)).collect());
    let because = because.into_iter().collect::<Vec<_>>().join("; ");
    if because.is_empty() {
        format!("r {read} w {written}")
    } else {
        format!("r {read} w {written} ({because})")
    }
}

/// Every row that differs is shown.
fn check<'a>(rows: impl IntoIterator<Item = (&'a str, String)>) {
    let wrong: Vec<String> = rows
        .into_iter()
        .filter(|(sql, expected)| said(sql) != *expected)
        .map(|(sql, expected)| format!("{sql}\n  is:     {}\n  should: {expected}", said(sql)))
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

const DEFINES: &str = "(it changes definitions, which can touch more than they name)";

#[test]
fn queries_name_what_they_read() {
    let rows = [
        ("", "r - w -"),
        ("select 1", "r - w -"),
        ("select * from orders", "r orders w -"),
        (
            "SELECT * FROM Public.Orders o, \"Public\".\"Orders\" p",
            "r \"Public\".\"Orders\" public.orders w -",
        ),
        ("select * from db.public.orders", "r public.orders w -"),
        ("select * from only orders", "r orders w -"),
        (
            "select * from a join b using (id) left join c on a.x = c.x cross join d natural join e",
            "r a b c d e w -",
        ),
        (
            "select * from (a join b on a.id = b.id) as j, lateral (select * from c where c.id = a.id) l",
            "r a b c w -",
        ),
        (
            "select (select max(x) from t1), exists (select 1 from t2) from t3 where y in (select z from t4) \
          and y > any (select z from t5) and v = all (array(select w from t6))",
            "r t1 t2 t3 t4 t5 t6 w -",
        ),
        (
            "select * from a union all (select * from b except select * from c) intersect select * from d",
            "r a b c d w -",
        ),
        ("(table t1) union table s.t2", "r s.t2 t1 w -"),
        ("values (1, (select x from t))", "r t w -"),
        ("select a.x from t a where a.x = $1 and a.y = ? limit 5 for update of a", "r t w -"),
        (
            "select count(*), sum(x) filter (where y > 1), rank() over (partition by z order by w) from t group by 1 having max(q) > 2",
            "r t w -",
        ),
        (
            "select now(), current_user, current_date, coalesce(a, b), x::int4, cast(y as numeric(10, 2)), extract(year from z), position('a' in b), substring(c from 1 for 2), trim(both from d), e at time zone 'UTC' from t",
            "r t w -",
        ),
        ("select * from generate_series(1, 10) g, unnest(array[1, 2]) u", "r - w -"),
        ("select x -> 'a' ->> 'b', y @> '{}', z || 'c', w ~ 'd', v #>> '{e}' from t", "r t w -"),
        ("select * from t tablesample system (1)", "r t w -"),
        ("select 1; select * from a; ; select * from b;", "r a b w -"),
        (
            "select interval '1 day', date '2020-01-01', timestamp with time zone '2020-01-01 00:00'",
            "r - w -",
        ),
        (
            "-- from x\nselect /* from y /* nested */ from z */ 'from w', $$ from v $$, $a$ from u $a$, E'\\' from s' from t",
            "r t w -",
        ),
        ("explain (analyze, buffers) select * from t", "r t w -"),
        ("explain analyze delete from t", "r t w t"),
        ("lock table a, s.b in share mode", "r a s.b w -"),
        ("copy t (a, b) to stdout with (format csv, header)", "r t w -"),
        ("copy (select * from a join b using (id)) to stdout", "r a b w -"),
    ];
    check(rows.map(|(sql, expected)| (sql, expected.to_owned())));
}

#[test]
fn names_of_with_are_no_tables_where_they_are_known_and_only_there() {
    let rows = [
        ("with c as (select * from t) select * from c join u using (id)", "r t u w -"),
        ("with t as (select * from t) select * from t", "r t w -"),
        (
            "with a as (select 1), b as (select * from a), c as (select * from d) select * from a, b, c",
            "r d w -",
        ),
        ("with b as (select * from c), c as (select 1) select * from b", "r c w -"),
        (
            "with recursive c as (select 1 union all select n + 1 from c), d as (select * from c) select * from d",
            "r - w -",
        ),
        ("select * from (with c as (select 1) select * from c) x, c", "r c w -"),
        ("with c as (select * from t) select * from public.c", "r public.c t w -"),
        ("with c as (select 1) table c", "r - w -"),
        ("with c as (table t) table c", "r t w -"),
        ("with \"C\" as (select 1) select * from \"C\", c", "r c w -"),
        (
            "with gone as (delete from a where x in (select x from b) returning *) insert into c select * from gone",
            "r a b w a c",
        ),
        (
            "with n as (insert into a values (1) returning id), u as (update b set x = n.id from n returning b.*) select * from u",
            "r a b w a b",
        ),
        ("with c as (select * from t) update u set x = c.x from c where c.id = u.id", "r t u w u"),
        ("with c as (select * from t) delete from u using c where c.id = u.id", "r t u w u"),
    ];
    check(rows.map(|(sql, expected)| (sql, expected.to_owned())));
}

#[test]
fn changes_name_what_they_write_and_what_they_look_at() {
    let rows = [
        ("insert into t values (1, 'x'), (2, default)", "r - w t"),
        ("insert into s.t (a, b) select a, b from u on conflict do nothing", "r s.t u w s.t"),
        (
            "insert into t as x (a) values (1) on conflict (a) do update set a = excluded.a + x.a where x.b > (select 1 from v)",
            "r t v w t",
        ),
        ("insert into t default values returning *", "r t w t"),
        ("insert into t (a) overriding system value values (1)", "r - w t"),
        (
            "update t set a = 1, (b, c) = (select d, e from u) from v where t.id = v.id returning v.x",
            "r t u v w t",
        ),
        ("update only s.t as x set a = x.a + 1", "r s.t w s.t"),
        ("delete from t", "r t w t"),
        ("delete from t x using u, v where x.id = u.id and u.id = v.id", "r t u v w t"),
        (
            "merge into t using (select * from u) s on t.id = s.id when matched and s.x > 1 then delete when matched then update set x = s.x when not matched then insert (id) values (s.id)",
            "r t u w t",
        ),
        ("truncate t, s.u restart identity", "r - w s.u t"),
        (
            "truncate table only t cascade",
            "r - w t (TRUNCATE … CASCADE empties tables that it does not name)",
        ),
        ("copy s.t from stdin (format csv)", "r - w s.t"),
    ];
    check(rows.map(|(sql, expected)| (sql, expected.to_owned())));
}

#[test]
fn definitions_are_written_and_never_complete() {
    let rows = [
        ("create table t (id int primary key, x int references u (id))", "r - w t"),
        ("create temp table t as select * from u", "r u w t"),
        ("select * into temp table t from u", "r u w t"),
        ("create view v as select * from t", "r t w v"),
        ("create index concurrently i on s.t (lower(x))", "r - w s.t"),
        ("alter table s.t add column x int, drop column y", "r - w s.t"),
        ("drop table if exists a, s.b cascade", "r - w a s.b"),
        ("drop view v", "r - w v"),
        ("drop index i", "r - w -"),
    ];
    check(rows.map(|(sql, expected)| (sql, format!("{expected} {DEFINES}"))));
}

#[test]
fn what_touches_nothing_is_complete() {
    let rows = [
        "begin",
        "begin isolation level serializable read only",
        "start transaction",
        "commit",
        "end",
        "rollback",
        "abort",
        "savepoint a",
        "rollback to savepoint a",
        "release savepoint a",
        "set search_path to a, b",
        "set local x = 'y'",
        "show all",
        "show transaction isolation level",
        "reset all",
        "discard all",
        "deallocate all",
        "listen c",
        "notify c, 'x'",
        "unlisten *",
        "close c",
        "set session characteristics as transaction read only",
    ];
    check(rows.map(|sql| (sql, "r - w -".to_owned())));
}

#[test]
fn what_hides_tables_is_said() {
    let rows = [
        ("select f(x) from t", "r t w - (it calls `f`)"),
        ("select * from f(1)", "r - w - (it calls `f`)"),
        ("select * from lateral s.\"F\"(1) x", "r - w - (it calls `s.\"F\"`)"),
        ("select public.lower(x) from t", "r t w - (it calls `public.lower`)"),
        ("select pg_catalog.lower(x) from t", "r t w -"),
        (
            "select query_to_xml('select * from secrets', true, true, '')",
            "r - w - (it calls `query_to_xml`)",
        ),
        ("insert into t values (nextval('s'))", "r - w t (it calls `nextval`)"),
        (
            "select x::citext, y::public.mood from t",
            "r t w - (it converts to `citext`; it converts to `public.mood`)",
        ),
        ("call p(1)", "r - w - (it calls `p`)"),
        ("execute q(1)", "r - w - (EXECUTE runs what an earlier PREPARE said)"),
        ("prepare q as select * from t", "r t w - (PREPARE runs nothing yet)"),
        (
            "declare c cursor for select * from t",
            "r t w - (a cursor reads when rows are fetched from it)",
        ),
        ("fetch 10 from c", "r - w - (FETCH reads what an earlier DECLARE said)"),
        ("explain select * from t", "r t w - (EXPLAIN without ANALYZE only plans)"),
        ("grant select on t to x", "r - w - (a statement of its kind is not looked into)"),
        (
            "select 'a\\' from t",
            "r t w - (it has a backslash in a literal, which a setting of the session gives a meaning)",
        ),
    ];
    check(rows.map(|(sql, expected)| (sql, expected.to_owned())));
}

const PICKED: &str = "its names were picked out of it, and may be too many or too few";

#[test]
fn what_is_not_parsed_is_looked_through_for_names() {
    let not = format!("it could not be parsed: {PICKED}");
    assert_eq!(said("do $$ begin delete from t; end $$"), format!("r - w - ({not})"));
    assert_eq!(said("selec * from t join s.u on 1 = 1"), format!("r s.u t w - ({not})"));
    assert_eq!(said("insert into s.\"T\" (a) values (("), format!("r - w s.\"T\" ({not})"));
    let open = "a literal in it does not end";
    assert_eq!(said("delete from a where x = 'from b"), format!("r a w a ({open})"));
}

#[test]
fn a_text_that_was_cut_is_never_complete() {
    let Analysis { written, because, .. } =
        analyse("insert into t values (1), (2", Engine::PostgreSql, Whole::No);
    assert_eq!(written.into_iter().map(|name| name.name).collect::<Vec<_>>(), ["t"]);
    assert!(because.contains("its text was cut"), "{because:?}");
}
