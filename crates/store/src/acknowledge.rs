//! Who has seen which revision: `request`, `approve` and `apply` return when every live gateway acts on them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::Revision;
use tokio::sync::watch;

type Seen = BTreeMap<u64, (String, Revision)>;

/// The gateways that are live, each with the newest revision it acts on.
#[derive(Clone, Debug)]
pub(crate) struct Acknowledgements {
    seen: Arc<watch::Sender<Seen>>,
}

/// A gateway's place among those that must have seen a write. Leaving (dropping it) means not being waited for.
#[derive(Debug)]
pub struct Acknowledger {
    seen: Arc<watch::Sender<Seen>>,
    number: u64,
}

/// These gateways had not seen the revision in time. The write stands; they will see it or lose touch and refuse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not yet seen by {}", gateways.join(", "))]
pub struct NotAcknowledged {
    /// Their names.
    pub gateways: Vec<String>,
}

impl Acknowledgements {
    pub(crate) fn new() -> Self {
        Self { seen: Arc::new(watch::Sender::new(Seen::new())) }
    }

    pub(crate) fn register(&self, gateway: &str, revision: Revision) -> Acknowledger {
        let mut number = 0;
        self.seen.send_modify(|seen| {
            number = seen.last_key_value().map_or(0, |(last, _)| last + 1);
            seen.insert(number, (gateway.to_owned(), revision));
        });
        Acknowledger { seen: Arc::clone(&self.seen), number }
    }

    pub(crate) async fn reached(
        &self,
        revision: Revision,
        within: Duration,
    ) -> Result<(), NotAcknowledged> {
        let mut watching = self.seen.subscribe();
        let reached = watching.wait_for(|seen| behind(seen, revision).is_empty());
        // Either way the answer is read from the state itself: the sender cannot be gone while `self` lives.
        if let Ok(Ok(_)) = tokio::time::timeout(within, reached).await {
            return Ok(());
        }
        let gateways = behind(&self.seen.borrow(), revision);
        if gateways.is_empty() { Ok(()) } else { Err(NotAcknowledged { gateways }) }
    }
}

fn behind(seen: &Seen, revision: Revision) -> Vec<String> {
    let behind = seen.values().filter(|(_, acted_on)| *acted_on < revision);
    behind.map(|(gateway, _)| gateway.clone()).collect()
}

impl Acknowledger {
    /// The gateway acts on this revision and on all before it.
    pub fn acknowledge(&self, revision: Revision) {
        self.seen.send_if_modified(|seen| match seen.get_mut(&self.number) {
            Some((_, acted_on)) if *acted_on < revision => {
                *acted_on = revision;
                true
            }
            _ => false,
        });
    }
}

impl Drop for Acknowledger {
    fn drop(&mut self) {
        self.seen.send_modify(|seen| {
            seen.remove(&self.number);
        });
    }
}
