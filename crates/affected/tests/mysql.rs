//! What MySQL's and MariaDB's texts say: a table of statements, each with what is read, written and hidden.

use affected::{
    Affected, Analysis, Engine, Evidence, Name, Relation, Shape, Strings, Whole, analyse, resolve,
};

fn shown(Analysis { read, written, because }: Analysis) -> String {
    let list = |names: std::collections::BTreeSet<Name>| {
        let mut names: Vec<String> = names.iter().map(|name| name.shown(Engine::MySql)).collect();
        names.sort();
        if names.is_empty() { "-".to_owned() } else { names.join(" ") }
    };
    let (read, written) = (list(read), list(written));
    let because = because.into_iter().collect::<Vec<_>>().join("; ");
    if because.is_empty() {
        format!("r {read} w {written}")
    } else {
        format!("r {read} w {written} ({because})")
    }
}

fn said(sql: &str) -> String {
    shown(analyse(sql, Engine::MySql, Whole::Yes))
}

/// Every row that differs is shown.
#[track_caller]
fn check<'a>(rows: impl IntoIterator<Item = (&'a str, &'a str)>) {
    let wrong: Vec<String> = rows
        .into_iter()
        .filter(|(sql, expected)| said(sql) != *expected)
        .map(|(sql, expected)| format!("{sql}\n  is:     {}\n  should: {expected}", said(sql)))
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn queries_name_what_they_read() {
    check([
        ("", "r - w -"),
        ("select 1", "r - w -"),
        ("select 1 from dual", "r - w -"),
        ("select 1 from `dual`", "r dual w -"),
        ("SELECT * FROM Orders o, `shop`.`order lines` p", "r Orders shop.`order lines` w -"),
        (
            "select * from shop.orders where name = \"from x\" # from y\n and z = 1 -- from v",
            "r shop.orders w -",
        ),
        ("select * from a straight_join b using (id) left join c on a.x = c.x", "r a b c w -"),
        ("select * from a join b join c on b.x = c.x", "r a b c w -"),
        ("select sql_no_cache distinct x from a force index (i) where y <=> null", "r a w -"),
        ("select a.* from t partition (p0, p1) as a limit 5, 10", "r t w -"),
        (
            "select (select max(x) from t1), exists (select 1 from t2) from t3 where y in (select z from t4)",
            "r t1 t2 t3 t4 w -",
        ),
        ("with c as (select * from t) select * from c join u using (id)", "r t u w -"),
        (
            "with recursive c as (select 1 as n union all select n + 1 from c where n < 5) select * from c",
            "r - w -",
        ),
        ("select * from a union all (select * from b) intersect select * from d", "r a b d w -"),
        ("select * from a for update", "r a w -"),
        ("select * from a lock in share mode", "r a w -"),
        ("select * from a for update nowait", "r a w -"),
        ("select * from a for update wait 5", "r a w -"),
        (
            "select * into outfile '/tmp/x' fields terminated by ',' optionally enclosed by '\"' lines terminated by '\\n' from t",
            "r t w -",
        ),
        ("select * from t where a = 1 into outfile '/tmp/x' character set utf8mb4", "r t w -"),
        ("select a, b into @a, @b from t limit 1", "r t w -"),
        ("select x into dumpfile '/tmp/x' from t", "r t w -"),
        (
            "select if(a, 1, 2), ifnull(b, 'x'), group_concat(distinct c order by d separator ';'), count(*), date_add(e, interval 1 day), cast(f as signed), convert(g using utf8mb4), concat('a' 'b'), left(h, 3), substring(i, 1, 2), trim(leading 'x' from j), extract(year from k), json_extract(l, '$.a') from t",
            "r t w -",
        ),
        ("select @a := @a + 1, @@global.sql_mode, @`b c`, @'d' from t", "r t w -"),
        (
            "select x->'$.a', y->>'$.b', binary z, _utf8mb4'q', N'n', x'4d', b'01', 0xff, 1e5, .5 from t",
            "r t w -",
        ),
        ("select match(a, b) against ('x' in boolean mode) from t", "r t w -"),
        ("select row_number() over (partition by a order by b) from t", "r t w -"),
        ("select * from `a``b`.`c.d`, 1st.2nd", "r `1st`.`2nd` `a``b`.`c.d` w -"),
        ("select * from t where a = 'it\\'s' and b in (?, ?, ?)", "r t w -"),
        ("select 1; select * from a; ; select * from b;", "r a b w -"),
        (
            "use shop; select * from a; use `other`; select * from b, x.c",
            "r other.b shop.a x.c w -",
        ),
        ("select * from information_schema.tables", "r information_schema.tables w -"),
        ("lock tables a read, s.b as c low_priority write, d write", "r a d s.b w -"),
        ("check table a, s.b extended", "r a s.b w -"),
        ("analyze table a", "r a w -"),
        ("analyze format=json select * from a", "r a w -"),
        ("analyze delete from a where x = 1", "r a w a"),
        ("do sleep(1), release_lock('x')", "r - w -"),
        ("do (select count(*) from t)", "r t w -"),
        ("handler s.t open as h", "r s.t w -"),
        ("set @a = (select max(x) from t), @b = 1", "r t w -"),
        ("set statement max_statement_time = 1 for select * from t", "r t w -"),
    ]);
}

