//! Numbers for Prometheus.

use std::time::Duration;

use model::{Code, code};
use runtime::metrics::{Counter, Family, Gauge, Histogram, Registry, exponential_buckets};

use crate::listener::admission::Full;
use crate::session::Waited;

/// One label and its value.
type Label = [(&'static str, &'static str); 1];

/// For whom a login waits.
const WAITED_FOR: [&str; 3] = ["client", "server", "gateway"];

/// Why sessions end.
const END_REASONS: [&str; 8] =
    ["client", "server", "cut", "drain", "idle", "statement", "audit", "malformed"];

/// The gateway's numbers.
#[derive(Debug)]
pub(crate) struct Metrics {
    open: Gauge,
    refused: Family<Label, Counter>,
    ended: Family<Label, Counter>,
    turned_away: Family<Label, Counter>,
    bytes: Family<Label, Counter>,
    statements: Counter,
    login: Family<Label, Histogram>,
    cut: Histogram,
}

/// What sessions count while they live: atomics that all of them share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Relayed {
    /// To servers.
    pub bytes_in: Counter,
    /// To clients.
    pub bytes_out: Counter,
    /// Statements recorded.
    pub statements: Counter,
}

/// A session counted as open until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenGauge(Gauge);

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Self {
        let metrics = Self {
            open: registry.gauge("sessions_open", "Sessions open now"),
            refused: registry.register(
                "sessions_refused",
                "Connections refused with a reason, by `code` (docs/reference/codes.md)",
                Family::default(),
            ),
            ended: registry.register(
                "sessions_ended",
                "Sessions ended, by `reason`",
                Family::default(),
            ),
            turned_away: registry.register(
                "connections_turned_away",
                "Connections for which no place was free at accept, by `limit`",
                Family::default(),
            ),
            bytes: registry.register(
                "session_bytes",
                "Bytes relayed, by `direction`",
                Family::default(),
            ),
            statements: registry.counter("statements", "Statements recorded"),
            login: registry.register(
                "login_seconds",
                "From accept to open, by whom was waited for (`waited_for`)",
                Family::new_with_constructor(latency),
            ),
            cut: registry.register(
                "cut_seconds",
                "Of cut sessions: from the cause to the end of forwarding",
                latency(),
            ),
        };
        metrics.begin_at_zero();
        metrics
    }

    /// A series that is there from the beginning can be watched: its first event is a change.
    fn begin_at_zero(&self) {
        for code in code::ALL.iter().filter(|code| code.id.starts_with("PC1")) {
            drop(self.refused.get_or_create(&[("code", code.id)]));
        }
        for reason in END_REASONS {
            drop(self.ended.get_or_create(&[("reason", reason)]));
        }
        for direction in ["in", "out"] {
            drop(self.bytes.get_or_create(&[("direction", direction)]));
        }
        for whom in WAITED_FOR {
            drop(self.login.get_or_create(&[("waited_for", whom)]));
        }
        for limit in ["gateway", "listener", "source", "unauthenticated"] {
            drop(self.turned_away.get_or_create(&[("limit", limit)]));
        }
    }

    /// No place at accept.
    pub(crate) fn turned_away(&self, full: Full) {
        let limit = match full {
            Full::Gateway => "gateway",
            Full::Listener => "listener",
            Full::Source => "source",
            Full::Unauthenticated => "unauthenticated",
        };
        self.turned_away.get_or_create(&[("limit", limit)]).inc();
    }

    /// Turned away later.
    pub(crate) fn refused(&self, code: &'static Code) {
        self.refused.get_or_create(&[("code", code.id)]).inc();
    }

    /// A session opened after so long, of which it waited for these.
    pub(crate) fn opened(&self, all: Duration, waited: Waited) -> OpenGauge {
        let own = all.saturating_sub(waited.client).saturating_sub(waited.server);
        for (whom, time) in WAITED_FOR.into_iter().zip([waited.client, waited.server, own]) {
            self.login.get_or_create(&[("waited_for", whom)]).observe(time.as_secs_f64());
        }
        self.open.inc();
        OpenGauge(self.open.clone())
    }

    /// A session ended.
    pub(crate) fn ended(&self, reason: &'static str) {
        self.ended.get_or_create(&[("reason", reason)]).inc();
    }

    /// What one more session counts in.
    pub(crate) fn relayed(&self) -> Relayed {
        let bytes = |direction| self.bytes.get_or_create(&[("direction", direction)]).clone();
        let (bytes_in, bytes_out) = (bytes("in"), bytes("out"));
        Relayed { bytes_in, bytes_out, statements: self.statements.clone() }
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
