//! sqlx.

use anyhow::Result;
use futures_util::TryStreamExt;
use pg_clients::{LARGE_SQL, Place, ROWS, absent, large, large_md5, same, tell, versions};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions, Connection, Executor, PgConnection, Row};

const DOCUMENTATION: &str = "https://docs.rs/sqlx/latest/sqlx/postgres/struct.PgConnection.html";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let place = &Place::from_environment()?;
    versions(&format!("sqlx {}", env!("SQLX")));
    tell("login", login(place, &place.password)).await;
    if let Some(handle) = &place.handle {
        tell("handle", login(place, handle)).await;
    }
    tell("simple", simple(place)).await;
    tell("prepared", prepared(place)).await;
    absent("pipeline", "sqlx waits for each answer", DOCUMENTATION);
    tell("copyIn", copy_in(place)).await;
    tell("copyOut", copy_out(place)).await;
    absent("cancel", "sqlx sends no cancel requests", DOCUMENTATION);
    tell("largeIn", large_in(place)).await;
    tell("largeOut", large_out(place)).await;
    tell("reconnect", reconnect(place)).await;
    Ok(())
}

async fn connect(place: &Place, password: &str) -> Result<PgConnection> {
    let options = PgConnectOptions::new_without_pgpass()
        .host(&place.host)
        .port(place.port)
        .database(&place.database)
        .username(&place.user)
        .password(password)
        .ssl_mode(PgSslMode::VerifyFull)
        .ssl_root_cert(&place.authority);
    Ok(options.connect().await?)
}

async fn session(place: &Place) -> Result<PgConnection> {
    connect(place, &place.password).await
}

async fn number(connection: &mut PgConnection, sql: &str) -> Result<i64> {
    Ok(sqlx::query_scalar(sql).fetch_one(connection).await?)
}

async fn login(place: &Place, password: &str) -> Result<()> {
    let mut connection = connect(place, password).await?;
    let user: String =
        sqlx::query_scalar("select session_user::text").fetch_one(&mut connection).await?;
    connection.close().await?;
    same(user, place.user.clone())
}

async fn simple(place: &Place) -> Result<()> {
    let mut connection = session(place).await?;
    // A text without arguments goes as a simple Query.
    let rows = (&mut connection).fetch_all("select 42::int8; select 1::int8").await?;
    let values: Result<Vec<i64>, _> = rows.iter().map(|row| row.try_get(0)).collect();
    same(values?, vec![42, 1])?;
    let error = (&mut connection).execute("select * from no_such_table").await.err();
    let state = error.as_ref().and_then(|error| error.as_database_error()?.code());
    same(state.as_deref(), Some("42P01"))?;
    same(number(&mut connection, "select 1::int8").await?, 1)
}

async fn prepared(place: &Place) -> Result<()> {
    let mut connection = session(place).await?;
    for value in 0..10_i64 {
        let query = sqlx::query_scalar("select 2 * $1::int8").bind(value).persistent(true);
        same(query.fetch_one(&mut connection).await?, 2 * value)?;
    }
    let count = "select count(*) from pg_prepared_statements where statement like 'select 2 *%'";
    same(number(&mut connection, count).await?, 1)
}

async fn copy_in(place: &Place) -> Result<()> {
    let mut connection = session(place).await?;
    (&mut connection).execute("create temp table copied (id int, name text)").await?;
    let mut copy = connection.copy_in_raw("copy copied from stdin").await?;
    let lines: String = (0..ROWS).map(|n| format!("{n}\tname {n}\n")).collect();
    copy.send(lines.into_bytes()).await?;
    same(copy.finish().await?, ROWS.unsigned_abs())?;
    same(number(&mut connection, "select sum(id) from copied").await?, ROWS * (ROWS - 1) / 2)
}

async fn copy_out(place: &Place) -> Result<()> {
    let mut connection = session(place).await?;
    let sql = format!("copy (select generate_series(1, {ROWS})) to stdout");
    let pieces: Vec<_> = connection.copy_out_raw(&sql).await?.try_collect().await?;
    let found: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
    same(found, (1..=ROWS).map(|n| format!("{n}\n")).collect::<String>().into_bytes())
}

async fn large_in(place: &Place) -> Result<()> {
    let mut connection = session(place).await?;
    let query = sqlx::query_scalar("select md5($1)").bind(large());
    same(query.fetch_one(&mut connection).await?, large_md5())
}

async fn large_out(place: &Place) -> Result<()> {
    let mut connection = session(place).await?;
    let found: String = sqlx::query_scalar(LARGE_SQL).fetch_one(&mut connection).await?;
    same(found, large())
}

async fn reconnect(place: &Place) -> Result<()> {
    login(place, &place.password).await?;
    let (mut first, mut second) = tokio::try_join!(session(place), session(place))?;
    let both =
        number(&mut first, "select 1::int8").await? + number(&mut second, "select 1::int8").await?;
    same(both, 2)
}
