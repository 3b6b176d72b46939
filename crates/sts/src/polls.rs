//! When each waiting device asked last. In memory: losing it costs nothing but one early poll.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use model::Timestamp;

/// What devices are told to wait between two polls.
pub(crate) const INTERVAL: Duration = Duration::from_secs(5);

/// Timers of clients fire early.
const TOLERANCE: Duration = Duration::from_millis(500);

/// Devices remembered at a time; the oldest half goes when there are more.
const DEVICES_MAX: usize = 10_000;

#[derive(Debug, Default)]
pub(crate) struct Polls {
    last: Mutex<HashMap<String, Timestamp>>,
}

impl Polls {
    /// Notes a poll; whether it came sooner than the device was told.
    pub(crate) fn too_soon(&self, user_code: &str, now: Timestamp) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() >= DEVICES_MAX {
            let mut times: Vec<Timestamp> = last.values().copied().collect();
            times.sort_unstable();
            let middle = times.get(times.len() / 2).copied().unwrap_or(now);
            last.retain(|_, at| *at > middle);
        }
        let before = last.insert(user_code.to_owned(), now);
        before.is_some_and(|before| now.since(before) < INTERVAL.saturating_sub(TOLERANCE))
    }

    /// Forgets a device that is done.
    pub(crate) fn forget(&self, user_code: &str) {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).remove(user_code);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_poll_within_the_interval_is_too_soon() {
        let (polls, start) = (Polls::default(), Timestamp::from_seconds(1_000));
        let after = |millis| start.plus(Duration::from_millis(millis));
        assert!(!polls.too_soon("A", start));
        assert!(polls.too_soon("A", after(1_000)));
        assert!(!polls.too_soon("A", after(6_000)));
        assert!(!polls.too_soon("A", after(10_600)), "half a second early is a timer's fault");
        assert!(!polls.too_soon("B", after(10_700)));
        polls.forget("A");
        assert!(!polls.too_soon("A", after(10_800)));
    }

    #[test]
    fn memory_is_bounded() {
        let polls = Polls::default();
        for number in 0..25_000_i64 {
            polls.too_soon(&number.to_string(), Timestamp::from_seconds(number));
        }
        assert!(polls.last.lock().unwrap().len() <= DEVICES_MAX);
    }
}
