//! The client certificate of one session: the database user's name, the session's id, ten minutes of life.

use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};

use keys::{ClientLeaf, KeyError, SessionKey};
use model::kind::server::DatabaseServer;
use model::{Document, ServerName, SessionId, Timestamp, code};
use rustls::sign::CertifiedKey;

use crate::Shared;
use crate::outcome::Denied;

/// The key that the certificates of these minutes share.
#[derive(Debug, Default)]
pub(crate) struct SessionKeys(Mutex<Option<Arc<SessionKey>>>);

impl SessionKeys {
    fn at(&self, now: Timestamp) -> Result<Arc<SessionKey>, KeyError> {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = current.as_ref().filter(|key| key.is_good_at(now)) {
            return Ok(Arc::clone(key));
        }
        let key = Arc::new(SessionKey::generate(now)?);
        *current = Some(Arc::clone(&key));
        Ok(key)
    }
}

/// Mints it under the authority of that one server.
pub(crate) async fn mint(
    gateway: &Shared,
    server: &Document<DatabaseServer>,
    user: &str,
    session: SessionId,
) -> Result<CertifiedKey, Denied> {
    let failed = |error: &dyn Display| {
        Denied::new(&code::INTERNAL, "no certificate could be made for the session").because(error)
    };
    let name = ServerName::new(server.name()).map_err(|error| failed(&error))?;
    let authority =
        gateway.keyring.client_authority(&name).await.map_err(|error| failed(&error))?;
    let (leaf, now) = (ClientLeaf { user, session }, gateway.clock.now());
    let minted =
        gateway.session_keys.at(now).and_then(|key| authority.issue_session(&leaf, &key, now));
    minted.map_err(|error| failed(&error))
}
