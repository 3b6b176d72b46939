//! SQL for one login user.

use std::collections::BTreeSet;

use super::account::{self, OWN_ROLE};
use super::backend;
use super::connection::{Connection, Row};
use super::quote::{account as quoted, common_name, ident, literal};
use crate::provision::connection::Trouble;
use crate::provision::plan::Attributes;
use crate::provision::seen::{Backends, ObservedMembership, ObservedUser, WantedUser};

/// One account as the server has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "columns of the server's catalogs")]
struct Account {
    host: String,
    locked: bool,
    superuser: bool,
    create_user: bool,
    replication: bool,
    default_role: String,
    /// Locked, without a default role, and by the certificate only: one whose making was broken off.
    unfinished: bool,
}

fn accounts_of(user: &str) -> String {
    format!(
        "SELECT u.Host, JSON_VALUE(g.Priv, '$.account_locked'), u.Super_priv, u.Create_user_priv, \
         u.Repl_slave_priv, u.default_role, u.is_role, \
         JSON_VALUE(g.Priv, '$.x509_subject'), JSON_VALUE(g.Priv, '$.x509_issuer') \
         FROM mysql.user u JOIN mysql.global_priv g ON g.Host = u.Host AND g.User = u.User \
         WHERE BINARY u.User = {}",
        literal(user)
    )
}

impl Account {
    fn read(row: &Row, user: &str, connection: &Connection) -> Self {
        let locked = row.says_yes(1);
        let ours = row.text(7) == common_name(user)
            && row.text(8) == common_name(&connection.accounts.issuer);
        Self {
            host: row.text(0).to_owned(),
            locked,
            superuser: row.says_yes(2),
            create_user: row.says_yes(3),
            replication: row.says_yes(4),
            default_role: row.text(5).to_owned(),
            unfinished: locked && ours && row.text(5).is_empty() && !row.says_yes(6),
        }
    }
}

/// Roles of ours that a user could have as its own.
fn own_roles(user: &str) -> String {
    let begins = literal(&format!("{OWN_ROLE}{user}~"));
    format!(
        "SELECT User FROM mysql.global_priv WHERE Host = '' AND \
         LEFT(BINARY User, LENGTH({begins})) = BINARY {begins}"
    )
}

fn roles_of(user: &str, host: &str) -> String {
    format!(
        "SELECT Role FROM mysql.roles_mapping WHERE BINARY User = {} AND Host = {}",
        literal(user),
        literal(host)
    )
}

/// A user of this name, when there is an account from anywhere, or a role. It carries a mark only when every account is
/// from the gateway and has the same role of its own.
pub(crate) async fn observe(
    connection: &Connection,
    user: &str,
) -> Result<Option<ObservedUser>, Trouble> {
    let rows = connection.rows("describe a user", &accounts_of(user)).await?;
    let accounts: Vec<Account> =
        rows.iter().map(|row| Account::read(row, user, connection)).collect();
    if accounts.is_empty() {
        return Ok(None);
    }
    let own = own_role(connection, user, &accounts).await?;
    let mark = own.as_deref().and_then(|own| account::mark(user, own));
    let mut held = BTreeSet::new();
    if let Some(own) = &own {
        held.extend(names(connection.rows("list a user's roles", &roles_of(own, "")).await?));
    }
    for each in &accounts {
        let direct = roles_of(user, &each.host);
        held.extend(names(connection.rows("list a user's roles", &direct).await?));
    }
    held.retain(|role| Some(role) != own.as_ref());
    let memberships = held.into_iter();
    Ok(Some(ObservedUser {
        oid: mark.as_deref().map(account::number).unwrap_or_default(),
        login: accounts.iter().any(|each| !each.locked),
        superuser: accounts.iter().any(|each| each.superuser),
        replication: accounts.iter().any(|each| each.replication),
        create_role: accounts.iter().any(|each| each.create_user),
        create_db: false,
        bypass_rls: false,
        mark,
        memberships: memberships
            .map(|role| ObservedMembership { role, grantor: String::new() })
            .collect(),
    }))
}

async fn own_role(
    connection: &Connection,
    user: &str,
    accounts: &[Account],
) -> Result<Option<String>, Trouble> {
    let hosts = connection.hosts();
    let mut roles: BTreeSet<&String> = accounts.iter().map(|each| &each.default_role).collect();
    if accounts.iter().any(|each| !hosts.contains(&each.host)) {
        return Ok(None);
    }
    if accounts.iter().all(|each| !each.default_role.is_empty() || each.unfinished) {
        roles.retain(|role| !role.is_empty());
    }
    let roles: Vec<&String> = roles.into_iter().collect();
    match roles.as_slice() {
        [one] if account::mark(user, one).is_some() => Ok(Some((*one).clone())),
        // Its making was broken off before it had a default role; the role was made first.
        [] => {
            let made = names(connection.rows("list roles", &own_roles(user)).await?);
            let mut ours = made.into_iter().filter(|role| account::mark(user, role).is_some());
            Ok(ours.next().filter(|_| ours.next().is_none()))
        }
        _ => Ok(None),
    }
}

