//! Numbers for Prometheus. Names are `portcullis_<noun>_<unit>`; the exposition adds `_total` to counters.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use prometheus_client::registry::{self, Metric};

pub use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelSetEncoder};
pub use prometheus_client::metrics::counter::Counter;
pub use prometheus_client::metrics::family::Family;
pub use prometheus_client::metrics::gauge::Gauge;
pub use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

/// What [`Registry::text`] is, for the `Content-Type` header.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics of the process. Cheap to clone; all clones are the same registry.
#[derive(Clone)]
pub struct Registry(Arc<RwLock<registry::Registry>>);

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
        Self(Arc::new(RwLock::new(registry::Registry::with_prefix("portcullis"))))
    }

    /// Adds a metric and hands it back. `name` is without `portcullis_` and, for counters, without `_total`; `help` is
    /// without a full stop, which the exposition adds.
    pub fn register<M: Metric + Clone>(
        &self,
        name: &'static str,
        help: &'static str,
        metric: M,
    ) -> M {
        self.0.write().unwrap_or_else(PoisonError::into_inner).register(name, help, metric.clone());
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
        let mut text = String::new();
        let registry = self.0.read().unwrap_or_else(PoisonError::into_inner);
        prometheus_client::encoding::text::encode(&mut text, &registry)?;
        Ok(text)
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
}
