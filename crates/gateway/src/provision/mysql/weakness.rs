//! What on a server lets somebody in, or do something, beside the gateway: looked for when it is enrolled, and by the doctor.

use model::finding::{self, Check, Finding};
use serde::{Deserialize, Serialize};

use super::connection::Row;
use super::version;

/// The oldest that is tested.
const TESTED: u32 = 101_100;
/// Plugins with a hash that may also say that no password opens.
const HASHES: &str = "'', 'mysql_native_password', 'mysql_old_password'";
/// So many ways in are looked at one by one; one of them stands outside the list.
const ALTERNATIVES_MAX: usize = 5;

/// What the server says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Weak {
    /// As the server writes it.
    pub version: String,
    /// Whether it speaks TLS.
    pub has_certificate: bool,
    /// Whether it may ask clients for their files.
    pub local_infile: bool,
    /// The folder out of which nobody reads and writes files; empty: any.
    pub secure_file_priv: String,
    /// A folder of further client authorities.
    pub ssl_capath: String,
    /// Everyone who can log in.
    pub accounts: Vec<Account>,
}

/// An account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "columns of the server's catalogs")]
pub struct Account {
    /// Who.
    pub user: String,
    /// From where.
    pub host: String,
    /// ACCOUNT LOCK.
    pub locked: bool,
    /// Whether a password opens it.
    pub password: bool,
    /// Whether it takes being a certain account of this host.
    pub socket: bool,
    /// Whether it takes a certificate.
    pub certificate: bool,
}

const SETTINGS: &str = "\
SELECT VERSION(), @@have_ssl = 'YES', @@local_infile, COALESCE(@@secure_file_priv, ''), COALESCE(@@ssl_capath, '')";

/// What [`seen`] understands the answers to.
pub(crate) fn questions() -> [String; 2] {
    let accounts = format!(
        "SELECT User, Host, COALESCE(JSON_VALUE(Priv, '$.account_locked'), 0), {}, {SOCKET}, \
         COALESCE(JSON_VALUE(Priv, '$.ssl_type'), 0) >= 2 \
         FROM mysql.global_priv WHERE COALESCE(JSON_VALUE(Priv, '$.is_role'), 0) = 0 ORDER BY User, Host",
        password()
    );
    [SETTINGS.to_owned(), accounts]
}

/// Whether an account of `mysql.global_priv` can be opened as a certain account of the host.
pub(crate) const SOCKET: &str = "LOCATE('\"unix_socket\"', Priv) > 0";

/// Whether a password opens an account of `mysql.global_priv`, by any of its ways in. More ways than are looked at count as
/// one.
pub(crate) fn password() -> String {
    let others = (0..ALTERNATIVES_MAX).map(|number| way(&format!("$.auth_or[{number}]")));
    let ways: Vec<String> = std::iter::once(way("$")).chain(others).collect();
    format!(
        "({} OR COALESCE(JSON_LENGTH(Priv, '$.auth_or'), 0) > {ALTERNATIVES_MAX})",
        ways.join(" OR ")
    )
}

/// Whether one way in is a secret that can be carried away: a hash, or whatever other plugins ask for.
fn way(way: &str) -> String {
    let plugin = format!("COALESCE(JSON_VALUE(Priv, '{way}.plugin'), '')");
    let hash = format!("COALESCE(JSON_VALUE(Priv, '{way}.authentication_string'), '')");
    format!(
        "({plugin} IN ({HASHES}) AND {hash} NOT IN ('', 'invalid') OR {plugin} NOT IN ({HASHES}, 'unix_socket'))"
    )
}

/// From the answers to [`questions`].
pub(crate) fn seen([settings, accounts]: [Vec<Row>; 2]) -> Weak {
    let settings = settings.into_iter().next().unwrap_or_default();
    let account = |row: &Row| Account {
        user: row.text(0).to_owned(),
        host: row.text(1).to_owned(),
        locked: row.says_yes(2),
        password: row.says_yes(3),
        socket: row.says_yes(4),
        certificate: row.says_yes(5),
    };
    Weak {
        version: settings.text(0).to_owned(),
        has_certificate: settings.says_yes(1),
        local_infile: settings.says_yes(2),
        secure_file_priv: settings.text(3).to_owned(),
        ssl_capath: settings.text(4).to_owned(),
        accounts: accounts.iter().map(account).collect(),
    }
}

impl Weak {
    /// A server of which nothing is known.
    pub(crate) fn none() -> Self {
        Self {
            version: "MariaDB".to_owned(),
            has_certificate: true,
            secure_file_priv: "unknown".to_owned(),
            ..Self::default()
        }
    }
}

/// Whether an account is for more than one address.
pub(crate) fn is_wide(host: &str) -> bool {
    host.is_empty() || host.contains(['%', '_', '/'])
}

