//! What the process as a whole shows to Prometheus: looked up when somebody asks.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

use audit::Log;
use model::Snapshot;
use model::kind::activation::ActivationState;
use model::kind::database_user::DatabaseUserState;
use runtime::Clock;
use runtime::metrics::{Counter, Family, Gauge, Registry};
use store::Store;

use crate::installation::Installation;

type Label<const N: usize> = [(&'static str, String); N];

/// A figure with a part behind the point.
type Fraction = Gauge<f64, AtomicU64>;

/// The figures, and where they are looked up.
struct Figures {
    store: Store,
    log: Log,
    clock: Clock,
    keyring: control::Keyring,
    audit_directory: PathBuf,
    shown: Shown,
}

/// The figures.
struct Shown {
    start: Gauge,
    build: Family<Label<1>, Gauge>,
    revision: Gauge,
    store_failed: Gauge,
    snapshot_age: Fraction,
    audit_records: Gauge,
    audit_age: Fraction,
    audit_failed: Gauge,
    audit_free: Gauge,
    database_users: Family<Label<1>, Gauge>,
    activations: Family<Label<1>, Gauge>,
    findings: Family<Label<1>, Gauge>,
    certificate_ends: Family<Label<1>, Gauge>,
    resident: Gauge,
    descriptors: Gauge,
    descriptors_max: Gauge,
}

/// Answers of the HTTPS server.
#[derive(Clone, Debug)]
pub(crate) struct Answers(Family<Label<1>, Counter>);

impl Answers {
    pub(crate) fn new(registry: &Registry) -> Self {
        let help = "Answers of token service and API, by class of their `status`";
        let answers = Self(registry.register("http_answers", help, Family::default()));
        for class in 2..=5 {
            drop(answers.0.get_or_create(&[("status", format!("{class}xx"))]));
        }
        answers
    }

    pub(crate) fn count(&self, status: u16) {
        self.0.get_or_create(&[("status", format!("{}xx", status / 100))]).inc();
    }
}

/// Registers everything that [`show`] shows.
pub(crate) fn describe(registry: &Registry) {
    drop(Shown::new(registry));
    drop(Answers::new(registry));
    gateway::describe_metrics(registry);
}

/// Looks the figures up at every exposition from now on.
pub(crate) fn show(registry: &Registry, installation: &Installation) {
    let Installation { store, log, clock, keyring, config, .. } = installation;
    let figures = Figures {
        store: store.clone(),
        log: log.clone(),
        clock: clock.clone(),
        keyring: keyring.clone(),
        audit_directory: config.audit.directory.clone(),
        shown: Shown::new(registry),
    };
    let version = [("version", env!("CARGO_PKG_VERSION").to_owned())];
    figures.shown.build.get_or_create(&version).set(1);
    figures.shown.start.set(clock.now().seconds());
    registry.before_text(move || figures.refresh());
}

impl Shown {
    fn new(registry: &Registry) -> Self {
        let gauge = |name, help| registry.gauge(name, help);
        let family = |name, help| registry.register(name, help, Family::default());
        let fraction = |name, help| registry.register(name, help, Fraction::default());
        Self {
            start: gauge("start_timestamp_seconds", "When the process began"),
            build: family("build_info", "Which `version` runs"),
            revision: gauge("store_revision", "Commits of the store since the installation began"),
            store_failed: gauge(
                "store_failed",
                "Whether the store stopped writing after a failure",
            ),
            snapshot_age: fraction(
                "snapshot_age_seconds",
                "Since what decisions are made from was last confirmed; at 30 no session opens",
            ),
            audit_records: gauge(
                "audit_records",
                "Records in the audit log that a signed checkpoint covers",
            ),
            audit_age: fraction(
                "audit_checkpoint_age_seconds",
                "Since the audit log's latest signed checkpoint; it grows while nothing happens",
            ),
            audit_failed: gauge(
                "audit_failed",
                "Whether the audit log cannot be written, so that nobody gets in",
            ),
            audit_free: gauge("audit_free_bytes", "Room on the audit log's file system"),
            database_users: family("database_users", "Database users, by `state`"),
            activations: family("activations", "Activations, by `state`"),
            findings: family(
                "server_findings",
                "Findings of the last look at each `server`; `portcullis doctor` names them",
            ),
            certificate_ends: family(
                "certificate_end_timestamp_seconds",
                "When a `certificate` ends: the installation's authority, what listeners show, each server's client authority",
            ),
            resident: gauge("process_resident_bytes", "Memory of the process"),
            descriptors: gauge(
                "process_open_descriptors",
                "Files and sockets that the process has open",
            ),
            descriptors_max: gauge(
                "process_open_descriptors_max",
                "Files and sockets that it may have open",
            ),
        }
    }
}

impl Figures {
    fn refresh(&self) {
        let (shown, now) = (&self.shown, self.clock.now());
        let snapshots = self.store.snapshots();
        let snapshot = snapshots.load();
        shown.revision.set(number(snapshot.revision.0));
        shown.store_failed.set(i64::from(self.store.failed().is_some()));
        shown.snapshot_age.set(now.since(snapshots.verified_at()).as_secs_f64());
        shown.audit_failed.set(i64::from(self.log.failed().borrow().is_some()));
        if let Some(checkpoint) = self.log.checkpoint() {
            shown.audit_records.set(number(checkpoint.sequence));
            shown.audit_age.set(now.since(checkpoint.time).as_secs_f64());
        }
        shown.audit_free.set(number(space(&self.audit_directory).map_or(0, |space| space.free)));
        self.directory(&snapshot);
        shown.certificate_ends.clear();
        for (name, ends) in self.keyring.certificate_ends() {
            shown.certificate_ends.get_or_create(&[("certificate", name)]).set(ends.seconds());
        }
        self.process();
    }

    fn directory(&self, snapshot: &Snapshot) {
        let Shown { database_users, activations, findings, .. } = &self.shown;
        for state in DATABASE_USER_STATES {
            let users = snapshot.database_users.iter().filter(|user| user.status.state == state);
            let of_state = database_users.get_or_create(&[("state", word(&state))]);
            of_state.set(number(users.count()));
        }
        for state in
            [ActivationState::Requested, ActivationState::Scheduled, ActivationState::Active]
        {
            let open = snapshot.activations.iter().filter(|open| open.status.state == state);
            activations.get_or_create(&[("state", word(&state))]).set(number(open.count()));
        }
        // A server that was deleted has none any more.
        findings.clear();
        for server in snapshot.servers.iter() {
            let of_server = findings.get_or_create(&[("server", server.name().to_owned())]);
            of_server.set(number(server.status.findings.len()));
        }
    }

    /// `proc(5)`; what cannot be read stays as it was.
    fn process(&self) {
        let Shown { resident, descriptors, descriptors_max, .. } = &self.shown;
        let pages = fs::read_to_string("/proc/self/statm").ok();
        let pages = pages.and_then(|text| text.split(' ').nth(1)?.parse::<usize>().ok());
        if let Some(pages) = pages {
            resident.set(number(pages.saturating_mul(rustix::param::page_size())));
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            descriptors.set(number(open.count()));
        }
        if let Some(most) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
            descriptors_max.set(number(most));
        }
    }
}

/// Every state of a database user.
const DATABASE_USER_STATES: [DatabaseUserState; 4] = [
    DatabaseUserState::Planned,
    DatabaseUserState::Enabled,
    DatabaseUserState::Revoking,
    DatabaseUserState::Disabled,
];

/// As documents write it.
fn word(state: &impl serde::Serialize) -> String {
    let written = serde_json::to_value(state).unwrap_or_default();
    written.as_str().unwrap_or_default().to_owned()
}

fn number(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}

/// Room on a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Space {
    /// For us, in bytes.
    pub(crate) free: u64,
    /// In all, in bytes.
    pub(crate) size: u64,
}

