//! Rows as SQL knows them.

use model::{Kind, Resource, Revision, Snapshot, Timestamp};
use rusqlite::{Connection, OptionalExtension};

use crate::StoreError;

/// Where the store is in its own history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) revision: Revision,
    pub(crate) committed_at: Timestamp,
    pub(crate) high_water: Timestamp,
}

pub(crate) fn state(connection: &Connection) -> Result<State, StoreError> {
    connection
        .prepare_cached("SELECT revision, committed_at, high_water FROM state")
        .and_then(|mut statement| {
            statement.query_row([], |row| {
                Ok(State {
                    revision: Revision(row.get(0)?),
                    committed_at: Timestamp::from_micros(row.get(1)?),
                    high_water: Timestamp::from_micros(row.get(2)?),
                })
            })
        })
        .map_err(StoreError::sqlite("read"))
}

pub(crate) fn set_state(connection: &Connection, state: State) -> Result<(), StoreError> {
    let State { revision, committed_at, high_water } = state;
    connection
        .prepare_cached("UPDATE state SET revision = ?1, committed_at = ?2, high_water = ?3")
        .and_then(|mut statement| {
            statement.execute((revision.0, committed_at.micros(), high_water.micros()))
        })
        .map_err(StoreError::sqlite("write"))?;
    Ok(())
}

/// The whole directory, read anew.
pub(crate) fn snapshot(connection: &Connection) -> Result<Snapshot, StoreError> {
    // One statement after the other in one read transaction: both see the same commit.
    let reading = connection.unchecked_transaction().map_err(StoreError::sqlite("read"))?;
    let State { revision, committed_at, high_water: _ } = state(&reading)?;
    let resources = resources(&reading)?;
    Ok(Snapshot::of(revision, committed_at, resources))
}

fn resources(connection: &Connection) -> Result<Vec<Resource>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT kind, name, document FROM resource")
        .map_err(StoreError::sqlite("read"))?;
    let mut rows = statement.query([]).map_err(StoreError::sqlite("read"))?;
    let mut resources = Vec::new();
    while let Some(row) = rows.next().map_err(StoreError::sqlite("read"))? {
        let text = |column: usize| row.get::<_, String>(column);
        let read = || Ok((text(0)?, text(1)?, text(2)?));
        let (kind, name, document) = read().map_err(StoreError::sqlite("read"))?;
        resources.push(parse(&kind, &name, &document)?);
    }
    Ok(resources)
}

fn parse(kind: &str, name: &str, document: &str) -> Result<Resource, StoreError> {
    serde_json::from_str(document).and_then(Resource::read).map_err(|source| StoreError::Document {
        kind: kind.to_owned(),
        name: name.to_owned(),
        source,
    })
}

pub(crate) fn put(connection: &Connection, resource: &Resource) -> Result<(), StoreError> {
    let (kind, metadata) = (resource.kind(), resource.metadata());
    let document = serde_json::to_string(resource).map_err(|source| StoreError::Document {
        kind: kind.name().to_owned(),
        name: metadata.name.clone(),
        source,
    })?;
    let uid = metadata.uid.unwrap_or_default().to_string();
    let revision = metadata.revision.unwrap_or_default().0;
    connection
        .prepare_cached(
            "INSERT INTO resource (kind, name, uid, revision, document) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT (kind, name) DO UPDATE SET uid = ?3, revision = ?4, document = ?5",
        )
        .and_then(|mut statement| {
            statement.execute((kind.name(), &metadata.name, uid, revision, document))
        })
        .map_err(StoreError::sqlite("write"))?;
    Ok(())
}

pub(crate) fn delete(connection: &Connection, kind: Kind, name: &str) -> Result<(), StoreError> {
    connection
        .prepare_cached("DELETE FROM resource WHERE kind = ?1 AND name = ?2")
        .and_then(|mut statement| statement.execute((kind.name(), name)))
        .map_err(StoreError::sqlite("write"))?;
    Ok(())
}

/// What was done to a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Created or changed.
    Put,
    /// Deleted.
    Delete,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Delete => "delete",
        }
    }
}

