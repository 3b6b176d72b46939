//! 8 Continuous verification: the same decision, asked again on every change of the snapshot and at every deadline, in
//! the relay's own loop. One mechanism for everything that can end a session from our side.

use std::sync::Arc;
use std::time::Duration;

use access::{Decision, OpenedWith, Request};
use control::Cut;
use model::kind::server::Engine;
use model::{Lifetime, PrincipalKind, Refusal, Revision, Snapshot, Timestamp, code};
use tokio::sync::watch;

use crate::Shared;
use crate::relay::Activity;
use crate::session::Connection;

pub(crate) mod roll;

/// So long before access ends its session says so. One that is opened later than that said so when it was opened.
const WARNED_BEFORE: Duration = Duration::from_mins(5);

use roll::Entry;

/// Why a session must end, and since when.
#[derive(Clone, Debug)]
pub(crate) struct Cause {
    /// What the client is told.
    pub refusal: Refusal,
    /// What kind of end it is.
    pub kind: Kind,
    /// The store's commit, the deadline or the command from which the times count.
    pub at: Timestamp,
    /// The revision whose commit it was.
    pub revision: Option<Revision>,
}

/// Kinds of ends from our side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The decision changed: a cut, and the database user is withdrawn.
    Denied,
    /// An administrator said so: a cut, but the principal may come back.
    Commanded,
    /// The gateway stops.
    Drain,
    /// Nothing happened for too long.
    Idle,
    /// One statement ran for too long.
    Overlong,
    /// The audit log cannot be written.
    Audit,
}

/// Watches over one session.
#[derive(Debug)]
pub(crate) struct Watch {
    gateway: Arc<Shared>,
    request: Request,
    entry: Entry,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    audit: watch::Receiver<Option<String>>,
    orders: watch::Receiver<Option<Cut>>,
    /// The revision of the last decision, and until when it holds.
    decided: Option<Revision>,
    until: Option<Timestamp>,
    /// When the answer may be another one.
    again_at: Option<Timestamp>,
    /// When the client is to be told of that end; absent once it has been, and for applications.
    warn_at: Option<Timestamp>,
    idle_max: Option<Lifetime>,
    statement_max: Option<Lifetime>,
}

impl Watch {
    /// Joins the roll, then decides on the newest snapshot: no revision that is acknowledged can have been missed.
    pub(crate) fn begin(
        connection: &Connection,
        mut request: Request,
        opened_with: OpenedWith,
        orders: watch::Receiver<Option<Cut>>,
    ) -> Result<Self, Cause> {
        let gateway = &connection.gateway;
        request.opened_with = Some(opened_with);
        let mut watch = Self {
            entry: gateway.roll.join(connection.id),
            orders,
            snapshots: gateway.snapshots.subscribe(),
            audit: gateway.log.failed(),
            decided: None,
            until: None,
            again_at: None,
            warn_at: None,
            idle_max: None,
            statement_max: None,
            gateway: Arc::clone(gateway),
            request,
        };
        // A cut that was ordered while the session was being opened.
        let ordered = watch.orders.borrow_and_update().as_ref().map(Cause::ordered);
        match ordered.or_else(|| watch.judge(gateway.clock.now())) {
            Some(cause) => Err(cause),
            None => Ok(watch),
        }
    }

    /// Until when the session may live as things stand.
    pub(crate) fn until(&self) -> Option<Timestamp> {
        self.until
    }

    /// Tells whether the snapshot has changed since it was last asked, without being woken.
    pub(crate) fn news(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshots.clone()
    }

    /// Returns when the session must end, and why. Whatever wakes it, everything is looked at again.
    pub(crate) async fn cause(&mut self, activity: &Activity) -> Cause {
        let (clock, shutdown) = (self.gateway.clock.clone(), self.gateway.shutdown.clone());
        let mut drain_until = None;
        loop {
            let now = clock.now();
            if let Some(cause) = self.due(activity, drain_until, now) {
                return cause;
            }
            self.warn(activity, now);
            let wake = self.next(activity, drain_until);
            // Every arm is cancel-safe: each only waits, and what it waited for is read again above.
            tokio::select! {
                _changed = self.snapshots.changed() => {}
                _failed = self.audit.changed() => {}
                _ordered = self.orders.changed() => {}
                () = clock.sleep_until(wake) => {}
                () = shutdown.requested(), if drain_until.is_none() => {
                    drain_until = Some(clock.now().plus(self.gateway.limits.drain));
                }
            }
        }
    }

