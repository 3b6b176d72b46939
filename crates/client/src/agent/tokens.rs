//! Tokens of the machine's workloads, in memory only: asked for once half of their life is over, and given for the rest
//! of it while the installation is away.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use model::{Caller, Selector, Timestamp, code};
use runtime::{Clock, Secret, Tasks};
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::{error, info, warn};
use ureq::http::Method;

use super::header::Headers;
use super::joined::{Folder, Joined};
use super::question::Failure;
use crate::{ClientError, Installation, Sent};

/// Different callers, selectors and resources at a time.
const KEPT_MAX: usize = 1_000;
/// A token that ends sooner is not worth giving.
const LEFT_MIN: Duration = Duration::from_mins(1);
/// Waits between two tries to renew grow from the first to the last.
const RENEW_RETRY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_mins(5));

/// What a token is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Wanted {
    pub(crate) callers: Vec<Caller>,
    pub(crate) selector: Option<Selector>,
    pub(crate) resource: String,
}

/// A token as the installation gives it.
#[derive(Debug, Deserialize)]
struct Given {
    access_token: Secret<String>,
    client_id: String,
    expires_on: String,
    not_before: String,
    resource: String,
}

/// A token, and its times in numbers.
#[derive(Debug)]
pub(crate) struct Token {
    given: Given,
    begins: Timestamp,
    ends: Timestamp,
}

impl Token {
    /// As Azure's instance metadata service words it: everything is text.
    pub(crate) fn answer(&self, now: Timestamp) -> Value {
        let left = self.ends.since(now).as_secs().to_string();
        json!({
            "access_token": self.given.access_token.expose(),
            "client_id": self.given.client_id,
            "expires_in": left,
            "expires_on": self.given.expires_on,
            "ext_expires_in": left,
            "not_before": self.given.not_before,
            "resource": self.given.resource,
            "token_type": "Bearer",
        })
    }

    fn is_fresh(&self, now: Timestamp) -> bool {
        self.ends.since(now) >= self.ends.since(self.begins) / 2
    }

    fn is_good(&self, now: Timestamp) -> bool {
        self.ends.since(now) >= LEFT_MIN
    }
}

/// What the machine is now.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) joined: Joined,
    pub(crate) headers: Headers,
    installation: Installation,
}

/// Where tokens come from.
#[derive(Debug)]
pub(crate) struct Tokens {
    folder: Folder,
    authority: PathBuf,
    standing: RwLock<Arc<Standing>>,
    kept: Mutex<HashMap<Wanted, Arc<Token>>>,
    clock: Clock,
    tasks: Tasks,
}

impl Tokens {
    pub(crate) fn open(
        folder: Folder,
        authority: PathBuf,
        (clock, tasks): (Clock, Tasks),
    ) -> Result<Self, ClientError> {
        let standing = standing(folder.load()?, &authority)?;
        let standing = RwLock::new(Arc::new(standing));
        Ok(Self { folder, authority, standing, kept: Mutex::default(), clock, tasks })
    }

