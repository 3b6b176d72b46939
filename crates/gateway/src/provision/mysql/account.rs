//! SQL for accounts and roles of MariaDB, and of MySQL 8 where it says the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use access::database_user::PROVISIONER;
use model::kind::database_role::Privileges;

use super::connection::{Connection, single};
use crate::provision::pg::connection::Trouble;

/// Whom one account is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// Its name.
    pub(crate) user: String,
    /// From where: the gateway, as the server sees it.
    pub(crate) host: String,
    /// Common name of the authority that signs its certificates.
    pub(crate) issuer: String,
}

/// An account as the server has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Observed {
    /// Roles that it holds.
    pub(crate) roles: BTreeSet<String>,
    /// Roles that its own role holds.
    pub(crate) through: BTreeSet<String>,
}

/// What a role holds in each database, as the server quotes them.
pub(crate) type Held = BTreeMap<String, BTreeSet<String>>;

impl Account {
    /// `'name'@'host'`
    fn quoted(&self) -> String {
        format!("{}@{}", literal(&self.user), literal(&self.host))
    }

    /// The role that is this account's alone: MariaDB has one default and one current role.
    fn role(&self) -> String {
        format!("pc~{}", self.user)
    }

    fn subject(&self) -> String {
        one_line(&self.user)
    }

    /// Whether an account that was made so lets in only a certificate of our authority for this name, which nobody else
    /// asks for.
    fn is_certified_by(&self, made_by: &str) -> bool {
        let issuer = format!("ISSUER {}", literal(&one_line(&self.issuer)));
        let subject = format!("SUBJECT {}", literal(&self.subject()));
        made_by.contains(&issuer) && made_by.contains(&subject)
    }
}

/// There is an account of that name that Portcullis did not make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotOurs;

/// What the server has of an account; `Err` in it when there is one of this name that is not ours, from wherever.
pub(crate) async fn observe(
    connection: &Connection,
    account: &Account,
) -> Result<Result<Option<Observed>, NotOurs>, Trouble> {
    let hosts = format!("SELECT Host FROM mysql.user WHERE User = {}", literal(&account.user));
    let hosts = connection.ask("describe a user", &hosts).await?;
    let mut made_by = None;
    for host in hosts.into_iter().filter_map(|row| row.into_iter().next()?) {
        let found = Account { host, ..account.clone() };
        let made = format!("SHOW CREATE USER {}", found.quoted());
        let made = single(connection.ask("describe a user", &made).await?).unwrap_or_default();
        if !account.is_certified_by(&made) {
            return Ok(Err(NotOurs));
        }
        if found.host == account.host {
            made_by = Some(made);
        }
    }
    if made_by.is_none() {
        return Ok(Ok(None));
    }
    let roles = roles_of(connection, &account.user, &account.host).await?;
    let through = roles_of(connection, &account.role(), "").await?;
    Ok(Ok(Some(Observed { roles, through })))
}

async fn roles_of(
    connection: &Connection,
    user: &str,
    host: &str,
) -> Result<BTreeSet<String>, Trouble> {
    let (user, host) = (literal(user), literal(host));
    let question =
        format!("SELECT Role FROM mysql.roles_mapping WHERE User = {user} AND Host = {host}");
    let rows = connection.ask("describe a user's roles", &question).await?;
    Ok(rows.into_iter().filter_map(|row| row.into_iter().next()?).collect())
}

