//! Debian packages that the demo and the tests stand on, installed when they are missing.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell;

/// What a command needs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum For {
    Demo,
    Tests,
    Bench,
    Conformance,
    /// PostgreSQL's own suites.
    Suites,
    /// MariaDB's own suite.
    MariaDbSuite,
}

struct Need {
    package: &'static str,
    /// Any of these present means that it is installed. `*` stands for one directory.
    files: &'static [&'static str],
    by: &'static [For],
}

const EVERYONE: &[For] =
    &[For::Demo, For::Tests, For::Bench, For::Conformance, For::Suites, For::MariaDbSuite];

const NEEDS: &[Need] = &[
    Need { package: "postgresql", files: &["/usr/lib/postgresql/*/bin/postgres"], by: EVERYONE },
    Need { package: "postgresql-client", files: &["/usr/bin/psql"], by: EVERYONE },
    Need {
        package: "postgresql-contrib", // pgbench
        files: &["/usr/bin/pgbench", "/usr/lib/postgresql/*/bin/pgbench"],
        by: EVERYONE,
    },
    Need { package: "mariadb-server", files: &["/usr/sbin/mariadbd"], by: EVERYONE },
    Need { package: "mariadb-client", files: &["/usr/bin/mariadb"], by: EVERYONE },
    Need { package: "openssl", files: &["/usr/bin/openssl"], by: EVERYONE },
    Need {
        package: "python3-venv",
        files: &["/usr/lib/python3*/ensurepip"],
        by: &[For::Tests, For::Conformance],
    },
    Need { package: "strace", files: &["/usr/bin/strace"], by: &[For::Tests] },
    Need { package: "chromium", files: &["/usr/bin/chromium"], by: &[For::Tests] },
    Need { package: "chromium-driver", files: &["/usr/bin/chromedriver"], by: &[For::Tests] },
    // A browser's own store of authorities.
    Need { package: "libnss3-tools", files: &["/usr/bin/certutil"], by: &[For::Tests] },
    Need { package: "faketime", files: &["/usr/bin/faketime"], by: &[For::Tests] },
    Need { package: "gcc", files: &["/usr/bin/gcc"], by: &[For::Tests, For::Suites] },
    Need { package: "libmariadb-dev", files: &["/usr/bin/mariadb_config"], by: &[For::Tests] },
    Need {
        package: "libpq-dev",
        files: &["/usr/include/postgresql/libpq-fe.h"],
        by: &[For::Suites],
    },
    Need { package: "dpkg-dev", files: &["/usr/bin/dpkg-source"], by: &[For::Suites] },
    Need { package: "python3", files: &["/usr/bin/python3"], by: &[For::Tests, For::Suites] },
    Need {
        package: "pgbouncer",
        files: &["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"],
        by: &[For::Bench],
    },
    Need { package: "sysbench", files: &["/usr/bin/sysbench"], by: &[For::Bench] },
    Need { package: "haproxy", files: &["/usr/sbin/haproxy"], by: &[For::Bench] },
    Need {
        package: "mariadb-test",
        files: &["/usr/share/mysql/mysql-test/main"],
        by: &[For::MariaDbSuite],
    },
    Need { package: "nodejs", files: &["/usr/bin/node"], by: &[For::Tests, For::Conformance] },
    Need { package: "npm", files: &["/usr/bin/npm"], by: &[For::Tests, For::Conformance] },
    Need { package: "default-jdk-headless", files: &["/usr/bin/javac"], by: &[For::Conformance] },
    // psycopg2's source asks for it before it is unpacked.
    Need { package: "libpq-dev", files: &["/usr/bin/pg_config"], by: &[For::Conformance] },
    Need {
        package: "libpostgresql-jdbc-java",
        files: &["/usr/share/java/postgresql.jar"],
        by: &[For::Conformance],
    },
    // mysqlclient is built against it.
    Need {
        package: "libmariadb-dev",
        files: &["/usr/bin/mariadb_config"],
        by: &[For::Conformance],
    },
    Need { package: "gcc", files: &["/usr/bin/gcc"], by: &[For::Conformance] },
    Need { package: "pkg-config", files: &["/usr/bin/pkg-config"], by: &[For::Conformance] },
    Need {
        package: "python3-dev",
        files: &["/usr/include/python3*/Python.h"],
        by: &[For::Conformance],
    },
    Need {
        package: "libmariadb-java",
        files: &["/usr/share/java/mariadb-java-client.jar"],
        by: &[For::Conformance],
    },
    Need { package: "golang-go", files: &["/usr/bin/go"], by: &[For::Conformance] },
    Need {
        package: "golang-github-lib-pq-dev",
        files: &["/usr/share/gocode/src/github.com/lib/pq"],
        by: &[For::Conformance],
    },
    Need {
        package: "golang-github-jackc-pgx-v4-dev",
        files: &["/usr/share/gocode/src/github.com/jackc/pgx"],
        by: &[For::Conformance],
    },
    Need {
        package: "golang-github-go-sql-driver-mysql-dev",
        files: &["/usr/share/gocode/src/github.com/go-sql-driver/mysql"],
        by: &[For::Conformance],
    },
];

/// Installs what is missing, as root or through sudo.
pub(crate) fn ensure(purpose: For) -> Result<()> {
    let missing: Vec<&str> = NEEDS
        .iter()
        .filter(|need| need.by.contains(&purpose) && !need.files.iter().any(|file| present(file)))
        .map(|need| need.package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    println!("Installing what is missing with apt-get: {list}");
    if !Path::new("/usr/bin/apt-get").try_exists().unwrap_or(false) {
        bail!("this is not a Debian system; install the counterparts of these packages: {list}");
    }
    shell::run(apt().args(["update", "-q"])).context("cannot refresh the list of packages")?;
    shell::run(apt().args(["install", "-q", "-y", "--no-install-recommends"]).args(&missing))
        .with_context(|| format!("cannot install {list}"))
}

fn apt() -> Command {
    let mut command = if root() {
        Command::new("apt-get")
    } else {
        let mut sudo = Command::new("sudo");
        sudo.args(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        sudo
    };
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn root() -> bool {
    shell::output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

/// Whether a path exists; one `*` in it stands for any run of characters within one directory's name.
fn present(pattern: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else {
        return Path::new(pattern).try_exists().unwrap_or(false);
    };
    let (folder, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| {
        let named = entry.file_name().to_string_lossy().starts_with(prefix);
        let rest = after.trim_start_matches('/');
        named && entry.path().join(rest).try_exists().unwrap_or(false)
    })
}
