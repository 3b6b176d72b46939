//! The installation as it lies on disk: configuration, master key, store, keys, audit log. The server opens it, and so
//! do the few commands that work beside a stopped server.

pub(crate) mod checkpoint;

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use audit::{AuditError, Log, Opened, Options};
use control::keyring::{host_names, load_master_key};
use control::{Control, Keyring, KeyringError, LiveSessions};
use keys::MasterKey;
use model::event::EventBody;
use runtime::config::MasterKeySource;
use runtime::{Clock, Config, Shutdown, Tasks};
use store::Store;
use tokio::sync::watch;
use tracing::{error, info};

use crate::failure::Failure;
use checkpoint::Keeper;

/// A record of the audit log is on disk at most so long after it was appended.
const AUDIT_SYNC_INTERVAL: Duration = Duration::from_millis(10);

/// What all parts stand on.
pub(crate) struct Installation {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    pub(crate) tasks: Tasks,
    pub(crate) store: Store,
    pub(crate) keyring: Keyring,
    pub(crate) log: Log,
    pub(crate) opened: Opened,
    /// What the log says first when it takes the place of another.
    pub(crate) begun_anew: Option<EventBody>,
    pub(crate) live: LiveSessions,
    pub(crate) control: Control,
    keeper: Keeper,
}

impl Installation {
    /// Opens everything, in the order in which one thing needs another.
    pub(crate) async fn open(config: Config, shutdown: Shutdown) -> Result<Self, Failure> {
        let failed =
            |error: &dyn std::fmt::Display| Failure::new("cannot open the installation", error);
        let tasks = Tasks::new(shutdown);
        create_folder(&config.data_directory)?;
        let file = store_file(&config);
        let clock = clock(&file)?;
        let store = Store::open(&file, clock.clone())
            .map_err(|error| failed(&error).next("one process at a time can have it open"))?;
        let master_key = load_master_key(&config.master_key, &store)
            .map_err(|error| failed(&error).next(about_master_key(&error)))?;
        let keyring =
            Keyring::open(&store, master_key, &clock).await.map_err(|error| failed(&error))?;
        keyring.serve_as(host_names(&config)).map_err(|error| failed(&error))?;
        let key = keyring.audit_key();
        let keeper = Keeper::new(&config, store.clone(), &key);
        let gateway = &config.gateway.name;
        let begun_anew = keeper.begun_anew(gateway).map_err(|error| failed(&error))?;
        let (log, opened) = Log::open(Options {
            directory: config.audit.directory.clone(),
            gateway: gateway.clone(),
            key,
            clock: clock.clone(),
            sync_interval: AUDIT_SYNC_INTERVAL,
            checkpoint_sink: Some(keeper.sink(&tasks)),
            known: keeper.known(gateway)?,
        })
        .map_err(|error| failed(&error).next(about_log(&error)))?;
        let live = LiveSessions::new();
        let control = Control::new(control::Parts {
            store: store.clone(),
            log: log.clone(),
            clock: clock.clone(),
            live: live.clone(),
        });
        keyring.attach(&control);
        Ok(Self {
            config,
            clock,
            tasks,
            store,
            keyring,
            log,
            opened,
            begun_anew,
            live,
            control,
            keeper,
        })
    }

    /// The last word in the log, and its checkpoint where checkpoints are kept.
    pub(crate) async fn close(self) -> Result<(), Failure> {
        let failed = |error: AuditError| Failure::new("cannot close the audit log", error);
        let receipt = self.log.append(&[EventBody::Stopped]).map_err(failed)?;
        self.log.durable(receipt).await.map_err(failed)?;
        if let Some(checkpoint) = self.log.checkpoint() {
            self.keeper.keep(checkpoint).await;
        }
        Ok(())
    }

    /// Writes the authority's certificate where clients can be given it, now and whenever it changes.
    pub(crate) fn write_authority(&self) -> Result<(), Failure> {
        let file = authority_file(&self.config);
        let mut published = self.keyring.published_authority();
        let pem = published.borrow_and_update().clone();
        replace_file(&file, pem.as_bytes())
            .map_err(|error| Failure::new(format!("cannot write `{}`", file.display()), error))?;
        let shutdown = self.tasks.shutdown().clone();
        drop(self.tasks.spawn("authority-file", follow_authority(file, published, shutdown)));
        Ok(())
    }
}

async fn follow_authority(
    file: PathBuf,
    mut published: watch::Receiver<String>,
    shutdown: Shutdown,
) {
    loop {
        tokio::select! {
            changed = published.changed() => if changed.is_err() { return },
            () = shutdown.requested() => return,
        }
        let pem = published.borrow_and_update().clone();
        match replace_file(&file, pem.as_bytes()) {
            Ok(()) => info!(file = %file.display(), "the authority for clients was written anew"),
            Err(cause) => error!(file = %file.display(), %cause, "clients get a stale authority"),
        }
    }
}

/// What an operator can do about a log that is not opened.
fn about_log(error: &AuditError) -> &'static str {
    match error {
        AuditError::Damaged(_) => {
            "put the log's folder back as it was (`portcullis audit verify` names the place); when it is lost for \
             good, `portcullis audit begin-anew` begins another (docs/security.md)"
        }
        AuditError::Locked(_) => "stop the other process",
        _ => "`portcullis audit verify` names the place",
    }
}

