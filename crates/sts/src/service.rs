//! What every endpoint works with: state from outside, budgets and secrets of this process.

use std::net::IpAddr;
use std::sync::Arc;

use audit::Log;
use control::{Control, Keyring};
use keys::KeyError;
use model::event::EventBody;
use model::{Snapshot, Timestamp};
use runtime::{Clock, Tasks};
use store::Store;

use crate::failure::{Failure, THROTTLED, UNAVAILABLE};
use crate::federation::Issuers;
use crate::limits::{Exhausted, Limits, Spending};
use crate::polls::Polls;
use crate::sealed::Sealer;
use crate::spend::Spender;

/// What the token service is built from.
#[derive(Clone, Debug)]
pub struct State {
    /// Directory and credentials, and the one way to write them.
    pub control: Control,
    /// Audit log: nothing is issued before its record is on disk.
    pub log: Log,
    /// Signing, sealing and handle keys.
    pub keyring: Keyring,
    /// The time.
    pub clock: Clock,
    /// `https://host:port`, without a slash at the end: where clients find this service, at its root.
    pub origin: String,
    /// How long tokens live.
    pub lifetimes: runtime::config::Token,
    /// How other issuers of workloads' tokens are reached.
    pub federation: runtime::config::Federation,
    /// `https://host:port` where hosts renew their certificates and ask for tokens; absent: no hosts.
    pub hosts: Option<String>,
    /// Where its tasks run.
    pub tasks: Tasks,
}

pub(crate) struct Service {
    pub(crate) state: State,
    pub(crate) limits: Limits,
    pub(crate) polls: Polls,
    pub(crate) sealer: Sealer,
    pub(crate) issuers: Issuers,
    pub(crate) spender: Spender,
}

impl Service {
    pub(crate) fn new(state: State) -> Result<Arc<Self>, KeyError> {
        let (limits, polls) = (Limits::default(), Polls::default());
        let issuers = Issuers::new(state.federation.clone());
        let spender = Spender::start(state.control.clone(), &state.tasks);
        Ok(Arc::new(Self { state, limits, polls, sealer: Sealer::random()?, issuers, spender }))
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.state.clock.now()
    }

    pub(crate) fn origin(&self) -> &str {
        &self.state.origin
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.state.control.snapshots().load()
    }

    pub(crate) fn store(&self) -> &Store {
        self.state.control.store()
    }

    /// Puts an event on disk. No record, no answer.
    pub(crate) async fn record(&self, body: EventBody) -> Result<(), Failure> {
        let receipt = self.state.log.append(&[body]);
        let durable = match receipt {
            Ok(receipt) => self.state.log.durable(receipt).await,
            Err(error) => Err(error),
        };
        durable.map_err(|error| {
            tracing::error!(%error, "the audit log cannot be written: nothing is issued");
            unavailable()
        })
    }

    /// Spends one request of the source's budget, and looks whether it may still fail.
    pub(crate) fn admit(&self, source: IpAddr) -> Result<(), Failure> {
        let now = self.now();
        self.limits
            .spend(source, Spending::Request, now)
            .and_then(|()| self.limits.check(source, Spending::Failure, now))
            .map_err(throttled)
    }

    /// Spends one of something else.
    pub(crate) fn spend(&self, source: IpAddr, on: Spending) -> Result<(), Failure> {
        self.limits.spend(source, on, self.now()).map_err(throttled)
    }

    /// Counts a refused credential against the source's budget; when that is spent, `admit` says so.
    pub(crate) fn failed(&self, source: IpAddr) {
        let _spent = self.limits.spend(source, Spending::Failure, self.now());
    }
}

fn throttled(exhausted: Exhausted) -> Failure {
    Failure::new(
        &THROTTLED,
        format!(
            "Too many requests from this address. Wait {} seconds.",
            exhausted.wait.as_secs().saturating_add(1)
        ),
    )
}

/// The store or the audit log failed; the cause is in the process's own log.
pub(crate) fn unavailable() -> Failure {
    Failure::new(&UNAVAILABLE, "The service is temporarily unavailable. Try again later.")
}

/// The same for a failure of the system's random source or of cryptography.
pub(crate) fn keys_failed(error: &KeyError) -> Failure {
    tracing::error!(%error, "cryptography failed: nothing is issued");
    unavailable()
}

/// The same for a failure of the store.
pub(crate) fn store_failed(error: impl std::fmt::Display) -> Failure {
    tracing::error!(%error, "the store cannot be read or written: nothing is issued");
    unavailable()
}