/// One document touched by one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeRow {
    /// The revision.
    pub revision: Revision,
    /// As written in `kind`.
    pub kind: String,
    /// `metadata.name`.
    pub name: String,
    /// What was done.
    pub operation: Operation,
    /// When the write began.
    pub at: Timestamp,
}

pub(crate) fn note_change(connection: &Connection, change: &ChangeRow) -> Result<(), StoreError> {
    let ChangeRow { revision, kind, name, operation, at } = change;
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO change (revision, kind, name, operation, at) \
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )
        .and_then(|mut statement| {
            statement.execute((revision.0, kind, name, operation.name(), at.micros()))
        })
        .map_err(StoreError::sqlite("write"))?;
    Ok(())
}

pub(crate) fn changes(
    connection: &Connection,
    after: Revision,
) -> Result<Vec<ChangeRow>, StoreError> {
    let read = || {
        let mut statement = connection.prepare_cached(
            "SELECT revision, kind, name, operation, at FROM change WHERE revision > ?1 \
             ORDER BY revision, kind, name",
        )?;
        let rows = statement.query_map([after.0], |row| {
            Ok(ChangeRow {
                revision: Revision(row.get(0)?),
                kind: row.get(1)?,
                name: row.get(2)?,
                operation: if row.get_ref(3)?.as_str()? == Operation::Put.name() {
                    Operation::Put
                } else {
                    Operation::Delete
                },
                at: Timestamp::from_micros(row.get(4)?),
            })
        })?;
        rows.collect::<Result<Vec<_>, _>>()
    };
    read().map_err(StoreError::sqlite("read"))
}

/// Forgets records whose time is over and changes that are older than any reader.
pub(crate) fn purge(
    connection: &Connection,
    now: Timestamp,
    changes_up_to: Revision,
) -> Result<(), StoreError> {
    let run = || {
        connection
            .prepare_cached("DELETE FROM record WHERE keep_until IS NOT NULL AND keep_until <= ?1")?
            .execute([now.micros()])?;
        connection
            .prepare_cached("DELETE FROM change WHERE revision <= ?1")?
            .execute([changes_up_to.0])
    };
    run().map_err(StoreError::sqlite("write"))?;
    Ok(())
}

pub(crate) fn record(
    connection: &Connection,
    collection: &str,
    key: &str,
    now: Timestamp,
) -> Result<Option<String>, StoreError> {
    connection
        .prepare_cached(
            "SELECT value FROM record WHERE collection = ?1 AND key = ?2 \
             AND (keep_until IS NULL OR keep_until > ?3)",
        )
        .and_then(|mut statement| {
            statement.query_row((collection, key, now.micros()), |row| row.get(0)).optional()
        })
        .map_err(StoreError::sqlite("read"))
}

pub(crate) fn records(
    connection: &Connection,
    collection: &str,
    now: Timestamp,
) -> Result<Vec<(String, String)>, StoreError> {
    let read = || {
        let mut statement = connection.prepare_cached(
            "SELECT key, value FROM record WHERE collection = ?1 \
             AND (keep_until IS NULL OR keep_until > ?2) ORDER BY key",
        )?;
        let rows = statement
            .query_map((collection, now.micros()), |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect::<Result<Vec<_>, _>>()
    };
    read().map_err(StoreError::sqlite("read"))
}

/// Where a record lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordKey<'a> {
    pub(crate) collection: &'static str,
    pub(crate) key: &'a str,
}

pub(crate) fn put_record(
    connection: &Connection,
    place: RecordKey<'_>,
    value: &str,
    keep_until: Option<Timestamp>,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO record (collection, key, value, keep_until) \
             VALUES (?1, ?2, ?3, ?4)",
        )
        .and_then(|mut statement| {
            let until = keep_until.map(Timestamp::micros);
            statement.execute((place.collection, place.key, value, until))
        })
        .map_err(StoreError::sqlite("write"))?;
    Ok(())
}

pub(crate) fn delete_record(
    connection: &Connection,
    place: RecordKey<'_>,
) -> Result<bool, StoreError> {
    let deleted = connection
        .prepare_cached("DELETE FROM record WHERE collection = ?1 AND key = ?2")
        .and_then(|mut statement| statement.execute((place.collection, place.key)))
        .map_err(StoreError::sqlite("write"))?;
    Ok(deleted > 0)
}
