//! The protected server: one of each engine, laid out alike, and what only that engine can be asked or told by hand.

use gateway::enroll::{Host, Local};
use model::kind::server::Product;
use serde_json::{Value, json};
use testkit::mariadb::{self, MariaDb, Place};
use testkit::mysql::MySql;
use testkit::postgres::{self, DirectAccess, Postgres};

use crate::{enrolment, enrolment_mariadb};

/// How the demo database is laid out: a schema owner, an application that owns tables of its own, a superuser's table.
const ORDERS: &str = "
CREATE ROLE orders_owner; CREATE ROLE app;
CREATE DATABASE orders OWNER orders_owner;
";
const TABLES: &str = "
GRANT CREATE, USAGE ON SCHEMA public TO app;
SET ROLE orders_owner;
CREATE TABLE orders (id serial PRIMARY KEY, total numeric NOT NULL);
INSERT INTO orders (total) SELECT n FROM generate_series(1, 100) n;
SET ROLE app;
CREATE TABLE app_log (line text);
RESET ROLE;
CREATE TABLE bosses (name text);
";
/// The same without owners, which objects have none of there.
const TABLES_WITHOUT_OWNERS: &str = "
CREATE TABLE orders (id int PRIMARY KEY AUTO_INCREMENT, total numeric NOT NULL);
INSERT INTO orders (total) WITH RECURSIVE n (v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM n WHERE v < 100) SELECT v FROM n;
CREATE TABLE app_log (line text);
CREATE TABLE bosses (name text);
";

/// Whether the server may have superusers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stack {
    Production,
    Test,
}

#[derive(Debug)]
pub(crate) enum Database {
    PostgreSql(Postgres),
    MariaDb(MariaDb),
    MySql(MySql),
}

impl Database {
    pub(crate) fn start(product: Product) -> Self {
        match product {
            Product::PostgreSql => {
                let options = postgres::Options {
                    direct_access: DirectAccess::Superuser,
                    ..postgres::Options::default()
                };
                let postgres = Postgres::start_with(&options).unwrap();
                postgres.psql("postgres", ORDERS).unwrap();
                postgres.psql("orders", TABLES).unwrap();
                Self::PostgreSql(postgres)
            }
            Product::MariaDb => {
                let mariadb = MariaDb::start_with(&mariadb::Options::default()).unwrap();
                mariadb.sql("mysql", "CREATE DATABASE orders").unwrap();
                mariadb.sql("orders", TABLES_WITHOUT_OWNERS).unwrap();
                Self::MariaDb(mariadb)
            }
            Product::MySql => {
                let mysql = MySql::start(&testkit::mysql::programs().unwrap(), &[]).unwrap();
                mysql.sql("mysql", "CREATE DATABASE orders").unwrap();
                mysql.sql("orders", TABLES_WITHOUT_OWNERS).unwrap();
                Self::MySql(mysql)
            }
        }
    }

    /// Where it is, when it speaks MySQL's protocol.
    pub(crate) fn of_mysqls_family(&self) -> Option<&Place> {
        match self {
            Self::PostgreSql(_) => None,
            Self::MariaDb(mariadb) => Some(mariadb),
            Self::MySql(mysql) => Some(mysql),
        }
    }

    /// What a superuser is told, over the unix socket. Elsewhere the catalog stands for PostgreSQL's `postgres`.
    pub(crate) fn sql(&self, database: &str, sql: &str) -> anyhow::Result<String> {
        let catalog = if database == "postgres" { "mysql" } else { database };
        match self {
            Self::PostgreSql(postgres) => postgres.psql(database, sql),
            Self::MariaDb(mariadb) => mariadb.sql(catalog, sql),
            Self::MySql(mysql) => mysql.sql(catalog, sql),
        }
    }

    /// The server's `spec`.
    pub(crate) fn spec(&self, stack: Stack) -> Value {
        let (engine, port, ca) = match self {
            Self::PostgreSql(postgres) => ("postgresql", postgres.port(), postgres.server_ca()),
            Self::MariaDb(mariadb) => ("mysql", mariadb.port(), mariadb.server_ca()),
            Self::MySql(mysql) => ("mysql", mysql.port(), mysql.server_ca()),
        };
        json!({
            "engine": engine, "host": "127.0.0.1", "port": port, "ca": ca,
            "databases": {"only": ["orders"]}, "testStack": stack == Stack::Test,
        })
    }

    pub(crate) fn host(&self) -> Host {
        match self {
            Self::PostgreSql(postgres) => enrolment::host(postgres),
            Self::MariaDb(mariadb) => enrolment_mariadb::host(mariadb),
            Self::MySql(mysql) => host_of_mysql(mysql),
        }
    }

