//! Connections to the file, with the settings on which durability rests read back at every open.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::StoreError;

/// A backup or a reader holds SQLite's own locks for far less than this.
const BUSY_MAX: Duration = Duration::from_secs(5);

/// The connection that writes. Creates the file, for the owner only, when there is none.
pub(crate) fn open_writer(path: &Path) -> Result<Connection, StoreError> {
    create(path)?;
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    require(&connection, "journal_mode", "WAL", "wal")?;
    require(&connection, "synchronous", "FULL", "2")?;
    require(&connection, "foreign_keys", "ON", "1")?;
    require(&connection, "trusted_schema", "OFF", "0")?;
    require(&connection, "wal_autocheckpoint", "0", "0")?;
    Ok(connection)
}

/// A connection that cannot write.
pub(crate) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    // Opened for writing because a reader of a write-ahead log must be able to make its index; `query_only` forbids the
    // rest.
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    require(&connection, "query_only", "ON", "1")?;
    require(&connection, "trusted_schema", "OFF", "0")?;
    Ok(connection)
}

/// A file that is only read, never written beside: a backup.
pub(crate) fn open_copy(path: &Path) -> Result<Connection, StoreError> {
    open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

fn open(path: &Path, access: OpenFlags) -> Result<Connection, StoreError> {
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection =
        Connection::open_with_flags(path, flags).map_err(StoreError::sqlite("open"))?;
    connection.busy_timeout(BUSY_MAX).map_err(StoreError::sqlite("open"))?;
    // The last to close would move the log into the file and keep a failure to itself. The writer does it instead.
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .map_err(StoreError::sqlite("open"))?;
    Ok(connection)
}

fn require(
    connection: &Connection,
    setting: &'static str,
    value: &str,
    wanted: &'static str,
) -> Result<(), StoreError> {
    // Some pragmas answer with a row and some do not; what counts is what they say afterwards.
    connection
        .pragma_update_and_check(None, setting, value, |_| Ok(()))
        .or_else(|error| match error {
            rusqlite::Error::QueryReturnedNoRows => Ok(()),
            other => Err(other),
        })
        .map_err(StoreError::sqlite("set up"))?;
    check(connection, setting, wanted)
}

/// What SQLite's own check of every page and index finds.
pub(crate) fn damage(connection: &Connection) -> Result<Vec<String>, StoreError> {
    let failed = || StoreError::sqlite("check");
    let mut statement = connection.prepare("PRAGMA integrity_check(10)").map_err(failed())?;
    let rows = statement.query_map([], |row| row.get::<_, String>(0)).map_err(failed())?;
    let said = rows.collect::<Result<Vec<String>, _>>().map_err(failed())?;
    Ok(said.into_iter().filter(|line| line != "ok").collect())
}

fn check(
    connection: &Connection,
    setting: &'static str,
    wanted: &'static str,
) -> Result<(), StoreError> {
    let found = connection
        .pragma_query_value(None, setting, |row| {
            Ok(match row.get_ref(0)? {
                rusqlite::types::ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
                rusqlite::types::ValueRef::Integer(number) => number.to_string(),
                other => format!("{other:?}"),
            })
        })
        .map_err(StoreError::sqlite("read a setting of"))?;
    if found == wanted { Ok(()) } else { Err(StoreError::Setting { setting, wanted, found }) }
}

/// Creates the file (0600) and makes its directory entry durable; SQLite gives its log and index the same mode.
fn create(path: &Path) -> Result<(), StoreError> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => {
            file.sync_all().map_err(StoreError::file("sync", path))?;
            sync_directory(path)
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(StoreError::file("create", path)(error)),
    }
}

/// Makes a creation or renaming beside `path` durable.
pub(crate) fn sync_directory(path: &Path) -> Result<(), StoreError> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(StoreError::file("sync", directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durability_settings_are_in_force_at_every_open() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        for _ in 0..2 {
            let connection = open_writer(&path).unwrap();
            for (setting, value) in
                [("journal_mode", "wal"), ("synchronous", "2"), ("foreign_keys", "1")]
            {
                check(&connection, setting, value).unwrap();
            }
        }
    }

    #[test]
    fn a_file_that_does_not_keep_a_setting_is_refused() {
        // A database in memory has no write-ahead log, whatever it is asked.
        let connection = Connection::open_in_memory().unwrap();
        let refused = require(&connection, "journal_mode", "WAL", "wal");
        assert_eq!(
            refused.unwrap_err().to_string(),
            "store setting `journal_mode` is `memory`, not `wal`"
        );
    }

    #[test]
    fn a_reader_cannot_write() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        let _writer = open_writer(&path).unwrap();
        let reader = open_reader(&path).unwrap();
        assert!(reader.execute_batch("CREATE TABLE t (x)").is_err());
    }
}
