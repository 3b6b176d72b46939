//! What database roles hold in one database. Privileges are given on all of a database, so that they hold for tables made
//! tomorrow, whoever makes them.

use std::collections::BTreeSet;

use super::catalog::Catalog;
use super::connection::Connection;
use super::quote::{list, literal};
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
pub(crate) fn handed_on(catalog: Catalog) -> Vec<&'static str> {
    DEFINE.iter().copied().filter(|privilege| catalog.knows(privilege)).collect()
}

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
        differences.push((rights, difference(connection.catalog, (database, rights), &held)));
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

/// What a role holds in a database.
async fn held(
    connection: &Connection,
    database: &str,
    role: &str,
) -> Result<BTreeSet<String>, Trouble> {
    let catalog = connection.catalog;
    let sql = format!(
        "SELECT PRIVILEGE_TYPE FROM information_schema.schema_privileges \
         WHERE TABLE_SCHEMA IN ({}) AND GRANTEE = {}",
        list(catalog.names_of(database).iter().map(String::as_str)),
        literal(&catalog.grantee_of(role))
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

fn difference(
    catalog: Catalog,
    (database, rights): (&str, &Rights),
    held: &BTreeSet<String>,
) -> Difference {
    let level = if rights.connects { rights.level } else { Level::None };
    let wanted = privileges(level).iter().copied().filter(|privilege| catalog.knows(privilege));
    let wanted: BTreeSet<&str> = wanted.collect();
    let (place, role) = (catalog.whole(database), catalog.role(&rights.role));
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
    word != "USAGE"
        && word.chars().all(|letter| letter.is_ascii_uppercase() || " _".contains(letter))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provision::mysql::catalog::Names;

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

    const MYSQL: Catalog = Catalog::MySql(Names::Patterns);

    #[test]
    fn what_is_missing_is_given_and_what_is_too_much_is_taken() {
        let read = rights(Level::Read, true);
        let too_much = held(&["SELECT", "DROP", "USAGE"]);
        for (catalog, place, role) in [
            (Catalog::MariaDb, "`my\\_orders`.*", "`portcullis_orders.reader`"),
            (MYSQL, "`my\\_orders`.*", "'portcullis_orders.reader'@'%'"),
            (Catalog::MySql(Names::Plain), "`my_orders`.*", "'portcullis_orders.reader'@'%'"),
        ] {
            assert_eq!(
                difference(catalog, ("my_orders", &read), &too_much),
                Difference {
                    revoke: Some(format!("REVOKE DROP ON {place} FROM {role}")),
                    grant: Some(format!("GRANT SHOW VIEW ON {place} TO {role}")),
                }
            );
        }
        let enough = difference(Catalog::MariaDb, ("orders", &read), &held(READ));
        assert_eq!(enough, Difference::default());
        let nothing = rights(Level::Write, false);
        assert_eq!(
            difference(Catalog::MariaDb, ("orders", &nothing), &held(&["SELECT"])),
            Difference {
                revoke: Some(
                    "REVOKE SELECT ON `orders`.* FROM `portcullis_orders.reader`".to_owned()
                ),
                grant: None,
            }
        );
    }

    #[test]
    fn mysql_is_given_no_privilege_that_it_does_not_know() {
        let define = rights(Level::Define, true);
        let given = |catalog| difference(catalog, ("orders", &define), &held(&[])).grant.unwrap();
        assert!(given(Catalog::MariaDb).contains("DELETE HISTORY"));
        assert!(!given(MYSQL).contains("HISTORY") && given(MYSQL).contains("EVENT"));
        assert_eq!(handed_on(MYSQL).len() + 1, handed_on(Catalog::MariaDb).len());
    }
}
