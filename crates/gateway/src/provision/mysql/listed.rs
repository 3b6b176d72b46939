//! Accounts as the server lists them, and whose they are.

use std::collections::BTreeSet;

use model::kind::server::Product;

use super::account;
use super::catalog::Which;
use super::connection::{Connection, Row};
use super::quote::common_name;
use crate::provision::connection::Trouble;

/// One is a member of the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub(crate) member: String,
    /// From where; empty for a role.
    pub(crate) host: String,
    pub(crate) role: String,
}

impl Mapping {
    fn read(row: &Row) -> Self {
        let [member, host, role] = [0, 1, 2].map(|column| row.text(column).to_owned());
        Self { member, host, role }
    }
}

/// All memberships, or those of these members.
pub(crate) async fn mappings(
    connection: &Connection,
    of: Option<&[&str]>,
) -> Result<Vec<Mapping>, Trouble> {
    let catalog = connection.catalog;
    let sql = match of {
        None => catalog.mappings(),
        Some(members) => catalog.mappings_of(members.iter().copied()),
    };
    let rows = connection.rows("list who is a member of what", &sql).await?;
    Ok(rows.iter().map(Mapping::read).collect())
}

/// The roles of one member.
pub(crate) fn roles_of(member: &str, host: &str, mappings: &[Mapping]) -> BTreeSet<String> {
    let held = mappings.iter().filter(|held| held.member == member && held.host == host);
    held.map(|held| held.role.clone()).collect()
}

/// One account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "columns of the server's catalogs")]
pub(crate) struct Account {
    pub(crate) user: String,
    pub(crate) host: String,
    pub(crate) locked: bool,
    pub(crate) superuser: bool,
    pub(crate) create_user: bool,
    pub(crate) replication: bool,
    /// Whether it holds anything on the server as a whole.
    pub(crate) global: bool,
    pub(crate) is_role: bool,
    /// Whether it names the certificate that opens it.
    pub(crate) by_subject: bool,
    pub(crate) subject: String,
    pub(crate) issuer: String,
    pub(crate) password: bool,
    /// Whether it is the server's own superuser's.
    pub(crate) bootstrap: bool,
    /// Whether it takes being a certain account of this host.
    pub(crate) socket: bool,
    /// Whether it takes a certificate, whichever.
    pub(crate) certificate: bool,
    /// The role of its own that it carries, where users have one.
    pub(crate) own: Option<String>,
    /// Whose it is, when it is ours.
    pub(crate) mark: Option<String>,
    /// Granted to the account itself.
    pub(crate) roles: BTreeSet<String>,
    /// Whether a session begins with all that its user may do.
    pub(crate) begins_with_all: bool,
}

impl Account {
    /// From a row of [`super::catalog::Catalog::accounts`].
    pub(crate) fn read(row: &Row, product: Product, mappings: &[Mapping]) -> Self {
        let [user, host] = [0, 1].map(|column| row.text(column).to_owned());
        let roles = roles_of(&user, &host, mappings);
        let (own, mark, begins_with_all) = match product {
            Product::MySql => {
                let mark = Some(row.text(8)).filter(|mark| !mark.is_empty());
                (None, mark.map(str::to_owned), row.says_yes(7))
            }
            Product::MariaDb | Product::PostgreSql => {
                let own = account::own_of(&user, row.text(7), &roles);
                let mark = own.as_deref().and_then(|own| account::mark(&user, own));
                let is_default = own.as_deref() == Some(row.text(7));
                (own, mark, is_default)
            }
        };
        Self {
            user,
            host,
            locked: row.says_yes(2),
            superuser: row.says_yes(3),
            create_user: row.says_yes(4),
            replication: row.says_yes(5),
            global: row.says_yes(6),
            is_role: row.says_yes(9),
            by_subject: row.says_yes(10),
            subject: row.text(11).to_owned(),
            issuer: row.text(12).to_owned(),
            password: row.says_yes(13),
            bootstrap: row.says_yes(14),
            socket: row.says_yes(15),
            certificate: row.says_yes(16),
            own,
            mark,
            roles,
            begins_with_all,
        }
    }

    /// Whether its own certificate, signed by this authority, opens it.
    pub(crate) fn is_for_its_certificate(&self, issuer: &str) -> bool {
        self.subject == common_name(&self.user) && self.issuer == common_name(issuer)
    }

    /// What it acts through: its roles, or those of the role of its own.
    pub(crate) fn memberships(&self, mappings: &[Mapping]) -> BTreeSet<String> {
        let mut held = self.roles.clone();
        if let Some(own) = &self.own {
            held.remove(own);
            held.extend(roles_of(own, "", mappings));
        }
        held
    }
}

/// These accounts; the memberships are theirs at least.
pub(crate) async fn accounts(
    connection: &Connection,
    which: Which<'_>,
    mappings: &[Mapping],
) -> Result<Vec<Account>, Trouble> {
    let catalog = connection.catalog;
    let rows = connection.rows("list accounts", &catalog.accounts(which)).await?;
    Ok(rows.iter().map(|row| Account::read(row, catalog.product(), mappings)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(member: &str, host: &str, role: &str) -> Mapping {
        Mapping { member: member.to_owned(), host: host.to_owned(), role: role.to_owned() }
    }

    #[test]
    fn an_account_acts_through_its_roles_or_through_those_of_the_role_of_its_own() {
        let uid = uuid::Uuid::from_u128(7);
        let mark = crate::provision::names::mark(uid);
        let own = account::own_role("ada", &mark).unwrap();
        let mappings = [
            mapping("ada", "10.0.0.5", &own),
            mapping("ada", "10.0.0.5", "by_hand"),
            mapping("ada", "10.0.0.6", "elsewhere"),
            mapping(&own, "", "portcullis_orders.reader"),
        ];
        let line = |default: &str, mark: &str| {
            let rest = "1\t/CN=ada\t/CN=ca\t0\t0\t0\t1";
            Row::of_line(&format!("ada\t10.0.0.5\t0\tN\tN\tN\t0\t{default}\t{mark}\t0\t{rest}"))
        };
        let seen = Account::read(&line(&own, ""), Product::MariaDb, &mappings);
        assert_eq!((seen.own.as_ref(), seen.mark.as_ref()), (Some(&own), Some(&mark)));
        let held = ["by_hand", "portcullis_orders.reader"].map(str::to_owned);
        assert_eq!(seen.memberships(&mappings), BTreeSet::from(held));
        assert!(seen.begins_with_all && seen.is_for_its_certificate("ca"));
        assert!(!Account::read(&line("by_hand", ""), Product::MariaDb, &mappings).begins_with_all);

        let seen = Account::read(&line("1", &mark), Product::MySql, &mappings);
        assert_eq!((seen.own.as_ref(), seen.mark.as_ref()), (None, Some(&mark)));
        assert_eq!(seen.memberships(&mappings), BTreeSet::from([own, "by_hand".to_owned()]));
        assert!(seen.begins_with_all);
        assert!(!Account::read(&line("0", ""), Product::MySql, &mappings).begins_with_all);
    }
}
