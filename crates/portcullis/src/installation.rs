//! The installation as it lies on disk: configuration, master key, store, keys, audit log. The server opens it, and so
//! do the few commands that work beside a stopped server.

pub(crate) mod checkpoint;

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use audit::{Log, Opened, Options};
use control::keyring::{host_names, load_master_key};
use control::{Control, Keyring, KeyringError, LiveSessions};
use keys::MasterKey;
use model::event::EventBody;
use runtime::config::MasterKeySource;
use runtime::{Clock, Config, Shutdown, Tasks};
use store::Store;

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
        let (log, opened) = Log::open(Options {
            directory: config.audit.directory.clone(),
            gateway: config.gateway.name.clone(),
            key,
            clock: clock.clone(),
            sync_interval: AUDIT_SYNC_INTERVAL,
            checkpoint_sink: Some(keeper.sink(&tasks)),
        })
        .map_err(|error| failed(&error).next("`portcullis audit verify` names the place"))?;
        let live = LiveSessions::new();
        let control = Control::new(control::Parts {
            store: store.clone(),
            log: log.clone(),
            clock: clock.clone(),
            live: live.clone(),
        });
        keyring.attach(&control);
        Ok(Self { config, clock, tasks, store, keyring, log, opened, live, control, keeper })
    }

    /// The last word in the log, and its checkpoint where checkpoints are kept.
    pub(crate) async fn close(self) -> Result<(), Failure> {
        let failed = |error: audit::AuditError| Failure::new("cannot close the audit log", error);
        let receipt = self.log.append(&[EventBody::Stopped]).map_err(failed)?;
        self.log.durable(receipt).await.map_err(failed)?;
        if let Some(checkpoint) = self.log.checkpoint() {
            self.keeper.keep(checkpoint).await;
        }
        Ok(())
    }

    /// Writes the authority's certificate where clients can be given it.
    pub(crate) fn write_authority(&self) -> Result<(), Failure> {
        let file = authority_file(&self.config);
        std::fs::write(&file, self.keyring.ca_pem())
            .map_err(|error| Failure::new(format!("cannot write `{}`", file.display()), error))
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