    fn due(
        &mut self,
        activity: &Activity,
        drain_until: Option<Timestamp>,
        now: Timestamp,
    ) -> Option<Cause> {
        let failed = self.audit.borrow_and_update().clone();
        if let Some(reason) = failed {
            let message = "the audit log cannot be written; without it there is no access";
            tracing::debug!(reason, "audit log failed");
            return Some(Cause::ours(Kind::Audit, Refusal::new(&code::AUDIT_FAILED, message), now));
        }
        let order = self.orders.borrow_and_update().clone();
        if let Some(order) = order {
            return Some(Cause::ordered(&order));
        }
        self.judge(now)
            .or_else(|| self.stale(now))
            .or_else(|| drained(activity, drain_until, now))
            .or_else(|| self.idle(activity, now))
            .or_else(|| self.overlong(activity, now))
    }

    /// Decides when something has changed since the last time.
    fn judge(&mut self, now: Timestamp) -> Option<Cause> {
        let snapshot = Arc::clone(&self.snapshots.borrow_and_update());
        let deadline =
            [self.until, self.again_at].into_iter().flatten().min().filter(|due| *due <= now);
        if self.decided == Some(snapshot.revision) && deadline.is_none() {
            return None;
        }
        match access::decide(&self.request, &snapshot, now) {
            Decision::Allow(grant) => {
                let server = snapshot.servers.get(&self.request.server);
                if grant.until != self.until {
                    // MySQL has nothing that could be said between two answers.
                    let hears =
                        server.is_some_and(|server| server.spec.engine == Engine::PostgreSql);
                    let warned = hears && grant.principal.kind == PrincipalKind::User;
                    self.warn_at = grant.until.filter(|_| warned).and_then(|end| warn_at(end, now));
                }
                (self.until, self.again_at) = (grant.until, grant.again_at);
                if let Some(opened) = &mut self.request.opened_with {
                    opened.roles = grant.roles;
                }
                self.decided = Some(snapshot.revision);
                let bounds = server.map(|server| server.spec.sessions.clone()).unwrap_or_default();
                (self.idle_max, self.statement_max) = (bounds.idle_max, bounds.statement_max);
                self.entry.told(snapshot.revision);
                None
            }
            Decision::Deny(refusal) => {
                let (at, revision) = match deadline {
                    Some(deadline) => (deadline, None),
                    None => (snapshot.committed_at, Some(snapshot.revision)),
                };
                Some(Cause { refusal, kind: Kind::Denied, at, revision })
            }
        }
    }

    fn warn(&mut self, activity: &Activity, now: Timestamp) {
        if self.warn_at.is_some_and(|at| at <= now) {
            self.warn_at = None;
            self.until.into_iter().for_each(|end| activity.warn(end));
        }
    }

    fn stale(&self, now: Timestamp) -> Option<Cause> {
        let verified_at = self.gateway.snapshots.verified_at();
        let (refusal, at) = stale(verified_at, self.gateway.limits.staleness_session_max, now)?;
        Some(Cause { refusal, kind: Kind::Denied, at, revision: None })
    }

    fn idle(&self, activity: &Activity, now: Timestamp) -> Option<Cause> {
        let max = self.idle_max?;
        let deadline = activity.heard_at().plus(max.duration());
        if now < deadline || !activity.is_waiting() {
            return None;
        }
        let refusal = if activity.is_quiet() {
            Refusal::new(&code::IDLE, format!("the session was idle for {max}"))
        } else {
            let message = format!("the session was idle for {max} with a transaction open");
            Refusal::new(&code::IDLE_IN_TRANSACTION, message)
        };
        Some(Cause { refusal, kind: Kind::Idle, at: deadline, revision: None })
    }

    fn overlong(&self, activity: &Activity, now: Timestamp) -> Option<Cause> {
        let max = self.statement_max?;
        let deadline = activity.running_since().plus(max.duration());
        if now < deadline || activity.is_waiting() {
            return None;
        }
        let message = format!("a statement ran for {max}, which is the server's bound");
        let refusal = Refusal::new(&code::STATEMENT_TOO_LONG, message);
        Some(Cause { refusal, kind: Kind::Overlong, at: deadline, revision: None })
    }