/// The statements that make an account hold exactly these roles, and nothing but its certificate lets it in.
pub(crate) fn enable(
    account: &Account,
    observed: Option<&Observed>,
    roles: &BTreeSet<String>,
    connections_max: Option<u32>,
) -> Vec<String> {
    let (user, role) = (account.quoted(), identifier(&account.role()));
    let conditions = format!(
        "REQUIRE SUBJECT {} AND ISSUER {} WITH MAX_USER_CONNECTIONS {}",
        literal(&account.subject()),
        literal(&one_line(&account.issuer)),
        connections_max.unwrap_or(0)
    );
    let mut sql = vec![
        format!("CREATE USER IF NOT EXISTS {user} {conditions} ACCOUNT LOCK"),
        // Whoever gave it a password, or anything else, by hand.
        format!("ALTER USER {user} IDENTIFIED VIA mysql_native_password {conditions} ACCOUNT LOCK"),
        format!("REVOKE ALL PRIVILEGES, GRANT OPTION FROM {user}"),
        format!("CREATE ROLE IF NOT EXISTS {role}"),
    ];
    let through = observed.map(|observed| &observed.through);
    let lost = through.into_iter().flatten().filter(|held| !roles.contains(*held));
    sql.extend(lost.map(|held| format!("REVOKE {} FROM {role}", identifier(held))));
    // Whatever else someone gave it by hand.
    let others = observed.into_iter().flat_map(|observed| &observed.roles);
    let others = others.filter(|held| **held != account.role());
    sql.extend(others.map(|held| format!("REVOKE {} FROM {user}", identifier(held))));
    sql.extend(roles.iter().map(|held| format!("GRANT {} TO {role}", identifier(held))));
    sql.extend([
        format!("GRANT {role} TO {user}"),
        format!("SET DEFAULT ROLE {role} FOR {user}"),
        format!("ALTER USER {user} ACCOUNT UNLOCK"),
    ]);
    sql
}

/// The statements that let nobody in as the account any more, and leave it nothing.
pub(crate) fn disable(account: &Account, observed: &Observed) -> Vec<String> {
    let user = account.quoted();
    let mut sql = vec![
        format!("ALTER USER {user} ACCOUNT LOCK"),
        format!("ALTER USER {user} IDENTIFIED VIA mysql_native_password"),
        format!("REVOKE ALL PRIVILEGES, GRANT OPTION FROM {user}"),
        format!("DROP ROLE IF EXISTS {}", identifier(&account.role())),
    ];
    let others = observed.roles.iter().filter(|role| **role != account.role());
    sql.extend(others.map(|role| format!("REVOKE {} FROM {user}", identifier(role))));
    sql
}

/// Ends the user's sessions, or one of them, and says how many there were.
pub(crate) async fn end_sessions(
    connection: &Connection,
    user: &str,
    only: Option<u32>,
) -> Result<usize, Trouble> {
    let mut question = format!(
        "SELECT ID FROM information_schema.PROCESSLIST WHERE USER = {} AND COMMAND <> 'Killed'",
        literal(user)
    );
    if let Some(number) = only {
        // Writing into a String cannot fail.
        let _written = write!(question, " AND ID = {number}");
    }
    let sessions = connection.ask("list a user's sessions", &question).await?;
    let numbers: Vec<String> =
        sessions.into_iter().filter_map(|row| row.into_iter().next()?).collect();
    for number in numbers.iter().filter(|number| number.bytes().all(|byte| byte.is_ascii_digit())) {
        match connection.ask("end a session", &format!("KILL CONNECTION {number}")).await {
            // ER_NO_SUCH_THREAD: it was faster.
            Ok(_) | Err(Trouble::MySql { number: 1094, .. }) => {}
            Err(trouble) => return Err(trouble),
        }
    }
    Ok(numbers.len())
}

/// What the user made that acts with its rights: it keeps acting, and someone must look.
pub(crate) async fn left_behind(
    connection: &Connection,
    account: &Account,
) -> Result<Vec<String>, Trouble> {
    let definer = literal(&format!("{}@{}", account.user, account.host));
    let question = format!(
        "SELECT CONCAT(ROUTINE_TYPE, ' ', ROUTINE_SCHEMA, '.', ROUTINE_NAME) \
         FROM information_schema.ROUTINES WHERE DEFINER = {definer} \
         UNION ALL SELECT CONCAT('VIEW ', TABLE_SCHEMA, '.', TABLE_NAME) \
         FROM information_schema.VIEWS WHERE DEFINER = {definer} \
         UNION ALL SELECT CONCAT('TRIGGER ', TRIGGER_SCHEMA, '.', TRIGGER_NAME) \
         FROM information_schema.TRIGGERS WHERE DEFINER = {definer} \
         UNION ALL SELECT CONCAT('EVENT ', EVENT_SCHEMA, '.', EVENT_NAME) \
         FROM information_schema.EVENTS WHERE DEFINER = {definer}"
    );
    let rows = connection.ask("list what a user left behind", &question).await?;
    let objects = rows.into_iter().filter_map(|row| row.into_iter().next()?);
    Ok(objects.map(|object| format!("{object} acts with the rights of {}", account.user)).collect())
}

