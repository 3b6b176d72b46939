//! Sessions for sqlx's own suite, at `DATABASE_URL`.

use anyhow::Result;
use sqlx::pool::PoolOptions;
use sqlx::{Connection, Database, Pool};

const CONNECTIONS_MAX: u32 = 5;

/// The environment is whole when the suite begins.
pub fn setup_if_needed() {}

pub async fn new<DB: Database>() -> Result<DB::Connection> {
    Ok(DB::Connection::connect(&std::env::var("DATABASE_URL")?).await?)
}

pub async fn pool<DB: Database>() -> Result<Pool<DB>> {
    let options = PoolOptions::<DB>::new().max_connections(CONNECTIONS_MAX);
    Ok(options.connect(&std::env::var("DATABASE_URL")?).await?)
}