fn names(rows: Vec<Row>) -> impl Iterator<Item = String> {
    rows.into_iter().map(|row| row.text(0).to_owned())
}

/// Makes a login user what it must be. What is there already is made so again: a statement that is broken off half way is
/// followed by the same once more.
pub(crate) async fn enable(
    connection: &Connection,
    wanted: &WantedUser<'_>,
    observed: Option<&ObservedUser>,
) -> Result<(), Trouble> {
    let attempt = "prepare a user";
    let user = wanted.user;
    let own = own(user, wanted.mark)?;
    let mut sql = vec![format!("CREATE ROLE IF NOT EXISTS {}", ident(&own))];
    for host in connection.hosts() {
        sql.extend(account::make(user, &host, &own, &connection.accounts));
    }
    connection.run_all(attempt, &sql).await?;
    let held = observed.map(|observed| observed.memberships.as_slice()).unwrap_or_default();
    let held: BTreeSet<String> = held.iter().map(|held| held.role.clone()).collect();
    grant_exactly(connection, (user, &own), &held, &wanted.roles).await?;
    let limit = wanted.connections_max.unwrap_or(0);
    let mut sql = attributes(connection, user, wanted.attributes);
    for host in connection.hosts() {
        sql.push(account::let_in(user, &host, limit, &connection.accounts));
    }
    connection.run_all(attempt, &sql).await
}

fn own(user: &str, mark: &str) -> Result<String, Trouble> {
    account::own_role(user, mark).ok_or(Trouble::Late("be told whose user it is"))
}

/// Sessions find out at different times: of what is granted to the role of a user's own when they enter a database, of what
/// is taken when they enter one again. Whoever takes something ends them.
async fn grant_exactly(
    connection: &Connection,
    (user, own): (&str, &str),
    held: &BTreeSet<String>,
    wanted: &BTreeSet<String>,
) -> Result<(), Trouble> {
    let attempt = "change a user's roles";
    let extra: BTreeSet<&String> = held.difference(wanted).collect();
    if revoke(connection, (user, own), &extra).await? == Revoked::InPart {
        return make_anew(connection, (user, own), wanted).await;
    }
    for role in wanted.difference(held) {
        connection.run(attempt, &format!("GRANT {} TO {}", ident(role), ident(own))).await?;
    }
    Ok(())
}

/// `ER_CANNOT_REVOKE_ROLE`: it was not granted there.
const NOT_GRANTED: u16 = 1962;
/// `ER_ACCESS_DENIED_NO_PASSWORD_ERROR`: only whoever may hand a role on takes it away.
const NOT_OURS_TO_TAKE: u16 = 1698;

/// What came of taking roles away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Revoked {
    All,
    /// Somebody else's roles are left, given by hand.
    InPart,
}

/// From the role of its own, and from the accounts themselves, to which someone may have granted them by hand.
async fn revoke(
    connection: &Connection,
    (user, own): (&str, &str),
    roles: &BTreeSet<&String>,
) -> Result<Revoked, Trouble> {
    let accounts = connection.hosts().into_iter().map(|host| quoted(user, &host));
    let members: Vec<String> = std::iter::once(ident(own)).chain(accounts).collect();
    let mut revoked = Revoked::All;
    for role in roles {
        for from in &members {
            let sql = format!("REVOKE {} FROM {from}", ident(role));
            match connection.run("change a user's roles", &sql).await {
                Err(Trouble::MySql { number: NOT_GRANTED, .. }) | Ok(()) => {}
                Err(Trouble::MySql { number: NOT_OURS_TO_TAKE, .. }) => revoked = Revoked::InPart,
                Err(trouble) => return Err(trouble),
            }
        }
    }
    Ok(revoked)
}

/// What only others can take away goes with the accounts, and with the role of their own, that it was given to. They are
/// made again, locked; sessions that may have taken it on end.
async fn make_anew(
    connection: &Connection,
    (user, own): (&str, &str),
    wanted: &BTreeSet<String>,
) -> Result<(), Trouble> {
    let attempt = "make a user anew";
    let mut sql = vec![format!("DROP ROLE IF EXISTS {}", ident(own))];
    let accounts = connection.hosts().into_iter();
    sql.extend(accounts.map(|host| format!("DROP USER IF EXISTS {}", quoted(user, &host))));
    connection.run_all(attempt, &sql).await?;
    backend::terminate(connection, user, &Backends::All).await?;
    let mut sql = vec![format!("CREATE ROLE {}", ident(own))];
    for host in connection.hosts() {
        sql.extend(account::make(user, &host, own, &connection.accounts));
    }
    sql.extend(wanted.iter().map(|role| format!("GRANT {} TO {}", ident(role), ident(own))));
    connection.run_all(attempt, &sql).await
}