    pub(crate) fn standing(&self) -> Arc<Standing> {
        Arc::clone(&self.standing.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A token, or what the client is told instead.
    pub(crate) async fn token(&self, wanted: Wanted) -> Result<Arc<Token>, Failure> {
        let now = self.now();
        let kept = self.kept().get(&wanted).cloned();
        if let Some(fresh) = kept.as_ref().filter(|kept| kept.is_fresh(now)) {
            return Ok(Arc::clone(fresh));
        }
        let (standing, asked) = (self.standing(), wanted.clone());
        let fetched = self.tasks.spawn_blocking("token", move || fetch(&standing, &asked));
        let refused = match fetched.await {
            Ok(Ok(token)) => {
                let token = Arc::new(token);
                self.keep(wanted, Arc::clone(&token));
                return Ok(token);
            }
            Ok(Err(error)) => error,
            Err(error) => ClientError::Unfinished { task: "token", source: error.into() },
        };
        if !is_away(&refused) {
            // What is not allowed any more is not given from memory either.
            self.kept().remove(&wanted);
            info!(error = %refused, callers = ?wanted.callers, "a token was refused");
            return Err(told(&refused));
        }
        warn!(error = %refused, "the installation is away");
        match kept.filter(|kept| kept.is_good(now)) {
            Some(good) => Ok(good),
            None => Err(Failure::unavailable()),
        }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<Wanted, Arc<Token>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, wanted: Wanted, token: Arc<Token>) {
        let now = self.now();
        let mut kept = self.kept();
        if kept.len() >= KEPT_MAX {
            kept.retain(|_, token| token.is_good(now));
        }
        // Still full: this one is asked for again next time.
        if kept.len() < KEPT_MAX {
            kept.insert(wanted, token);
        }
    }

    /// Renews the certificate at half of its life, for as long as the agent runs. When it has lapsed, a machine that
    /// joins anew goes on without a restart.
    pub(crate) async fn keep_certified(self: Arc<Self>) {
        let mut pause = RENEW_RETRY.0;
        loop {
            let due = self.standing().joined.renew_at();
            tokio::select! {
                () = self.clock.sleep_until(due) => {}
                () = self.tasks.shutdown().requested() => return,
            }
            let tokens = Arc::clone(&self);
            let renewed = self.tasks.spawn_blocking("renewal", move || tokens.renew()).await;
            let failed = match renewed {
                Ok(Ok(until)) => {
                    info!(%until, "the host's certificate was renewed");
                    pause = RENEW_RETRY.0;
                    continue;
                }
                Ok(Err(error)) => error,
                Err(error) => ClientError::Unfinished { task: "renewal", source: error.into() },
            };
            if self.now() >= self.standing().joined.not_after {
                error!(error = %failed, "the host's certificate has lapsed: join anew with `portcullis agent join`");
            } else {
                warn!(error = %failed, "the host's certificate was not renewed; it is tried again");
            }
            tokio::select! {
                () = self.clock.sleep(pause) => {}
                () = self.tasks.shutdown().requested() => return,
            }
            pause = pause.saturating_mul(2).min(RENEW_RETRY.1);
        }
    }

    fn renew(&self) -> Result<Timestamp, ClientError> {
        let now = self.standing();
        // Someone may have joined anew beside the running agent.
        let on_disk = self.folder.load()?;
        let renewed = if on_disk.not_after > now.joined.not_after {
            on_disk
        } else {
            self.folder.renew(&now.joined, &self.authority)?
        };
        let renewed = standing(renewed, &self.authority)?;
        let until = renewed.joined.not_after;
        *self.standing.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(renewed);
        Ok(until)
    }
}

fn standing(joined: Joined, authority: &std::path::Path) -> Result<Standing, ClientError> {
    let installation = joined.installation(authority)?;
    let headers = Headers::of(&joined.key)?;
    Ok(Standing { joined, headers, installation })
}

fn fetch(standing: &Standing, wanted: &Wanted) -> Result<Token, ClientError> {
    let Wanted { callers, selector, resource } = wanted;
    let body = json!({ "selector": selector, "resource": resource, "callers": callers });
    let sent = Sent { body: Some(&body), token: None };
    let given: Given = standing.installation.call(&Method::POST, "/host/v1/token", sent)?;
    let time = |text: &str| text.parse().map(Timestamp::from_seconds);
    match (time(&given.not_before), time(&given.expires_on)) {
        (Ok(begins), Ok(ends)) => Ok(Token { given, begins, ends }),
        _ => Err(ClientError::Unintelligible {
            origin: standing.installation.origin().to_owned(),
            reason: "the times of the token are no numbers".to_owned(),
        }),
    }
}

/// Whether it says nothing about what is allowed.
fn is_away(error: &ClientError) -> bool {
    match error {
        ClientError::Refused(refusal) => refusal.code.http >= 500 || refusal.code.http == 429,
        ClientError::Unreachable { .. }
        | ClientError::Untrusted { .. }
        | ClientError::Unintelligible { .. }
        | ClientError::Unfinished { .. } => true,
        _ => false,
    }
}

/// What a process learns of a refusal: no more than whether it may try otherwise. The rest is in the agent's log.
fn told(error: &ClientError) -> Failure {
    let ClientError::Refused(refusal) = error else { return Failure::not_found() };
    if *refusal.code == code::IDENTITY_AMBIGUOUS {
        return Failure::ambiguous();
    }
    if *refusal.code == code::RESOURCE_UNKNOWN {
        return Failure::new(400, "invalid_resource", refusal.message.clone());
    }
    if *refusal.code == code::HOST_REFUSED {
        let why =
            "This host is not, or no longer, known to the token service; its agent's log says why";
        return Failure::new(400, "host_refused", why);
    }
    Failure::not_found()
}
