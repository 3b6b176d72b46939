//! Which servers are administered, and how their versions are told.

use model::{Refusal, code};

/// The oldest whose catalogs are the ones that are asked: CONNECTION ADMIN came with it.
pub(crate) const OLDEST: u32 = 100_502;

/// 101119 for 10.11.19. MariaDB hid its version behind another for old replicas, and some servers still do.
pub(crate) fn number(greeting: &str) -> u32 {
    let text = greeting.strip_prefix("5.5.5-").unwrap_or(greeting);
    let mut parts = text.split(|letter: char| !letter.is_ascii_digit()).map(str::parse);
    let mut part = || parts.next().and_then(Result::ok).unwrap_or(0_u32).min(99);
    let (major, minor, patch) = (part(), part(), part());
    major * 10_000 + minor * 100 + patch
}

/// Refuses servers of MySQL's own, and others that only speak its protocol.
pub(crate) fn check(greeting: &str) -> Result<(), Refusal> {
    let refused = |message: String| {
        Err(Refusal::new(&code::PROVISIONING_FAILED, message)
            .hint("docs/guides/mysql.md says which servers are administered"))
    };
    if !greeting.contains("MariaDB") {
        return refused(format!(
            "`{greeting}` is no MariaDB server; MySQL's own and others are not administered"
        ));
    }
    if number(greeting) < OLDEST {
        return refused(format!(
            "`{greeting}` is older than MariaDB 10.5.2, and is not administered"
        ));
    }
    Ok(())
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
    fn mysqls_own_servers_and_old_ones_are_refused_by_name() {
        assert!(check("10.11.19-MariaDB-0+deb12u1").is_ok());
        for (greeting, said) in [
            ("8.0.36-0ubuntu0.22.04.1", "no MariaDB server"),
            ("10.4.34-MariaDB-log", "older than MariaDB 10.5.2"),
        ] {
            let refused = check(greeting).unwrap_err();
            assert_eq!(refused.code, &code::PROVISIONING_FAILED);
            assert!(refused.message.contains(greeting) && refused.message.contains(said));
        }
    }
}
