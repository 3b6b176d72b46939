//! Ends activations and denies requests whose time is over. Membership ends at its deadline without this (decisions
//! compare with the clock); this makes the state say so and tells the audit log.

use std::sync::Arc;

use access::activation;
use model::{Refusal, Snapshot, Timestamp};

use super::Reconciler;
use crate::control::Control;

/// Ends what is overdue.
#[derive(Clone, Debug)]
pub struct Expiry {
    control: Control,
}

impl Expiry {
    /// For this control plane.
    pub fn new(control: Control) -> Self {
        Self { control }
    }
}

impl Reconciler for Expiry {
    type Error = Refusal;

    fn name(&self) -> &'static str {
        "expiry"
    }

    fn next_deadline(&self, snapshot: &Snapshot) -> Option<Timestamp> {
        activation::next_deadline(snapshot)
    }

    async fn reconcile(&self, _: Arc<Snapshot>) -> Result<(), Refusal> {
        let expired = self.control.expire_overdue().await?;
        if expired > 0 {
            tracing::info!(expired, "activations ended by time");
        }
        Ok(())
    }
}
