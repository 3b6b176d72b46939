//! Names and texts inside SQL. Nothing that a person wrote gets into a statement by another way.

/// A quoted identifier: of a role, a database, a table.
pub(crate) fn ident(name: &str) -> String {
    format!("`{}`", name.replace('\0', "\u{fffd}").replace('`', "``"))
}

/// A quoted string. Sessions of ours have `NO_BACKSLASH_ESCAPES`, so that only the quote itself means anything.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\0', "\u{fffd}").replace('\'', "''"))
}

/// Several, for `IN (…)`; never none.
pub(crate) fn list<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = texts.into_iter().map(literal).collect();
    if quoted.is_empty() { "NULL".to_owned() } else { quoted.join(", ") }
}

/// An account: a user from an address.
pub(crate) fn account(user: &str, host: &str) -> String {
    format!("{}@{}", literal(user), literal(host))
}

/// A database's name as GRANT keeps it.
pub(crate) fn pattern(database: &str) -> String {
    database.replace('\\', "\\\\").replace('_', "\\_").replace('%', "\\%")
}

/// A distinguished name of one CN, as the server writes it for comparison (`X509_NAME_oneline`).
pub(crate) fn common_name(name: &str) -> String {
    let written = |byte: u8| match byte {
        b' '..=b'~' => char::from(byte).to_string(),
        _ => format!("\\x{byte:02X}"),
    };
    std::iter::once("/CN=".to_owned()).chain(name.bytes().map(written)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_cannot_leave_their_quotes() {
        assert_eq!(ident("a`; DROP ROLE b; --"), "`a``; DROP ROLE b; --`");
        assert_eq!(literal("o'clock\\"), "'o''clock\\'");
        assert_eq!(account("ada@example.com", "127.0.0.1"), "'ada@example.com'@'127.0.0.1'");
        assert_eq!(pattern("my_db%"), "my\\_db\\%");
        assert_eq!(list([]), "NULL");
        assert_eq!(list(["a", "b'"]), "'a', 'b'''");
        assert_eq!(common_name("jürgen"), "/CN=j\\xC3\\xBCrgen");
    }

    proptest! {
        #[test]
        fn every_quote_inside_a_text_is_doubled(name in "\\PC{0,40}") {
            for (quoted, quote) in [(ident(&name), '`'), (literal(&name), '\'')] {
                let inside = quoted.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)).unwrap();
                let twice = format!("{quote}{quote}");
                prop_assert_eq!(inside.replace(&twice, "").matches(quote).count(), 0);
                prop_assert_eq!(inside.replace(&twice, &quote.to_string()), name.replace('\0', "\u{fffd}"));
            }
        }
    }
}
