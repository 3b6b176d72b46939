//! What a turn measures: work in a second, and what the proxy computed for it.

use crate::processor::Processor;

/// What one turn measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    /// Units of work in a second.
    pub(crate) rate: f64,
    /// Microseconds that the proxy computed for one unit; nothing where there is no proxy.
    pub(crate) processor: Option<f64>,
}

impl Measured {
    /// Not a number where there is no proxy.
    pub(crate) fn cost(&self) -> f64 {
        self.processor.unwrap_or(f64::NAN)
    }
}

/// What a load generator says each second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Report {
    /// Seconds since it began.
    pub(crate) at: f64,
    /// Units in a second since the last report.
    pub(crate) rate: f64,
}

/// From the first report to the last: what comes before is warm-up.
#[derive(Default)]
pub(crate) struct Window {
    first: Option<(f64, Option<Processor>)>,
    last: Option<(f64, Option<Processor>)>,
    transactions: f64,
}

impl Window {
    /// The proxy's processor time as it was when the report came.
    pub(crate) fn add(&mut self, report: Report, processor: Option<Processor>) {
        let now = (report.at, processor);
        match self.last {
            None => self.first = Some(now),
            Some((before, _)) => self.transactions += report.rate * (report.at - before),
        }
        self.last = Some(now);
    }

    /// Nothing when there were too few.
    pub(crate) fn measured(&self) -> Option<Measured> {
        let ((begin, before), (end, after)) = (self.first?, self.last?);
        if end <= begin || self.transactions <= 0.0 {
            return None;
        }
        let rate = self.transactions / (end - begin);
        let processor = spent(before, after).map(|spent| spent / self.transactions);
        Some(Measured { rate, processor })
    }
}

/// Microseconds between two readings.
pub(crate) fn spent(before: Option<Processor>, after: Option<Processor>) -> Option<f64> {
    Some(after?.microseconds() - before?.microseconds())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_second_is_warm_up_and_counts_for_nothing() {
        let mut window = Window::default();
        for (at, rate) in [(1.0, 10.0), (2.0, 100.0), (4.0, 400.0)] {
            window.add(Report { at, rate }, None);
        }
        let measured = window.measured().unwrap();
        assert!((measured.rate - 300.0).abs() < 1e-9, "{measured:?}");
        assert!(Window::default().measured().is_none());
    }
}
