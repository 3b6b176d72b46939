//! Budgets of those who have not shown yet who they are, one a source address. Memory is bounded: an address that has
//! rested is forgotten, and when too many are busy at once, newcomers share one budget.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use model::Timestamp;

/// Addresses remembered at a time; at 64 bytes each this is 640 KB.
const SOURCES_MAX: usize = 10_000;

/// What a budget is spent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Spending {
    /// Any request.
    Request,
    /// A credential that was wrong.
    Failure,
    /// A device code, which is remembered for 15 minutes.
    DeviceCode,
}

impl Spending {
    /// How many at once, and how long until one more.
    fn allowance(self) -> (u32, Duration) {
        match self {
            Self::Request => (1_000, Duration::from_millis(10)),
            Self::Failure => (60, Duration::from_secs(1)),
            Self::DeviceCode => (30, Duration::from_secs(10)),
        }
    }
}

/// A bucket is the instant at which it will be full again; it is empty when that lies a whole burst ahead.
type FullAt = Timestamp;

/// Which budget. IPv6 hosts own a /64, so that is what counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Purse {
    Of(IpAddr, Spending),
    Shared(Spending),
}

/// Budgets of all sources.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    purses: Mutex<HashMap<Purse, FullAt>>,
}

/// How long until there is one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exhausted {
    pub(crate) wait: Duration,
}

impl Limits {
    /// Spends one.
    pub(crate) fn spend(
        &self,
        source: IpAddr,
        on: Spending,
        now: Timestamp,
    ) -> Result<(), Exhausted> {
        self.take(source, on, now, Take::One)
    }

    /// Whether there is one left, without spending it: failures are counted after they happened.
    pub(crate) fn check(
        &self,
        source: IpAddr,
        on: Spending,
        now: Timestamp,
    ) -> Result<(), Exhausted> {
        self.take(source, on, now, Take::Nothing)
    }

    fn take(
        &self,
        source: IpAddr,
        on: Spending,
        now: Timestamp,
        take: Take,
    ) -> Result<(), Exhausted> {
        let mut purses = self.purses.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let purse = purse(&mut purses, Purse::Of(network(source), on), on, now);
        let (burst, interval) = on.allowance();
        let full_at = purses.get(&purse).copied().unwrap_or(now).max(now);
        let spent = full_at.plus(interval);
        let empty_at = now.plus(interval.saturating_mul(burst));
        if spent > empty_at {
            return Err(Exhausted { wait: spent.since(empty_at) });
        }
        if take == Take::One {
            purses.insert(purse, spent);
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Take {
    One,
    Nothing,
}

fn purse(purses: &mut HashMap<Purse, FullAt>, own: Purse, on: Spending, now: Timestamp) -> Purse {
    if purses.contains_key(&own) || purses.len() < SOURCES_MAX {
        return own;
    }
    purses.retain(|_, full_at| *full_at > now);
    if purses.len() < SOURCES_MAX { own } else { Purse::Shared(on) }
}

fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let network = u128::from(address) >> 64 << 64;
            IpAddr::V6(network.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn spend_all(limits: &Limits, source: IpAddr, on: Spending, now: Timestamp) -> u32 {
        (0..10_000).find(|_| limits.spend(source, on, now).is_err()).unwrap()
    }

    #[test]
    fn a_burst_is_allowed_and_then_one_an_interval() {
        let (limits, now) = (Limits::default(), Timestamp::from_seconds(1_000));
        let source = address("192.0.2.1");
        assert_eq!(spend_all(&limits, source, Spending::Failure, now), 60);
        assert_eq!(
            limits.check(source, Spending::Failure, now),
            Err(Exhausted { wait: Duration::from_secs(1) })
        );
        let later = now.plus(Duration::from_secs(3));
        assert_eq!(limits.check(source, Spending::Failure, later), Ok(()));
        assert_eq!(spend_all(&limits, source, Spending::Failure, later), 3);
    }

    #[test]
    fn sources_and_purposes_do_not_share_and_a_network_of_ipv6_does() {
        let (limits, now) = (Limits::default(), Timestamp::from_seconds(1_000));
        spend_all(&limits, address("2001:db8::1"), Spending::DeviceCode, now);
        assert!(limits.check(address("2001:db8::ffff"), Spending::DeviceCode, now).is_err());
        assert!(limits.check(address("2001:db8:0:1::1"), Spending::DeviceCode, now).is_ok());
        assert!(limits.check(address("2001:db8::1"), Spending::Request, now).is_ok());
        spend_all(&limits, address("::ffff:192.0.2.1"), Spending::DeviceCode, now);
        assert!(limits.check(address("192.0.2.1"), Spending::DeviceCode, now).is_err());
    }

    #[test]
    fn memory_is_bounded_and_a_rested_source_makes_room() {
        let (limits, now) = (Limits::default(), Timestamp::from_seconds(1_000));
        for number in 0..20_000_u32 {
            let source = IpAddr::V4((0x0a00_0000 + number).into());
            let _spent = limits.spend(source, Spending::DeviceCode, now);
        }
        let held = || limits.purses.lock().unwrap().len();
        assert_eq!(held(), SOURCES_MAX + 1, "and the shared one");
        let newcomer = address("192.0.2.1");
        assert!(limits.check(newcomer, Spending::DeviceCode, now).is_err());
        let rested = now.plus(Duration::from_secs(100));
        assert!(limits.spend(newcomer, Spending::DeviceCode, rested).is_ok());
        assert!(held() < 10);
    }
}
