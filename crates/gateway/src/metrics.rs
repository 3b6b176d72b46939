//! Numbers for Prometheus.

use std::time::Duration;

use model::Code;
use runtime::metrics::{Counter, Family, Gauge, Histogram, Registry, exponential_buckets};

use crate::session::Waited;

/// One label and its value.
type Label = [(&'static str, &'static str); 1];

/// The gateway's numbers.
#[derive(Debug)]
pub(crate) struct Metrics {
    open: Gauge,
    refused: Family<Label, Counter>,
    ended: Family<Label, Counter>,
    turned_away: Counter,
    bytes: Family<Label, Counter>,
    statements: Counter,
    login: Family<Label, Histogram>,
    cut: Histogram,
}

/// A session counted as open until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenGauge(Gauge);

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Self {
        Self {
            open: registry.gauge("sessions_open", "Sessions open now"),
            refused: registry.register(
                "sessions_refused",
                "Connections turned away, by code",
                Family::default(),
            ),
            ended: registry.register(
                "sessions_ended",
                "Sessions ended, by reason",
                Family::default(),
            ),
            turned_away: registry.counter(
                "connections_turned_away",
                "Connections closed at accept because no place was free",
            ),
            bytes: registry.register(
                "session_bytes",
                "Bytes relayed, by direction",
                Family::default(),
            ),
            statements: registry.counter("statements", "Statements recorded"),
            login: registry.register(
                "login_seconds",
                "From accept to open, by whom was waited for",
                Family::new_with_constructor(latency),
            ),
            cut: registry.register(
                "cut_seconds",
                "Of cut sessions: from the cause to the end of forwarding",
                latency(),
            ),
        }
    }

    /// No place at accept.
    pub(crate) fn turned_away(&self) {
        self.turned_away.inc();
    }

    /// Turned away later.
    pub(crate) fn refused(&self, code: &'static Code) {
        self.refused.get_or_create(&[("code", code.id)]).inc();
    }

    /// A session opened after so long, of which it waited for these.
    pub(crate) fn opened(&self, all: Duration, waited: Waited) -> OpenGauge {
        let own = all.saturating_sub(waited.client).saturating_sub(waited.server);
        for (whom, time) in [("client", waited.client), ("server", waited.server), ("gateway", own)]
        {
            self.login.get_or_create(&[("waited_for", whom)]).observe(time.as_secs_f64());
        }
        self.open.inc();
        OpenGauge(self.open.clone())
    }

    /// A session ended.
    pub(crate) fn ended(&self, reason: &'static str, statements: u64, bytes: (u64, u64)) {
        self.ended.get_or_create(&[("reason", reason)]).inc();
        self.statements.inc_by(statements);
        self.bytes.get_or_create(&[("direction", "in")]).inc_by(bytes.0);
        self.bytes.get_or_create(&[("direction", "out")]).inc_by(bytes.1);
    }

    /// A session was cut so long after the cause.
    pub(crate) fn cut(&self, after: Duration) {
        self.cut.observe(after.as_secs_f64());
    }
}

impl Drop for OpenGauge {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// From 250 µs, doubling, to 16 s.
fn latency() -> Histogram {
    Histogram::new(exponential_buckets(0.000_25, 2.0, 17))
}
