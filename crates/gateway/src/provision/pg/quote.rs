//! Names and texts inside SQL. Nothing that a person wrote gets into a statement by another way.

/// A quoted identifier. PostgreSQL has no identifier with a NUL; the replacement makes it one that does not exist.
pub(crate) fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('\0', "\u{fffd}").replace('"', "\"\""))
}

/// A schema's object.
pub(crate) fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", ident(schema), ident(name))
}

/// A quoted string that means the same whatever `standard_conforming_strings` is.
pub(crate) fn literal(text: &str) -> String {
    let inside = text.replace('\0', "\u{fffd}").replace('\\', "\\\\").replace('\'', "''");
    format!("E'{inside}'")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_cannot_leave_their_quotes() {
        assert_eq!(ident("ada@example.com"), "\"ada@example.com\"");
        assert_eq!(ident("a\"; DROP ROLE b; --"), "\"a\"\"; DROP ROLE b; --\"");
        assert_eq!(literal("o'clock\\"), "E'o''clock\\\\'");
        assert_eq!(qualified("public", "or\"ders"), "\"public\".\"or\"\"ders\"");
    }

    proptest! {
        #[test]
        fn every_quote_inside_an_identifier_is_doubled(name in "\\PC{0,40}") {
            let quoted = ident(&name);
            let inside = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap();
            prop_assert_eq!(inside.replace("\"\"", "").matches('"').count(), 0);
            prop_assert_eq!(inside.replace("\"\"", "\""), name.replace('\0', "\u{fffd}"));
        }
    }
}
