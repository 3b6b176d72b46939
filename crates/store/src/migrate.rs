//! The store's format. Migrations are appended, never edited; each is applied once, in one transaction with its number.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use crate::StoreError;

/// `PRAGMA application_id`: "PCUL". Tells a store from any other SQLite file.
const APPLICATION_ID: i32 = 0x5043_554C;

const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/0001-resources.sql"),
    include_str!("../migrations/0002-records.sql"),
];

/// The format that this version writes: how many migrations there are.
pub(crate) const FORMAT: u32 = 2;
const _: () = assert!(MIGRATIONS.len() == 2, "FORMAT counts the migrations");

/// Brings an empty or older file to the present format; refuses a newer one and anything that is not a store.
pub(crate) fn run(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    run_to(connection, path, FORMAT)
}

fn run_to(connection: &mut Connection, path: &Path, format: u32) -> Result<(), StoreError> {
    let found = check(connection, path)?;
    for (number, sql) in (1_u32..=format).zip(MIGRATIONS).skip_while(|(n, _)| *n <= found) {
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(StoreError::sqlite("migrate"))?;
        transaction.execute_batch(sql).map_err(StoreError::sqlite("migrate"))?;
        transaction
            .pragma_update(None, "application_id", APPLICATION_ID)
            .and_then(|()| transaction.pragma_update(None, "user_version", number))
            .and_then(|()| transaction.commit())
            .map_err(StoreError::sqlite("migrate"))?;
        tracing::info!(format = number, "store migrated");
    }
    Ok(())
}

/// The format of the file; 0 for an empty one.
pub(crate) fn check(connection: &Connection, path: &Path) -> Result<u32, StoreError> {
    let read =
        |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let application = read("application_id").map_err(StoreError::sqlite("read"))?;
    let version = read("user_version").map_err(StoreError::sqlite("read"))?;
    let objects: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(StoreError::sqlite("read"))?;
    let ours = application == i64::from(APPLICATION_ID);
    let empty = application == 0 && version == 0 && objects == 0;
    let foreign = || StoreError::Foreign { path: path.to_owned() };
    if !ours && !empty {
        return Err(foreign());
    }
    let found = u32::try_from(version).map_err(|_| foreign())?;
    if found > FORMAT {
        return Err(StoreError::Newer { path: path.to_owned(), found, known: FORMAT });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use runtime::Clock;

    use super::*;
    use crate::{Store, database};

    #[test]
    fn every_older_format_opens_with_what_it_held() {
        for format in 1..FORMAT {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("store.db");
            let mut connection = database::open_writer(&path).unwrap();
            run_to(&mut connection, &path, format).unwrap();
            connection
                .execute_batch(
                    r#"INSERT INTO resource VALUES ('Group', 'readers', '6f1f3c86-4c1b-4d3c-8d6c-0d9f2c3b7a11', 3,
                    '{"apiVersion":"portcullis.dev/v1","kind":"Group","metadata":{"name":"readers",
                      "uid":"6f1f3c86-4c1b-4d3c-8d6c-0d9f2c3b7a11","revision":3},"spec":{}}');
                    UPDATE state SET revision = 3, committed_at = 5, high_water = 7;"#,
                )
                .unwrap();
            drop(connection);
            let store = Store::open(&path, Clock::system()).unwrap();
            let shown = store.snapshots().load();
            assert_eq!(shown.revision, model::Revision(3), "format {format}");
            assert!(shown.groups.get("readers").is_some(), "format {format}");
            drop(store);
            let connection = database::open_reader(&path).unwrap();
            assert_eq!(check(&connection, &path).unwrap(), FORMAT);
        }
    }

    #[test]
    fn a_migration_that_fails_leaves_the_older_format() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        let mut connection = database::open_writer(&path).unwrap();
        run_to(&mut connection, &path, 1).unwrap();
        connection.execute_batch("CREATE TABLE record (something TEXT)").unwrap();
        assert!(matches!(run(&mut connection, &path), Err(StoreError::Sqlite { .. })));
        assert_eq!(check(&connection, &path).unwrap(), 1);
    }
}
