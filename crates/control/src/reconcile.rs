//! Reconcilers bring what is to what is wanted, again and again: at every change of the directory, at their own
//! deadlines, and every minute in case something was changed behind our back.

mod expiry;
mod forget;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use model::{Snapshot, Timestamp};
use runtime::{Clock, Shutdown};
use store::Snapshots;

pub use expiry::Expiry;
pub use forget::Forget;

/// Without a change or a deadline, so often.
const INTERVAL: Duration = Duration::from_mins(1);
/// After a failure, so soon again …
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// … and then twice as late each time, up to this.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Something that keeps the world as the directory wants it.
pub trait Reconciler: Send + Sync + 'static {
    /// What its failures are told as.
    type Error: fmt::Display + Send;

    /// As logs name it.
    fn name(&self) -> &'static str;

    /// When it has something to do by itself.
    fn next_deadline(&self, snapshot: &Snapshot) -> Option<Timestamp>;

    /// Looks, and does what there is to do. Safe to run again after any failure and after a restart.
    fn reconcile(
        &self,
        snapshot: Arc<Snapshot>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// Runs a reconciler until shutdown. The first time is at once: what became due while the process was down is done now.
pub async fn run<R: Reconciler>(
    reconciler: R,
    snapshots: Snapshots,
    clock: Clock,
    shutdown: Shutdown,
) {
    let mut changes = snapshots.subscribe();
    let mut failures = 0_u32;
    while !shutdown.is_requested() {
        let snapshot = Arc::clone(&changes.borrow_and_update());
        let next = match reconciler.reconcile(Arc::clone(&snapshot)).await {
            Ok(()) => {
                failures = 0;
                let soon = clock.now().plus(INTERVAL);
                reconciler.next_deadline(&snapshot).map_or(soon, |deadline| deadline.min(soon))
            }
            Err(error) => {
                tracing::warn!(reconciler = reconciler.name(), %error, "not reconciled; trying again");
                let pause = RETRY_FIRST.saturating_mul(1 << failures.min(5)).min(RETRY_MAX);
                failures = failures.saturating_add(1);
                clock.now().plus(pause)
            }
        };
        tokio::select! {
            () = shutdown.requested() => return,
            () = clock.sleep_until(next) => {}
            // A failure waits for its pause: a change does not make a broken server answer.
            changed = changes.changed(), if failures == 0 => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}