impl Space {
    /// Less than a twentieth and less than 2 GiB, or less than 256 MiB on a disk of more than twice as much.
    pub(crate) fn is_scarce(self) -> bool {
        let (mebibyte, gibibyte) = (1 << 20, 1 << 30);
        let little = self.free < 256 * mebibyte && self.size > 512 * mebibyte;
        little || (self.free < 2 * gibibyte && self.free < self.size / 20)
    }
}

/// Of the file system that a folder is on.
pub(crate) fn space(folder: &Path) -> rustix::io::Result<Space> {
    let found = rustix::fs::statvfs(folder)?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Ok(Space { free: bytes(found.f_bavail), size: bytes(found.f_blocks) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_scarce_in_parts_of_a_disk_and_in_bytes() {
        let (mebibyte, gibibyte) = (1_u64 << 20, 1_u64 << 30);
        for (free, size, scarce) in [
            (200 * mebibyte, 100 * gibibyte, true),
            (gibibyte, 100 * gibibyte, true),
            (2 * gibibyte, 100 * gibibyte, false),
            (gibibyte, 10 * gibibyte, false),
            (20 * mebibyte, 64 * mebibyte, false),
            (2 * mebibyte, 64 * mebibyte, true),
        ] {
            assert_eq!(Space { free, size }.is_scarce(), scarce, "{free} of {size}");
        }
    }
}
