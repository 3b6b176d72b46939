//! Names on the server that are ours, and the marks by which we know them again.

use access::database_user::NameLimit;
use model::{DatabaseRoleName, ServerName};
use uuid::Uuid;

const HASH_CHARACTERS: usize = 8;

/// The server's role that stands for a database role; nobody logs in as it.
pub(crate) fn role(name: &DatabaseRoleName, limit: NameLimit) -> String {
    let whole = format!("portcullis_{name}");
    if limit.takes(&whole) {
        return whole;
    }
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, whole.as_bytes());
    let [a, b, c, d, ..] = *hash.as_ref() else { return whole };
    let hex = u32::from_be_bytes([a, b, c, d]);
    format!("{}~{hex:08x}", limit.beginning(&whole, HASH_CHARACTERS + 1))
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
    use model::kind::server::Product;
    use proptest::prelude::*;

    use super::*;

    const ANY: NameLimit = NameLimit::of(Product::PostgreSql);
    const SHORT: NameLimit = NameLimit::of(Product::MySql);

    #[test]
    fn long_role_names_with_the_same_beginning_differ() {
        let long = "r".repeat(80);
        for (limit, length) in [(ANY, 63), (SHORT, 32)] {
            let first = role(&DatabaseRoleName::new(format!("{long}1")).unwrap(), limit);
            let second = role(&DatabaseRoleName::new(format!("{long}2")).unwrap(), limit);
            assert_eq!((first.len(), second.len()), (length, length));
            assert_ne!(first, second);
            let short = role(&DatabaseRoleName::new("orders.reader").unwrap(), limit);
            assert_eq!(short, "portcullis_orders.reader");
        }
    }

    proptest! {
        #[test]
        fn every_role_name_fits(name in "[a-zäß日.]{1,80}") {
            let name = DatabaseRoleName::new(name).unwrap();
            for limit in [ANY, SHORT] {
                prop_assert!(limit.takes(&role(&name, limit)));
            }
        }
    }
}
