//! What the figures were measured on, and how many files this process may have.

use std::fs;

use anyhow::{Context, Result};
use model::Timestamp;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Enough for ten thousand sessions in the gateway, which has two for each and inherits our limit.
const DESCRIPTORS: u64 = 65_536;

/// On a machine that is busy with something else the figures are worth little.
pub(crate) fn described() -> Result<String> {
    let read = |path: &str| fs::read_to_string(path).with_context(|| path.to_owned());
    let first_word = |text: String| text.split_whitespace().next().unwrap_or_default().to_owned();
    Ok(format!(
        "Linux {}, {} processors, {} MiB of memory free, tcp_congestion_control {}, load {}.",
        read("/proc/sys/kernel/osrelease")?.trim(),
        std::thread::available_parallelism()?,
        memory_free_kib()? / 1024,
        read("/proc/sys/net/ipv4/tcp_congestion_control")?.trim(),
        first_word(read("/proc/loadavg")?),
    ))
}

/// What programs could still get without anything being swapped.
pub(crate) fn memory_free_kib() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    kib_of(&text, "MemAvailable:").context("no MemAvailable")
}

/// The figure of one line of `meminfo`, `smaps_rollup` and the like.
pub(crate) fn kib_of(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// As far as we may; root may go beyond the limit that it was given.
pub(crate) fn raise_descriptor_limit() -> Result<()> {
    let enough = Rlimit { current: Some(DESCRIPTORS), maximum: Some(DESCRIPTORS) };
    let has = getrlimit(Resource::Nofile);
    if has.maximum.is_some_and(|maximum| maximum < DESCRIPTORS)
        && setrlimit(Resource::Nofile, enough).is_ok()
    {
        return Ok(());
    }
    testkit::process::raise_descriptor_limit()
}

/// What an audit record's times are compared with.
#[expect(clippy::disallowed_methods, reason = "the gateway's clock and ours are the machine's")]
pub(crate) fn wall_clock() -> Timestamp {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Timestamp::EPOCH.plus(now.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_by_its_whole_name() {
        let text = "Pss:                1234 kB\nPss_Dirty:           567 kB\nTHPeligible: 0\n";
        assert_eq!(kib_of(text, "Pss:"), Some(1234));
        assert_eq!(kib_of(text, "Pss_Dirty:"), Some(567));
        assert_eq!(kib_of(text, "THPeligible:"), None);
        assert!(described().unwrap().starts_with("Linux "));
    }
}
