//! Which servers are administered, and how their versions are told.

use model::kind::server::Product;
use model::{Refusal, code};

/// The oldest MariaDB whose catalogs are the ones that are asked: CONNECTION ADMIN came with it.
const MARIADB: u32 = 100_502;
/// The oldest of MySQL's own: what may leave objects without a definer has a privilege of its own since 8.2.
const MYSQL: u32 = 80_400;
/// The oldest that are tested.
const MARIADB_TESTED: u32 = 101_100;
const MYSQL_TESTED: u32 = 90_700;
/// Servers that speak the protocol, call themselves by a version of MySQL's, and are none.
const OTHERS: [&str; 2] = ["TiDB", "Vitess"];

/// 101119 for 10.11.19. MariaDB hid its version behind another for old replicas, and some servers still do.
pub(crate) fn number(greeting: &str) -> u32 {
    let text = greeting.strip_prefix("5.5.5-").unwrap_or(greeting);
    let mut parts = text.split(|letter: char| !letter.is_ascii_digit()).map(str::parse);
    let mut part = || parts.next().and_then(Result::ok).unwrap_or(0_u32).min(99);
    let (major, minor, patch) = (part(), part(), part());
    major * 10_000 + minor * 100 + patch
}

/// Which server greets so. Refuses old ones, and others that only speak the protocol.
pub(crate) fn check(greeting: &str) -> Result<Product, Refusal> {
    let refused = |message: String| {
        Err(Refusal::new(&code::PROVISIONING_FAILED, message)
            .hint("docs/guides/mysql.md says which servers are administered"))
    };
    if OTHERS.iter().any(|other| greeting.contains(other)) {
        return refused(format!("`{greeting}` is neither MariaDB nor MySQL, and not administered"));
    }
    let (product, oldest, name) = if greeting.contains("MariaDB") {
        (Product::MariaDb, MARIADB, "MariaDB 10.5.2")
    } else {
        (Product::MySql, MYSQL, "MySQL 8.4")
    };
    if number(greeting) < oldest {
        return refused(format!("`{greeting}` is older than {name}, and is not administered"));
    }
    Ok(product)
}

/// Whether no test has run with a server of this version or an older one.
pub(crate) fn is_before_any_test(greeting: &str) -> bool {
    let number = number(greeting);
    let oldest = if greeting.contains("MariaDB") { MARIADB_TESTED } else { MYSQL_TESTED };
    number > 0 && number < oldest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers_that_grow() {
        assert_eq!(number("5.5.5-10.11.19-MariaDB-0+deb12u1"), 101_119);
        assert_eq!(number("11.4.2-MariaDB"), 110_402);
        assert_eq!(number("8.0.36"), 80_036);
        assert_eq!(number(""), 0);
    }

    #[test]
    fn old_servers_and_those_that_only_speak_the_protocol_are_refused_by_name() {
        assert_eq!(check("10.11.19-MariaDB-0+deb12u1"), Ok(Product::MariaDb));
        assert_eq!(check("9.7.1-2"), Ok(Product::MySql));
        assert_eq!(check("8.4.6"), Ok(Product::MySql));
        for (greeting, said) in [
            ("8.0.36-0ubuntu0.22.04.1", "older than MySQL 8.4"),
            ("8.4.0-TiDB-v9.0.0", "neither MariaDB nor MySQL"),
            ("", "older than MySQL 8.4"),
            ("10.4.34-MariaDB-log", "older than MariaDB 10.5.2"),
        ] {
            let refused = check(greeting).unwrap_err();
            assert_eq!(refused.code, &code::PROVISIONING_FAILED);
            assert!(refused.message.contains(greeting) && refused.message.contains(said));
        }
    }
}