#[test]
fn changes_name_what_they_write_and_what_they_look_at() {
    check([
        ("insert into t values (1, 'x'), (2, default)", "r - w t"),
        ("insert t (a, b) values (1, 2)", "r - w t"),
        ("insert into t () values ()", "r - w t"),
        ("insert low_priority into s.t set a = 1, b = (select x from u)", "r u w s.t"),
        ("insert into t (a) select a from u where b = 1", "r u w t"),
        ("insert ignore into t (a) values (1)", "r t w t"),
        ("insert into t (a) values (1) on duplicate key update a = values(a) + 1", "r t w t"),
        ("insert into t (a) values (1) returning id", "r t w t"),
        ("replace into t (a) values (1)", "r t w t"),
        ("replace t select * from u", "r t u w t"),
        ("update t set a = 1 where b = 2 order by c limit 3", "r t w t"),
        ("update low_priority ignore s.t set a = 1", "r s.t w s.t"),
        ("update a, b set a.x = b.y where a.id = b.id", "r a b w a"),
        ("update a join b using (id) set b.x = 1, b.y = 2", "r a b w b"),
        ("update shop.a as x, (select * from c) y set x.v = y.v", "r c shop.a w shop.a"),
        ("update a as x left join b as y on x.id = y.id set x.v = 1, y.v = 2", "r a b w a b"),
        ("update a, b set v = 1", "r a b w a b (it does not say which of its tables it changes)"),
        ("delete from t where x = 1 order by y limit 1", "r t w t"),
        ("delete quick from t using t join u where t.id = u.id", "r t u w t"),
        ("delete a from a join b on a.id = b.id where b.x = 1", "r a b w a"),
        ("delete x.*, y from shop.a as x join b as y on x.id = y.id", "r b shop.a w b shop.a"),
        ("delete from x.* using shop.a as x, b where x.id = b.id", "r b shop.a w shop.a"),
        ("truncate t", "r - w t"),
        ("truncate table s.t", "r - w s.t"),
        ("optimize table a", "r a w a"),
        (
            "load data infile '/x' into table s.t fields terminated by ',' (a, @b) set c = @b + 1",
            "r - w s.t",
        ),
        ("load data local infile 'x' replace into table t character set utf8", "r t w t"),
        ("load data infile '/x' into table t set a = (select max(b) from u)", "r u w t"),
    ]);
}

const DEFINES: &str = "(it changes definitions, which can touch more than they name)";

#[test]
fn definitions_are_written_and_never_complete() {
    let rows = [
        (
            "create table t (id int unsigned not null auto_increment primary key, x varchar(9) character set utf8 collate utf8_bin default 'a', key k (x(3))) engine=InnoDB default charset=utf8mb4",
            "r - w t",
        ),
        ("create table t like s.u", "r s.u w t"),
        ("create table t as select * from u", "r u w t"),
        ("create temporary table t select * from u", "r u w t"),
        ("create or replace view v as select * from t", "r t w v"),
        ("create unique index i on s.t (x)", "r - w s.t"),
        ("alter table s.t add column x int, drop column y", "r - w s.t"),
        ("alter table t rename to u", "r - w t u"),
        ("rename table a to b, s.c to d", "r - w a b d s.c"),
        ("drop table if exists a, s.b", "r - w a s.b"),
        ("drop temporary table a", "r - w a"),
        ("drop view v", "r - w v"),
        ("drop index i on t", "r - w t"),
    ];
    let rows: Vec<_> = rows.map(|(sql, names)| (sql, format!("{names} {DEFINES}"))).to_vec();
    check(rows.iter().map(|(sql, expected)| (*sql, expected.as_str())));
}

