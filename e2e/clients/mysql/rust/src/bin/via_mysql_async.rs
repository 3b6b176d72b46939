//! mysql_async. A token is sent in clear inside TLS, which the driver does only when it is told to.

use std::path::PathBuf;

use anyhow::{Result, anyhow, ensure};
use futures_util::TryStreamExt;
use mysql_async::prelude::*;
use mysql_async::{ChangeUserOpts, Conn, Error, OptsBuilder, Params, Row, SslOpts, TxOpts, Value};
use mysql_clients::{
    LARGE_SQL, Place, ROWS, RUNNING, SLEEP, Seen, absent, large, large_md5, poll, same, tell,
    versions,
};

const DOCUMENTATION: &str = "https://docs.rs/mysql_async/latest/mysql_async/struct.Conn.html";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let place = &Place::from_environment()?;
    versions(&format!("mysql_async {}", env!("MYSQL_ASYNC")));
    tell("login", login(place, &place.password)).await;
    if let Some(handle) = &place.handle {
        tell("handle", login(place, handle)).await;
        tell("refused", refused(place)).await;
        tell("changeUser", change_user(place)).await;
    }
    tell("query", query(place)).await;
    tell("types", types(place)).await;
    tell("prepared", prepared(place)).await;
    tell("multi", multi(place)).await;
    tell("procedure", procedure(place)).await;
    tell("stream", stream(place)).await;
    absent("cursor", "no cursors at the server", DOCUMENTATION);
    tell("largeIn", large_in(place, 64 << 20)).await;
    tell("largeOut", large_out(place)).await;
    // What does not fit into what the server takes goes ahead of its statement, in packets of 16 MiB.
    tell("longData", large_in(place, 17 << 20)).await;
    tell("transaction", transaction(place)).await;
    tell("kill", kill(place)).await;
    tell("reset", reset(place)).await;
    tell("reconnect", reconnect(place)).await;
    tell("charset", charset(place)).await;
    absent("orm", "no object-relational mapper is run in Rust", DOCUMENTATION);
    Ok(())
}

async fn connect(place: &Place, password: &str, packet_bytes_max: usize) -> Result<Conn, Error> {
    let authority = PathBuf::from(&place.authority);
    let options = OptsBuilder::default()
        .ip_or_hostname(&place.host)
        .tcp_port(place.port)
        .user(Some(&place.user))
        .pass(Some(password))
        .db_name(Some(&place.database))
        .prefer_socket(false)
        .enable_cleartext_plugin(true)
        .max_allowed_packet(Some(packet_bytes_max))
        .ssl_opts(SslOpts::default().with_root_certs(vec![authority.into()]));
    Conn::new(options).await
}

async fn session(place: &Place) -> Result<Conn> {
    Ok(connect(place, &place.password, 64 << 20).await?)
}

/// Every result: columns with their types and rows, and what the server says of it.
async fn results(connection: &mut Conn, sql: &str) -> Result<String, Error> {
    let mut found = connection.query_iter(sql).await?;
    let mut text = String::new();
    while !found.is_empty() {
        for column in found.columns_ref() {
            text.push_str(&format!(
                "{} {:?} {:?} {} {}; ",
                column.name_str(),
                column.column_type(),
                column.flags(),
                column.column_length(),
                column.character_set()
            ));
        }
        for row in found.collect::<Row>().await? {
            text.push_str(&format!("{:?}|", row.unwrap()));
        }
    }
    text.push_str(&format!(
        "affected {} last id {:?} warnings {} info {}",
        found.affected_rows(),
        found.last_insert_id(),
        found.warnings(),
        found.info()
    ));
    found.drop_result().await?;
    Ok(text)
}

async fn number(connection: &mut Conn, sql: &str) -> Result<i64> {
    let found: Option<i64> = connection.query_first(sql).await?;
    found.ok_or_else(|| anyhow!("no row"))
}

fn code(error: &Error) -> u16 {
    match error {
        Error::Server(error) => error.code,
        _ => 0,
    }
}

async fn fails(connection: &mut Conn, sql: &str) -> Result<u16> {
    match results(connection, sql).await {
        Ok(text) => Err(anyhow!("no error, but {text}")),
        Err(error) => Ok(code(&error)),
    }
}

async fn login(place: &Place, password: &str) -> Result<Seen> {
    let mut seen = Seen::default();
    let mut connection = connect(place, password, 64 << 20).await?;
    let user: Option<String> = connection.query_first("select current_user()").await?;
    same(user, Some(place.account()))?;
    let sql = "select database(), @@version, @@character_set_client, @@collation_connection";
    seen.see(results(&mut connection, sql).await?);
    seen.see(connection.server_version());
    connection.disconnect().await?;
    Ok(seen)
}

