//! What every Rust client does: say its versions, then one line for each feature.

use std::future::Future;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use md5::{Digest, Md5};
use serde_json::json;

pub const ROWS: i64 = 100_000;
pub const LARGE_SQL: &str = "select repeat('0123456789abcdef', 5 * 256 * 1024)";
pub const SLEEP: &str = "select sleep(61)";
pub const RUNNING: &str = "select count(*) from information_schema.processlist \
                           where info like 'select sleep(61)%' and state like 'User sleep%'";
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
    /// Passwords that do not open, each behind the code that says why.
    pub refused: Vec<(String, String)>,
    pub authority: String,
}

impl Place {
    pub fn from_environment() -> Result<Self> {
        let variable = |name: &str| std::env::var(name).map_err(|_| anyhow!("{name} is not set"));
        Ok(Self {
            host: variable("DB_HOST")?,
            port: variable("DB_PORT")?.parse()?,
            database: variable("DB_NAME")?,
            user: variable("DB_USER")?,
            password: variable("DB_PASSWORD")?,
            handle: variable("DB_HANDLE").ok(),
            refused: refused(&variable("DB_REFUSED").unwrap_or_default()),
            authority: variable("DB_CA")?,
        })
    }

    /// Who the server says it is.
    pub fn account(&self) -> String {
        format!("{}@{}", self.user, self.host)
    }
}

fn refused(list: &str) -> Vec<(String, String)> {
    let each = list.split_whitespace().filter_map(|wrong| wrong.split_once('='));
    each.map(|(code, password)| (code.to_owned(), password.to_owned())).collect()
}

/// What has to be the same in both places.
#[derive(Default)]
pub struct Seen(Vec<String>);

impl Seen {
    pub fn see(&mut self, value: impl std::fmt::Debug) {
        self.0.push(format!("{value:?}"));
    }
}

pub fn versions(text: &str) {
    println!("{}", json!({ "versions": text }));
}

/// Tells how one feature's story ended.
pub async fn tell(feature: &str, story: impl Future<Output = Result<Seen>>) {
    let ended = match tokio::time::timeout(FEATURE_WITHIN, story).await {
        Ok(ended) => ended,
        Err(_) => Err(anyhow!("it does not end")),
    };
    match ended {
        Ok(Seen(seen)) => {
            let saw = seen.join("\n");
            println!("{}", json!({ "feature": feature, "outcome": "works", "saw": saw }));
        }
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
    "0123456789abcdef".repeat(5 * 256 * 1024)
}

pub fn large_md5() -> String {
    Md5::digest(large()).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn same<T: PartialEq + std::fmt::Debug>(found: T, wanted: T) -> Result<()> {
    let shown = |value: &T| format!("{value:?}").chars().take(300).collect::<String>();
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