/// How that is told.
pub(crate) fn wide(user: &str, host: &str) -> String {
    format!("account '{user}'@'{host}' is for more than one address")
}

/// What the enrolment finds and leaves as it is.
pub(crate) fn findings(server: &str, weak: &Weak) -> Vec<Finding> {
    let too_wide = weak.accounts.iter().filter(|account| !account.locked && is_wide(&account.host));
    let told = too_wide.map(|one| (&finding::ADMISSION_WIDE, wide(&one.user, &one.host)));
    let found = told.chain(weak.checks(|_| false));
    found.map(|(check, message)| check.found(server, message)).collect()
}

impl Weak {
    /// What is wrong, accounts for more than one address excepted. Those of users of ours are looked after elsewhere.
    pub(crate) fn checks(
        &self,
        is_ours: impl Fn(&Account) -> bool,
    ) -> Vec<(&'static Check, String)> {
        let mut found: Vec<(&'static Check, String)> = Vec::new();
        let others = self.accounts.iter().filter(|account| !account.locked && !is_ours(account));
        found.extend(others.filter_map(of_account));
        if !self.has_certificate {
            found.push((&finding::SERVER_WITHOUT_TLS, "the server speaks no TLS".to_owned()));
        }
        if !self.ssl_capath.is_empty() {
            let message =
                format!("`ssl_capath` ({}) names further client authorities", self.ssl_capath);
            found.push((&finding::ADMISSION_WIDE, message));
        }
        let number = version::number(&self.version);
        if number > 0 && number < TESTED {
            let message = format!("version {} is older than any that is tested", self.version);
            found.push((&finding::SERVER_OLD, message));
        }
        if self.local_infile {
            let message = "`local_infile` is on: the server may ask clients for their files";
            found.push((&finding::LOCAL_INFILE, message.to_owned()));
        }
        if self.secure_file_priv.is_empty() {
            let message = "`secure_file_priv` is empty: whoever holds FILE reads and writes any file that the server can";
            found.push((&finding::FILES_OPEN, message.to_owned()));
        }
        found
    }
}

fn of_account(account: &Account) -> Option<(&'static Check, String)> {
    let Account { user, host, locked: _, password, socket, certificate } = account;
    if user.is_empty() {
        let message = format!("the anonymous account ''@'{host}' lets anybody in");
        return Some((&finding::ACCOUNT_ANONYMOUS, message));
    }
    let by = match (*password, *socket || *certificate) {
        (true, _) => "a password",
        (false, true) => return None,
        (false, false) => "nothing",
    };
    Some((&finding::ACCOUNT_UNGUARDED, format!("account '{user}'@'{host}' opens with {by}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(user: &str, host: &str, change: impl FnOnce(&mut Account)) -> Account {
        let mut account =
            Account { user: user.to_owned(), host: host.to_owned(), ..Account::default() };
        change(&mut account);
        account
    }

    #[test]
    fn every_account_that_opens_with_a_password_or_with_nothing_is_named_and_no_other() {
        let accounts = vec![
            account("", "localhost", |_| {}),
            account("app", "10.0.0.9", |one| one.password = true),
            account("bare", "10.0.0.9", |_| {}),
            account("locked", "%", |one| one.locked = true),
            account("ours", "10.0.0.5", |one| one.password = true),
            account("root", "localhost", |one| one.socket = true),
            account("server", "10.0.0.9", |one| one.certificate = true),
            account("both", "localhost", |one| (one.socket, one.password) = (true, true)),
            account("wide", "10.%", |one| one.certificate = true),
        ];
        let weak = Weak { accounts, ..Weak::none() };
        let told = |found: Vec<(&Check, String)>| -> Vec<String> {
            found.into_iter().map(|(check, message)| format!("{} {message}", check.id)).collect()
        };
        assert_eq!(
            told(weak.checks(|account| account.user == "ours")),
            [
                "PH218 the anonymous account ''@'localhost' lets anybody in",
                "PH217 account 'app'@'10.0.0.9' opens with a password",
                "PH217 account 'bare'@'10.0.0.9' opens with nothing",
                "PH217 account 'both'@'localhost' opens with a password",
            ]
        );
        let first = findings("orders", &weak).into_iter().next().unwrap();
        assert_eq!(first.code, "PH206");
        assert_eq!(first.message, "account 'wide'@'10.%' is for more than one address");
    }

    #[test]
    fn settings_and_versions_that_weaken_it_are_named() {
        let weak = Weak {
            version: "10.6.18-MariaDB".to_owned(),
            local_infile: true,
            ssl_capath: "/etc/ssl/certs".to_owned(),
            ..Weak::default()
        };
        let codes: Vec<&str> = weak.checks(|_| false).iter().map(|(check, _)| check.id).collect();
        assert_eq!(codes, ["PH219", "PH206", "PH220", "PH221", "PH222"]);
        assert_eq!(Weak::none().checks(|_| false), []);
    }
}