/// Databases that are not the server's own.
pub(crate) async fn databases(connection: &Connection) -> Result<BTreeSet<String>, Trouble> {
    let question = "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME NOT IN \
                    ('mysql', 'information_schema', 'performance_schema', 'sys')";
    let rows = connection.ask("list databases", question).await?;
    Ok(rows.into_iter().filter_map(|row| row.into_iter().next()?).collect())
}

/// What a role holds in whole databases; nothing when there is no such role.
pub(crate) async fn held_by(connection: &Connection, role: &str) -> Result<Held, Trouble> {
    let question = format!("SHOW GRANTS FOR {}", identifier(role));
    let rows = match connection.ask("describe a role", &question).await {
        // ER_NONEXISTING_GRANT, ER_INVALID_ROLE
        Err(Trouble::MySql { number: 1141 | 1959, .. }) => return Ok(Held::new()),
        rows => rows?,
    };
    let lines = rows.into_iter().filter_map(|row| row.into_iter().next()?);
    Ok(lines.filter_map(|line| granted(&line)).collect())
}

/// Where, and what: of ``GRANT SELECT, INSERT ON `orders`.* TO `role` ``.
fn granted(line: &str) -> Option<(String, BTreeSet<String>)> {
    let (privileges, rest) = line.strip_prefix("GRANT ")?.split_once(" ON ")?;
    let (place, _) = rest.split_once(".* TO ")?;
    (place != "*").then_some(())?;
    Some((place.to_owned(), privileges.split(", ").map(str::to_owned).collect()))
}

/// The statements that make a role hold what it should in these databases, and nothing where it only did. What is right
/// already is left alone: sessions that are open use it.
pub(crate) fn role(
    name: &str,
    privileges: &Privileges,
    (databases, held): (&BTreeSet<String>, &Held),
) -> Vec<String> {
    let role = identifier(name);
    let mut sql = vec![format!("CREATE ROLE IF NOT EXISTS {role}")];
    let kept = match privileges {
        Privileges::Reader => "SELECT, SHOW VIEW",
        Privileges::Writer => {
            "SELECT, SHOW VIEW, INSERT, UPDATE, DELETE, EXECUTE, CREATE TEMPORARY TABLES, LOCK TABLES"
        }
        // Without GRANT OPTION: what a role holds is handed on by its document alone.
        Privileges::Admin | Privileges::Superuser => "ALL PRIVILEGES",
        Privileges::ExistingRole(other) => {
            sql.push(format!("GRANT {} TO {role}", identifier(other)));
            return sql;
        }
    };
    let wanted: BTreeSet<String> = databases.iter().map(|database| pattern(database)).collect();
    let kept_set: BTreeSet<String> = kept.split(", ").map(str::to_owned).collect();
    for (place, privileges) in held {
        if !wanted.contains(place) || !privileges.is_subset(&kept_set) {
            sql.push(format!("REVOKE ALL PRIVILEGES ON {place}.* FROM {role}"));
        }
    }
    let missing = wanted.iter().filter(|place| held.get(*place) != Some(&kept_set));
    sql.extend(missing.map(|place| format!("GRANT {kept} ON {place}.* TO {role}")));
    sql
}

/// Accounts that let someone in past the gateway, in words.
pub(crate) async fn strangers(
    connection: &Connection,
    known: &[&str],
) -> Result<Vec<String>, Trouble> {
    let question = "SELECT User, Host, plugin, authentication_string FROM mysql.user \
                    WHERE is_role = 'N' ORDER BY User, Host";
    let rows = connection.ask("list accounts", question).await?;
    let mut findings = Vec::new();
    for row in rows {
        let mut values = row.into_iter().map(Option::unwrap_or_default);
        let (user, host) = (values.next().unwrap_or_default(), values.next().unwrap_or_default());
        let (plugin, secret) =
            (values.next().unwrap_or_default(), values.next().unwrap_or_default());
        let ours = user == PROVISIONER || known.contains(&user.as_str());
        let by_password = !secret.is_empty() && plugin != "unix_socket" && secret != "invalid";
        if ours && by_password {
            findings.push(format!("the database user `{user}`@`{host}` has a password"));
        } else if !ours && plugin != "unix_socket" && user != "mariadb.sys" {
            findings.push(format!("the account `{user}`@`{host}` can log in past the gateway"));
        }
    }
    Ok(findings)
}

