//! What is wrong with the installation as a whole, as the running server sees it.

use std::path::PathBuf;
use std::time::Duration;

use audit::Log;
use control::Keyring;
use model::finding::{self, Finding};
use model::{Lifetime, ServerName, Timestamp};
use runtime::Clock;
use store::Store;

use super::figures::space;
use crate::installation::Installation;

/// Authorities that end sooner are named.
const AUTHORITY_ENDS_SOON: Duration = Duration::from_hours(30 * 24);
/// The certificate that listeners show is renewed 30 days ahead; ending sooner than this, it was not.
const LISTENER_ENDS_SOON: Duration = Duration::from_hours(14 * 24);
/// Where findings of the whole are.
const SUBJECT: &str = "installation";

/// Where to look.
#[derive(Debug)]
pub(super) struct Checkup {
    store: Store,
    log: Log,
    clock: Clock,
    keyring: Keyring,
    audit_directory: PathBuf,
    staleness_login_max: Lifetime,
}

impl Checkup {
    pub(super) fn of(installation: &Installation) -> Self {
        let Installation { store, log, clock, keyring, config, .. } = installation;
        Self {
            store: store.clone(),
            log: log.clone(),
            clock: clock.clone(),
            keyring: keyring.clone(),
            audit_directory: config.audit.directory.clone(),
            staleness_login_max: config.gateway.staleness_login_max,
        }
    }

    pub(super) fn findings(&self) -> Vec<Finding> {
        let now = self.clock.now();
        let mut findings = Vec::new();
        if let Some(cause) = self.store.failed() {
            findings.push(finding::STORE_FAILED.found(SUBJECT, cause));
        }
        let unseen = now.since(self.store.snapshots().verified_at());
        if unseen >= self.staleness_login_max.duration() {
            let message = format!("the store has not been reached for {} s", unseen.as_secs());
            findings.push(finding::STORE_FAILED.found(SUBJECT, message));
        }
        let failed = self.log.failed().borrow().clone();
        if let Some(cause) = failed {
            findings.push(finding::AUDIT_FAILED.found(SUBJECT, cause));
        }
        findings.extend(nearly_full(&self.audit_directory));
        if let Err(error) = self.keyring.signer() {
            findings.push(finding::SIGNING_KEY_MISSING.found(SUBJECT, error.to_string()));
        }
        let ends = self.keyring.certificate_ends();
        findings.extend(ends.iter().filter_map(|(name, ends)| about_to_end(name, *ends, now)));
        findings
    }
}

/// The audit log's disk, when there is hardly any room on it.
pub(crate) fn nearly_full(folder: &std::path::Path) -> Option<Finding> {
    let space = space(folder).ok()?;
    space.is_scarce().then(|| {
        let message = format!(
            "{} MiB of {} MiB are free under `{}`",
            space.free >> 20,
            space.size >> 20,
            folder.display()
        );
        finding::AUDIT_DISK_FULL.found(SUBJECT, message)
    })
}

fn about_to_end(name: &str, ends: Timestamp, now: Timestamp) -> Option<Finding> {
    let within = |length| ends <= now.plus(length);
    if let Some(server) = name.strip_prefix("client-authority/") {
        let server = ServerName::new(server).ok()?;
        return within(AUTHORITY_ENDS_SOON).then(|| {
            let message = format!("the server's client authority ends at {ends}");
            finding::CLIENT_AUTHORITY_ENDS.found(server.as_str(), message)
        });
    }
    match name {
        "authority" if within(AUTHORITY_ENDS_SOON) => {
            let message = format!("the installation's authority ends at {ends}");
            Some(finding::AUTHORITY_ENDS.found(SUBJECT, message))
        }
        "listener" if within(LISTENER_ENDS_SOON) => {
            let message = format!("what clients are shown ends at {ends}");
            Some(finding::LISTENER_CERTIFICATE_ENDS.found(SUBJECT, message))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_named_a_month_ahead_and_what_renews_itself_two_weeks_ahead() {
        let now = Timestamp::from_seconds(1_795_000_000);
        let found = |name, days: u64| {
            let ends = now.plus(Duration::from_hours(24 * days));
            about_to_end(name, ends, now).map(|finding| (finding.code, finding.subject))
        };
        let some = |code: &str, subject: &str| Some((code.to_owned(), subject.to_owned()));
        assert_eq!(found("authority", 31), None);
        assert_eq!(found("authority", 30), some("PH301", "installation"));
        assert_eq!(found("client-authority/orders", 31), None);
        assert_eq!(found("client-authority/orders", 0), some("PH213", "orders"));
        assert_eq!(found("listener", 15), None);
        assert_eq!(found("listener", 14), some("PH302", "installation"));
    }
}
