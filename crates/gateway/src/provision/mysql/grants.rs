//! What database roles hold in one database. Privileges are given on all of a database, so that they hold for tables made
//! tomorrow, whoever makes them.

use std::collections::BTreeSet;

use super::connection::Connection;
use super::quote::{ident, literal, pattern, whole};
use super::role::grantee_of;
use crate::provision::connection::Trouble;
use crate::provision::engine::Settled;
use crate::provision::seen::{Level, Rights};

const READ: &[&str] = &["SELECT", "SHOW VIEW"];
/// What everyone may do on PostgreSQL, too: temporary tables, and routines.
const WRITE: &[&str] = &[
    "SELECT",
    "SHOW VIEW",
    "INSERT",
    "UPDATE",
    "DELETE",
    "EXECUTE",
    "CREATE TEMPORARY TABLES",
    "LOCK TABLES",
];
const DEFINE: &[&str] = &[
    "SELECT",
    "SHOW VIEW",
    "INSERT",
    "UPDATE",
    "DELETE",
    "DELETE HISTORY",
    "CREATE",
    "ALTER",
    "DROP",
    "INDEX",
    "REFERENCES",
    "CREATE VIEW",
    "TRIGGER",
    "CREATE ROUTINE",
    "ALTER ROUTINE",
    "EXECUTE",
    "EVENT",
    "LOCK TABLES",
    "CREATE TEMPORARY TABLES",
];

/// What the provisioner must hold with the right to hand it on.
pub(crate) const HANDED_ON: &[&str] = DEFINE;

/// `ER_DBACCESS_DENIED_ERROR`, `ER_ACCESS_DENIED_ERROR`: the provisioner may not hand this on.
const DENIED: [u16; 2] = [1044, 1045];

fn privileges(level: Level) -> &'static [&'static str] {
    match level {
        Level::None => &[],
        Level::Read => READ,
        Level::Write => WRITE,
        Level::Define => DEFINE,
    }
}

/// Brings what roles hold in a database to what they must hold. A session keeps what it held in its current database when
/// it entered that: what is taken reaches only those that enter it later.
pub(crate) async fn settle(
    connection: &Connection,
    database: &str,
    wanted: &[Rights],
) -> Result<Settled, Trouble> {
    let mut differences = Vec::new();
    for rights in wanted {
        let held = held(connection, database, &rights.role).await?;
        differences.push((rights, difference(database, rights, &held)));
    }
    let mut settled = Settled::default();
    for (rights, Difference { revoke, grant }) in differences {
        for (sql, narrows) in
            revoke.iter().map(|sql| (sql, true)).chain(grant.iter().map(|sql| (sql, false)))
        {
            match connection.run("grant to roles", sql).await {
                Ok(()) if narrows => settled.narrowed.push(rights.role.clone()),
                Ok(()) => {}
                Err(trouble) => {
                    settled.findings.push(left_as_it_was(database, &rights.role, &trouble));
                }
            }
        }
    }
    Ok(settled)
}

fn left_as_it_was(database: &str, role: &str, trouble: &Trouble) -> String {
    if matches!(trouble, Trouble::MySql { number, .. } if DENIED.contains(number)) {
        return format!(
            "`{role}` cannot be let into database `{database}`: run `portcullis server enroll` again"
        );
    }
    format!("`{role}` is not what it must be in database `{database}`: {trouble}")
}

async fn held(
    connection: &Connection,
    database: &str,
    role: &str,
) -> Result<BTreeSet<String>, Trouble> {
    let sql = format!(
        "SELECT PRIVILEGE_TYPE FROM information_schema.schema_privileges \
         WHERE TABLE_SCHEMA IN ({}, {}) AND GRANTEE = {}",
        literal(database),
        literal(&pattern(database)),
        literal(&grantee_of(role))
    );
    let rows = connection.rows("say what roles hold in a database", &sql).await?;
    Ok(rows.iter().map(|row| row.text(0).to_owned()).collect())
}

/// The statements that lead from what is held to what is wanted.
#[derive(Debug, Default, PartialEq, Eq)]
struct Difference {
    revoke: Option<String>,
    grant: Option<String>,
}

fn difference(database: &str, rights: &Rights, held: &BTreeSet<String>) -> Difference {
    let level = if rights.connects { rights.level } else { Level::None };
    let wanted: BTreeSet<&str> = privileges(level).iter().copied().collect();
    let (place, role) = (whole(database), ident(&rights.role));
    let extra: Vec<&str> = held
        .iter()
        .map(String::as_str)
        .filter(|held| !wanted.contains(held) && is_privilege(held))
        .collect();
    let missing: Vec<&str> =
        wanted.into_iter().filter(|privilege| !held.contains(*privilege)).collect();
    Difference {
        revoke: (!extra.is_empty())
            .then(|| format!("REVOKE {} ON {place} FROM {role}", extra.join(", "))),
        grant: (!missing.is_empty())
            .then(|| format!("GRANT {} ON {place} TO {role}", missing.join(", "))),
    }
}

/// Privileges are words of the server's; nothing else may get into a statement unquoted. `USAGE` is the word for none.
pub(crate) fn is_privilege(word: &str) -> bool {
    word != "USAGE" && word.chars().all(|letter| letter.is_ascii_uppercase() || letter == ' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(level: Level, connects: bool) -> Rights {
        Rights {
            role: "portcullis_orders.reader".to_owned(),
            connects,
            level,
            schemas: BTreeSet::new(),
        }
    }

    fn held(words: &[&str]) -> BTreeSet<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn what_is_missing_is_given_and_what_is_too_much_is_taken() {
        assert_eq!(
            difference(
                "my_orders",
                &rights(Level::Read, true),
                &held(&["SELECT", "DROP", "USAGE"])
            ),
            Difference {
                revoke: Some(
                    "REVOKE DROP ON `my\\_orders`.* FROM `portcullis_orders.reader`".to_owned()
                ),
                grant: Some(
                    "GRANT SHOW VIEW ON `my\\_orders`.* TO `portcullis_orders.reader`".to_owned()
                ),
            }
        );
        assert_eq!(
            difference("orders", &rights(Level::Read, true), &held(READ)),
            Difference::default()
        );
        assert_eq!(
            difference("orders", &rights(Level::Write, false), &held(&["SELECT"])),
            Difference {
                revoke: Some(
                    "REVOKE SELECT ON `orders`.* FROM `portcullis_orders.reader`".to_owned()
                ),
                grant: None,
            }
        );
    }
}