    /// The earliest instant at which something can be due without a change.
    fn next(&self, activity: &Activity, drain_until: Option<Timestamp>) -> Timestamp {
        let stale =
            self.gateway.snapshots.verified_at().plus(self.gateway.limits.staleness_session_max);
        let idle = self.idle_max.map(|max| {
            let heard_at = activity.heard_at();
            let from = if activity.is_waiting() { heard_at } else { self.gateway.clock.now() };
            from.plus(max.duration())
        });
        // A statement that begins after this look cannot be due before the next.
        let overlong = self.statement_max.map(|max| {
            let now = self.gateway.clock.now();
            let from = if activity.is_waiting() { now } else { activity.running_since() };
            from.plus(max.duration())
        });
        [self.until, self.again_at, self.warn_at, idle, overlong, drain_until]
            .into_iter()
            .flatten()
            .fold(stale, Ord::min)
    }
}

/// When to tell of an end that becomes known now.
fn warn_at(end: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let left = end.since(now);
    left.checked_sub(WARNED_BEFORE).filter(|wait| !wait.is_zero()).map(|wait| now.plus(wait))
}

/// Without the feed nothing is known for sure: refused since when, once the bound is reached.
pub(crate) fn stale(
    verified_at: Timestamp,
    staleness_max: Duration,
    now: Timestamp,
) -> Option<(Refusal, Timestamp)> {
    let deadline = verified_at.plus(staleness_max);
    if now < deadline {
        return None;
    }
    let message = format!("the gateway has not seen the store since {verified_at}");
    Some((Refusal::new(&code::STATE_STALE, message), deadline))
}

/// A quiet session ends at once, any other when the time to drain is over.
fn drained(activity: &Activity, drain_until: Option<Timestamp>, now: Timestamp) -> Option<Cause> {
    let deadline = drain_until?;
    if now < deadline && !activity.is_quiet() {
        return None;
    }
    Some(Cause::draining(now))
}

impl Cause {
    fn ours(kind: Kind, refusal: Refusal, at: Timestamp) -> Self {
        Self { refusal, kind, at, revision: None }
    }

    /// An administrator's order.
    fn ordered(order: &Cut) -> Self {
        let message = match &order.reason {
            Some(reason) => format!("the session was cut by {}: {reason}", order.by.name),
            None => format!("the session was cut by {}", order.by.name),
        };
        Self::ours(Kind::Commanded, Refusal::new(&code::SESSION_CUT, message), order.at)
    }

    /// The gateway stops.
    pub(crate) fn draining(now: Timestamp) -> Self {
        Self::ours(Kind::Drain, Refusal::new(&code::SHUTTING_DOWN, "the gateway is stopping"), now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Relayed;
    use crate::relay::State;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(1_795_000_000 + seconds)
    }

    #[test]
    fn a_snapshot_counts_until_its_staleness_reaches_the_bound_and_not_longer() {
        let bound = Duration::from_secs(30);
        assert_eq!(stale(at(0), bound, at(29)), None);
        let (refusal, since) = stale(at(0), bound, at(30)).unwrap();
        assert_eq!((refusal.code, since), (&code::STATE_STALE, at(30)));
        assert!(stale(at(0), bound, at(3000)).is_some());
        // A clock that is behind the feed's is no staleness.
        assert_eq!(stale(at(100), bound, at(0)), None);
    }

    #[test]
    fn an_end_is_told_of_five_minutes_before_and_not_when_the_login_has_just_told() {
        assert_eq!(warn_at(at(1000), at(0)), Some(at(700)));
        assert_eq!(warn_at(at(301), at(0)), Some(at(1)));
        for end in [300, 20, 0] {
            assert_eq!(warn_at(at(end), at(0)), None);
        }
        assert_eq!(warn_at(at(0), at(100)), None);
    }

    #[test]
    fn a_stop_ends_quiet_sessions_at_once_and_all_others_when_the_time_is_over() {
        let activity = Activity::since(at(0), Relayed::default());
        let ends = |now, until| drained(&activity, until, at(now)).map(|cause| cause.kind);
        assert_eq!(ends(5, None), None);
        assert_eq!(ends(5, Some(at(10))), Some(Kind::Drain));
        for state in [State::Running, State::InTransaction] {
            activity.heard(at(1), state);
            assert_eq!(ends(9, Some(at(10))), None);
            assert_eq!(ends(10, Some(at(10))), Some(Kind::Drain));
        }
    }
}
