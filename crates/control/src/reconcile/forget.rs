//! Forgets what can no longer matter, so that the directory does not grow for ever: revocations of tokens that have all
//! expired, and activations that ended long ago (the audit log keeps their history).

use std::sync::Arc;
use std::time::Duration;

use model::{Kind, Refusal, Snapshot, Timestamp};

use super::Reconciler;
use crate::control::Control;
use crate::verb::Verb;
use crate::write::Writing;

/// Azure keeps PIM's history for 30 days; so long an ended activation can be looked up here too.
const ENDED_KEPT: Duration = Duration::from_hours(30 * 24);

/// Forgets what is over.
#[derive(Clone, Debug)]
pub struct Forget {
    control: Control,
}

impl Forget {
    /// For this control plane.
    pub fn new(control: Control) -> Self {
        Self { control }
    }
}

impl Reconciler for Forget {
    type Error = Refusal;

    fn name(&self) -> &'static str {
        "forget"
    }

    fn next_deadline(&self, snapshot: &Snapshot) -> Option<Timestamp> {
        let revocations = snapshot.revocations.iter().map(|revocation| revocation.spec.keep_until);
        let activations = snapshot
            .activations
            .iter()
            .filter_map(|activation| activation.status.ended_at)
            .map(|ended| ended.plus(ENDED_KEPT));
        revocations.chain(activations).min()
    }

    async fn reconcile(&self, snapshot: Arc<Snapshot>) -> Result<(), Refusal> {
        if over(&snapshot, self.control.now()).is_empty() {
            return Ok(());
        }
        let work = |writing: &mut Writing<'_, '_>| {
            for (kind, name) in over(writing.state(), writing.now()) {
                writing.delete(kind, &name)?;
            }
            Ok(())
        };
        self.control.system(Verb::Forget, "over", work).await?;
        Ok(())
    }
}

fn over(state: &Snapshot, now: Timestamp) -> Vec<(Kind, String)> {
    let revocations = state
        .revocations
        .iter()
        .filter(|revocation| revocation.spec.keep_until <= now)
        .map(|revocation| (Kind::Revocation, revocation.name().to_owned()));
    let activations = state
        .activations
        .iter()
        .filter(|activation| {
            activation.status.state.ended()
                && activation.status.ended_at.is_some_and(|ended| ended.plus(ENDED_KEPT) <= now)
        })
        .map(|activation| (Kind::Activation, activation.name().to_owned()));
    revocations.chain(activations).collect()
}