    /// What the server reads at its start only.
    pub(crate) fn take_enrolment_into_force(&self) {
        match self {
            Self::PostgreSql(_) => {}
            Self::MariaDb(mariadb) => mariadb.restart().unwrap(),
            Self::MySql(mysql) => mysql.restart().unwrap(),
        }
    }

    /// It is gone, and its files stay.
    pub(crate) fn crash(&self) {
        match self {
            Self::PostgreSql(postgres) => postgres.crash().unwrap(),
            Self::MariaDb(mariadb) => mariadb.kill().unwrap(),
            Self::MySql(mysql) => mysql.kill().unwrap(),
        }
    }

    pub(crate) fn start_again(&self) {
        match self {
            Self::PostgreSql(postgres) => postgres.restart().unwrap(),
            Self::MariaDb(mariadb) => mariadb.start_again().unwrap(),
            Self::MySql(mysql) => mysql.start_again().unwrap(),
        }
    }
}

fn host_of_mysql(mysql: &MySql) -> Host {
    Host {
        data_directory: mysql.data_directory(),
        os_user: mysql.os_user().to_owned(),
        superuser: None,
        local: Local::MySql {
            socket: mysql.socket(),
            configuration_directory: mysql.configuration_directory(),
            client: Some(mysql.program("mysql")),
        },
    }
}

/// One text for each: what PostgreSQL, MariaDB and MySQL are told.
type Texts<'a> = [&'a str; 3];

