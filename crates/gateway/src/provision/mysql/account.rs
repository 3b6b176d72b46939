//! The accounts of one user, and the role of its own that all its rights come through.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::catalog::Catalog;
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

/// Which of an account's roles is its user's own. Only the provisioner gives it, so that no hand but its own can take it off;
/// the default role is each account's to choose.
pub(crate) fn own_of(user: &str, default_role: &str, roles: &BTreeSet<String>) -> Option<String> {
    let own: Vec<&String> = roles.iter().filter(|role| mark(user, role).is_some()).collect();
    match own.as_slice() {
        [one] => Some((*one).clone()),
        // Taken over by one installation after the other.
        several => {
            several.iter().find(|role| role.as_str() == default_role).map(|role| (*role).clone())
        }
    }
}

/// Whether what has this definer runs with the user's rights: with an account's, or with those of the role of its own, which
/// an account that has it may name instead.
pub(crate) fn defines(user: &str, definer: &str) -> bool {
    let Some((name, host)) = definer.rsplit_once('@') else { return false };
    name == user || (host.is_empty() && mark(user, name).is_some())
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

/// What an account of MySQL's is made with, which asks for a password that nobody knows: what has this for its hash. A
/// password policy measures what is given in place of none, but no hash.
pub(crate) const UNKNOWN_PASSWORD: &str = "IDENTIFIED WITH caching_sha2_password AS \
    '$A$005$NobodyKnowsAPasswordThatHasThisHash.ItIsOfNothingAtAll.........'";
/// What says that an account of MySQL's asks for no password. So given, it is not measured by a password policy when an
/// account is altered, though it is when one is made (measured on 9.7).
pub(crate) const NO_PASSWORD: &str = "IDENTIFIED WITH caching_sha2_password AS ''";

/// The clause by which no password is asked for; the certificate is.
pub(crate) fn no_password(catalog: Catalog) -> &'static str {
    match catalog {
        Catalog::MariaDb => "IDENTIFIED BY ''",
        Catalog::MySql(_) => NO_PASSWORD,
    }
}

/// The statement that lets an account in, by its certificate and nothing else, with a bound on its sessions or the one that
/// it has. On MySQL a password that is none would come of age, too.
pub(crate) fn let_in(
    (catalog, accounts): (Catalog, &Accounts),
    (user, host): (&str, &str),
    sessions_max: Option<u32>,
) -> String {
    let (who, require) = (account(user, host), require(user, accounts));
    let with = sessions_max.map(|limit| format!(" WITH MAX_USER_CONNECTIONS {limit}"));
    let never = match catalog {
        Catalog::MariaDb => "",
        Catalog::MySql(_) => " PASSWORD EXPIRE NEVER",
    };
    format!(
        "ALTER USER {who} {} {require}{}{never} ACCOUNT UNLOCK",
        no_password(catalog),
        with.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provision::mysql::catalog::Names;

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

    #[test]
    fn an_account_is_let_in_by_its_certificate_and_by_nothing_else() {
        let accounts = Accounts { addresses: [].into(), issuer: "Portcullis orders".to_owned() };
        let let_in = |catalog, limit| let_in((catalog, &accounts), ("o'hara", "10.0.0.5"), limit);
        let require = "REQUIRE SUBJECT '/CN=o''hara' AND ISSUER '/CN=Portcullis orders'";
        assert_eq!(
            let_in(Catalog::MariaDb, Some(5)),
            format!(
                "ALTER USER 'o''hara'@'10.0.0.5' IDENTIFIED BY '' {require} WITH MAX_USER_CONNECTIONS 5 ACCOUNT UNLOCK"
            )
        );
        assert_eq!(
            let_in(Catalog::MySql(Names::Patterns), None),
            format!(
                "ALTER USER 'o''hara'@'10.0.0.5' IDENTIFIED WITH caching_sha2_password AS '' {require} \
                 PASSWORD EXPIRE NEVER ACCOUNT UNLOCK"
            )
        );
    }

    #[test]
    fn a_definer_is_an_account_or_the_role_of_its_own_and_nobody_elses() {
        let own = own_role("ada", &names::mark(Uuid::from_u128(7))).unwrap();
        assert!(defines("ada", "ada@10.0.0.5") && defines("ada", &format!("{own}@")));
        assert!(defines("ada@example.com", "ada@example.com@10.0.0.5"));
        assert!(!defines("ada", "ada@example.com@10.0.0.5"));
        assert!(!defines("ada", &format!("{own}@10.0.0.5")) && !defines("ada", "ada"));
    }

    #[test]
    fn the_default_role_says_whose_an_account_is_only_among_roles_of_its_own() {
        let own = |number| own_role("ada", &names::mark(Uuid::from_u128(number))).unwrap();
        let roles = |held: &[&String]| held.iter().map(|role| (*role).clone()).collect();
        let (first, second, other) = (own(1), own(2), "portcullis_orders.reader".to_owned());
        assert_eq!(own_of("ada", "", &roles(&[&first, &other])), Some(first.clone()));
        assert_eq!(own_of("ada", &second, &roles(&[&first])), Some(first.clone()));
        assert_eq!(own_of("ada", &second, &roles(&[&first, &second])), Some(second));
        assert_eq!(own_of("ada", &other, &roles(&[&first, &own(3), &other])), None);
        assert_eq!(own_of("ada", &other, &roles(&[&other])), None);
        assert_eq!(own_of("eve", "", &roles(&[&first])), None);
    }
}