async fn refused(place: &Place) -> Result<Seen> {
    for (wanted, password) in &place.refused {
        let error = connect(place, password, 64 << 20).await.err();
        let error = error.ok_or_else(|| anyhow!("it came in, instead of {wanted}"))?;
        same(code(&error), 1045)?;
        let text = error.to_string();
        ensure!(text.contains(wanted.as_str()), "{text}");
    }
    Ok(Seen::default())
}

async fn query(place: &Place) -> Result<Seen> {
    let (mut seen, mut connection) = (Seen::default(), session(place).await?);
    for sql in [
        "create temporary table t (id int auto_increment primary key, name varchar(40) not null, unique (name))",
        "insert into t (name) values ('one'), ('two'), ('three')",
        "insert ignore into t (name) values ('one'), ('five')",
        "show warnings",
        "update t set name = 'two' where id < 3 and name = 'two'",
        "select * from t order by id",
        "select 1 / 0, null, cast('x' as signed)",
        "show warnings",
    ] {
        seen.see(results(&mut connection, sql).await?);
    }
    for sql in
        ["select * from no_such_table", "insert into t (name) values ('one')", "selec 1", "kill 0"]
    {
        seen.see(fails(&mut connection, sql).await?);
    }
    same(number(&mut connection, "select count(*) from t").await?, 4)?;
    Ok(seen)
}

async fn types(place: &Place) -> Result<Seen> {
    let (mut seen, mut connection) = (Seen::default(), session(place).await?);
    seen.see(results(&mut connection, "select * from every_type order by id").await?);
    Ok(seen)
}

async fn prepared(place: &Place) -> Result<Seen> {
    let (mut seen, mut connection) = (Seen::default(), session(place).await?);
    let sql = "select * from every_type where id >= ? and id < ? order by id";
    let statement = connection.prep(sql).await?;
    for (from, to) in [(1, 9), (2, 3), (9, 9)] {
        let rows: Vec<Row> = connection.exec(&statement, (from, to)).await?;
        seen.see(rows.into_iter().map(Row::unwrap).collect::<Vec<_>>());
    }
    connection.close(statement).await?;
    for (number, text, bytes) in [(-7_i64, "Grüße 🐘", vec![0, 255_u8]), (1 << 62, "", Vec::new())]
    {
        let given = vec![
            Value::from(number),
            Value::from(2.5_f64),
            Value::from(text),
            Value::from(bytes),
            Value::Date(2024, 2, 29, 23, 59, 59, 123_456),
            Value::Time(true, 2, 3, 4, 5, 6),
            Value::NULL,
        ];
        let row: Option<Row> = connection
            .exec_first("select ? + 0, ?, ?, hex(?), ?, ?, ?", Params::Positional(given))
            .await?;
        seen.see(row.map(Row::unwrap));
    }
    let wrong = connection.prep("select * from no_such_table where id = ?").await;
    same(wrong.err().as_ref().map(code), Some(1146))?;
    Ok(seen)
}

async fn multi(place: &Place) -> Result<Seen> {
    let (mut seen, mut connection) = (Seen::default(), session(place).await?);
    let sql = "select 1 as a; create temporary table m (id int); insert into m values (1), (2); \
               select * from m; set @x = 7; select @x, 'x' union select 8, 'y'; \
               update m set id = id + 1; select 'last'";
    seen.see(results(&mut connection, sql).await?);
    let sql = "select 1; select * from no_such_table; select 2";
    same(fails(&mut connection, sql).await?, 1146)?;
    same(number(&mut connection, "select 7").await?, 7)?;
    Ok(seen)
}

async fn procedure(place: &Place) -> Result<Seen> {
    let (mut seen, mut connection) = (Seen::default(), session(place).await?);
    connection.query_drop("set @counted = 40").await?;
    seen.see(results(&mut connection, "call both_ways(2, @counted)").await?);
    same(number(&mut connection, "select @counted").await?, 42)?;
    same(fails(&mut connection, "call no_such_procedure()").await?, 1305)?;
    Ok(seen)
}

