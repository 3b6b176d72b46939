//! Copies of the store, made while it is in use, and putting one in its place. Neither needs the master key: what is
//! sealed stays sealed.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use model::Revision;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use crate::lock::{Lock, beside};
use crate::writer::Store;
use crate::{StoreError, database, migrate, rows};

/// What a copy holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackedUp {
    /// The revision that it shows.
    pub revision: Revision,
    /// Its size.
    pub bytes: u64,
}

impl Store {
    /// Writes a consistent copy while the store is in use. The copy appears whole or not at all.
    pub fn backup(&self, to: &Path) -> Result<BackedUp, StoreError> {
        Self::backup_file(self.path(), to)
    }

    /// The same from another process than the one that has the store open.
    pub fn backup_file(store: &Path, to: &Path) -> Result<BackedUp, StoreError> {
        let source = database::open_reader(store)?;
        if migrate::check(&source, store)? == 0 {
            return Err(StoreError::Foreign { path: store.to_owned() });
        }
        let backed_up = copy(&source, to)?;
        tracing::info!(to = %to.display(), revision = %backed_up.revision, "store backed up");
        Ok(backed_up)
    }

    /// Puts a copy in the store's place. No server may have the store open; what was there is kept beside it under
    /// `.before-restore`.
    pub fn restore(backup: &Path, store: &Path) -> Result<BackedUp, StoreError> {
        let _alone = Lock::take(store)?;
        let source = database::open_copy(backup)?;
        if migrate::check(&source, backup)? == 0 {
            return Err(StoreError::Foreign { path: backup.to_owned() });
        }
        let incoming = beside(store, ".restoring");
        let restored = copy(&source, &incoming)?;
        // The log goes after its file: a log without a file is ignored, a file without its log has lost writes.
        for suffix in ["", "-wal", "-shm"] {
            let (from, to) = (beside(store, suffix), beside(store, ".before-restore"));
            rename_if_there(&from, &beside(&to, suffix))?;
        }
        std::fs::rename(&incoming, store).map_err(StoreError::file("put in place", store))?;
        database::sync_directory(store)?;
        tracing::info!(store = %store.display(), revision = %restored.revision, "store restored");
        Ok(restored)
    }
}

/// Copies all pages in one step, which is one read transaction, then checks the copy and gives it its name.
fn copy(source: &Connection, to: &Path) -> Result<BackedUp, StoreError> {
    let partial = beside(to, ".partial");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&partial)
        .map_err(StoreError::file("create", &partial))?;
    drop(file);
    let mut target = Connection::open_with_flags(&partial, OpenFlags::SQLITE_OPEN_READ_WRITE)
        .map_err(StoreError::sqlite("copy"))?;
    let step = Backup::new(source, &mut target)
        .and_then(|backup| backup.step(-1))
        .map_err(StoreError::sqlite("copy"))?;
    if step != StepResult::Done {
        return Err(StoreError::Damaged {
            path: to.to_owned(),
            finding: "the store was locked while it was copied".to_owned(),
        });
    }
    // A copy is one file: it has no log of its own.
    target
        .pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))
        .map_err(StoreError::sqlite("copy"))?;
    whole(&target, to)?;
    let revision = rows::state(&target)?.revision;
    drop(target);
    let synced = File::open(&partial).and_then(|file| file.sync_all().map(|()| file));
    let file = synced.map_err(StoreError::file("sync", &partial))?;
    let bytes = file.metadata().map_err(StoreError::file("read", &partial))?.len();
    std::fs::rename(&partial, to).map_err(StoreError::file("name", to))?;
    database::sync_directory(to)?;
    Ok(BackedUp { revision, bytes })
}

fn whole(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let finding: String = connection
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        .map_err(StoreError::sqlite("check"))?;
    if finding == "ok" {
        return Ok(());
    }
    Err(StoreError::Damaged { path: path.to_owned(), finding })
}

fn rename_if_there(from: &Path, to: &Path) -> Result<(), StoreError> {
    match std::fs::rename(from, to) {
        Ok(()) => database::sync_directory(to),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(StoreError::file("move aside", from)(error)),
    }
}
