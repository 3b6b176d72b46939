//! tokio-postgres.

use std::pin::pin;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{SinkExt, TryStreamExt};
use pg_clients::{LARGE_SQL, Place, ROWS, RUNNING, large, large_md5, poll, same, tell, versions};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let place = &Place::from_environment()?;
    versions(&format!("tokio-postgres {}", env!("TOKIO_POSTGRES")));
    tell("login", login(place, &place.password)).await;
    if let Some(handle) = &place.handle {
        tell("handle", login(place, handle)).await;
    }
    tell("simple", simple(place)).await;
    tell("prepared", prepared(place)).await;
    tell("pipeline", pipeline(place)).await;
    tell("copyIn", copy_in(place)).await;
    tell("copyOut", copy_out(place)).await;
    tell("cancel", cancel(place)).await;
    tell("largeIn", large_in(place)).await;
    tell("largeOut", large_out(place)).await;
    tell("reconnect", reconnect(place)).await;
    Ok(())
}

fn tls(place: &Place) -> Result<MakeRustlsConnect> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&place.authority)? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

async fn connect(place: &Place, password: &str) -> Result<Client> {
    let (client, connection) = Config::new()
        .host(&place.host)
        .port(place.port)
        .dbname(&place.database)
        .user(&place.user)
        .password(password)
        .ssl_mode(SslMode::Require)
        .connect(tls(place)?)
        .await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn session(place: &Place) -> Result<Client> {
    connect(place, &place.password).await
}

async fn number(client: &Client, sql: &str) -> Result<i64> {
    Ok(client.query_one(sql, &[]).await?.try_get(0)?)
}

fn state(error: &tokio_postgres::Error) -> Option<&str> {
    error.code().map(|code| code.code())
}

async fn login(place: &Place, password: &str) -> Result<()> {
    let client = connect(place, password).await?;
    let row = client.query_one("select session_user::text", &[]).await?;
    same(row.try_get::<_, String>(0)?, place.user.clone())
}

async fn simple(place: &Place) -> Result<()> {
    let client = session(place).await?;
    let said = client.simple_query("select 6 * 7; select 1").await?;
    let values: Vec<_> = said
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        })
        .collect();
    same(values, vec!["42", "1"])?;
    let error = client.simple_query("select * from no_such_table").await.err();
    same(error.as_ref().and_then(state), Some("42P01"))?;
    same(number(&client, "select 1::int8").await?, 1)
}

async fn prepared(place: &Place) -> Result<()> {
    let client = session(place).await?;
    let statement = client.prepare("select 2 * $1::int8").await?;
    for value in 0..10_i64 {
        same(client.query_one(&statement, &[&value]).await?.try_get::<_, i64>(0)?, 2 * value)?;
    }
    Ok(())
}

/// Futures that are polled together are sent without waiting for one another.
async fn pipeline(place: &Place) -> Result<()> {
    let client = session(place).await?;
    let (same_value, divided) =
        (client.prepare("select $1::int8").await?, client.prepare("select 1 / $1::int8").await?);
    let ask = async |value: i64| client.query_one(&same_value, &[&value]).await;
    for (wanted, row) in (0..).zip(join_all((0..500).map(ask)).await) {
        same(row?.try_get::<_, i64>(0)?, wanted)?;
    }
    let divide = async |value: i64| client.query_one(&divided, &[&value]).await;
    let around = join_all([1, 0, 1].map(divide)).await;
    let states: Vec<_> = around.iter().map(|row| row.as_ref().err().and_then(state)).collect();
    same(states, vec![None, Some("22012"), None])
}

async fn copy_in(place: &Place) -> Result<()> {
    let client = session(place).await?;
    client.batch_execute("create temp table copied (id int, name text)").await?;
    let mut sink = pin!(client.copy_in("copy copied from stdin").await?);
    for n in 0..ROWS {
        sink.feed(Bytes::from(format!("{n}\tname {n}\n"))).await?;
    }
    same(sink.finish().await?, ROWS.unsigned_abs())?;
    same(number(&client, "select sum(id) from copied").await?, ROWS * (ROWS - 1) / 2)
}

async fn copy_out(place: &Place) -> Result<()> {
    let client = session(place).await?;
    let sql = format!("copy (select generate_series(1, {ROWS})) to stdout");
    let pieces: Vec<Bytes> = client.copy_out(&sql).await?.try_collect().await?;
    same(pieces.concat(), (1..=ROWS).map(|n| format!("{n}\n")).collect::<String>().into_bytes())
}

/// Inside TLS, as the driver does where it is given TLS.
async fn cancel(place: &Place) -> Result<()> {
    let (client, observer) = (session(place).await?, session(place).await?);
    let stop = async {
        poll(async || Ok(number(&observer, RUNNING).await? == 1)).await?;
        client.cancel_token().cancel_query(tls(place)?).await.context("cancel request")
    };
    let (slept, stopped) = tokio::join!(client.batch_execute("select pg_sleep(61)"), stop);
    stopped?;
    let error = slept.err().ok_or_else(|| anyhow!("it slept"))?;
    same(state(&error), Some("57014"))?;
    same(number(&client, "select 1::int8").await?, 1)
}

async fn large_in(place: &Place) -> Result<()> {
    let row = session(place).await?.query_one("select md5($1::text)", &[&large()]).await?;
    same(row.try_get::<_, String>(0)?, large_md5())
}

async fn large_out(place: &Place) -> Result<()> {
    let row = session(place).await?.query_one(LARGE_SQL, &[]).await?;
    same(row.try_get::<_, String>(0)?, large())
}

async fn reconnect(place: &Place) -> Result<()> {
    login(place, &place.password).await?;
    let (first, second) = tokio::try_join!(session(place), session(place))?;
    same(number(&first, "select 1::int8").await? + number(&second, "select 1::int8").await?, 2)
}
