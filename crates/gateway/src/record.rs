//! What was observed, written down before it has an effect: the three modes of docs/architecture.md, "Audit".

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use audit::{AuditError, Log, Receipt};
use model::event::EventBody;
use model::kind::server::AuditMode;

type OnDisk = Pin<Box<dyn Future<Output = Result<(), AuditError>> + Send>>;

/// Writes one session's records.
pub(crate) struct Recorder {
    log: Log,
    mode: AuditMode,
    /// `durable`: nothing goes to the server before this.
    hold: Option<OnDisk>,
    /// `gated`: nothing goes to the client before this.
    gate: Option<OnDisk>,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder")
            .field("mode", &self.mode)
            .field("holding", &self.is_holding())
            .field("gated", &self.is_gated())
            .finish_non_exhaustive()
    }
}

/// What one look at bytes gave.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    /// In order.
    pub events: Vec<EventBody>,
    /// Whether a statement is among them: only those are waited for.
    pub statement: bool,
}

impl Recorder {
    pub(crate) fn new(log: Log, mode: AuditMode) -> Self {
        Self { log, mode, hold: None, gate: None }
    }

    /// Writes the events to the log's files; one append for all. When this has returned, they outlive the process.
    pub(crate) fn record(&mut self, observed: &Observed) -> Result<(), String> {
        if observed.events.is_empty() {
            return Ok(());
        }
        let receipt = self.log.append(&observed.events).map_err(|error| error.to_string())?;
        if observed.statement {
            match self.mode {
                AuditMode::Durable => self.hold = Some(self.on_disk(receipt)),
                AuditMode::Gated => self.gate = Some(self.on_disk(receipt)),
                AuditMode::Bounded => {}
            }
        }
        Ok(())
    }

    fn on_disk(&self, receipt: Receipt) -> OnDisk {
        let log = self.log.clone();
        Box::pin(async move { log.durable(receipt).await })
    }

    /// Whether statements wait for the disk.
    pub(crate) fn is_holding(&self) -> bool {
        self.hold.is_some()
    }

    /// Whether answers wait for the disk.
    pub(crate) fn is_gated(&self) -> bool {
        self.gate.is_some()
    }

    /// Ready when the statements may go.
    pub(crate) fn poll_hold(&mut self, context: &mut Context<'_>) -> Poll<Result<(), String>> {
        poll(&mut self.hold, context)
    }

    /// Ready when the answers may go.
    pub(crate) fn poll_gate(&mut self, context: &mut Context<'_>) -> Poll<Result<(), String>> {
        poll(&mut self.gate, context)
    }
}

fn poll(waiting: &mut Option<OnDisk>, context: &mut Context<'_>) -> Poll<Result<(), String>> {
    let Some(on_disk) = waiting else { return Poll::Ready(Ok(())) };
    let outcome = ready!(on_disk.as_mut().poll(context));
    *waiting = None;
    Poll::Ready(outcome.map_err(|error| error.to_string()))
}
