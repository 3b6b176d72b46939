//! What strangers may make us do in a minute, by source: beyond it they are answered all the same and cost nothing more.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use model::Timestamp;

use super::admission::bucket;

const PERIOD: Duration = Duration::from_mins(1);
/// The sources that are remembered at a time; while there are more, a new one has nothing to spend.
const SOURCES_MAX: usize = 10_000;

/// One budget for each source.
#[derive(Debug)]
pub(crate) struct Budgets {
    of_one: u32,
    spent: Mutex<HashMap<IpAddr, Spent>>,
}

#[derive(Clone, Copy, Debug)]
struct Spent {
    until: Timestamp,
    times: u32,
}

impl Budgets {
    /// Each source may spend so often in a minute.
    pub(crate) fn new(of_one: u32) -> Self {
        Self { of_one, spent: Mutex::default() }
    }

    /// Whether the source has something left.
    pub(crate) fn has_left(&self, source: IpAddr, now: Timestamp) -> bool {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        spent.retain(|_, spent| now < spent.until);
        match spent.get(&bucket(source)) {
            Some(spent) => spent.times < self.of_one,
            None => spent.len() < SOURCES_MAX,
        }
    }

    /// Spends once, if the source has something left.
    pub(crate) fn spend(&self, source: IpAddr, now: Timestamp) -> bool {
        if !self.has_left(source, now) {
            return false;
        }
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = Spent { until: now.plus(PERIOD), times: 0 };
        spent.entry(bucket(source)).or_insert(fresh).times += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_seconds(second)
    }

    #[test]
    fn a_source_spends_its_own_budget_for_a_minute() {
        let budgets = Budgets::new(2);
        let [first, other] = ["192.0.2.1", "192.0.2.2"].map(|source| source.parse().unwrap());
        assert_eq!([0, 1, 2].map(|second| budgets.spend(first, at(second))), [true, true, false]);
        assert!(budgets.spend(other, at(2)));
        assert!(!budgets.has_left(first, at(59)));
        assert!(budgets.spend(first, at(60)));
    }

    #[test]
    fn addresses_of_one_ipv6_network_spend_together() {
        let budgets = Budgets::new(1);
        assert!(budgets.spend("2001:db8::1".parse().unwrap(), at(0)));
        assert!(!budgets.spend("2001:db8::ffff:1".parse().unwrap(), at(0)));
        assert!(budgets.spend("2001:db8:0:1::1".parse().unwrap(), at(0)));
    }
}
