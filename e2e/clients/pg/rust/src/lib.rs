//! What every Rust client does: say its versions, then one line for each feature.

use std::future::Future;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use md5::{Digest, Md5};
use serde_json::json;

pub const ROWS: i64 = 10_000;
pub const LARGE_SQL: &str = "select repeat('0123456789abcdef', 2 * 1024 * 1024)";
pub const RUNNING: &str = "select count(*) from pg_stat_activity where state = 'active' \
                           and query like '%pg_sleep(61)%' and pid <> pg_backend_pid()";
const FEATURE_WITHIN: Duration = Duration::from_secs(120);
const POLLS_MAX: u32 = 1_500;

/// Where and as whom.
pub struct Place {
    pub host: String,
    pub port: u16,
    pub database: String,
    pub user: String,
    pub password: String,
    pub handle: Option<String>,
    pub authority: String,
}

impl Place {
    pub fn from_environment() -> Result<Self> {
        let variable = |name: &str| std::env::var(name).map_err(|_| anyhow!("{name} is not set"));
        Ok(Self {
            host: variable("PGHOST")?,
            port: variable("PGPORT")?.parse()?,
            database: variable("PGDATABASE")?,
            user: variable("PGUSER")?,
            password: variable("PGPASSWORD")?,
            handle: variable("PGHANDLE").ok(),
            authority: variable("PGSSLROOTCERT")?,
        })
    }
}

pub fn versions(text: &str) {
    println!("{}", json!({ "versions": text }));
}

/// Tells how one feature's story ended.
pub async fn tell(feature: &str, story: impl Future<Output = Result<()>>) {
    let ended = match tokio::time::timeout(FEATURE_WITHIN, story).await {
        Ok(ended) => ended,
        Err(_) => Err(anyhow!("it does not end")),
    };
    match ended {
        Ok(()) => println!("{}", json!({ "feature": feature, "outcome": "works" })),
        Err(error) => {
            let reason = format!("{error:#}");
            println!("{}", json!({ "feature": feature, "outcome": "fails", "reason": reason }));
        }
    }
}

/// The client has no such feature; its documentation is the source.
pub fn absent(feature: &str, reason: &str, source: &str) {
    let line =
        json!({ "feature": feature, "outcome": "absent", "reason": reason, "source": source });
    println!("{line}");
}

pub fn large() -> String {
    "0123456789abcdef".repeat(2 * 1024 * 1024)
}

pub fn large_md5() -> String {
    Md5::digest(large()).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn same<T: PartialEq + std::fmt::Debug>(found: T, wanted: T) -> Result<()> {
    let shown = |value: &T| format!("{value:?}").chars().take(200).collect::<String>();
    ensure!(found == wanted, "{} instead of {}", shown(&found), shown(&wanted));
    Ok(())
}

/// Asks until the answer is true.
pub async fn poll(mut question: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    for _ in 0..POLLS_MAX {
        if question().await? {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(anyhow!("waited in vain"))
}
