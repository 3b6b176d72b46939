//! Private records: state that belongs to no document and that no snapshot shows.

use model::{Revision, Snapshot, Timestamp};
use rusqlite::Connection;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::StoreError;
use crate::rows::{self, ChangeRow};

/// One type of private record. Secrets in it are hashed or sealed before they come here.
pub trait Record: Serialize + DeserializeOwned {
    /// Where its records lie; never changes.
    const COLLECTION: &'static str;
}

pub(crate) fn read<R: Record>(text: &str) -> Result<R, StoreError> {
    serde_json::from_str(text)
        .map_err(|source| StoreError::Record { collection: R::COLLECTION, source })
}

pub(crate) fn write<R: Record>(record: &R) -> Result<String, StoreError> {
    serde_json::to_string(record)
        .map_err(|source| StoreError::Record { collection: R::COLLECTION, source })
}

/// Reads what is committed, without waiting for writers.
#[derive(Debug)]
pub struct Reader {
    pub(crate) connection: Connection,
    pub(crate) now: Timestamp,
}

impl Reader {
    /// The directory, as decisions read it.
    pub fn snapshot(&self) -> Result<Snapshot, StoreError> {
        rows::snapshot(&self.connection)
    }

    /// One record, unless its time is over.
    pub fn record<R: Record>(&self, key: &str) -> Result<Option<R>, StoreError> {
        rows::record(&self.connection, R::COLLECTION, key, self.now)?
            .map(|text| read(&text))
            .transpose()
    }

    /// Every record of a collection whose time is not over, in the order of keys.
    pub fn records<R: Record>(&self) -> Result<Vec<(String, R)>, StoreError> {
        rows::records(&self.connection, R::COLLECTION, self.now)?
            .into_iter()
            .map(|(key, text)| Ok((key, read(&text)?)))
            .collect()
    }

    /// Which documents the revisions after this one touched, as far back as they are kept.
    pub fn changes(&self, after: Revision) -> Result<Vec<ChangeRow>, StoreError> {
        rows::changes(&self.connection, after)
    }
}