/// A file for others to read, whole or not at all.
fn replace_file(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut partial = file.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let mut options = OpenOptions::new();
    let mut written = options.write(true).create(true).truncate(true).open(&partial)?;
    written.set_permissions(Permissions::from_mode(0o644))?;
    written.write_all(bytes)?;
    written.sync_all()?;
    std::fs::rename(&partial, file)?;
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

fn about_master_key(error: &KeyringError) -> &'static str {
    match error {
        KeyringError::OtherMasterKey { .. } => {
            "put the master key in place that was in force when this store was written"
        }
        _ => "`portcullis init` creates it; a lost one cannot be replaced",
    }
}

/// The configuration of one process.
pub(crate) fn config(file: &Path) -> Result<Config, Failure> {
    Config::load(file).map_err(|error| {
        Failure::new(format!("cannot use the configuration `{}`", file.display()), error)
            .next("examples/portcullis.yaml shows every field")
    })
}

/// Where the store lies.
pub(crate) fn store_file(config: &Config) -> PathBuf {
    config.data_directory.join("portcullis.db")
}

/// Where the installation's authority is written to, for clients to trust.
pub(crate) fn authority_file(config: &Config) -> PathBuf {
    config.data_directory.join("ca.pem")
}

/// A clock that is never before anything that the store has seen: a clock set back extends nothing.
pub(crate) fn clock(store: &Path) -> Result<Clock, Failure> {
    let known = Store::last_known_time(store)
        .map_err(|error| Failure::new("cannot read the store", error))?;
    Ok(known.map_or_else(Clock::system, Clock::system_not_before))
}

/// A fresh master key, unless there is one, or systemd brings it.
pub(crate) fn create_master_key(config: &Config) -> Result<(), Failure> {
    create_folder(&config.data_directory)?;
    let MasterKeySource::File(file) = &config.master_key else { return Ok(()) };
    if file.try_exists().unwrap_or(true) {
        return Ok(());
    }
    drop(
        MasterKey::create(file)
            .map_err(|error| Failure::new("cannot create the master key", error))?,
    );
    Ok(())
}

fn create_folder(folder: &Path) -> Result<(), Failure> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| Failure::new(format!("cannot create `{}`", folder.display()), error))
}

/// Runs async work of a command on a runtime of its own.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("portcullis")
        .build()
        .map_err(|error| Failure::new("cannot start the runtime", error))?
        .block_on(work)
}

#[cfg(test)]
mod tests {
    use control::{Caller, InitOptions};
    use model::{ControlRole, Principal};

    use super::*;

    const CONFIG: &str = r#"
dataDirectory: data
origin: https://localhost:8443
http: { listen: "127.0.0.1:0" }
gateway:
  name: gateway-1
  listeners: [{ name: postgresql, listen: "127.0.0.1:0" }]
audit: { checkpointFile: checkpoint.json }
"#;

    fn configured(folder: &Path) -> Config {
        let file = folder.join("portcullis.yaml");
        std::fs::write(&file, CONFIG).unwrap();
        let config = config(&file).unwrap();
        create_master_key(&config).unwrap();
        config
    }

    async fn open(config: &Config) -> Result<Installation, Failure> {
        Installation::open(config.clone(), Shutdown::new()).await
    }

    /// Runs once and stops in order, and leaves nothing open.
    async fn run(config: &Config) {
        let installation = open(config).await.unwrap();
        let (tasks, log) = (installation.tasks.clone(), installation.log.clone());
        log.append(&[EventBody::Stopped]).unwrap();
        drop(log);
        tasks.shutdown().request();
        assert!(tasks.join_all(Duration::from_secs(20)).await.is_empty());
        installation.close().await.unwrap();
    }

    #[tokio::test]
    async fn a_log_that_was_wiped_is_refused_and_what_is_known_of_it_stays() {
        for outside_too in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let config = configured(folder.path());
            run(&config).await;
            run(&config).await;
            let witness = config.audit.checkpoint_file.clone().unwrap();
            let before = checkpoint::kept(&store_file(&config), "gateway-1").unwrap().unwrap();
            std::fs::remove_dir_all(&config.audit.directory).unwrap();
            if !outside_too {
                std::fs::remove_file(&witness).unwrap();
            }
            let Err(refused) = open(&config).await else { panic!("the log was begun anew") };
            let text = format!("{refused:?}");
            assert!(text.contains("the log ends at 0") && text.contains("security.md"), "{text}");
            let after = checkpoint::kept(&store_file(&config), "gateway-1").unwrap().unwrap();
            assert_eq!(after.checkpoint, before.checkpoint);
            assert_eq!(witness.try_exists().unwrap(), outside_too);
        }
    }

    #[tokio::test]
    async fn the_authority_for_clients_is_written_anew_when_it_rotates() {
        let folder = tempfile::tempdir().unwrap();
        let installation = open(&configured(folder.path())).await.unwrap();
        let owner: model::UserName = "owner@example.com".parse().unwrap();
        let options = InitOptions {
            tenant: "Example".to_owned(),
            domain: "example.com".to_owned(),
            owner: owner.clone(),
        };
        installation.control.init(options).await.unwrap();
        installation.write_authority().unwrap();
        let file = authority_file(&installation.config);
        let written = || std::fs::read_to_string(&file).unwrap();
        let former = written();
        assert_eq!(former, installation.keyring.ca_pem());

        let snapshot = installation.store.snapshots().load();
        let principal = Principal::user(snapshot.users.get(owner.as_str()).unwrap());
        let caller = Caller { principal, role: ControlRole::Owner, source: None };
        let whose = control::keyring::WhoseAuthority::Installation;
        let rotated = installation.keyring.rotate_authority(&caller, &whose).await.unwrap();
        let until_written = async {
            loop {
                let now = written();
                if now == rotated.pem {
                    return;
                }
                assert_eq!(now, former);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), until_written).await.unwrap();
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
    }
}