/// What is done by hand, and what the server says of its users.
impl Database {
    fn told<'a>(&self, [postgresql, mariadb, mysql]: Texts<'a>) -> &'a str {
        match self {
            Self::PostgreSql(_) => postgresql,
            Self::MariaDb(_) => mariadb,
            Self::MySql(_) => mysql,
        }
    }

    /// `{user}` stands for the user, `{here}` for it from the gateway's address.
    fn about(&self, user: &str, texts: Texts<'_>) -> String {
        let here = match self {
            Self::PostgreSql(_) => format!("\"{user}\""),
            Self::MariaDb(_) | Self::MySql(_) => format!("'{user}'@'127.0.0.1'"),
        };
        let sql = self.told(texts).replace("{here}", &here).replace("{user}", user);
        self.sql("postgres", &sql).unwrap()
    }

    /// A superuser's own name.
    pub(crate) fn superuser(&self) -> &str {
        self.told(["postgres", "root", "root"])
    }

    /// Somebody makes a user by hand.
    pub(crate) fn make_user(&self, user: &str) {
        let mysql = "CREATE USER {here} IDENTIFIED BY 'secret'";
        self.about(user, ["CREATE ROLE {here} LOGIN", mysql, mysql]);
    }

    /// Somebody drops one.
    pub(crate) fn drop_user(&self, user: &str) {
        self.about(user, ["DROP ROLE {here}", "DROP USER {here}", "DROP USER {here}"]);
    }

    /// Somebody drops one, and makes another of the same name that may do everything.
    pub(crate) fn make_anew(&self, user: &str) {
        let postgresql = "DROP ROLE {here}; CREATE ROLE {here} LOGIN SUPERUSER";
        let mysql = "DROP USER {here}; CREATE USER {here}; GRANT ALL ON *.* TO {here}";
        self.about(user, [postgresql, mysql, mysql]);
    }

    /// Takes off what says that a user is ours.
    pub(crate) fn unmark(&self, user: &str) {
        let postgresql = "COMMENT ON ROLE {here} IS NULL";
        let mysql = "DROP USER {here}; CREATE USER {here}";
        self.about(user, [postgresql, mysql, mysql]);
    }

    pub(crate) fn give_password(&self, user: &str) {
        let mysql = "ALTER USER {here} IDENTIFIED BY 'keeps the door open'";
        self.about(user, ["ALTER ROLE {here} PASSWORD 'x'", mysql, mysql]);
    }

    /// Makes a user a member of a role that has nothing to do with us; its name.
    pub(crate) fn give_role(&self, user: &str) -> &'static str {
        let mysql = "CREATE ROLE IF NOT EXISTS by_hand; GRANT by_hand TO {here}";
        self.about(user, ["GRANT pg_read_all_data TO {here}", mysql, mysql]);
        self.told(["pg_read_all_data", "by_hand", "by_hand"])
    }

    pub(crate) fn can_log_in(&self, user: &str) -> bool {
        let postgresql = "SELECT rolcanlogin::int FROM pg_roles WHERE rolname = '{user}'";
        let mariadb = "SELECT MAX(COALESCE(JSON_VALUE(Priv, '$.account_locked'), 0) = 0) \
                       FROM global_priv WHERE User = '{user}'";
        let mysql = "SELECT MAX(account_locked = 'N') FROM user WHERE User = '{user}'";
        self.about(user, [postgresql, mariadb, mysql]) == "1"
    }

    pub(crate) fn has_password(&self, user: &str) -> bool {
        let postgresql =
            "SELECT count(*) FROM pg_authid WHERE rolpassword IS NOT NULL AND rolname = '{user}'";
        let mariadb = "SELECT COUNT(*) FROM global_priv WHERE User = '{user}' \
                       AND COALESCE(JSON_VALUE(Priv, '$.authentication_string'), '') NOT IN ('', 'invalid')";
        let mysql =
            "SELECT COUNT(*) FROM user WHERE User = '{user}' AND authentication_string <> ''";
        self.about(user, [postgresql, mariadb, mysql]) != "0"
    }

    /// The roles that a user acts through, those excepted that are its alone.
    pub(crate) fn held(&self, user: &str) -> String {
        let postgresql = "SELECT string_agg(g.rolname, ' ' ORDER BY g.rolname) FROM pg_auth_members m \
                          JOIN pg_roles g ON g.oid = m.roleid JOIN pg_roles u ON u.oid = m.member \
                          WHERE u.rolname = '{user}'";
        let mariadb = "SELECT COALESCE(GROUP_CONCAT(DISTINCT Role ORDER BY Role SEPARATOR ' '), '') FROM roles_mapping \
                       WHERE (User = '{user}' AND Role NOT LIKE 'pc~%') OR User LIKE 'pc~{user}~%'";
        let mysql = "SELECT COALESCE(GROUP_CONCAT(DISTINCT FROM_USER ORDER BY FROM_USER SEPARATOR ' '), '') \
                     FROM role_edges WHERE TO_USER = '{user}'";
        self.about(user, [postgresql, mariadb, mysql])
    }

    /// How many attributes a user has that reach beyond data.
    pub(crate) fn attributes(&self, user: &str) -> String {
        let postgresql = "SELECT rolsuper::int + rolcreaterole::int + rolcreatedb::int + rolreplication::int \
                          + rolbypassrls::int FROM pg_roles WHERE rolname = '{user}'";
        let mariadb =
            "SELECT SUM(JSON_VALUE(Priv, '$.access') <> 0) FROM global_priv WHERE User = '{user}'";
        let mysql = "SELECT COUNT(*) FROM information_schema.user_privileges \
                     WHERE GRANTEE LIKE '_{user}_@%' AND PRIVILEGE_TYPE <> 'USAGE'";
        self.about(user, [postgresql, mariadb, mysql])
    }

    /// A statement as the application that owns tables of its own, where objects have owners.
    pub(crate) fn as_application(&self, sql: &str) -> String {
        format!("{}{sql}", self.told(["SET ROLE app; ", "", ""]))
    }

    /// What a session says to hold what its user has gained: one knows what it held when it entered its database, another
    /// which roles it began with.
    pub(crate) fn enter_again(&self) -> &str {
        self.told(["SELECT 1", "USE orders", "SET ROLE DEFAULT"])
    }

    pub(crate) fn set_role(&self, role: &str) -> String {
        let quote = self.told(["\"", "`", "`"]);
        format!("SET ROLE {quote}{role}{quote}")
    }

    /// A statement that takes so many seconds.
    pub(crate) fn sleep(&self, seconds: u32) -> String {
        let function = self.told(["pg_sleep", "SLEEP", "SLEEP"]);
        format!("SELECT {function}({seconds})")
    }

    /// How many such statements run.
    pub(crate) fn sleeping(&self) -> String {
        let postgresql =
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'";
        let mysql =
            "SELECT COUNT(*) FROM information_schema.processlist WHERE INFO LIKE 'SELECT SLEEP%'";
        self.sql("postgres", self.told([postgresql, mysql, mysql])).unwrap()
    }

    /// Everyone who acts through a role, the provisioner excepted.
    pub(crate) fn members(&self, role: &str) -> String {
        let postgresql = "SELECT count(*) FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid \
                          WHERE g.rolname = '{user}' AND m.member <> 'portcullis_provisioner'::regrole";
        let mariadb = "SELECT COUNT(*) FROM roles_mapping \
                       WHERE Role = '{user}' AND User <> 'portcullis_provisioner'";
        let mysql = "SELECT COUNT(*) FROM role_edges WHERE FROM_USER = '{user}'";
        self.about(role, [postgresql, mariadb, mysql])
    }
}