/// Ends a user: no login, no role, no session, no privilege or password of its own.
pub(crate) async fn disable(
    connection: &Connection,
    user: &str,
    observed: &ObservedUser,
) -> Result<(), Trouble> {
    let attempt = "withdraw a user";
    for host in connection.hosts() {
        let who = quoted(user, &host);
        connection.run(attempt, &format!("ALTER USER IF EXISTS {who} ACCOUNT LOCK")).await?;
    }
    // Told first, counted later: the sessions are gone while the rest is done.
    backend::terminate(connection, user, &Backends::All).await?;
    revoke_all(connection, user, observed).await?;
    for host in connection.hosts() {
        forget(connection, user, &host).await?;
    }
    Ok(())
}

/// What was granted to an account by hand, and a password that its user gave itself.
async fn forget(connection: &Connection, user: &str, host: &str) -> Result<(), Trouble> {
    let who = quoted(user, host);
    let exists = format!(
        "SELECT 1 FROM mysql.global_priv WHERE BINARY User = {} AND Host = {}",
        literal(user),
        literal(host)
    );
    if connection.rows("describe a user", &exists).await?.is_empty() {
        return Ok(());
    }
    let sql = [
        format!("REVOKE ALL PRIVILEGES, GRANT OPTION FROM {who}"),
        format!("ALTER USER {who} IDENTIFIED BY '' ACCOUNT LOCK"),
    ];
    connection.run_all("withdraw a user", &sql).await
}

/// Takes every role away.
pub(crate) async fn revoke_all(
    connection: &Connection,
    user: &str,
    observed: &ObservedUser,
) -> Result<(), Trouble> {
    let Some(mark) = &observed.mark else { return Ok(()) };
    let own = own(user, mark)?;
    let held: BTreeSet<&String> = observed.memberships.iter().map(|held| &held.role).collect();
    if revoke(connection, (user, &own), &held).await? == Revoked::InPart {
        make_anew(connection, (user, &own), &BTreeSet::new()).await?;
    }
    Ok(())
}

/// Takes some roles away and gives others.
pub(crate) async fn change(
    connection: &Connection,
    (user, observed): (&str, &ObservedUser),
    wanted: &BTreeSet<String>,
    given: Attributes,
) -> Result<(), Trouble> {
    let Some(mark) = &observed.mark else { return Ok(()) };
    let own = own(user, mark)?;
    let held: BTreeSet<String> =
        observed.memberships.iter().map(|held| held.role.clone()).collect();
    // The authority may have changed, and somebody may have given it a password.
    let require = account::require(user, &connection.accounts);
    let mut sql = attributes(connection, user, given);
    for host in connection.hosts() {
        let who = quoted(user, &host);
        sql.extend(account::make(user, &host, &own, &connection.accounts));
        sql.push(format!("ALTER USER {who} IDENTIFIED BY '' {require} ACCOUNT UNLOCK"));
    }
    grant_exactly(connection, (user, &own), &held, wanted).await?;
    connection.run_all("change a user's roles", &sql).await
}

/// Takes over accounts that someone else made: the certificate is their only way in from here on.
pub(crate) async fn take_over(
    connection: &Connection,
    user: &str,
    mark: &str,
) -> Result<(), Trouble> {
    let own = own(user, mark)?;
    let mut sql = vec![format!("CREATE ROLE IF NOT EXISTS {}", ident(&own))];
    for host in connection.hosts() {
        sql.extend(account::make(user, &host, &own, &connection.accounts));
        sql.push(account::let_in(user, &host, 0, &connection.accounts));
    }
    connection.run_all("take over a user", &sql).await
}

/// Only a test stack's provisioner can hand these on.
fn attributes(connection: &Connection, user: &str, attributes: Attributes) -> Vec<String> {
    if !connection.superuser {
        return Vec::new();
    }
    let each = connection.hosts().into_iter().map(|host| {
        let who = quoted(user, &host);
        if attributes.superuser {
            vec![format!("GRANT ALL PRIVILEGES ON *.* TO {who} WITH GRANT OPTION")]
        } else {
            // The one does not take the other.
            vec![
                format!("REVOKE ALL PRIVILEGES ON *.* FROM {who}"),
                format!("REVOKE GRANT OPTION ON *.* FROM {who}"),
            ]
        }
    });
    each.flatten().collect()
}
