//! Whose clients are compared, which there are, and what is asked of each.

use anyhow::{Context, Result};

/// Whose clients they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    PostgreSql,
    /// MySQL's and MariaDB's.
    MySql,
}

/// What a client is written in, and so how it is had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Python,
    Node,
    Go,
    Java,
    Rust,
}

/// A client.
#[derive(Debug)]
pub(crate) struct Client {
    pub title: &'static str,
    pub engine: Engine,
    pub family: Family,
    /// Its program in its family's folder.
    pub script: &'static str,
    /// The distribution's package, where its version is asked for there.
    pub package: &'static str,
    /// More of its environment.
    pub environment: &'static [(&'static str, &'static str)],
}

/// A column of the table: the name that programs say, and the heading.
#[derive(Debug)]
pub(crate) struct Feature {
    pub name: &'static str,
    pub heading: &'static str,
    pub at: At,
}

/// Where it can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    Both,
    /// Exists at a gateway only, and has to work there.
    Gateway,
}

impl Engine {
    /// Its folder among the clients' programs, and the word for it on the command line.
    pub(crate) fn folder(self) -> &'static str {
        match self {
            Self::PostgreSql => "pg",
            Self::MySql => "mysql",
        }
    }

    pub(crate) fn server(self) -> &'static str {
        match self {
            Self::PostgreSql => "PostgreSQL",
            Self::MySql => "MariaDB",
        }
    }

    pub(crate) fn clients(self) -> &'static [Client] {
        match self {
            Self::PostgreSql => &POSTGRESQL,
            Self::MySql => &MYSQL,
        }
    }

    pub(crate) fn features(self) -> &'static [Feature] {
        match self {
            Self::PostgreSql => &OF_POSTGRESQL,
            Self::MySql => &OF_MYSQL,
        }
    }

    /// All of its clients when none is named.
    pub(crate) fn chosen(self, names: &[&str]) -> Result<Vec<&'static Client>> {
        if names.is_empty() {
            return Ok(self.clients().iter().collect());
        }
        let find = |name: &&str| {
            let found = self.clients().iter().find(|client| client.title == *name);
            found.with_context(|| {
                let known: Vec<&str> = self.clients().iter().map(|client| client.title).collect();
                format!("`{name}` is not one of: {}", known.join(", "))
            })
        };
        names.iter().map(find).collect()
    }
}

const fn client(
    engine: Engine,
    family: Family,
    title: &'static str,
    script: &'static str,
) -> Client {
    Client { title, engine, family, script, package: "", environment: &[] }
}

const fn pg(family: Family, title: &'static str, script: &'static str) -> Client {
    client(Engine::PostgreSql, family, title, script)
}

const fn mysql(family: Family, title: &'static str, script: &'static str) -> Client {
    client(Engine::MySql, family, title, script)
}

static POSTGRESQL: [Client; 13] = [
    pg(Family::Python, "psql", "via_psql.py"),
    // psycopg's binary brings a libpq of its own.
    Client {
        environment: &[("PSYCOPG_IMPL", "binary")],
        ..pg(Family::Python, "libpq 18", "via_psycopg.py")
    },
    Client {
        environment: &[("PSYCOPG_IMPL", "python")],
        ..pg(Family::Python, "psycopg 3", "via_psycopg.py")
    },
    pg(Family::Python, "psycopg 2", "via_psycopg2.py"),
    pg(Family::Python, "asyncpg", "via_asyncpg.py"),
    pg(Family::Python, "pg8000", "via_pg8000.py"),
    pg(Family::Rust, "tokio-postgres", "via_tokio_postgres"),
    pg(Family::Rust, "sqlx", "via_sqlx"),
    pg(Family::Node, "node-postgres", "via_pg.js"),
    pg(Family::Node, "Postgres.js", "via_postgres.js"),
    pg(Family::Java, "JDBC", "ViaJdbc.java"),
    Client { package: "golang-github-lib-pq-dev", ..pg(Family::Go, "Go lib/pq", "via_lib_pq.go") },
    Client { package: "golang-github-jackc-pgx-v4-dev", ..pg(Family::Go, "Go pgx", "via_pgx.go") },
];

/// Python prints a set in another order each time.
const IN_ORDER: (&str, &str) = ("PYTHONHASHSEED", "0");

static MYSQL: [Client; 12] = [
    mysql(Family::Python, "mariadb", "via_mariadb.py"),
    // MySQL's own C library, which its extension brings.
    Client {
        environment: &[("CONNECTOR_C", "yes"), IN_ORDER],
        ..mysql(Family::Python, "libmysqlclient", "via_connector.py")
    },
    Client {
        environment: &[("CONNECTOR_C", "no"), IN_ORDER],
        ..mysql(Family::Python, "Connector/Python", "via_connector.py")
    },
    mysql(Family::Python, "mysqlclient", "via_mysqlclient.py"),
    mysql(Family::Python, "PyMySQL", "via_pymysql.py"),
    mysql(Family::Python, "aiomysql", "via_aiomysql.py"),
    mysql(Family::Python, "asyncmy", "via_asyncmy.py"),
    mysql(Family::Node, "mysql2", "via_mysql2.js"),
    mysql(Family::Node, "mariadb for Node", "via_mariadb.js"),
    mysql(Family::Java, "MariaDB Connector/J", "ViaMariaDb.java"),
    Client {
        package: "golang-github-go-sql-driver-mysql-dev",
        ..mysql(Family::Go, "Go go-sql-driver", "via_go_sql_driver.go")
    },
    mysql(Family::Rust, "mysql_async", "via_mysql_async"),
];

const fn both(name: &'static str, heading: &'static str) -> Feature {
    Feature { name, heading, at: At::Both }
}

const fn gateway(name: &'static str, heading: &'static str) -> Feature {
    Feature { name, heading, at: At::Gateway }
}

static OF_POSTGRESQL: [Feature; 11] = [
    both("login", "token"),
    gateway("handle", "handle"),
    both("simple", "simple"),
    both("prepared", "prepared"),
    both("pipeline", "pipeline"),
    both("copyIn", "COPY in"),
    both("copyOut", "COPY out"),
    both("cancel", "cancel"),
    both("largeIn", "large in"),
    both("largeOut", "large out"),
    both("reconnect", "reconnect"),
];

static OF_MYSQL: [Feature; 20] = [
    both("login", "token"),
    gateway("handle", "handle"),
    gateway("refused", "refusals"),
    both("query", "query"),
    both("types", "types"),
    both("prepared", "prepared"),
    both("multi", "multi"),
    both("procedure", "CALL"),
    both("stream", "stream"),
    both("cursor", "cursor"),
    both("largeIn", "large in"),
    both("largeOut", "large out"),
    both("longData", "long data"),
    both("transaction", "transactions"),
    both("kill", "KILL"),
    both("reset", "reset"),
    gateway("changeUser", "change user"),
    both("reconnect", "reconnect"),
    both("charset", "charsets"),
    both("orm", "SQLAlchemy"),
];
