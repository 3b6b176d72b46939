//! Which files of the client's a text asks for: `LOAD DATA LOCAL INFILE 'name'`, `LOAD XML LOCAL INFILE 'name'`.
//!
//! A server may ask for a file in answer to any query, so what it asks for is compared with what the client asked for.

use super::lexer::{Backslash, significant, unquoted};
use crate::sql::Kind;

/// How far such a statement has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    Nothing,
    Load,
    What,
    Local,
    Infile,
}

/// The names, as the server reads them.
pub(crate) fn files(text: &[u8], backslash: Backslash) -> Vec<Vec<u8>> {
    let mut names = Vec::new();
    if !mentions(text, b"infile") {
        return names;
    }
    let mut seen = Seen::Nothing;
    for token in significant(text, backslash) {
        seen = match (seen, token.kind) {
            (_, Kind::Word) => word_after(seen, token.text),
            (Seen::Infile, Kind::Text) => {
                names.extend(unquoted(token.text, backslash));
                Seen::Nothing
            }
            _ => Seen::Nothing,
        };
    }
    names
}

fn word_after(seen: Seen, word: &[u8]) -> Seen {
    let is = |other: &str| word.eq_ignore_ascii_case(other.as_bytes());
    match seen {
        _ if is("load") => Seen::Load,
        Seen::Load if is("data") || is("xml") => Seen::What,
        Seen::What if is("low_priority") || is("concurrent") => Seen::What,
        Seen::What if is("local") => Seen::Local,
        Seen::Local if is("infile") => Seen::Infile,
        _ => Seen::Nothing,
    }
}

/// Most texts do not, and are not looked at further.
fn mentions(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_that_a_statement_loads_are_named() {
        for (text, named) in [
            ("load data local infile 'a.csv' into table t", &["a.csv"][..]),
            ("LOAD XML LOW_PRIORITY LOCAL INFILE \"b\" INTO TABLE t", &["b"]),
            ("/* c */ LOAD DATA CONCURRENT LOCAL # x\n INFILE 'it''s' INTO TABLE t", &["it's"]),
            ("/*!50000 load data local infile 'v' into table t */", &["v"]),
            (r"load data local infile 'C:\\d\'e\n' into table t", &["C:\\d'e\n"]),
            (
                "load data local infile '1' into table t; load data local infile '2' into table t",
                &["1", "2"],
            ),
            ("load data infile '/on/the/server' into table t", &[]),
            ("select 'load data local infile ''a''' from t", &[]),
            ("-- load data local infile 'a'\nselect 1", &[]),
            ("/* load data local infile 'a' */ select 1", &[]),
            ("load data local infile @name into table t", &[]),
            ("load data local infile 'unended", &[]),
            ("select 1", &[]),
        ] {
            let named: Vec<Vec<u8>> = named.iter().map(|name| name.as_bytes().to_vec()).collect();
            assert_eq!(files(text.as_bytes(), Backslash::Escapes), named, "{text}");
        }
        let plain = files(br"load data local infile 'C:\d' into table t", Backslash::Plain);
        assert_eq!(plain, [br"C:\d".to_vec()]);
    }
}
