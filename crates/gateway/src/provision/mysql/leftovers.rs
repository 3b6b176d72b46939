//! What a user leaves behind when its last role ends. Objects have no owners here; views, routines, triggers and events have
//! definers, and run with the rights of the account that defined them, which are none once its roles are gone.

use super::connection::Connection;
use super::quote::literal;
use crate::provision::connection::Trouble;
use crate::provision::seen::Places;

/// Everything with a definer: database, what it is, its name, and whether it runs as that.
pub(crate) const DEFINED: &str = "\
SELECT TABLE_SCHEMA AS d, 'view' AS what, TABLE_NAME AS name, DEFINER AS definer, SECURITY_TYPE = 'DEFINER' AS runs
  FROM information_schema.views
UNION ALL SELECT ROUTINE_SCHEMA, LOWER(ROUTINE_TYPE), ROUTINE_NAME, DEFINER, SECURITY_TYPE = 'DEFINER'
  FROM information_schema.routines
UNION ALL SELECT TRIGGER_SCHEMA, 'trigger', TRIGGER_NAME, DEFINER, 1 FROM information_schema.triggers
UNION ALL SELECT EVENT_SCHEMA, 'event', EVENT_NAME, DEFINER, 1 FROM information_schema.events";

fn defined_by(user: &str) -> String {
    format!(
        "SELECT d, what, name FROM ({DEFINED}) AS all_of_them WHERE runs AND \
             LEFT(BINARY definer, LENGTH({begins})) = BINARY {begins} ORDER BY d, what, name",
        begins = literal(&format!("{user}@"))
    )
}

/// Databases in which something runs with the user's rights. Prepared transactions belong to nobody here.
pub(crate) async fn places(connection: &Connection, user: &str) -> Result<Places, Trouble> {
    let rows = connection.rows("say what a user defined", &defined_by(user)).await?;
    let mut databases: Vec<String> = rows.iter().map(|row| row.text(0).to_owned()).collect();
    databases.dedup();
    Ok(Places { databases, prepared: Vec::new() })
}

/// Names what runs with the user's rights in a database. It stays as it is: whoever takes it over makes it anew.
pub(crate) async fn hand_over(
    connection: &Connection,
    user: &str,
    database: &str,
) -> Result<Vec<String>, Trouble> {
    let rows = connection.rows("say what a user defined", &defined_by(user)).await?;
    let here = rows.iter().filter(|row| row.text(0) == database);
    let told = here.map(|row| {
        format!(
            "{} {} runs with the rights of its definer, who has none now",
            row.text(1),
            row.text(2)
        )
    });
    Ok(told.collect())
}
