//! What can go wrong with the store, and what whoever asked for a write is told.

use std::path::PathBuf;

use model::{Kind, Refusal, Revision, code};

/// What can go wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Two servers on one store would each overlook the other's writes.
    #[error("store `{}` is in use by another process", path.display())]
    InUse {
        /// The store's file.
        path: PathBuf,
    },
    /// The file belongs to a later version of Portcullis.
    #[error(
        "store `{}` has format {found}, which is newer than the {known} that this version knows",
        path.display()
    )]
    Newer {
        /// The store's file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format known here.
        known: u32,
    },
    /// An SQLite file of some other program.
    #[error("file `{}` is not a store of Portcullis", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A restore never writes over a backup that does not hold together.
    #[error("store `{}` is damaged: {finding}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite's own check found first.
        finding: String,
    },
    /// A setting on which durability rests was not taken.
    #[error("store setting `{setting}` is `{found}`, not `{wanted}`")]
    Setting {
        /// The pragma.
        setting: &'static str,
        /// What it must be.
        wanted: &'static str,
        /// What it is.
        found: String,
    },
    /// SQLite refused.
    #[error("cannot {attempt} the store: {source}")]
    Sqlite {
        /// What was tried.
        attempt: &'static str,
        /// SQLite's answer.
        source: rusqlite::Error,
    },
    /// The file system refused.
    #[error("cannot {attempt} `{}`: {source}", path.display())]
    File {
        /// What was tried.
        attempt: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A document cannot be read back, or cannot be written as JSON.
    #[error("stored document `{kind}/{name}` is not as this version expects it: {source}")]
    Document {
        /// As written in the row.
        kind: String,
        /// As written in the row.
        name: String,
        /// Where it differs.
        source: serde_json::Error,
    },
    /// A private record cannot be read back, or cannot be written as JSON.
    #[error("stored record of `{collection}` is not as this version expects it: {source}")]
    Record {
        /// Its collection.
        collection: &'static str,
        /// Where it differs.
        source: serde_json::Error,
    },
    /// The document is not the one that the writer had read.
    #[error("`{kind}/{name}` has changed since it was read{}", since(*given, *found))]
    Conflict {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
        /// The revision that the writer had read.
        given: Option<Revision>,
        /// The revision it has; absent when it is gone.
        found: Option<Revision>,
    },
    /// There is no such document.
    #[error("there is no `{kind}/{name}`")]
    Missing {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
    },
    /// An earlier commit failed; what reached the disk is unknown, so nothing more is written before a restart.
    #[error("the store stopped writing after a failure: {cause}")]
    Failed {
        /// The first failure.
        cause: String,
    },
    /// The write ended without an answer: the store was closed, or the write panicked and was rolled back.
    #[error("the write was abandoned and rolled back")]
    Abandoned,
}

fn since(given: Option<Revision>, found: Option<Revision>) -> String {
    match (given, found) {
        (Some(given), Some(found)) => format!(": read at revision {given}, now at {found}"),
        (Some(given), None) => format!(": read at revision {given}, gone now"),
        (None, Some(_)) => ": it was deleted and created anew".to_owned(),
        (None, None) => ": it is gone".to_owned(),
    }
}

impl StoreError {
    pub(crate) fn sqlite(attempt: &'static str) -> impl FnOnce(rusqlite::Error) -> Self {
        move |source| Self::Sqlite { attempt, source }
    }

    pub(crate) fn file(
        attempt: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::File { attempt, path: path.into(), source }
    }
}

/// The client sees which kind of failure it was; the cause is for the log.
impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Conflict { .. } => Self::new(&code::CONFLICT, error.to_string()),
            StoreError::Missing { .. } => Self::new(&code::NOT_FOUND, error.to_string()),
            StoreError::InUse { .. }
            | StoreError::Newer { .. }
            | StoreError::Foreign { .. }
            | StoreError::Damaged { .. }
            | StoreError::Setting { .. }
            | StoreError::Sqlite { .. }
            | StoreError::File { .. }
            | StoreError::Document { .. }
            | StoreError::Record { .. }
            | StoreError::Failed { .. }
            | StoreError::Abandoned => {
                tracing::error!(%error, "store unavailable");
                Self::new(&code::STORE_UNAVAILABLE, "the store did not take or give the state")
            }
        }
    }
}

/// Why a write has no effect.
#[derive(Debug, thiserror::Error)]
pub enum WriteError<E> {
    /// The write's own rules refused it; everything was rolled back.
    #[error(transparent)]
    Refused(E),
    /// The store could not take it.
    #[error(transparent)]
    Store(StoreError),
}

impl<E: From<StoreError>> WriteError<E> {
    /// Both as the write's own error.
    pub fn into_inner(self) -> E {
        match self {
            Self::Refused(error) => error,
            Self::Store(error) => error.into(),
        }
    }
}
