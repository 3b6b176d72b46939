//! Names on the server that are ours, and the marks by which we know them again.

use access::database_user::USER_BYTES_MAX;
use model::{DatabaseRoleName, ServerName};
use uuid::Uuid;

const HASH_CHARACTERS: usize = 8;

/// The server's role that stands for a database role; nobody logs in as it.
pub(crate) fn role(name: &DatabaseRoleName) -> String {
    let whole = format!("portcullis_{name}");
    if whole.len() <= USER_BYTES_MAX {
        return whole;
    }
    let mut end = USER_BYTES_MAX - HASH_CHARACTERS - 1;
    while !whole.is_char_boundary(end) {
        end -= 1;
    }
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, whole.as_bytes());
    let [a, b, c, d, ..] = *hash.as_ref() else { return whole };
    let hex = u32::from_be_bytes([a, b, c, d]);
    format!("{}~{hex:08x}", whole.get(..end).unwrap_or_default())
}

/// The name of the document that records a database user.
pub(crate) fn document(server: &ServerName, user: &str) -> String {
    format!("{server}~{user}")
}

/// The comment on a role of ours. The document's id is random and never used again, so a role made by hand, or one that
/// was dropped and made again, does not carry it.
pub(crate) fn mark(document: Uuid) -> String {
    format!("{MARK}{document}")
}

/// How [`mark`] begins.
pub(crate) const MARK: &str = "portcullis:";

/// The same on a role that stands for a database role.
pub(crate) fn role_mark(document: Uuid) -> String {
    format!("{ROLE_MARK}{document}")
}

/// How [`role_mark`] begins.
pub(crate) const ROLE_MARK: &str = "portcullis-role:";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn long_role_names_with_the_same_beginning_differ() {
        let long = "r".repeat(80);
        let first = role(&DatabaseRoleName::new(format!("{long}1")).unwrap());
        let second = role(&DatabaseRoleName::new(format!("{long}2")).unwrap());
        assert_eq!((first.len(), second.len()), (63, 63));
        assert_ne!(first, second);
        assert_eq!(
            role(&DatabaseRoleName::new("orders.reader").unwrap()),
            "portcullis_orders.reader"
        );
    }

    proptest! {
        #[test]
        fn every_role_name_fits(name in "[a-zäß日.]{1,80}") {
            prop_assert!(role(&DatabaseRoleName::new(name).unwrap()).len() <= USER_BYTES_MAX);
        }
    }
}
