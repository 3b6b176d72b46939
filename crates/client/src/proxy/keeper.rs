//! The token that connections are opened with: fetched before it is needed, renewed before it dies, never handed out
//! when it is dead.
//!
//! A machine that slept, or whose clock was stepped, finds the token dead at the next connection, which then waits for
//! a new one; no timer has to have fired. When none can be had, whoever connects is told so at once or within
//! [`TOKEN_WITHIN`], and it is tried again with growing pauses for ever.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use model::Timestamp;
use runtime::{Clock, Tasks};
use tokio::sync::watch;
use tracing::{info, warn};

use super::trouble::Trouble;
use crate::{ClientError, Token};

/// Fetches a token; not the one that was refused, when there is one. Blocks.
pub type Fetch = dyn Fn(Option<&Token>) -> Result<Token, ClientError> + Send + Sync;

/// Renewed so long before its end, or in the last quarter of a shorter life.
const AHEAD: Duration = Duration::from_mins(5);
/// The last tenth of that is no longer used: the gateway must still find the token alive.
const UNUSED: u32 = 10;
/// Pauses between tries that failed, growing.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));
/// A connection that needs a token asks for one again no sooner than this after it failed, however many connections do.
const ASKED_AGAIN: Duration = Duration::from_secs(1);
/// A connection waits so long for a token.
const TOKEN_WITHIN: Duration = Duration::from_secs(20);
/// A token that is refused so soon after it was fetched is not the reason.
const REFUSED_AT_ONCE: Duration = Duration::from_secs(5);

/// Keeps one token.
pub(super) struct Keeper {
    fetch: Box<Fetch>,
    clock: Clock,
    tasks: Tasks,
    state: watch::Sender<State>,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    failed: Option<Failed>,
    renewing: bool,
}

struct Held {
    token: Arc<Token>,
    fetched_at: Timestamp,
    renew_at: Timestamp,
    usable_until: Timestamp,
}

struct Failed {
    error: Arc<ClientError>,
    at: Timestamp,
    pause: Duration,
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keeper")
    }
}

impl Held {
    fn new(token: Token, now: Timestamp) -> Self {
        let ahead = AHEAD.min(token.expires_at.since(now) / 4);
        let renew_at = token.expires_at.minus(ahead);
        let usable_until = token.expires_at.minus(ahead / UNUSED);
        Self { token: Arc::new(token), fetched_at: now, renew_at, usable_until }
    }
}

impl State {
    fn usable(&self, now: Timestamp) -> Option<Arc<Token>> {
        let held = self.held.as_ref().filter(|held| now < held.usable_until)?;
        Some(Arc::clone(&held.token))
    }

    /// When the next try is due; not while one is on its way.
    fn due(&self) -> Option<Timestamp> {
        match (&self.failed, &self.held) {
            _ if self.renewing => None,
            (Some(failed), _) => Some(failed.at.plus(failed.pause)),
            (None, Some(held)) => Some(held.renew_at),
            (None, None) => Some(Timestamp::EPOCH),
        }
    }
}

impl Keeper {
    pub(super) fn new(fetch: Box<Fetch>, clock: Clock, tasks: Tasks) -> Arc<Self> {
        Arc::new(Self { fetch, clock, tasks, state: watch::Sender::new(State::default()) })
    }

    /// Waits for a first token, for as long as what is in the way may pass by itself.
    pub(super) async fn first(self: &Arc<Self>) -> Result<(), ClientError> {
        let keeper = Arc::clone(self);
        let fetch = move || (keeper.fetch)(None);
        let token = super::patiently((&self.clock, &self.tasks), "token", fetch).await?;
        let now = self.clock.now();
        self.state.send_modify(|state| state.held = Some(Held::new(token, now)));
        Ok(())
    }

