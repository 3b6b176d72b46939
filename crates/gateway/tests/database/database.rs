//! The protected server: one of each engine, laid out alike, and what only that engine can be asked or told by hand.

use gateway::enroll::Host;
use model::kind::server::Engine;
use serde_json::{Value, json};
use testkit::mariadb::{self, MariaDb};
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
const MARIADB_TABLES: &str = "
CREATE TABLE orders (id int PRIMARY KEY AUTO_INCREMENT, total numeric NOT NULL);
INSERT INTO orders (total) SELECT seq FROM seq_1_to_100;
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
}

impl Database {
    pub(crate) fn start(engine: Engine) -> Self {
        match engine {
            Engine::PostgreSql => {
                let options = postgres::Options {
                    direct_access: DirectAccess::Superuser,
                    ..postgres::Options::default()
                };
                let postgres = Postgres::start_with(&options).unwrap();
                postgres.psql("postgres", ORDERS).unwrap();
                postgres.psql("orders", TABLES).unwrap();
                Self::PostgreSql(postgres)
            }
            Engine::MySql => {
                let mariadb = MariaDb::start_with(&mariadb::Options::default()).unwrap();
                mariadb.sql("mysql", "CREATE DATABASE orders").unwrap();
                mariadb.sql("orders", MARIADB_TABLES).unwrap();
                Self::MariaDb(mariadb)
            }
        }
    }

    /// What a superuser is told, over the unix socket. On MariaDB the catalog stands for PostgreSQL's `postgres`.
    pub(crate) fn sql(&self, database: &str, sql: &str) -> anyhow::Result<String> {
        match self {
            Self::PostgreSql(postgres) => postgres.psql(database, sql),
            Self::MariaDb(mariadb) => {
                mariadb.sql(if database == "postgres" { "mysql" } else { database }, sql)
            }
        }
    }

    /// The server's `spec`.
    pub(crate) fn spec(&self, stack: Stack) -> Value {
        let (engine, port, ca) = match self {
            Self::PostgreSql(postgres) => ("postgresql", postgres.port(), postgres.server_ca()),
            Self::MariaDb(mariadb) => ("mysql", mariadb.port(), mariadb.server_ca()),
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
        }
    }

    /// What the server reads at its start only.
    pub(crate) fn take_enrolment_into_force(&self) {
        match self {
            Self::PostgreSql(_) => {}
            Self::MariaDb(mariadb) => mariadb.restart().unwrap(),
        }
    }

    /// It is gone, and its files stay.
    pub(crate) fn crash(&self) {
        match self {
            Self::PostgreSql(postgres) => postgres.crash().unwrap(),
            Self::MariaDb(mariadb) => mariadb.kill().unwrap(),
        }
    }

    pub(crate) fn start_again(&self) {
        match self {
            Self::PostgreSql(postgres) => postgres.restart().unwrap(),
            Self::MariaDb(mariadb) => mariadb.start_again().unwrap(),
        }
    }
}

/// What is done by hand, and what the server says of its users.
impl Database {
    fn told<'a>(&self, postgresql: &'a str, mariadb: &'a str) -> &'a str {
        match self {
            Self::PostgreSql(_) => postgresql,
            Self::MariaDb(_) => mariadb,
        }
    }

    /// `{user}` stands for the user, `{here}` for it from the gateway's address.
    fn about(&self, user: &str, (postgresql, mariadb): (&str, &str)) -> String {
        let text = self.told(postgresql, mariadb);
        let here = match self {
            Self::PostgreSql(_) => format!("\"{user}\""),
            Self::MariaDb(_) => format!("'{user}'@'127.0.0.1'"),
        };
        let sql = text.replace("{here}", &here).replace("{user}", user);
        self.sql("postgres", &sql).unwrap()
    }

    /// A superuser's own name.
    pub(crate) fn superuser(&self) -> &str {
        self.told("postgres", "root")
    }

    /// Somebody makes a user by hand.
    pub(crate) fn make_user(&self, user: &str) {
        self.about(user, ("CREATE ROLE {here} LOGIN", "CREATE USER {here} IDENTIFIED BY 'secret'"));
    }

    /// Somebody drops one.
    pub(crate) fn drop_user(&self, user: &str) {
        self.about(user, ("DROP ROLE {here}", "DROP USER {here}"));
    }

    /// Somebody drops one, and makes another of the same name that may do everything.
    pub(crate) fn make_anew(&self, user: &str) {
        let postgresql = "DROP ROLE {here}; CREATE ROLE {here} LOGIN SUPERUSER";
        let mariadb = "DROP USER {here}; CREATE USER {here}; GRANT ALL ON *.* TO {here}";
        self.about(user, (postgresql, mariadb));
    }

