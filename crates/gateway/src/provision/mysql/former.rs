//! Accounts from addresses from which the gateway dialled before: known by the mark of the user's that they carry, which
//! only the provisioner gives.

use super::account;
use super::connection::Connection;
use super::listed::Account;
use super::quote::account as quoted;
use crate::provision::connection::Trouble;

/// Drops a user's. Nobody of ours comes from there any more.
pub(crate) async fn drop_accounts(
    connection: &Connection,
    (user, mark): (&str, &str),
    there: &[Account],
) -> Result<(), Trouble> {
    let hosts = connection.hosts();
    // Among several roles of users' own, ours is one.
    let carries = |known: &Account| {
        let is_ours = |role: &String| account::mark(user, role).as_deref() == Some(mark);
        known.mark.as_deref() == Some(mark) || known.roles.iter().any(is_ours)
    };
    let former = there
        .iter()
        .filter(|known| !known.is_role && !hosts.contains(&known.host) && carries(known));
    for known in former {
        let sql = format!("DROP USER IF EXISTS {}", quoted(user, &known.host));
        connection.run("drop accounts from former addresses", &sql).await?;
    }
    Ok(())
}
