//! Names that nobody can have. They are refused before anything is asked for: what is longer than any name would go into
//! every message and record about it.

use model::{NAME_BYTES_MAX, Refusal, code};
use runtime::config::Protocol;

/// MySQL's and MariaDB's `NAME_CHAR_LEN`.
const MYSQL_DATABASE_CHARACTERS_MAX: usize = 64;

/// Refuses a user name that no principal has and a database that no server can have.
pub(super) fn possible((user, database): (&str, &str), protocol: Protocol) -> Result<(), Refusal> {
    if user.len() > NAME_BYTES_MAX {
        let message = format!(
            "a user name has at most {NAME_BYTES_MAX} bytes, this one has {}: it is no token's",
            user.len()
        );
        let hint = "connect under your own name";
        return Err(Refusal::new(&code::USER_MISMATCH, message).hint(hint));
    }
    // PostgreSQL would cut the name at its own bound, which is a matter of how it was built.
    let characters_max = match protocol {
        Protocol::PostgreSql => NAME_BYTES_MAX,
        Protocol::MySql => MYSQL_DATABASE_CHARACTERS_MAX,
    };
    let characters = database.chars().count();
    if characters > characters_max {
        let message = format!(
            "a database's name has at most {characters_max} characters, this one has {characters}"
        );
        return Err(Refusal::new(&code::DATABASE_UNKNOWN, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_nobody_can_have_is_refused_and_not_repeated() {
        let long = |length| "é".repeat(length);
        for (user, database, protocol, expected) in [
            (long(128), long(64), Protocol::MySql, None),
            (long(128), long(256), Protocol::PostgreSql, None),
            (String::new(), String::new(), Protocol::MySql, None),
            (long(129), String::new(), Protocol::MySql, Some(&code::USER_MISMATCH)),
            (long(129), String::new(), Protocol::PostgreSql, Some(&code::USER_MISMATCH)),
            (long(1), long(65), Protocol::MySql, Some(&code::DATABASE_UNKNOWN)),
            (long(1), long(257), Protocol::PostgreSql, Some(&code::DATABASE_UNKNOWN)),
        ] {
            let refused = possible((&user, &database), protocol).err();
            assert_eq!(refused.as_ref().map(|refused| refused.code), expected);
            assert!(!refused.is_some_and(|refused| refused.message.contains('é')));
        }
    }
}
