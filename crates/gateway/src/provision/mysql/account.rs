//! The accounts of one user, and the role of its own that all its rights come through.

use uuid::Uuid;

use super::connection::Accounts;
use super::quote::{account, common_name, ident, literal};
use crate::provision::names;

/// How the roles of users' own begin.
pub(crate) const OWN_ROLE: &str = "pc~";

/// The role of a user's own: its name and the id of its document, by which its accounts are known to be ours.
pub(crate) fn own_role(user: &str, mark: &str) -> Option<String> {
    let document: Uuid = mark.strip_prefix(names::MARK)?.parse().ok()?;
    Some(format!("{OWN_ROLE}{user}~{}", document.simple()))
}

/// The mark that a user's own role stands for.
pub(crate) fn mark(user: &str, role: &str) -> Option<String> {
    let rest = role.strip_prefix(OWN_ROLE)?.strip_prefix(user)?.strip_prefix('~')?;
    let document: Uuid = rest.parse().ok()?;
    (rest.len() == 32).then(|| names::mark(document))
}

/// A number that another document's user has not: what `oid` is elsewhere.
pub(crate) fn number(mark: &str) -> u32 {
    let document = mark.strip_prefix(names::MARK).and_then(|text| text.parse::<Uuid>().ok());
    document.map(|document| document.as_fields().0).unwrap_or_default()
}

/// The certificate as the only way in.
pub(crate) fn require(user: &str, accounts: &Accounts) -> String {
    let (subject, issuer) = (literal(&common_name(user)), literal(&common_name(&accounts.issuer)));
    format!("REQUIRE SUBJECT {subject} AND ISSUER {issuer}")
}

/// The statements that make an account of ours, locked, with its own role as its default.
pub(crate) fn make(user: &str, host: &str, own: &str, accounts: &Accounts) -> Vec<String> {
    let (who, require) = (account(user, host), require(user, accounts));
    vec![
        format!("CREATE USER IF NOT EXISTS {who} {require} ACCOUNT LOCK"),
        format!("GRANT {} TO {who}", ident(own)),
        format!("SET DEFAULT ROLE {} FOR {who}", ident(own)),
    ]
}

/// The statement that lets an account in, by its certificate and nothing else.
pub(crate) fn let_in(user: &str, host: &str, limit: u32, accounts: &Accounts) -> String {
    let (who, require) = (account(user, host), require(user, accounts));
    format!(
        "ALTER USER {who} IDENTIFIED BY '' {require} WITH MAX_USER_CONNECTIONS {limit} ACCOUNT UNLOCK"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_role_of_ones_own_says_whose_it_is() {
        let uid = Uuid::from_u128(0x1234_5678_9abc_def0_1122_3344_5566_7788);
        let mark_of_it = names::mark(uid);
        let own = own_role("ada@example.com", &mark_of_it).unwrap();
        assert_eq!(own, "pc~ada@example.com~123456789abcdef01122334455667788");
        assert_eq!(mark("ada@example.com", &own), Some(mark_of_it.clone()));
        assert_eq!(mark("ada", &own), None);
        assert_eq!(mark("ada@example.com", "pc~ada@example.com~"), None);
        assert_eq!(number(&mark_of_it), 0x1234_5678);
    }
}
