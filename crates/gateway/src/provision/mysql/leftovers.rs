//! What a user leaves behind when its last role ends. Objects have no owners here; views, routines, triggers and events have
//! definers, and run with the rights of the account that defined them, which are none, or of the role of its own, which are
//! none once its roles are gone.

use super::account;
use super::connection::Connection;
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

/// What runs with the user's rights: database, what it is, its name.
async fn defined_by(connection: &Connection, user: &str) -> Result<Vec<(String, String)>, Trouble> {
    let sql = format!(
        "SELECT d, CONCAT(what, ' ', name), definer FROM ({DEFINED}) AS all_of_them WHERE runs ORDER BY 1, 2"
    );
    let rows = connection.rows("say what a user defined", &sql).await?;
    let theirs = rows.iter().filter(|row| account::defines(user, row.text(2)));
    Ok(theirs.map(|row| (row.text(0).to_owned(), row.text(1).to_owned())).collect())
}

/// Databases in which something runs with the user's rights. Prepared transactions belong to nobody here.
pub(crate) async fn places(connection: &Connection, user: &str) -> Result<Places, Trouble> {
    let defined = defined_by(connection, user).await?;
    let mut databases: Vec<String> = defined.into_iter().map(|(database, _)| database).collect();
    databases.dedup();
    Ok(Places { databases, prepared: Vec::new() })
}

/// Names what runs with the user's rights in a database. It stays as it is: whoever takes it over makes it anew.
pub(crate) async fn hand_over(
    connection: &Connection,
    user: &str,
    database: &str,
) -> Result<Vec<String>, Trouble> {
    let defined = defined_by(connection, user).await?;
    let here = defined.into_iter().filter(|(where_it_is, _)| where_it_is == database);
    let told = here
        .map(|(_, what)| format!("{what} runs with the rights of its definer, who has none now"));
    Ok(told.collect())
}
