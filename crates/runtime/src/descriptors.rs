//! File descriptors, shared out before anybody connects: so many for clients that the store, the audit log and the
//! connections by which access is taken away never find none left.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For ourselves: files of the store and the log, listeners, standing connections, a cancel request now and then.
const OWN: u64 = 96;
/// A session has one toward the client and one toward the server.
const OF_A_SESSION: u64 = 2;
/// Of what clients may have, HTTPS gets one in so many.
const HTTPS_PART: u64 = 4;

/// Connections that there are descriptors for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Clients of databases.
    pub sessions_max: u32,
    /// Clients of the API and the token service.
    pub https_max: u32,
}

impl Shares {
    /// Of this many descriptors; the caller's own bounds hold besides.
    pub fn of(descriptors: u64, https_wanted: u32) -> Self {
        let clients = descriptors.saturating_sub(OWN);
        let https = (clients / HTTPS_PART).min(u64::from(https_wanted));
        let sessions = clients.saturating_sub(https) / OF_A_SESSION;
        let narrow = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        Self { sessions_max: narrow(sessions).max(1), https_max: narrow(https).max(1) }
    }
}

/// Raises this process's limit as far as it may, and says how many descriptors it has then.
pub fn raise_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current =
        if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    // No limit at all: the kernel's own is far beyond what is shared out.
    current.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_never_get_what_we_need_ourselves() {
        for descriptors in [0, 96, 128, 256, 1_024, 65_536, u64::MAX] {
            let shares = Shares::of(descriptors, 2_048);
            let given = u64::from(shares.sessions_max) * OF_A_SESSION + u64::from(shares.https_max);
            assert!(given <= descriptors.saturating_sub(OWN).max(3), "{descriptors}: {shares:?}");
        }
        assert_eq!(Shares::of(65_536, 2_048), Shares { sessions_max: 31_696, https_max: 2_048 });
        assert_eq!(Shares::of(256, 2_048), Shares { sessions_max: 60, https_max: 40 });
    }

    #[test]
    fn the_limit_is_raised_and_stays_raised() {
        let raised = raise_limit();
        assert!(raised >= 64, "{raised}");
        assert_eq!(raise_limit(), raised);
    }
}
