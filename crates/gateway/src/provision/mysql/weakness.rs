//! What on a server lets somebody in, or do something, beside the gateway: looked for when it is enrolled, and by the doctor.

use model::finding::{self, Check, Finding};

use super::catalog::{Catalog, Which};
use super::connection::Row;
use super::{listed, version};
use crate::enrolment::mysql::{Account, Weak};

/// What [`seen`] understands the answers to.
pub(crate) fn questions(catalog: Catalog) -> [String; 2] {
    [catalog.settings(), catalog.accounts(Which::Everyone)]
}

/// From the answers to [`questions`].
pub(crate) fn seen(catalog: Catalog, [settings, accounts]: [Vec<Row>; 2]) -> Weak {
    let settings = settings.into_iter().next().unwrap_or_default();
    let account = |row: &Row| {
        let seen = listed::Account::read(row, catalog.product(), &[]);
        let listed::Account { user, host, locked, password, socket, certificate, .. } = seen;
        Account { user, host, locked, password, socket, certificate }
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
        if version::is_before_any_test(&self.version) {
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
