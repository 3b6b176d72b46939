//! The service account of a pod: the one thing that a review does not hold.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Which service account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AccountName {
    /// The namespace, as the request says it.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What counts of a service account, as the API server writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct ServiceAccount {
    /// Its metadata.
    #[serde(default)]
    pub metadata: AccountMetadata,
}

/// The metadata of a service account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct AccountMetadata {
    /// Its annotations.
    #[serde(default)]
    pub annotations: Option<BTreeMap<String, String>>,
}

impl ServiceAccount {
    /// One with these annotations.
    pub fn annotated<'a>(annotations: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let annotations =
            annotations.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
        Self { metadata: AccountMetadata { annotations: Some(annotations.collect()) } }
    }

    pub(crate) fn annotation(&self, key: &str) -> Option<&str> {
        self.metadata.annotations.as_ref()?.get(key).map(String::as_str)
    }
}
