//! The name under which a principal logs in to a server.

use aws_lc_rs::digest;
use model::kind::server::{Engine, Product};
use model::{Principal, PrincipalId, ServerName, Snapshot};

/// PostgreSQL cuts longer identifiers silently (`NAMEDATALEN` − 1); MariaDB takes 80 characters.
pub const USER_BYTES_MAX: usize = 63;
/// MySQL's own servers refuse longer ones.
const MYSQL_CHARACTERS_MAX: usize = 32;

/// The provisioner's own login user on every server.
pub const PROVISIONER: &str = "portcullis_provisioner";

const ALIAS_HASH_CHARACTERS: usize = 8;

/// How long the names of users and roles may be on a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameLimit {
    characters: usize,
}

impl NameLimit {
    /// On a server of this kind.
    pub const fn of(product: Product) -> Self {
        let characters = match product {
            // Each is a byte at least.
            Product::PostgreSql | Product::MariaDb => USER_BYTES_MAX,
            Product::MySql => MYSQL_CHARACTERS_MAX,
        };
        Self { characters }
    }

    /// Of a server that was never looked at: what is short enough for MySQL is for MariaDB, too.
    fn on(server: &ServerName, snapshot: &Snapshot) -> Self {
        let Some(known) = snapshot.servers.get(server) else {
            return Self::of(Product::PostgreSql);
        };
        Self::of(known.status.product.unwrap_or(match known.spec.engine {
            Engine::PostgreSql => Product::PostgreSql,
            Engine::MySql => Product::MySql,
        }))
    }

    /// Whether a name is short enough.
    pub fn takes(self, name: &str) -> bool {
        name.len() <= USER_BYTES_MAX && name.chars().count() <= self.characters
    }

    /// As much of a name as leaves room for so many more ASCII characters.
    pub fn beginning(self, name: &str, more: usize) -> &str {
        let (bytes, characters) = (USER_BYTES_MAX - more, self.characters - more);
        let kept = name.char_indices().take(characters);
        let ends = kept.map(|(start, letter)| start + letter.len_utf8());
        let end = ends.take_while(|end| *end <= bytes).last().unwrap_or(0);
        name.get(..end).unwrap_or_default()
    }
}

/// The name under which the principal logs in to the server: their own, unless it is too long, reserved, or was once
/// given to another principal there; then an alias ending in `~` and eight characters of a hash of the object id. A
/// name that was recorded for the principal stays theirs.
pub fn name_for(principal: &Principal, server: &ServerName, snapshot: &Snapshot) -> String {
    let on_server = || snapshot.database_users.iter().filter(|user| user.spec.server == *server);
    let limit = NameLimit::on(server, snapshot);
    let alias = alias(&principal.name, principal.id, limit);
    // What a server is, and so how long its names are, may have been learnt since.
    let longer = self::alias(&principal.name, principal.id, NameLimit::of(Product::PostgreSql));
    let shorter = self::alias(&principal.name, principal.id, NameLimit::of(Product::MySql));
    let recorded = on_server().find(|user| {
        user.spec.principal == principal.id
            && [&principal.name, &longer, &shorter].contains(&&user.spec.user)
    });
    if let Some(recorded) = recorded {
        return recorded.spec.user.clone();
    }
    let taken = on_server()
        .any(|user| user.spec.user == principal.name && user.spec.principal != principal.id);
    if taken || reserved(&principal.name) || !limit.takes(&principal.name) {
        return alias;
    }
    principal.name.clone()
}

/// Names with a meaning to a server or to us. MySQL keeps accounts of its own under `mysql.`.
fn reserved(name: &str) -> bool {
    ["pg_", "portcullis_", "mysql."].iter().any(|start| name.starts_with(start))
        || ["public", "none"].contains(&name)
}

fn alias(name: &str, id: PrincipalId, limit: NameLimit) -> String {
    // PostgreSQL keeps every name that begins so for itself.
    let kept = name.starts_with("pg_");
    let name = if kept { format!("_{name}") } else { name.to_owned() };
    let hash = digest::digest(&digest::SHA256, id.0.as_bytes());
    let [a, b, c, d, ..] = *hash.as_ref() else { return name };
    let hex = u32::from_be_bytes([a, b, c, d]);
    format!("{}~{hex:08x}", limit.beginning(&name, ALIAS_HASH_CHARACTERS + 1))
}