    /// Takes off what says that a user is ours.
    pub(crate) fn unmark(&self, user: &str) {
        let postgresql = "COMMENT ON ROLE {here} IS NULL";
        self.about(user, (postgresql, "DROP USER {here}; CREATE USER {here}"));
    }

    pub(crate) fn give_password(&self, user: &str) {
        let mariadb = "ALTER USER {here} IDENTIFIED BY 'keeps the door open'";
        self.about(user, ("ALTER ROLE {here} PASSWORD 'x'", mariadb));
    }

    /// Makes a user a member of a role that has nothing to do with us; its name.
    pub(crate) fn give_role(&self, user: &str) -> &'static str {
        let mariadb = "CREATE ROLE IF NOT EXISTS by_hand; GRANT by_hand TO {here}";
        self.about(user, ("GRANT pg_read_all_data TO {here}", mariadb));
        match self {
            Self::PostgreSql(_) => "pg_read_all_data",
            Self::MariaDb(_) => "by_hand",
        }
    }

    pub(crate) fn can_log_in(&self, user: &str) -> bool {
        let postgresql = "SELECT rolcanlogin::int FROM pg_roles WHERE rolname = '{user}'";
        let mariadb = "SELECT MAX(COALESCE(JSON_VALUE(Priv, '$.account_locked'), 0) = 0) \
                       FROM global_priv WHERE User = '{user}'";
        self.about(user, (postgresql, mariadb)) == "1"
    }

    pub(crate) fn has_password(&self, user: &str) -> bool {
        let postgresql =
            "SELECT count(*) FROM pg_authid WHERE rolpassword IS NOT NULL AND rolname = '{user}'";
        let mariadb = "SELECT COUNT(*) FROM global_priv WHERE User = '{user}' \
                       AND COALESCE(JSON_VALUE(Priv, '$.authentication_string'), '') NOT IN ('', 'invalid')";
        self.about(user, (postgresql, mariadb)) != "0"
    }

    /// The roles that a user acts through, those excepted that are its alone.
    pub(crate) fn held(&self, user: &str) -> String {
        let postgresql = "SELECT string_agg(g.rolname, ' ' ORDER BY g.rolname) FROM pg_auth_members m \
                          JOIN pg_roles g ON g.oid = m.roleid JOIN pg_roles u ON u.oid = m.member \
                          WHERE u.rolname = '{user}'";
        let mariadb = "SELECT COALESCE(GROUP_CONCAT(DISTINCT Role ORDER BY Role SEPARATOR ' '), '') FROM roles_mapping \
                       WHERE (User = '{user}' AND Role NOT LIKE 'pc~%') OR User LIKE 'pc~{user}~%'";
        self.about(user, (postgresql, mariadb))
    }

    /// How many attributes a user has that reach beyond data.
    pub(crate) fn attributes(&self, user: &str) -> String {
        let postgresql = "SELECT rolsuper::int + rolcreaterole::int + rolcreatedb::int + rolreplication::int \
                          + rolbypassrls::int FROM pg_roles WHERE rolname = '{user}'";
        let mariadb =
            "SELECT SUM(JSON_VALUE(Priv, '$.access') <> 0) FROM global_priv WHERE User = '{user}'";
        self.about(user, (postgresql, mariadb))
    }

    /// A statement as the application that owns tables of its own, where objects have owners.
    pub(crate) fn as_application(&self, sql: &str) -> String {
        format!("{}{sql}", self.told("SET ROLE app; ", ""))
    }

    /// What a session says to hold what its user has gained: there it knows what it held when it entered its database.
    pub(crate) fn enter_again(&self) -> &str {
        self.told("SELECT 1", "USE orders")
    }

    pub(crate) fn set_role(&self, role: &str) -> String {
        let quote = self.told("\"", "`");
        format!("SET ROLE {quote}{role}{quote}")
    }

    /// A statement that takes so many seconds.
    pub(crate) fn sleep(&self, seconds: u32) -> String {
        let function = self.told("pg_sleep", "SLEEP");
        format!("SELECT {function}({seconds})")
    }

    /// How many such statements run.
    pub(crate) fn sleeping(&self) -> String {
        let postgresql =
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'";
        let mariadb =
            "SELECT COUNT(*) FROM information_schema.processlist WHERE INFO LIKE 'SELECT SLEEP%'";
        self.sql("postgres", self.told(postgresql, mariadb)).unwrap()
    }

    /// Everyone who acts through a role, the provisioner excepted.
    pub(crate) fn members(&self, role: &str) -> String {
        let postgresql = "SELECT count(*) FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid \
                          WHERE g.rolname = '{user}' AND m.member <> 'portcullis_provisioner'::regrole";
        let mariadb = "SELECT COUNT(*) FROM roles_mapping \
                       WHERE Role = '{user}' AND User <> 'portcullis_provisioner'";
        self.about(role, (postgresql, mariadb))
    }
}