    /// Renews the token ahead of its end, until the proxy stops.
    pub(super) async fn run(self: Arc<Self>) {
        let shutdown = self.tasks.shutdown().clone();
        let mut seen = self.state.subscribe();
        loop {
            let due = seen.borrow_and_update().due();
            let now_due = async {
                match due {
                    Some(due) => self.clock.sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = shutdown.requested() => return,
                // The sender lives in `self`: this ends only with a change.
                _ = seen.changed() => {}
                () = now_due => self.renew(None),
            }
        }
    }

    /// A token that counts now.
    pub(super) async fn token(self: &Arc<Self>) -> Result<Arc<Token>, Trouble> {
        let now = self.clock.now();
        if let Some(answer) = self.known(now) {
            return answer;
        }
        self.renew(None);
        self.renewed().await
    }

    /// Another token than one that the gateway refused; nothing when that would be refused as well.
    pub(super) async fn instead_of(self: &Arc<Self>, refused: &Arc<Token>) -> Option<Arc<Token>> {
        let now = self.clock.now();
        let other = {
            let state = self.state.borrow();
            let held = state.held.as_ref();
            let other = held.filter(|held| !Arc::ptr_eq(&held.token, refused));
            if let Some(held) = held.filter(|_| other.is_none())
                && now < held.fetched_at.plus(REFUSED_AT_ONCE)
            {
                return None;
            }
            other.map(|held| Arc::clone(&held.token))
        };
        if other.is_some() {
            return other;
        }
        info!("the gateway refused the token; another one is fetched");
        self.state.send_modify(|state| {
            state.held.take_if(|held| Arc::ptr_eq(&held.token, refused));
        });
        self.renew(Some(Arc::clone(refused)));
        self.renewed().await.ok()
    }

    /// What can be said without waiting.
    fn known(&self, now: Timestamp) -> Option<Result<Arc<Token>, Trouble>> {
        let state = self.state.borrow();
        if let Some(token) = state.usable(now) {
            return Some(Ok(token));
        }
        let failed = state.failed.as_ref().filter(|failed| now < failed.at.plus(ASKED_AGAIN))?;
        (!state.renewing).then(|| Err(Trouble::Token(Arc::clone(&failed.error))))
    }

    /// Begins to fetch, unless someone does already.
    fn renew(self: &Arc<Self>, refused: Option<Arc<Token>>) {
        let begun = self.state.send_if_modified(|state| {
            let idle = !state.renewing;
            state.renewing = true;
            idle
        });
        if begun {
            let keeper = Arc::clone(self);
            drop(self.tasks.spawn_blocking("token", move || {
                let fetched = (keeper.fetch)(refused.as_deref());
                keeper.take(fetched);
            }));
        }
    }

    fn take(&self, fetched: Result<Token, ClientError>) {
        let now = self.clock.now();
        self.state.send_modify(|state| {
            state.renewing = false;
            match fetched {
                Ok(token) => {
                    info!(until = %token.expires_at, "a token was fetched");
                    state.held = Some(Held::new(token, now));
                    state.failed = None;
                }
                Err(error) => {
                    let before = state.failed.take().map(|failed| failed.pause.saturating_mul(2));
                    let pause = before.unwrap_or(RETRY.0).min(RETRY.1);
                    warn!(%error, again_in = ?pause, "no token could be fetched");
                    state.failed = Some(Failed { error: Arc::new(error), at: now, pause });
                }
            }
        });
    }

    /// The outcome of the fetch that is on its way.
    async fn renewed(&self) -> Result<Arc<Token>, Trouble> {
        let mut seen = self.state.subscribe();
        let ended = tokio::time::timeout(TOKEN_WITHIN, seen.wait_for(|state| !state.renewing));
        let Ok(Ok(state)) = ended.await else { return Err(Trouble::TokenLate) };
        match (state.usable(self.clock.now()), &state.failed) {
            (Some(token), _) => Ok(token),
            (None, Some(failed)) => Err(Trouble::Token(Arc::clone(&failed.error))),
            // It was dead on arrival.
            (None, None) => Err(Trouble::TokenLate),
        }
    }
}

#[cfg(test)]
mod tests;