#[cfg(test)]
mod tests {
    use model::kind::database_user::DatabaseUser;
    use model::kind::server::DatabaseServer;
    use model::{Document, PrincipalKind, Resource};
    use proptest::prelude::*;

    use super::*;

    fn principal(name: &str) -> Principal {
        Principal {
            id: PrincipalId::random(),
            name: name.to_owned(),
            kind: PrincipalKind::User,
            enabled: true,
        }
    }

    #[test]
    fn two_long_names_with_the_same_first_63_bytes_get_different_aliases() {
        let long = "a".repeat(70);
        let (server, snapshot) = (ServerName::new("orders").unwrap(), Snapshot::default());
        let first = name_for(&principal(&format!("{long}1")), &server, &snapshot);
        let second = name_for(&principal(&format!("{long}2")), &server, &snapshot);
        assert_ne!(first, second);
        assert_eq!((first.len(), second.len()), (63, 63));
    }

    fn on_mysql(product: Option<Product>) -> Snapshot {
        let spec = serde_json::json!({"engine": "mysql", "host": "db", "port": 3306, "ca": ""});
        let spec: DatabaseServer = serde_json::from_value(spec).unwrap();
        let mut document = Document::new("orders", spec);
        document.status.product = product;
        let mut snapshot = Snapshot::default();
        snapshot.insert(Resource::DatabaseServer(document));
        snapshot
    }

    #[test]
    fn mysqls_own_servers_take_32_characters_and_what_a_server_turns_out_to_be_renames_nobody() {
        let server = ServerName::new("orders").unwrap();
        let who = principal(&"a".repeat(40));
        let on = |product| name_for(&who, &server, &on_mysql(product));
        assert_eq!(on(Some(Product::MariaDb)), who.name);
        let short = on(Some(Product::MySql));
        assert_eq!((short.len(), on(None)), (32, short.clone()));
        assert!(short.starts_with(&format!("{}~", "a".repeat(23))), "{short}");
        // Characters count, not bytes; a certificate holds 63 bytes.
        for (name, kept) in [("é".repeat(31), true), ("é".repeat(32), false)] {
            let who = principal(&name);
            let called = name_for(&who, &server, &on_mysql(Some(Product::MySql)));
            assert_eq!(called == name, kept, "{called}");
        }
        let mut snapshot = on_mysql(Some(Product::MariaDb));
        let (name, user) = (format!("orders~{short}"), short.clone());
        let recorded = DatabaseUser { server: server.clone(), principal: who.id, user };
        snapshot.insert(Resource::DatabaseUser(Document::new(name, recorded)));
        assert_eq!(name_for(&who, &server, &snapshot), short);
    }

    #[test]
    fn names_with_a_meaning_to_the_server_get_an_alias() {
        let (server, snapshot) = (ServerName::new("orders").unwrap(), Snapshot::default());
        for (name, start) in [
            ("pg_read_all_data", "_pg_read_all_data~"),
            ("portcullis_provisioner", "portcullis_provisioner~"),
            ("public", "public~"),
            ("none", "none~"),
            ("mysql.sys", "mysql.sys~"),
        ] {
            assert!(name_for(&principal(name), &server, &snapshot).starts_with(start), "{name}");
        }
        assert_eq!(name_for(&principal("ada@example.com"), &server, &snapshot), "ada@example.com");
    }

    proptest! {
        #[test]
        fn every_name_fits(name in "\\PC{1,200}") {
            let server = ServerName::new("orders").unwrap();
            let user = name_for(&principal(&name), &server, &Snapshot::default());
            prop_assert!(user.len() <= USER_BYTES_MAX);
            let user = name_for(&principal(&name), &server, &on_mysql(None));
            prop_assert!(user.len() <= USER_BYTES_MAX && user.chars().count() <= MYSQL_CHARACTERS_MAX);
        }
    }
}
