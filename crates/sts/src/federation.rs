//! Other issuers' keys: fetched when they are first needed, kept, renewed, and kept a while longer when the issuer is
//! away. Only issuers that some credential in the directory names are ever asked.

mod fetch;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use access::token::{KEY_SET_BYTES_MAX, KeySet};
use model::Timestamp;
use runtime::Clock;
use runtime::config::Federation;

pub(crate) use fetch::FetchError;

/// Keys are asked for again after so long, so that one that was withdrawn counts no more.
const FRESH: Duration = Duration::from_hours(1);

/// While the issuer cannot be reached, its last keys count for so long from when they were fetched.
const STALE_MAX: Duration = Duration::from_hours(24);

/// An issuer is asked at most so often, whatever strangers present.
const ASKED_EVERY: Duration = Duration::from_secs(10);

/// Issuers remembered at a time; those that nobody waits for are forgotten beyond that.
const ISSUERS_MAX: usize = 1_000;

/// Keys of all issuers.
#[derive(Debug)]
pub(crate) struct Issuers {
    config: Federation,
    known: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Issuer>>>>,
}

/// What is known of one issuer.
#[derive(Debug, Default)]
struct Issuer {
    keys: Option<Arc<KeySet>>,
    fetched_at: Timestamp,
    asked_at: Option<Timestamp>,
    /// How the last attempt ended.
    failed: Option<FetchError>,
    /// Of the file that the keys were read from.
    written_at: Option<SystemTime>,
}

/// Which keys are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Those that are known, if they are recent enough.
    Known,
    /// Newer ones: a token names a key that is not among those that are known.
    Newer,
}

impl Issuers {
    pub(crate) fn new(config: Federation) -> Self {
        Self { config, known: Mutex::default() }
    }

    /// The issuer's keys. Whoever asks while they are being fetched waits for the same answer.
    pub(crate) async fn keys(
        &self,
        issuer: &str,
        wanted: Wanted,
        clock: &Clock,
    ) -> Result<Arc<KeySet>, FetchError> {
        let entry = self.entry(issuer);
        let mut known = entry.lock().await;
        if let Some(file) = self.config.issuer(issuer).and_then(|known| known.keys.as_deref()) {
            return known.of_file(file).await;
        }
        let now = clock.now();
        let fresh = known.keys.is_some() && now < known.fetched_at.plus(FRESH);
        let may_ask = known.asked_at.is_none_or(|asked| asked.plus(ASKED_EVERY) <= now);
        match wanted {
            Wanted::Known if fresh => {}
            Wanted::Known | Wanted::Newer if may_ask => {
                known.asked_at = Some(now);
                match fetch::keys(issuer, &self.config).await {
                    Ok(keys) => known.learn(issuer, keys, now),
                    Err(error) => {
                        tracing::warn!(issuer, %error, cause = error.cause(), "an issuer's keys cannot be fetched");
                        known.failed = Some(error);
                    }
                }
            }
            Wanted::Known | Wanted::Newer => {}
        }
        known.answer(wanted, now)
    }

    fn entry(&self, issuer: &str) -> Arc<tokio::sync::Mutex<Issuer>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = known.get(issuer) {
            return Arc::clone(entry);
        }
        if known.len() >= ISSUERS_MAX {
            known.retain(|_, entry| Arc::strong_count(entry) > 1);
        }
        Arc::clone(known.entry(issuer.to_owned()).or_default())
    }
}

impl Issuer {
    fn learn(&mut self, issuer: &str, keys: KeySet, now: Timestamp) {
        if self.keys.as_deref() != Some(&keys) {
            tracing::info!(issuer, keys = keys.len(), "an issuer's keys are known");
        }
        self.keys = Some(Arc::new(keys));
        self.fetched_at = now;
        self.failed = None;
    }

    /// Keys that are too old are no keys. Those that do not have what is wanted are, unless the issuer is away: then
    /// nobody can say whether it has made a new one.
    fn answer(&self, wanted: Wanted, now: Timestamp) -> Result<Arc<KeySet>, FetchError> {
        let usable = self.keys.as_ref().filter(|_| now < self.fetched_at.plus(STALE_MAX));
        match (usable, &self.failed, wanted) {
            (Some(_), Some(error), Wanted::Newer) => Err(error.clone()),
            (Some(keys), _, _) => Ok(Arc::clone(keys)),
            (None, Some(error), _) => Err(error.clone()),
            (None, None, _) => Err(FetchError::unreachable("it was not asked yet")),
        }
    }

    /// From the operator's file, which is read again when it has changed.
    async fn of_file(&mut self, file: &Path) -> Result<Arc<KeySet>, FetchError> {
        let unreadable = |cause: &dyn std::fmt::Display| {
            tracing::error!(file = %file.display(), %cause, "an issuer's keys cannot be read");
            FetchError::File
        };
        let metadata = tokio::fs::metadata(file).await.map_err(|error| unreadable(&error))?;
        let written_at = metadata.modified().ok();
        if let Some(keys) = self.keys.as_ref().filter(|_| self.written_at == written_at) {
            return Ok(Arc::clone(keys));
        }
        if metadata.len() > KEY_SET_BYTES_MAX as u64 {
            return Err(unreadable(&"it is too long"));
        }
        let text = tokio::fs::read(file).await.map_err(|error| unreadable(&error))?;
        let keys = Arc::new(KeySet::parse(&text).map_err(|error| unreadable(&error))?);
        (self.keys, self.written_at) = (Some(Arc::clone(&keys)), written_at);
        Ok(keys)
    }
}
