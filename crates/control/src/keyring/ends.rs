//! When the certificates end that this installation lives by.

use std::collections::BTreeMap;

use model::Timestamp;

use super::Keyring;

impl Keyring {
    /// `authority`: the installation's own; `host-authority`: that of hosts; `listener`: what clients are
    /// shown; `client-authority/SERVER`: what each
    /// protected server trusts. Of a rotation under way, the one that signs now.
    pub fn certificate_ends(&self) -> BTreeMap<String, Timestamp> {
        let keys = self.keys();
        let mut ends =
            BTreeMap::from([("authority".to_owned(), keys.installation.signing.not_after())]);
        ends.insert("host-authority".to_owned(), keys.hosts.signing.not_after());
        let snapshot = self.0.store.snapshots().load();
        for server in snapshot.servers.iter() {
            if let Some(client) = keys.clients.get(&server.uid()) {
                ends.insert(
                    format!("client-authority/{}", server.name()),
                    client.signing.not_after(),
                );
            }
        }
        drop(keys);
        let shown = self.0.shown.chain();
        let leaf = shown.first().map(keys::authority::not_after);
        if let Some(Ok(at)) = leaf {
            ends.insert("listener".to_owned(), at);
        }
        ends
    }
}
