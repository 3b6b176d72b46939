//! One write: everything in it becomes true together, or nothing does.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::{Document, Kind, Resource, Revision, Snapshot, Spec, Timestamp};
use uuid::Uuid;

use crate::StoreError;
use crate::record::{self, Record};
use crate::rows::{self, ChangeRow, Operation, RecordKey};
use crate::snapshots::Documents;

/// One write in progress. It sees the committed state and its own changes.
#[derive(Debug)]
pub struct Transaction<'a> {
    pub(crate) sql: rusqlite::Transaction<'a>,
    pub(crate) now: Timestamp,
    pub(crate) revision: Revision,
    pub(crate) before: Arc<Snapshot>,
    pub(crate) after: Snapshot,
    pub(crate) touched: Touched,
}

/// What there is to commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Touched {
    documents: BTreeSet<(Kind, String)>,
    records: bool,
}

impl Touched {
    pub(crate) fn documents(&self) -> Documents {
        if self.documents.is_empty() { Documents::Same } else { Documents::Changed }
    }

    pub(crate) fn nothing(&self) -> bool {
        self.documents.is_empty() && !self.records
    }
}

impl Transaction<'_> {
    /// When the write began; never earlier than any write before it.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The revision that this write will be committed as.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The directory before this write.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.before)
    }

    /// The directory with what this write has done so far.
    pub fn state(&self) -> &Snapshot {
        &self.after
    }

    /// The documents that this write has created, changed or deleted so far.
    pub fn touched(&self) -> impl Iterator<Item = (Kind, &str)> {
        self.touched.documents.iter().map(|(kind, name)| (*kind, name.as_str()))
    }

    /// Whether there is anything to commit.
    pub fn is_empty(&self) -> bool {
        self.touched.nothing()
    }

    /// Creates or replaces a document. See [`Self::put_resource`].
    pub fn put<S: Spec>(&mut self, document: Document<S>) -> Result<Document<S>, StoreError>
    where
        Resource: From<Document<S>>,
    {
        let mut resource = Resource::from(document.clone());
        self.complete(&mut resource)?;
        let metadata = resource.metadata().clone();
        self.keep(resource)?;
        Ok(Document { metadata, ..document })
    }

    /// Creates or replaces a document and fills in what the store owns of its metadata. A revision or object id in it
    /// must be the stored document's; a new document brings neither.
    pub fn put_resource(&mut self, mut resource: Resource) -> Result<Resource, StoreError> {
        self.complete(&mut resource)?;
        self.keep(resource.clone())?;
        Ok(resource)
    }

    fn complete(&self, resource: &mut Resource) -> Result<(), StoreError> {
        let kind = resource.kind();
        let stored = self.after.get(kind, resource.name());
        let stored = stored.as_ref().map(Resource::metadata);
        let metadata = resource.metadata_mut();
        let found = stored.and_then(|stored| stored.revision);
        let same_revision = metadata.revision.is_none() || metadata.revision == found;
        // Nobody chooses an object id: principals are known by it, and what one held must not pass to another.
        let same_uid =
            metadata.uid.is_none() || stored.is_some_and(|stored| stored.uid == metadata.uid);
        if !same_revision || !same_uid {
            let given = metadata.revision.filter(|_| !same_revision);
            return Err(StoreError::Conflict { kind, name: metadata.name.clone(), given, found });
        }
        metadata.uid = match stored {
            Some(stored) => stored.uid,
            None => Some(Uuid::new_v4()),
        };
        metadata.created_at = stored.and_then(|stored| stored.created_at).or(Some(self.now));
        metadata.updated_at = Some(self.now);
        metadata.revision = Some(self.revision);
        Ok(())
    }

    fn keep(&mut self, resource: Resource) -> Result<(), StoreError> {
        rows::put(&self.sql, &resource)?;
        self.note(resource.kind(), resource.name(), Operation::Put)?;
        self.after.insert(resource);
        Ok(())
    }

    /// Takes a document out and returns it.
    pub fn delete(&mut self, kind: Kind, name: &str) -> Result<Resource, StoreError> {
        let missing = || StoreError::Missing { kind, name: name.to_owned() };
        let resource = self.after.get(kind, name).ok_or_else(missing)?;
        rows::delete(&self.sql, kind, name)?;
        self.note(kind, name, Operation::Delete)?;
        self.after.remove(kind, name);
        Ok(resource)
    }

    fn note(&mut self, kind: Kind, name: &str, operation: Operation) -> Result<(), StoreError> {
        self.touched.documents.insert((kind, name.to_owned()));
        let change = ChangeRow {
            revision: self.revision,
            kind: kind.name().to_owned(),
            name: name.to_owned(),
            operation,
            at: self.now,
        };
        rows::note_change(&self.sql, &change)
    }

    /// One private record, unless its time is over.
    pub fn record<R: Record>(&self, key: &str) -> Result<Option<R>, StoreError> {
        rows::record(&self.sql, R::COLLECTION, key, self.now)?
            .map(|text| record::read(&text))
            .transpose()
    }

    /// Every record of a collection whose time is not over, in the order of keys.
    pub fn records<R: Record>(&self) -> Result<Vec<(String, R)>, StoreError> {
        rows::records(&self.sql, R::COLLECTION, self.now)?
            .into_iter()
            .map(|(key, text)| Ok((key, record::read(&text)?)))
            .collect()
    }

    /// Creates or replaces a record. From `keep_until` on it is as good as gone.
    pub fn put_record<R: Record>(
        &mut self,
        key: &str,
        record: &R,
        keep_until: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        self.touched.records = true;
        let place = RecordKey { collection: R::COLLECTION, key };
        rows::put_record(&self.sql, place, &record::write(record)?, keep_until)
    }

    /// Reads a record and deletes it: whoever comes second finds nothing.
    pub fn take_record<R: Record>(&mut self, key: &str) -> Result<Option<R>, StoreError> {
        let taken = self.record(key)?;
        self.delete_record::<R>(key)?;
        Ok(taken)
    }

    /// Deletes a record; whether there was one.
    pub fn delete_record<R: Record>(&mut self, key: &str) -> Result<bool, StoreError> {
        let deleted = rows::delete_record(&self.sql, RecordKey { collection: R::COLLECTION, key })?;
        if deleted {
            self.touched.records = true;
        }
        Ok(deleted)
    }
}
