//! Keeps the audit log's latest checkpoint in the store and, when configured, in a file elsewhere: whoever changes the
//! log's own folder cannot change those.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use audit::{Checkpoint, CheckpointSink};
use keys::AuditKey;
use runtime::{Config, Tasks};
use serde::{Deserialize, Serialize};
use store::{Record, Store, StoreError, Transaction, WriteError};
use tokio::sync::watch;
use tracing::error;

/// The latest checkpoint of a gateway's log, and the key that signed it. Key: the gateway's name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// The checkpoint.
    pub(crate) checkpoint: Checkpoint,
    /// Ed25519, in hex.
    pub(crate) public_key: String,
}

impl Record for Kept {
    const COLLECTION: &'static str = "audit-checkpoints";
}

/// Where checkpoints are kept besides the log's own folder.
#[derive(Clone, Debug)]
pub(crate) struct Keeper {
    store: Store,
    file: Option<PathBuf>,
    public_key: String,
}

impl Keeper {
    pub(crate) fn new(config: &Config, store: Store, key: &AuditKey) -> Self {
        let digits: Vec<String> =
            key.public_key().iter().map(|byte| format!("{byte:02x}")).collect();
        let file = config.audit.checkpoint_file.clone();
        Self { store, file, public_key: digits.concat() }
    }

    /// The sink for the log. It only hands over, because the log must not wait for the store; between two writes only
    /// the newest checkpoint counts.
    pub(crate) fn sink(&self, tasks: &Tasks) -> CheckpointSink {
        let (newest, mut seen) = watch::channel(None::<Checkpoint>);
        let (keeper, shutdown) = (self.clone(), tasks.shutdown().clone());
        drop(tasks.spawn("audit-checkpoints", async move {
            loop {
                tokio::select! {
                    changed = seen.changed() => if changed.is_err() { return },
                    () = shutdown.requested() => return,
                }
                let checkpoint = seen.borrow_and_update().clone();
                if let Some(checkpoint) = checkpoint {
                    keeper.keep(checkpoint).await;
                }
            }
        }));
        Box::new(move |checkpoint| {
            newest.send_replace(Some(checkpoint.clone()));
        })
    }

    /// Keeps one. A failure is told and not fatal: the log itself is whole.
    pub(crate) async fn keep(&self, checkpoint: Checkpoint) {
        if let Some(file) = &self.file
            && let Err(cause) = write(file, &checkpoint)
        {
            error!(file = %file.display(), %cause, "the checkpoint was not kept outside");
        }
        let kept = Kept { checkpoint, public_key: self.public_key.clone() };
        if let Err(cause) = put(&self.store, kept).await {
            error!(%cause, "the checkpoint was not kept in the store");
        }
    }
}

/// Straight to the store: a write through the control plane would append an event, which would make a checkpoint.
async fn put(store: &Store, kept: Kept) -> Result<(), StoreError> {
    let work = move |transaction: &mut Transaction<'_>| {
        let gateway = kept.checkpoint.gateway.clone();
        transaction.put_record(&gateway, &kept, None)
    };
    store.write(work).await.map(|_| ()).map_err(WriteError::into_inner)
}

/// What the store keeps of a gateway's log; the server may be running.
pub(crate) fn kept(store: &Path, gateway: &str) -> Result<Option<Kept>, StoreError> {
    Store::read_file(store, |reader| reader.record(gateway))
}

/// Whole or not at all.
fn write(file: &Path, checkpoint: &Checkpoint) -> io::Result<()> {
    let mut partial = file.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let mut line = serde_json::to_vec(checkpoint)?;
    line.push(b'\n');
    let mut options = OpenOptions::new();
    let mut written = options.write(true).create(true).truncate(true).mode(0o644).open(&partial)?;
    written.write_all(&line)?;
    written.sync_all()?;
    std::fs::rename(&partial, file)?;
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use audit::{Log, Options};
    use model::event::EventBody;
    use runtime::Clock;

    use super::*;

    #[test]
    fn the_file_outside_is_replaced_as_a_whole_and_readable_as_a_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let (newest, seen) = mpsc::sync_channel(8);
        let options = Options {
            directory: folder.path().join("log"),
            gateway: "gateway-1".to_owned(),
            key: AuditKey::generate().unwrap(),
            clock: Clock::system(),
            sync_interval: Duration::from_millis(1),
            checkpoint_sink: Some(Box::new(move |checkpoint| {
                newest.send(checkpoint.clone()).unwrap();
            })),
        };
        let (log, _) = Log::open(options).unwrap();
        log.append(&[EventBody::Stopped]).unwrap();
        let checkpoint = seen.recv_timeout(Duration::from_secs(20)).unwrap();
        let outside = folder.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        let file = outside.join("checkpoint.json");
        std::fs::write(&file, "older").unwrap();
        write(&file, &checkpoint).unwrap();
        assert_eq!(Checkpoint::read_all(&file).unwrap(), [checkpoint]);
        assert_eq!(std::fs::read_dir(outside).unwrap().count(), 1);
    }
}
