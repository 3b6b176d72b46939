//! What differs between MariaDB and MySQL's own servers: where they keep their accounts and how they are asked for them. The
//! answers have the same columns, so that whoever reads them need not know whose they are.

use access::database_user::PROVISIONER;
use model::kind::server::Product;

use super::quote::{account, ident, list, literal, pattern};
use crate::enrolment::mysql::Observed;

mod mariadb;
mod mysql;

/// Which accounts are asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Which<'a> {
    /// Everyone, roles excepted.
    Everyone,
    /// All of one name.
    Named(&'a str),
}

/// What a database's name is in a GRANT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// `_` and `%` stand for any letters unless they are escaped.
    Patterns,
    /// Itself: so it is under `partial_revokes`.
    Plain,
}

/// How a server keeps its accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Catalog {
    /// In `mysql.global_priv`; roles are accounts without a host.
    MariaDb,
    /// In `mysql.user`; roles are accounts from any host that nobody can log in as.
    MySql(Names),
}

impl Catalog {
    /// Before anything was asked.
    pub(crate) fn of(product: Product) -> Self {
        match product {
            Product::MySql => Self::MySql(Names::Patterns),
            Product::MariaDb | Product::PostgreSql => Self::MariaDb,
        }
    }

    pub(crate) fn product(self) -> Product {
        match self {
            Self::MariaDb => Product::MariaDb,
            Self::MySql(_) => Product::MySql,
        }
    }

    /// The server's own section in option files.
    pub(crate) fn section(self) -> &'static str {
        self.choose("mariadbd", "mysqld")
    }

    /// The server's own client.
    pub(crate) fn client(self) -> &'static str {
        self.choose("mariadb", "mysql")
    }

    fn choose<T>(self, mariadb: T, mysql: T) -> T {
        match self {
            Self::MariaDb => mariadb,
            Self::MySql(_) => mysql,
        }
    }

    /// Only the quote itself means anything in a text. On MariaDB a GRANT to an account that was dropped meanwhile makes no
    /// new one, which would ask for no certificate; MySQL's makes none in any case.
    pub(crate) fn sql_mode(self) -> &'static str {
        self.choose(
            "SET SESSION sql_mode = 'NO_AUTO_CREATE_USER,NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES'",
            "SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES'",
        )
    }

    /// The server itself ends what takes longer.
    pub(crate) fn bounds(self) -> &'static str {
        self.choose(
            "SET SESSION lock_wait_timeout = 5, max_statement_time = 20, time_zone = '+00:00'",
            "SET SESSION lock_wait_timeout = 5, max_execution_time = 20000, time_zone = '+00:00'",
        )
    }

    /// A figure of the server's, for use inside a statement.
    pub(crate) fn status(self, name: &str) -> String {
        let schema = self.choose("information_schema", "performance_schema");
        format!(
            "(SELECT VARIABLE_VALUE FROM {schema}.global_status WHERE VARIABLE_NAME = {})",
            literal(name)
        )
    }

    /// A role, quoted. Those of MySQL's that are not from any host have theirs behind an `@`.
    pub(crate) fn role(self, name: &str) -> String {
        match self {
            Self::MariaDb => ident(name),
            Self::MySql(_) => {
                let (name, host) = name.rsplit_once('@').unwrap_or((name, mysql::ANY_HOST));
                account(name, host)
            }
        }
    }

    /// A role as the views of privileges name it.
    pub(crate) fn grantee_of(self, role: &str) -> String {
        format!("'{role}'@'{}'", self.choose("", mysql::ANY_HOST))
    }

    /// A database's name as GRANT keeps it.
    pub(crate) fn pattern(self, database: &str) -> String {
        match self {
            Self::MariaDb | Self::MySql(Names::Patterns) => pattern(database),
            Self::MySql(Names::Plain) => database.to_owned(),
        }
    }

    /// The names under which a database may have been granted. Where they are patterns, its own may be one that means more.
    pub(crate) fn names_of(self, database: &str) -> Vec<String> {
        match self {
            Self::MariaDb => vec![database.to_owned(), pattern(database)],
            Self::MySql(_) => vec![self.pattern(database)],
        }
    }

    /// All of a database, in a GRANT.
    pub(crate) fn whole(self, database: &str) -> String {
        format!("{}.*", ident(&self.pattern(database)))
    }

    /// Accounts, in the columns of [`super::listed::Account::read`].
    pub(crate) fn accounts(self, which: Which<'_>) -> String {
        let columns = match self {
            Self::MariaDb => mariadb::accounts(),
            Self::MySql(_) => mysql::accounts(),
        };
        let roles = self.choose("is_role", "FALSE");
        let those = match which {
            Which::Everyone => format!("NOT {roles}"),
            Which::Named(user) => format!("BINARY User = {}", literal(user)),
        };
        format!("SELECT * FROM ({columns}) AS accounts WHERE {those} ORDER BY User, Host")
    }

    /// Who is a member of what: user, host, role. Members without a host are roles.
    pub(crate) fn mappings(self) -> String {
        self.choose(mariadb::MAPPINGS.to_owned(), mysql::mappings())
    }

    /// Those of these members: names of users or of roles.
    pub(crate) fn mappings_of<'a>(self, members: impl IntoIterator<Item = &'a str>) -> String {
        let (mappings, members) = (self.mappings(), list(members));
        format!("SELECT * FROM ({mappings}) AS mappings WHERE BINARY User IN ({members})")
    }

    /// All that can be granted as a role: its name, whether nobody logs in as it and it holds nothing on the server as a
    /// whole, and what it is marked with, where roles are.
    pub(crate) fn roles(self) -> String {
        self.choose(mariadb::ROLES.to_owned(), mysql::roles())
    }

    /// What everybody is given: role names.
    pub(crate) fn mandatory_roles(self) -> Option<&'static str> {
        self.choose(None, Some("SELECT @@mandatory_roles"))
    }

    /// Settings that weaken a server: version, TLS, `local_infile`, `secure_file_priv`, `ssl_capath`.
    pub(crate) fn settings(self) -> String {
        // MySQL's is NULL where nobody reads and writes files, MariaDB's where everybody may.
        let nowhere = self.choose("", "NULL");
        format!(
            "SELECT VERSION(), {}, @@local_infile, COALESCE(@@secure_file_priv, '{nowhere}'), COALESCE(@@ssl_capath, '')",
            self.choose(mariadb::SPEAKS_TLS, mysql::SPEAKS_TLS)
        )
    }

    /// The provisioner's accounts: from where, locked, whether something else than a certificate opens it, what kind of one
    /// it asks for (as MariaDB counts), its subject, issuer and cipher.
    pub(crate) fn provisioners(self) -> String {
        let name = literal(PROVISIONER);
        match self {
            Self::MariaDb => mariadb::provisioners(&name),
            Self::MySql(_) => mysql::provisioners(&name),
        }
    }

    /// Whether a privilege is one of the server's.
    pub(crate) fn knows(self, privilege: &str) -> bool {
        self.choose(true, privilege != "DELETE HISTORY")
    }
}

