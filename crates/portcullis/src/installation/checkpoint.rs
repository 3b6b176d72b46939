//! Keeps the audit log's latest checkpoint in the store and, when configured, in a file elsewhere: whoever changes the
//! log's own folder cannot change those.

use std::io;
use std::path::{Path, PathBuf};

use audit::{Checkpoint, CheckpointSink};
use keys::AuditKey;
use model::event::{Actor, EventBody};
use runtime::{Config, Tasks};
use serde::{Deserialize, Serialize};
use store::{Reader, Record, Store, StoreError, Transaction, WriteError};
use tokio::sync::watch;
use tracing::error;

use super::replace_file;
use crate::failure::Failure;

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

    /// The latest checkpoint that is kept of this gateway's log, which the log must reach: of the store's and the
    /// file's the higher one.
    pub(crate) fn known(&self, gateway: &str) -> Result<Option<Checkpoint>, Failure> {
        let failed = |error: &dyn std::fmt::Display| {
            Failure::new("cannot read the checkpoints that are kept of the audit log", error)
        };
        let stored = self.store.read(|reader| reader.record::<Kept>(gateway));
        let stored = stored.map_err(|error| failed(&error))?.map(|kept| kept.checkpoint);
        let Some(file) = &self.file else { return Ok(stored) };
        let outside = Checkpoint::read_all(file)
            .map_err(|error| failed(&format!("`{}`: {error}", file.display())))?
            .pop();
        let missing = || std::fs::metadata(file).map_or(true, |found| found.len() == 0);
        if outside.is_none() && !missing() {
            return Err(failed(&format!("`{}` holds no checkpoint", file.display())).next(
                "look who changed it; without the file, the store's checkpoint alone counts",
            ));
        }
        let sequence = |kept: &Option<Checkpoint>| kept.as_ref().map(|kept| kept.sequence);
        Ok(if sequence(&outside) > sequence(&stored) { outside } else { stored })
    }

    /// What the first words of a log say when the store keeps checkpoints of other logs and none of this one: the
    /// gateway was given another name, after its log was lost or beside it.
    pub(crate) fn begun_anew(&self, gateway: &str) -> Result<Option<EventBody>, StoreError> {
        let kept = self.store.read(Reader::records::<Kept>)?;
        if kept.is_empty() || kept.iter().any(|(name, _)| name == gateway) {
            return Ok(None);
        }
        let former = kept.iter().map(|(name, Kept { checkpoint, .. })| {
            let Checkpoint { sequence, head, .. } = checkpoint;
            (name.clone(), format!("record {sequence}, head {head}").into())
        });
        Ok(Some(EventBody::Installation {
            actor: Actor::portcullis(),
            action: "auditLogBegun".to_owned(),
            subject: gateway.to_owned(),
            detail: former.collect(),
        }))
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
        let former = transaction.record::<Kept>(&gateway)?;
        if former.is_some_and(|former| former.checkpoint.sequence > kept.checkpoint.sequence) {
            return Ok(());
        }
        transaction.put_record(&gateway, &kept, None)
    };
    store.write(work).await.map(|_| ()).map_err(WriteError::into_inner)
}

/// What the store keeps of a gateway's log; the server may be running.
pub(crate) fn kept(store: &Path, gateway: &str) -> Result<Option<Kept>, StoreError> {
    Store::read_file(store, |reader| reader.record(gateway))
}

/// Whole or not at all, and never an earlier one, or another log's, in the place of what is kept.
fn write(file: &Path, checkpoint: &Checkpoint) -> io::Result<()> {
    if let Some(former) = Checkpoint::read_all(file)?.pop()
        && (former.gateway != checkpoint.gateway || former.sequence > checkpoint.sequence)
    {
        return Err(io::Error::other(format!(
            "it covers record {} of gateway `{}`; record {} of `{}` does not take its place",
            former.sequence, former.gateway, checkpoint.sequence, checkpoint.gateway
        )));
    }
    let mut line = serde_json::to_vec(checkpoint)?;
    line.push(b'\n');
    replace_file(file, &line)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use audit::{Log, Options};
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
            known: None,
        };
        let (log, _) = Log::open(options).unwrap();
        log.append(&[EventBody::Stopped]).unwrap();
        let checkpoint = seen.recv_timeout(Duration::from_secs(20)).unwrap();
        let outside = folder.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        let file = outside.join("checkpoint.json");
        std::fs::write(&file, "").unwrap();
        write(&file, &checkpoint).unwrap();
        assert_eq!(Checkpoint::read_all(&file).unwrap(), [checkpoint]);
        assert_eq!(std::fs::read_dir(outside).unwrap().count(), 1);
    }
    /// The last checkpoint of a log of that many records.
    fn checkpoint(folder: &Path, records: usize) -> Checkpoint {
        let directory = folder.join(format!("log-{records}"));
        let options = Options {
            directory: directory.clone(),
            gateway: "gateway-1".to_owned(),
            key: AuditKey::generate().unwrap(),
            clock: Clock::system(),
            sync_interval: Duration::from_millis(1),
            checkpoint_sink: None,
            known: None,
        };
        let (log, _) = Log::open(options).unwrap();
        log.append(&vec![EventBody::Stopped; records]).unwrap();
        drop(log);
        Checkpoint::read_all(&directory.join("checkpoint")).unwrap().pop().unwrap()
    }

    #[tokio::test]
    async fn the_higher_checkpoint_counts_and_a_lower_one_never_takes_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let (low, high) = (checkpoint(folder.path(), 1), checkpoint(folder.path(), 3));
        let store = Store::open(&folder.path().join("store.db"), Clock::system()).unwrap();
        let file = folder.path().join("checkpoint.json");
        let keeper = Keeper { store, file: Some(file.clone()), public_key: "00".repeat(32) };
        let known = || keeper.known("gateway-1").unwrap();
        assert_eq!(known(), None);
        keeper.keep(high.clone()).await;
        keeper.keep(low.clone()).await;
        assert_eq!(Checkpoint::read_all(&file).unwrap(), std::slice::from_ref(&high));
        std::fs::remove_file(&file).unwrap();
        assert_eq!(known(), Some(high.clone()));
        assert_eq!(keeper.begun_anew("gateway-1").unwrap(), None);
        let begun = keeper.begun_anew("gateway-2").unwrap().unwrap();
        let EventBody::Installation { detail, .. } = begun else { panic!("{begun:?}") };
        let former = format!("record 3, head {}", high.head);
        assert_eq!(detail["gateway-1"], former);
        // Another gateway's checkpoint stays too.
        let other = Checkpoint { gateway: "gateway-2".to_owned(), ..low.clone() };
        std::fs::write(&file, format!("{}\n", serde_json::to_string(&other).unwrap())).unwrap();
        keeper.keep(high.clone()).await;
        assert_eq!(Checkpoint::read_all(&file).unwrap(), [other]);

        let higher = Checkpoint { sequence: 9, ..low };
        std::fs::write(&file, format!("{}\n", serde_json::to_string(&higher).unwrap())).unwrap();
        assert_eq!(known(), Some(higher));
        std::fs::write(&file, "something else\n").unwrap();
        let refused = keeper.known("gateway-1").unwrap_err();
        assert!(format!("{refused:?}").contains("holds no checkpoint"), "{refused:?}");
    }
}