/// As the server compares a certificate's name: `X509_NAME_oneline`, which writes other bytes than printable ASCII as
/// `\xHH`.
fn one_line(common_name: &str) -> String {
    let mut line = "/CN=".to_owned();
    for byte in common_name.bytes() {
        if (b' '..=b'~').contains(&byte) {
            line.push(char::from(byte));
        } else {
            let _written = write!(line, "\\x{byte:02X}");
        }
    }
    line
}

/// A string in SQL, whatever `sql_mode` says of backslashes but that they escape.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A database in GRANT, where `_` and `%` stand for others.
fn pattern(database: &str) -> String {
    identifier(&database.replace('\\', "\\\\").replace('_', "\\_").replace('%', "\\%"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(user: &str) -> Account {
        Account {
            user: user.to_owned(),
            host: "10.0.0.5".to_owned(),
            issuer: "Portcullis client authority orders".to_owned(),
        }
    }

    #[test]
    fn what_a_role_holds_is_left_alone_where_it_is_right() {
        let databases = BTreeSet::from(["orders".to_owned()]);
        let lines = [
            "GRANT SHOW VIEW, SELECT ON `orders`.* TO `r`",
            "GRANT INSERT ON `stale`.* TO `r`",
            "GRANT USAGE ON *.* TO `r`",
            "GRANT `other` TO `r`",
        ];
        let held: Held = lines.into_iter().filter_map(granted).collect();
        let sql = role("r", &Privileges::Reader, (&databases, &held));
        let stale = "REVOKE ALL PRIVILEGES ON `stale`.* FROM `r`";
        assert_eq!(sql, ["CREATE ROLE IF NOT EXISTS `r`", stale]);
        let sql = role("r", &Privileges::Writer, (&databases, &Held::new()));
        assert!(sql[1].starts_with("GRANT SELECT, SHOW VIEW, INSERT"), "{sql:?}");
    }

    #[test]
    fn names_cannot_break_out_of_their_quotes() {
        let sql = enable(
            &account("o'neil\\`"),
            None,
            &BTreeSet::from(["portcullis_r`".to_owned()]),
            Some(3),
        );
        assert!(
            sql[0]
                .starts_with("CREATE USER IF NOT EXISTS 'o''neil\\\\`'@'10.0.0.5' REQUIRE SUBJECT")
        );
        assert!(sql.contains(&"GRANT `portcullis_r``` TO `pc~o'neil\\```".to_owned()), "{sql:?}");
        assert_eq!(pattern("a_b%"), "`a\\_b\\%`");
    }

    #[test]
    fn a_name_beyond_ascii_is_compared_as_the_server_writes_it() {
        assert_eq!(one_line("jürgen"), "/CN=j\\xC3\\xBCrgen");
    }

    #[test]
    fn an_account_is_open_only_once_it_holds_what_it_should_and_closed_before_anything_is_taken() {
        let account = account("ada@example.com");
        let sql = enable(&account, None, &BTreeSet::new(), None);
        assert!(sql[0].ends_with("ACCOUNT LOCK"));
        assert!(sql.last().unwrap().ends_with("ACCOUNT UNLOCK"));
        let observed = Observed { roles: BTreeSet::new(), through: BTreeSet::new() };
        assert!(disable(&account, &observed)[0].ends_with("ACCOUNT LOCK"));
    }

    #[test]
    fn only_an_account_of_our_authority_is_ours() {
        let account = account("ada@example.com");
        let ours = "CREATE USER `ada@example.com`@`10.0.0.5` REQUIRE ISSUER '/CN=Portcullis client authority orders' SUBJECT '/CN=ada@example.com'";
        assert!(account.is_certified_by(ours));
        assert!(!account.is_certified_by(
            "CREATE USER `ada@example.com`@`10.0.0.5` IDENTIFIED BY PASSWORD '*AB'"
        ));
        assert!(!account.is_certified_by(&ours.replace("orders'", "billing'")));
    }
}
