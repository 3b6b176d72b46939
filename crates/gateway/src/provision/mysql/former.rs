//! Accounts from addresses from which the gateway dialled before: known by the role of the user's own that they carry, which
//! only the provisioner gives.

use super::connection::Connection;
use super::quote::{account, list, literal};
use crate::provision::connection::Trouble;

/// Drops a user's. Nobody of ours comes from there any more.
pub(crate) async fn drop_accounts(
    connection: &Connection,
    user: &str,
    own: &str,
) -> Result<(), Trouble> {
    let attempt = "drop accounts from former addresses";
    let hosts = connection.hosts();
    let sql = format!(
        "SELECT Host FROM mysql.roles_mapping WHERE BINARY User = {} AND BINARY Role = {} \
         AND Host <> '' AND Host NOT IN ({})",
        literal(user),
        literal(own),
        list(hosts.iter().map(String::as_str))
    );
    for row in connection.rows(attempt, &sql).await? {
        let who = account(user, row.text(0));
        connection.run(attempt, &format!("DROP USER IF EXISTS {who}")).await?;
    }
    Ok(())
}
