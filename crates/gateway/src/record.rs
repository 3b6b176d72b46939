//! What was observed, written down before it has an effect: the three modes of docs/architecture.md, "Audit".

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use audit::{AuditError, Log, Receipt, Records};
use model::event::StatementEvent;
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

/// What one look at bytes gave, as it will be written. Its memory serves the next look, of whichever session.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    records: Records,
    /// Whether a statement is among them: only those are waited for.
    statement: bool,
    /// Why one could not be written down.
    failure: Option<AuditError>,
}

impl Observed {
    /// Adds an event behind the others.
    pub(crate) fn push(&mut self, event: StatementEvent<'_>) {
        self.statement |= matches!(event, StatementEvent::Statement(_));
        if let Err(failure) = self.records.push(&event) {
            self.failure = Some(failure);
        }
    }

    /// Whether there is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.failure.is_none()
    }
}

impl Recorder {
    pub(crate) fn new(log: Log, mode: AuditMode) -> Self {
        Self { log, mode, hold: None, gate: None }
    }

    /// Writes the events to the log's files; one append for all. When this has returned, they outlive the process, and
    /// there is room for others.
    pub(crate) fn record(&mut self, observed: &mut Observed) -> Result<(), String> {
        if observed.is_empty() {
            return Ok(());
        }
        let failure = observed.failure.take();
        let appended = failure.map_or_else(|| self.log.append_records(&observed.records), Err);
        observed.records.clear();
        let has_statement = std::mem::take(&mut observed.statement);
        let receipt = appended.map_err(|error| error.to_string())?;
        if has_statement {
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
