//! The name under which a principal logs in to a server.

use aws_lc_rs::digest;
use model::{Principal, PrincipalId, ServerName, Snapshot};

/// PostgreSQL cuts longer identifiers silently (`NAMEDATALEN` − 1).
pub const USER_BYTES_MAX: usize = 63;

/// The provisioner's own login user on every server.
pub const PROVISIONER: &str = "portcullis_provisioner";

const ALIAS_HASH_CHARACTERS: usize = 8;

/// The name under which the principal logs in to the server: their own, unless it is too long, reserved, or was once
/// given to another principal there; then an alias ending in `~` and eight characters of a hash of the object id. A
/// name that was recorded for the principal stays theirs.
pub fn name_for(principal: &Principal, server: &ServerName, snapshot: &Snapshot) -> String {
    let on_server = || snapshot.database_users.iter().filter(|user| user.spec.server == *server);
    let alias = alias(&principal.name, principal.id);
    let recorded = on_server().find(|user| {
        user.spec.principal == principal.id && [&principal.name, &alias].contains(&&user.spec.user)
    });
    if let Some(recorded) = recorded {
        return recorded.spec.user.clone();
    }
    let taken = on_server()
        .any(|user| user.spec.user == principal.name && user.spec.principal != principal.id);
    if taken || reserved(&principal.name) || principal.name.len() > USER_BYTES_MAX {
        return alias;
    }
    principal.name.clone()
}

/// Names with a meaning to PostgreSQL or to us.
fn reserved(name: &str) -> bool {
    name.starts_with("pg_") || name.starts_with("portcullis_") || ["public", "none"].contains(&name)
}

fn alias(name: &str, id: PrincipalId) -> String {
    // PostgreSQL keeps every name that begins so for itself.
    let kept = name.starts_with("pg_");
    let name = if kept { format!("_{name}") } else { name.to_owned() };
    let mut end = name.len().min(USER_BYTES_MAX - ALIAS_HASH_CHARACTERS - 1);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    let hash = digest::digest(&digest::SHA256, id.0.as_bytes());
    let [a, b, c, d, ..] = *hash.as_ref() else { return name };
    let hex = u32::from_be_bytes([a, b, c, d]);
    format!("{}~{hex:08x}", name.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use model::PrincipalKind;
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

    #[test]
    fn names_with_a_meaning_to_the_server_get_an_alias() {
        let (server, snapshot) = (ServerName::new("orders").unwrap(), Snapshot::default());
        for (name, start) in [
            ("pg_read_all_data", "_pg_read_all_data~"),
            ("portcullis_provisioner", "portcullis_provisioner~"),
            ("public", "public~"),
            ("none", "none~"),
        ] {
            assert!(name_for(&principal(name), &server, &snapshot).starts_with(start), "{name}");
        }
        assert_eq!(name_for(&principal("ada@example.com"), &server, &snapshot), "ada@example.com");
    }

    proptest! {
        #[test]
        fn every_name_fits_into_postgresqls_63_bytes(name in "\\PC{1,200}") {
            let (server, snapshot) = (ServerName::new("orders").unwrap(), Snapshot::default());
            let user = name_for(&principal(&name), &server, &snapshot);
            prop_assert!(user.len() <= USER_BYTES_MAX);
        }
    }
}