#[test]
fn what_touches_no_table_is_complete() {
    check(
        [
            "begin",
            "start transaction with consistent snapshot",
            "commit and chain",
            "rollback to savepoint x",
            "savepoint x",
            "set names utf8mb4",
            "set session sql_mode = 'ANSI', autocommit = 0, @@global.x = on",
            "set @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO'",
            "/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */",
            "set transaction isolation level read committed",
            "USE `shop`",
            "show tables",
            "show create table t",
            "show columns from `t` like 'x%'",
            "show full processlist",
            "show variables where variable_name = 'x'",
            "SHOW COLUMNS FROM `t`",
            "KILL 5",
            "unlock tables",
            "flush tables",
            "desc t",
            "explain t",
            "deallocate prepare s",
            "xa start 'x'",
            "/* COM_CHANGE_USER */",
            "-- nothing",
            "#",
        ]
        .map(|sql| (sql, "r - w -")),
    );
}

#[test]
fn what_hides_tables_is_said() {
    check([
        ("select f(x), s.g(1) from t", "r t w - (it calls `f`; it calls `s.g`)"),
        (
            "select nextval(s), load_file('/x')",
            "r - w - (it calls `load_file`; it calls `nextval`)",
        ),
        (
            "select count (x) from t",
            "r t w - (a function in it has a space before its parenthesis, which makes it one's own by default)",
        ),
        ("call s.p(1, (select max(x) from t))", "r t w - (it calls `s.p`)"),
        ("call p", "r - w - (it calls `p`)"),
        ("do f()", "r - w - (it calls `f`)"),
        ("set @a = f(1)", "r - w - (it calls `f`)"),
        ("prepare s from 'select * from t'", "r - w - (PREPARE runs nothing yet)"),
        ("execute s using @a", "r - w - (EXECUTE runs what an earlier PREPARE said)"),
        (
            "execute immediate 'select 1'",
            "r - w - (EXECUTE IMMEDIATE runs a text that is not looked into)",
        ),
        ("explain select * from t", "r t w - (EXPLAIN without ANALYZE only plans)"),
        ("explain format=json update t set a = 1", "r t w t (EXPLAIN without ANALYZE only plans)"),
        (
            "handler h read first where x = 1",
            "r h w - (HANDLER … READ reads what an earlier HANDLER … OPEN named)",
        ),
        ("drop database s", "r - w - (it drops a database, with every table in it)"),
        ("grant select on t to x", "r - w - (a statement of its kind is not looked into)"),
        ("binlog 'x'", "r - w - (a statement of its kind is not looked into)"),
        ("set password = password('x')", "r - w - (a statement of its kind is not looked into)"),
        (
            "set sql_mode = 'ANSI_QUOTES'; select * from t",
            "r t w - (it changes how the server reads the rest of its text)",
        ),
        (
            "select * from t where x = \"a\\\"b\"",
            "r t w - (it has a backslash before a quote in double quotes, which a setting of the session gives a meaning)",
        ),
        ("delete from a where x = 'from b", "r a w a (a literal in it does not end)"),
    ]);
}

#[test]
fn comments_that_servers_run_are_code() {
    let only = "(it has a comment that only some servers run)";
    check([
        ("select * from a /*! , b */", "r a b w -"),
        ("select * from a /*!50003 , b */", "r a b w -"),
        ("select * from a /* , b */", "r a w -"),
        ("/*!50003 insert into */ /* x */ /*! t */ values (1)", "r - w t"),
        ("select /*!1 +*/ 1 from /*!40101 `s`.*/ t", "r s.t w -"),
    ]);
    for sql in [
        "select * from a /*!80000 , b */",
        "select * from a /*!99999 , b */",
        "select * from a /*M! , b */",
        "select * from a /*M!100100 , b */",
    ] {
        assert_eq!(said(sql), format!("r a b w - {only}"), "{sql}");
    }
    // Read as code it is another statement than read as a comment: both count.
    assert_eq!(said("select * from /*!99999 a; -- */ b"), format!("r a b w - {only}"));
}

#[test]
fn a_name_in_double_quotes_is_not_known() {
    let unknown = "it has a name that is not a table's";
    assert_eq!(said("select * from t, \"u\""), format!("r t w - ({unknown})"));
    assert_eq!(said("insert into \"u\" values (1)"), format!("r - w - ({unknown})"));
    assert_eq!(said("delete a from a join \"u\" b using (x)"), format!("r a w a ({unknown})"));
    assert_eq!(said("truncate \"u\""), format!("r - w - ({unknown})"));
    assert_eq!(said("lock tables a read, \"u\" write"), format!("r a w - ({unknown})"));
}

