//! What the relay's two halves share: when something last happened, and whether anything is going on.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use model::Timestamp;

use crate::metrics::Relayed;

/// What is going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// A statement runs.
    Running,
    /// The server waits for the next statement of a transaction.
    InTransaction,
    /// The server waits for a statement.
    Quiet,
}

/// Written by the pump, read by whoever watches over the session. Both run in one task; atomics only because the task
/// may move between threads.
#[derive(Debug)]
pub(crate) struct Activity {
    heard_at: AtomicI64,
    /// Since when the statement that runs has been running.
    running_since: AtomicI64,
    forwarded_at: AtomicI64,
    quiet: AtomicBool,
    waiting: AtomicBool,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    /// The end of access that the client is to be told of; 0 when there is none.
    warning: AtomicI64,
    /// What all sessions together have moved.
    relayed: Relayed,
}

impl Activity {
    /// Nothing has happened since the session was opened.
    pub(crate) fn since(opened_at: Timestamp, relayed: Relayed) -> Self {
        Self {
            heard_at: AtomicI64::new(opened_at.micros()),
            running_since: AtomicI64::new(opened_at.micros()),
            forwarded_at: AtomicI64::new(opened_at.micros()),
            quiet: AtomicBool::new(true),
            waiting: AtomicBool::new(true),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            warning: AtomicI64::new(0),
            relayed,
        }
    }

    /// Either side said something, after which this is going on.
    pub(crate) fn heard(&self, now: Timestamp, state: State) {
        self.heard_at.store(now.micros(), Ordering::Relaxed);
        if self.is_waiting() {
            self.running_since.store(now.micros(), Ordering::Relaxed);
        }
        self.waiting.store(state != State::Running, Ordering::Relaxed);
        self.quiet.store(state == State::Quiet, Ordering::Relaxed);
    }

    /// A statement of several under way has ended: the next one runs since now.
    pub(crate) fn one_ended(&self, now: Timestamp) {
        self.running_since.store(now.micros(), Ordering::Relaxed);
    }

    /// Since when the statement that runs has been running; meaningless while none does.
    pub(crate) fn running_since(&self) -> Timestamp {
        Timestamp::from_micros(self.running_since.load(Ordering::Relaxed))
    }

    /// Bytes went to the server.
    pub(crate) fn forwarded(&self, now: Timestamp, bytes: usize) {
        self.forwarded_at.store(now.micros(), Ordering::Relaxed);
        self.bytes_in.fetch_add(wide(bytes), Ordering::Relaxed);
        self.relayed.bytes_in.inc_by(wide(bytes));
    }

    /// Bytes went to the client.
    pub(crate) fn answered(&self, bytes: usize) {
        self.bytes_out.fetch_add(wide(bytes), Ordering::Relaxed);
        self.relayed.bytes_out.inc_by(wide(bytes));
    }

    /// The client is to be told, when nothing is going on, that access ends then.
    pub(crate) fn warn(&self, end: Timestamp) {
        self.warning.store(end.micros(), Ordering::Relaxed);
    }

    /// What the client is to be told now, once.
    pub(crate) fn due_warning(&self) -> Option<Timestamp> {
        if !self.is_waiting() || self.warning.load(Ordering::Relaxed) == 0 {
            return None;
        }
        Some(Timestamp::from_micros(self.warning.swap(0, Ordering::Relaxed)))
    }

    /// Statements were recorded.
    pub(crate) fn recorded(&self, statements: u64) {
        if statements > 0 {
            self.relayed.statements.inc_by(statements);
        }
    }

    /// When either side last said something.
    pub(crate) fn heard_at(&self) -> Timestamp {
        Timestamp::from_micros(self.heard_at.load(Ordering::Relaxed))
    }

    /// When the last byte went to the server.
    pub(crate) fn forwarded_at(&self) -> Timestamp {
        Timestamp::from_micros(self.forwarded_at.load(Ordering::Relaxed))
    }

    /// Whether the server waits for a statement, in a transaction or outside.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Whether the server waits for a statement outside a transaction.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet.load(Ordering::Relaxed)
    }

    /// Bytes from the client and to the client.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.bytes_in.load(Ordering::Relaxed), self.bytes_out.load(Ordering::Relaxed))
    }
}

/// `usize` has at most 64 bits on every platform that Rust supports.
fn wide(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