async fn stream(place: &Place) -> Result<Seen> {
    let mut connection = session(place).await?;
    let sql = format!("select seq, repeat('x', 100) from seq_1_to_{ROWS}");
    let mut rows = sql.stream::<(i64, String), _>(&mut connection).await?;
    let (mut count, mut total) = (0, 0);
    while let Some((id, _)) = rows.try_next().await? {
        (count, total) = (count + 1, total + id);
    }
    drop(rows);
    same((count, total), (ROWS, ROWS * (ROWS + 1) / 2))?;
    same(number(&mut connection, "select 1").await?, 1)?;
    Ok(Seen::default())
}

async fn large_in(place: &Place, packet_bytes_max: usize) -> Result<Seen> {
    let mut connection = connect(place, &place.password, packet_bytes_max).await?;
    let found: Option<String> = connection.exec_first("select md5(?)", (large(),)).await?;
    same(found, Some(large_md5()))?;
    Ok(Seen::default())
}

async fn large_out(place: &Place) -> Result<Seen> {
    let mut connection = session(place).await?;
    let found: Option<String> = connection.query_first(LARGE_SQL).await?;
    same(found, Some(large()))?;
    Ok(Seen::default())
}

async fn transaction(place: &Place) -> Result<Seen> {
    let mut seen = Seen::default();
    let (mut connection, mut other) = (session(place).await?, session(place).await?);
    let count = "select count(*) from every_type where id > 100";
    let mut transaction = connection.start_transaction(TxOpts::default()).await?;
    for sql in [
        "insert into every_type (id) values (101)",
        "savepoint half",
        "insert into every_type (id) values (102)",
        "rollback to savepoint half",
    ] {
        transaction.query_drop(sql).await?;
    }
    seen.see(number(&mut other, count).await?);
    transaction.commit().await?;
    seen.see(number(&mut other, count).await?);
    let mut transaction = connection.start_transaction(TxOpts::default()).await?;
    transaction.query_drop("delete from every_type where id > 100").await?;
    transaction.rollback().await?;
    seen.see(number(&mut other, count).await?);
    other.query_drop("delete from every_type where id > 100").await?;
    same(number(&mut other, count).await?, 0)?;
    Ok(seen)
}

async fn kill(place: &Place) -> Result<Seen> {
    let (mut connection, mut observer) = (session(place).await?, session(place).await?);
    let kill = format!("kill query {}", connection.id());
    let stop = async {
        poll(async || Ok(number(&mut observer, RUNNING).await? == 1)).await?;
        observer.query_drop(kill).await?;
        same(fails(&mut observer, "kill query 4294967290").await?, 1094)
    };
    let (ended, stopped) = tokio::join!(fails(&mut connection, SLEEP), stop);
    stopped?;
    same(ended?, 1317)?;
    same(number(&mut connection, "select 1").await?, 1)?;
    Ok(Seen::default())
}

async fn reset(place: &Place) -> Result<Seen> {
    let (mut seen, mut connection) = (Seen::default(), session(place).await?);
    connection.query_drop("set @kept = 1, sql_mode = 'ansi'").await?;
    connection.query_drop("create temporary table gone (id int)").await?;
    same(connection.reset().await?, true)?;
    let sql = "select @kept, @@sql_mode, database(), @@character_set_client";
    seen.see(results(&mut connection, sql).await?);
    same(fails(&mut connection, "select * from gone").await?, 1146)?;
    Ok(seen)
}

async fn change_user(place: &Place) -> Result<Seen> {
    let mut connection = session(place).await?;
    let error = connection.change_user(ChangeUserOpts::default()).await.err();
    let error = error.ok_or_else(|| anyhow!("the user was changed"))?;
    same(code(&error), 1047)?;
    let text = error.to_string();
    ensure!(text.contains("COM_CHANGE_USER") && text.contains("connect again"), "{text}");
    Ok(Seen::default())
}

async fn reconnect(place: &Place) -> Result<Seen> {
    let seen = login(place, &place.password).await?;
    let (first, second) = tokio::join!(session(place), session(place));
    let (mut first, mut second) = (first?, second?);
    same(number(&mut first, "select 1").await? + number(&mut second, "select 1").await?, 2)?;
    second.query_drop(format!("kill {}", first.id())).await?;
    ensure!(first.ping().await.is_err(), "it lives on");
    login(place, &place.password).await?;
    Ok(seen)
}

async fn charset(place: &Place) -> Result<Seen> {
    let (mut seen, mut connection) = (Seen::default(), session(place).await?);
    let sql = "select hex('Grüße'), a_varchar, length(a_varchar) from every_type where id = 1";
    seen.see(results(&mut connection, sql).await?);
    connection.query_drop("set names latin1").await?;
    seen.see(results(&mut connection, sql).await?);
    Ok(seen)
}