#[test]
fn what_is_left_of_a_redacted_text_is_doubtful_where_it_hides_a_name() {
    let only = "it has a comment that only some servers run";
    let not = format!("it could not be parsed: {PICKED}");
    assert_eq!(said("select ?, @? from a where b = ? limit ?"), format!("r a w - ({not})"));
    assert_eq!(said("select ? from a where b = ? limit ?"), "r a w -");
    assert_eq!(said("insert into a values (?, ?), (?, ?)"), "r - w a");
    assert_eq!(said("load data local infile ? into table a"), "r - w a");
    assert_eq!(said("select * from ?"), format!("r - w - ({not})"));
    assert_eq!(said("truncate ?"), "r - w - (it has a name that is not a table's)");
    assert_eq!(said("select ? /*!99999 ?"), format!("r - w - ({not}; {only})"));
    assert_eq!(
        said("select 1; /*!99999 ?"),
        format!("r - w - (a statement of its kind is not looked into; {only})")
    );
}

const PICKED: &str = "its names were picked out of it, and may be too many or too few";

#[test]
fn what_is_not_parsed_is_looked_through_for_names() {
    let not = format!("it could not be parsed: {PICKED}");
    assert_eq!(said("selec * from t"), "r - w - (a statement of its kind is not looked into)");
    assert_eq!(said("select * frm t join s.u on 1 = 1 x y"), format!("r s.u w - ({not})"));
    assert_eq!(
        said("create procedure p() begin delete from a; select * from b; end"),
        format!("r a b w a b (it changes definitions, which can touch more than they name; {not})")
    );
    assert_eq!(
        said("begin not atomic insert into a select * from b; end"),
        format!("r b w a b ({not})")
    );
    // What follows in the same text is another statement.
    assert_eq!(said("select ((1; delete from t"), format!("r t w t ({not})"));
}

#[test]
fn a_backslash_is_what_the_session_says_it_is() {
    let sql = r"select 'a\' from t -- '";
    let with = |strings| {
        let shape = Shape::of(sql, Engine::MySql, strings);
        shown(shape.doubt(shape.analyse(), Whole::Yes))
    };
    assert_eq!(with(Strings::Standard), "r t w -");
    assert_eq!(with(Strings::Backslash), "r - w -");
}

fn relation(name: Name, kind: &str) -> Relation {
    let (kind, on_read, on_write) = (kind.to_owned(), Vec::new(), vec!["triggers".to_owned()]);
    Relation { name, kind, on_read, on_write, over: Vec::new() }
}

/// Against a catalogue with `shop.orders`, which has triggers.
fn resolved(sql: &str, home: Option<&str>) -> (Vec<String>, Vec<String>, Vec<String>) {
    let orders = relation(Name::qualified("shop", "orders"), "table");
    let catalogue = |name: &Name| {
        let same =
            name.schema.as_deref() == Some("shop") && name.name.eq_ignore_ascii_case("orders");
        same.then_some(&orders)
    };
    let (engine, because) = (Engine::MySql, Vec::new());
    let evidence = Evidence { engine, home, rows_from: &[], because, catalogue: &catalogue };
    let analysis = analyse(sql, Engine::MySql, Whole::Yes);
    let Affected { read, written, complete, because } = resolve(&analysis, &evidence);
    assert_eq!(complete, because.is_empty());
    let list = |names: std::collections::BTreeSet<String>| names.into_iter().collect::<Vec<_>>();
    (list(read), list(written), list(because))
}

#[test]
fn names_without_a_database_are_in_the_sessions() {
    let none: Vec<String> = Vec::new();
    let orders = vec!["shop.orders".to_owned()];
    let rows = [
        ("select * from orders", Some("shop"), (orders.clone(), none.clone(), none.clone())),
        ("select * from shop.orders", None, (orders, none.clone(), none.clone())),
        (
            "select * from orders",
            None,
            (
                vec!["orders".to_owned()],
                none.clone(),
                vec!["the database of `orders` is not known".to_owned()],
            ),
        ),
        (
            "select * from orders",
            Some("other"),
            (
                vec!["other.orders".to_owned()],
                none.clone(),
                vec!["`other.orders` was not looked up in the catalogue".to_owned()],
            ),
        ),
        (
            "insert into Orders values (1)",
            Some("shop"),
            (
                none.clone(),
                vec!["shop.Orders".to_owned(), "shop.orders".to_owned()],
                vec![
                    "`shop.Orders` and `shop.orders` may be two tables".to_owned(),
                    "`shop.orders` has triggers".to_owned(),
                ],
            ),
        ),
        ("select user from mysql.user", None, (vec!["mysql.user".to_owned()], none.clone(), none)),
    ];
    for (sql, home, expected) in rows {
        assert_eq!(resolved(sql, home), expected, "{sql}");
    }
}