impl Observed {
    /// How the server keeps its accounts.
    pub(crate) fn catalog(&self) -> Catalog {
        match (self.product, self.partial_revokes) {
            (Some(Product::MySql), true) => Catalog::MySql(Names::Plain),
            (Some(Product::MySql), false) => Catalog::MySql(Names::Patterns),
            (Some(Product::MariaDb | Product::PostgreSql) | None, _) => Catalog::MariaDb,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MYSQL: Catalog = Catalog::MySql(Names::Patterns);

    #[test]
    fn a_role_is_named_as_its_server_names_it() {
        assert_eq!(Catalog::MariaDb.role("a@b"), "`a@b`");
        assert_eq!(MYSQL.role("portcullis_orders.reader"), "'portcullis_orders.reader'@'%'");
        assert_eq!(MYSQL.role("app@localhost"), "'app'@'localhost'");
        assert_eq!(MYSQL.role("a'b@c@%"), "'a''b@c'@'%'");
        assert_eq!(Catalog::MariaDb.grantee_of("r"), "'r'@''");
        assert_eq!(MYSQL.grantee_of("r"), "'r'@'%'");
    }

    #[test]
    fn names_of_databases_are_patterns_unless_the_server_says_otherwise() {
        for catalog in [Catalog::MariaDb, MYSQL] {
            assert_eq!(catalog.whole("my_orders"), "`my\\_orders`.*");
        }
        assert_eq!(Catalog::MySql(Names::Plain).whole("my_orders"), "`my_orders`.*");
    }
}
