//! How a user of MySQL's gets what its roles give: they are granted to its accounts, and all of them are default roles. By an
//! attribute, which only whoever may make accounts changes, accounts and roles are known to be ours.

use std::collections::BTreeSet;

use super::account;
use super::catalog::Catalog;
use super::connection::Connection;
use super::listed::Account;
use super::quote::{account as quoted, common_name, literal};
use super::user::accounts_of;
use crate::provision::connection::Trouble;
use crate::provision::users::taken;

/// The statement that makes a role. Even unlocked it lets nobody in: nobody gets a certificate of its name.
pub(crate) fn role(name: &str, mark: &str) -> String {
    format!(
        "CREATE USER {}@'%' {} REQUIRE SUBJECT {} PASSWORD EXPIRE ACCOUNT LOCK {}",
        literal(name),
        account::UNKNOWN_PASSWORD,
        literal(&common_name(name)),
        attribute(mark)
    )
}

/// The clause that says whose an account is.
pub(crate) fn attribute(mark: &str) -> String {
    format!("ATTRIBUTE {}", literal(&serde_json::json!({ "portcullis": mark }).to_string()))
}

/// Makes the accounts that are missing, locked. One that somebody else has made meanwhile is left alone, and a refusal.
pub(crate) async fn make(
    connection: &Connection,
    (user, mark): (&str, &str),
    there: &[Account],
) -> Result<(), Trouble> {
    if there.iter().any(|known| known.mark.as_deref() != Some(mark)) {
        return Err(Trouble::Refused(taken(user)));
    }
    let is_there = |host: &String| there.iter().any(|known| known.host == *host);
    let missing = connection.hosts().into_iter().filter(|host| !is_there(host));
    let create = |host: String| {
        let require = account::require(user, &connection.accounts);
        format!(
            "CREATE USER {} {} {require} ACCOUNT LOCK {}",
            quoted(user, &host),
            account::UNKNOWN_PASSWORD,
            attribute(mark)
        )
    };
    connection.run_all("prepare a user", &missing.map(create).collect::<Vec<_>>()).await
}

/// A session begins with all that its user's roles give it, and may leave some of them off.
pub(crate) async fn grant_exactly(
    connection: &Connection,
    user: &str,
    held: &BTreeSet<String>,
    wanted: &BTreeSet<String>,
) -> Result<(), Trouble> {
    let accounts = accounts_of(connection, user).await?;
    let extra: BTreeSet<&String> = held.difference(wanted).collect();
    let Statements { take, give } = statements(connection.catalog, &accounts, (&extra, wanted));
    let mut kept = Ok(());
    for sql in take {
        // What only somebody else may take away holds up nothing else.
        kept = kept.and(connection.run("change a user's roles", &sql).await);
    }
    connection.run_all("change a user's roles", &give).await?;
    kept
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Statements {
    take: Vec<String>,
    give: Vec<String>,
}

fn statements(
    catalog: Catalog,
    accounts: &[String],
    (extra, wanted): (&BTreeSet<&String>, &BTreeSet<String>),
) -> Statements {
    if accounts.is_empty() {
        return Statements::default();
    }
    let accounts = accounts.join(", ");
    let quoted = |role: &String| catalog.role(role);
    let take = extra.iter().map(|role| {
        format!("REVOKE IF EXISTS {} FROM {accounts} IGNORE UNKNOWN USER", quoted(role))
    });
    let all: Vec<String> = wanted.iter().map(quoted).collect();
    let given = all.join(", ");
    let give = if all.is_empty() {
        vec![format!("SET DEFAULT ROLE NONE TO {accounts}")]
    } else {
        vec![
            format!("GRANT {given} TO {accounts}"),
            format!("SET DEFAULT ROLE {given} TO {accounts}"),
        ]
    };
    Statements { take: take.collect(), give }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provision::mysql::catalog::Names;

    #[test]
    fn roles_are_given_to_every_account_and_all_of_them_are_on_from_the_beginning() {
        let accounts = ["'ada'@'10.0.0.5'", "'ada'@'10.0.0.6'"].map(str::to_owned);
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let (extra, wanted): (BTreeSet<String>, BTreeSet<String>) =
            (names(&["by_hand@localhost"]), names(&["portcullis_a", "portcullis_b"]));
        let catalog = Catalog::MySql(Names::Patterns);
        let extra = extra.iter().collect();
        assert_eq!(
            statements(catalog, &accounts, (&extra, &wanted)),
            Statements {
                take: vec![
                    "REVOKE IF EXISTS 'by_hand'@'localhost' FROM 'ada'@'10.0.0.5', 'ada'@'10.0.0.6' IGNORE UNKNOWN USER"
                        .to_owned()
                ],
                give: vec![
                    "GRANT 'portcullis_a'@'%', 'portcullis_b'@'%' TO 'ada'@'10.0.0.5', 'ada'@'10.0.0.6'".to_owned(),
                    "SET DEFAULT ROLE 'portcullis_a'@'%', 'portcullis_b'@'%' TO 'ada'@'10.0.0.5', 'ada'@'10.0.0.6'"
                        .to_owned(),
                ],
            }
        );
        let nothing = statements(catalog, &accounts[..1], (&BTreeSet::new(), &BTreeSet::new()));
        assert_eq!(nothing.give, ["SET DEFAULT ROLE NONE TO 'ada'@'10.0.0.5'"]);
        assert_eq!(
            statements(catalog, &[], (&extra, &wanted)),
            Statements::default(),
            "nobody is there to be given anything"
        );
    }

    #[test]
    fn a_role_is_made_locked_marked_and_for_a_certificate_that_nobody_gets() {
        assert_eq!(
            role("portcullis_orders.reader", "portcullis-role:7"),
            format!(
                "CREATE USER 'portcullis_orders.reader'@'%' {} \
                 REQUIRE SUBJECT '/CN=portcullis_orders.reader' PASSWORD EXPIRE ACCOUNT LOCK \
                 ATTRIBUTE '{{\"portcullis\":\"portcullis-role:7\"}}'",
                account::UNKNOWN_PASSWORD
            )
        );
    }
}
