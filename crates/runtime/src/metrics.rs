//! Numbers for Prometheus. Names are `portcullis_<noun>_<unit>`; the exposition adds `_total` to counters.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::registry::{self, Metric};

pub use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelSetEncoder};
pub use prometheus_client::metrics::counter::Counter;
pub use prometheus_client::metrics::family::Family;
pub use prometheus_client::metrics::gauge::Gauge;
pub use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

/// Every name begins with it.
const PREFIX: &str = "portcullis";

/// What [`Registry::text`] is, for the `Content-Type` header.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics of the process. Cheap to clone; all clones are the same registry.
#[derive(Clone)]
pub struct Registry(Arc<Mutex<Inner>>);

struct Inner {
    registry: registry::Registry,
    described: Vec<Described>,
    refreshers: Vec<Refresher>,
}

type Refresher = Arc<dyn Fn() + Send + Sync>;

/// What a metric is, for the reference page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// As the exposition names its samples.
    pub name: String,
    /// Counter, gauge or histogram.
    pub kind: String,
    /// What its value counts.
    pub unit: &'static str,
    /// One line, without a full stop.
    pub help: &'static str,
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Registry")
    }
}

impl Registry {
    /// Empty.
    pub fn new() -> Self {
        let registry = registry::Registry::with_prefix(PREFIX);
        let inner = Inner { registry, described: Vec::new(), refreshers: Vec::new() };
        Self(Arc::new(Mutex::new(inner)))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Before every exposition: for figures that are looked up when somebody asks.
    pub fn before_text(&self, refresh: impl Fn() + Send + Sync + 'static) {
        self.lock().refreshers.push(Arc::new(refresh));
    }

    /// Every metric that was registered, in that order.
    pub fn described(&self) -> Vec<Described> {
        self.lock().described.clone()
    }

    /// Adds a metric and hands it back. `name` is without `portcullis_` and, for counters, without `_total`; `help` is
    /// without a full stop, which the exposition adds.
    pub fn register<M: Metric + Clone>(
        &self,
        name: &'static str,
        help: &'static str,
        metric: M,
    ) -> M {
        let kind = metric.metric_type().as_str().to_owned();
        let total = if kind == "counter" { "_total" } else { "" };
        let described =
            Described { name: format!("{PREFIX}_{name}{total}"), kind, unit: unit(name), help };
        let mut inner = self.lock();
        inner.registry.register(name, help, metric.clone());
        inner.described.push(described);
        drop(inner);
        metric
    }

    /// A new counter.
    pub fn counter(&self, name: &'static str, help: &'static str) -> Counter {
        self.register(name, help, Counter::default())
    }

    /// A new gauge.
    pub fn gauge(&self, name: &'static str, help: &'static str) -> Gauge {
        self.register(name, help, Gauge::default())
    }

    /// A new histogram with these upper bounds.
    pub fn histogram(
        &self,
        name: &'static str,
        help: &'static str,
        bounds: impl IntoIterator<Item = f64>,
    ) -> Histogram {
        self.register(name, help, Histogram::new(bounds))
    }

    /// The exposition in OpenMetrics text.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let refreshers = self.lock().refreshers.clone();
        for refresh in &refreshers {
            refresh();
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.lock().registry)?;
        Ok(text)
    }
}

/// The unit that a name ends with.
fn unit(name: &str) -> &'static str {
    match name.rsplit('_').next() {
        _ if name.ends_with("timestamp_seconds") => "seconds since 1970",
        Some("seconds") => "seconds",
        Some("bytes") => "bytes",
        Some("info") => "always 1",
        Some("failed" | "ready") => "0 or 1",
        _ => "number",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exposition_names_what_was_registered() {
        let registry = Registry::new();
        registry.counter("sessions", "Sessions opened").inc_by(3);
        registry.gauge("audit_unsynced_records", "Records not on disk yet").set(2);
        assert_eq!(
            registry.text().unwrap(),
            "# HELP portcullis_sessions Sessions opened.\n\
             # TYPE portcullis_sessions counter\n\
             portcullis_sessions_total 3\n\
             # HELP portcullis_audit_unsynced_records Records not on disk yet.\n\
             # TYPE portcullis_audit_unsynced_records gauge\n\
             portcullis_audit_unsynced_records 2\n\
             # EOF\n"
        );
    }

    #[test]
    fn a_description_names_samples_as_they_are_exported_and_figures_are_looked_up_when_asked() {
        let registry = Registry::new();
        let seconds = registry.gauge("start_timestamp_seconds", "When the process began");
        registry.counter("session_bytes", "Bytes relayed");
        registry.before_text(move || {
            seconds.set(7);
        });
        let described = registry.described();
        let text = registry.text().unwrap();
        let shown = described.iter().map(|Described { name, kind, unit, .. }| {
            assert!(text.contains(&format!("\n{name} ")), "{text}");
            format!("{name} {kind} {unit}")
        });
        assert_eq!(
            shown.collect::<Vec<_>>(),
            [
                "portcullis_start_timestamp_seconds gauge seconds since 1970",
                "portcullis_session_bytes_total counter bytes"
            ]
        );
        assert!(text.contains("start_timestamp_seconds 7"), "{text}");
    }
}
