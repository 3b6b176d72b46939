//! Processor time of a process, as the kernel counts it.

use std::fs;

use anyhow::{Context, Result};

/// A reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Processor {
    /// In user and kernel mode, all threads.
    ticks: u64,
}

impl Processor {
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("the proxy is gone")?;
        Self::parse(&stat).with_context(|| format!("not as proc(5) says: {stat}"))
    }

    /// Fields 14 and 15 (`utime`, `stime`); the second one may hold spaces and parentheses.
    fn parse(stat: &str) -> Option<Self> {
        let (_, after_name) = stat.rsplit_once(") ")?;
        let mut times = after_name.split(' ').skip(11);
        let user: u64 = times.next()?.parse().ok()?;
        let kernel: u64 = times.next()?.parse().ok()?;
        Some(Self { ticks: user.checked_add(kernel)? })
    }

    pub(crate) fn microseconds(self) -> f64 {
        let per_second = rustix::param::clock_ticks_per_second();
        // Far below 2^53 ticks: exact.
        #[expect(clippy::cast_precision_loss, reason = "a machine's uptime in ticks has 40 bits")]
        let seconds = self.ticks as f64 / per_second as f64;
        seconds * 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_kernel_time_are_added() {
        let stat = "42 (a ) b) S 1 42 42 0 -1 4194304 100 0 0 0 1250 250 7 7 20 0 9 0 1 1 1";
        assert_eq!(Processor::parse(stat), Some(Processor { ticks: 1500 }));
        assert!(Processor::of(std::process::id()).is_ok());
    }
}
