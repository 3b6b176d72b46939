//! The two servers: one behind the gateway, and one of the same version with the same settings, which the same account
//! enters directly over TLS with a client certificate.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use testkit::mariadb::{self, MariaDb};
use testkit::program;
use testkit::server::{DirectAccess, Fsync};
use testkit::stack::{Beside, Credential, OWNER, Options, Privileges, Stack, Workload};

use crate::place::{Place, Way};

/// As the suite's own `default_mysqld.cnf` has it, where the results depend on it.
const SETTINGS: &[(&str, &str)] = &[
    ("character_set_server", "latin1"),
    ("collation_server", "latin1_swedish_ci"),
    ("default_time_zone", "+03:00"),
    ("default_storage_engine", "myisam"),
    ("use_stat_tables", "preferably"),
    ("histogram_type", "json_hb"),
    ("log_bin_trust_function_creators", "1"),
    ("sort_buffer_size", "256K"),
    ("max_heap_table_size", "1M"),
    ("innodb_lru_scan_depth", "100"),
    ("slave_net_timeout", "120"),
    ("plugin_maturity", "unknown"),
    ("port_open_timeout", "10"),
    ("secure_file_priv", ""),
];

/// The time zones that tests know.
const TIME_ZONES: &str = "/usr/share/mysql/mysql_test_data_timezone.sql";

/// Both.
#[derive(Debug)]
pub(crate) struct Ground {
    stack: Stack,
    direct: MariaDb,
    suite: PathBuf,
    gateway: Way,
    directly: Way,
}

impl Ground {
    pub(crate) fn prepare(suite: &Path) -> Result<Self> {
        println!("Starting the gateway and the two servers …");
        let settings: Vec<(String, String)> = SETTINGS
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let stack = Stack::start(&Options {
            privileges: Privileges::TestStack,
            beside: Beside::MariaDb,
            mariadb: settings.clone(),
            ..Options::default()
        })?;
        let owner = stack.facts.owner.as_ref().context("the stack has no superuser")?;
        let behind = stack.mariadb.as_ref().context("no MariaDB runs beside")?;
        let direct = MariaDb::start_with(&mariadb::Options {
            fsync: Fsync::Off,
            direct_access: DirectAccess::Superuser,
            settings,
        })?;
        let gateway = through(&stack, owner)?;
        // The first login makes the account.
        let token = owner.token(Credential::Secret)?;
        stack.facts.mariadb(OWNER, &token, "select 1")?.expect_success()?;
        let directly = same_account(behind, &direct)?;
        for server in [behind, &direct] {
            prepare(server)?;
        }
        Ok(Self { stack, direct, suite: suite.to_owned(), gateway, directly })
    }

    fn behind(&self) -> Result<&MariaDb> {
        self.stack.mariadb.as_ref().context("no MariaDB runs beside")
    }

    /// Through the gateway, and directly.
    pub(crate) fn places(&self) -> Result<(Place<'_>, Place<'_>)> {
        let (gateway, directly) = (self.gateway.clone(), self.directly.clone());
        Ok((
            Place::prepare("through the gateway", gateway, self.behind()?, &self.suite)?,
            Place::prepare("directly", directly, &self.direct, &self.suite)?,
        ))
    }

    /// The servers' version.
    pub(crate) fn version(&self) -> Result<String> {
        let version = self.direct.sql("mysql", "select version()")?;
        Ok(version.split('-').next().unwrap_or_default().to_owned())
    }
}

fn through(stack: &Stack, owner: &Workload) -> Result<Way> {
    let mut handle = owner.token_command(Credential::Secret)?;
    let handle = program::run(handle.arg("--handle"))?.expect_success()?;
    Ok(Way {
        port: stack.facts.reach.mysql_port,
        user: OWNER.to_owned(),
        password: Some(handle),
        authority: stack.facts.reach.ca.clone(),
        certificate: None,
    })
}

/// The account that the gateway made, with its role and all that it holds, on the other server too.
fn same_account(behind: &MariaDb, direct: &MariaDb) -> Result<Way> {
    let account = format!("'{OWNER}'@'127.0.0.1'");
    let role = behind
        .sql("mysql", &format!("select default_role from mysql.user where user = '{OWNER}'"))?;
    let access = direct.direct().context("the server has no way around the gateway")?;
    let access = access.for_user(OWNER)?;
    direct.sql(
        "mysql",
        &format!(
            "create role `{role}`;\ncreate user {account} require subject '/CN={OWNER}';\n\
             grant `{role}` to {account};\nset default role `{role}` for {account};\n\
             grant all privileges on *.* to {account} with grant option;"
        ),
    )?;
    share(behind, direct)?;
    share(direct, behind)?;
    Ok(Way {
        port: direct.port(),
        user: OWNER.to_owned(),
        password: None,
        authority: direct.server_ca_file(),
        certificate: Some((access.certificate, access.key)),
    })
}

/// Roles and accounts of the one that the other has not: tests show whole tables of privileges, and how many rows they have.
fn share(from: &MariaDb, to: &MariaDb) -> Result<()> {
    for what in ["role", "user"] {
        let (is_role, name) = match what {
            "role" => ("Y", "concat('`', user, '`')"),
            _ => ("N", "concat(quote(user), '@', quote(host))"),
        };
        let names = format!("select {name} from mysql.user where is_role = '{is_role}'");
        let known = to.sql("mysql", &names)?;
        let known: BTreeSet<&str> = known.lines().collect();
        for name in from.sql("mysql", &names)?.lines().filter(|name| !known.contains(name)) {
            let create = match what {
                "role" => format!("create role {name}"),
                _ => from.sql("mysql", &format!("show create user {name}"))?,
            };
            let grants = from.sql("mysql", &format!("show grants for {name}"))?;
            let statements: Vec<&str> =
                std::iter::once(create.as_str()).chain(grants.lines()).collect();
            to.sql("mysql", &statements.join(";\n"))?;
        }
    }
    Ok(())
}

/// What the suite's own runner makes before the first test. Nothing looks at warnings in the server's log here, so nothing
/// has to be suppressed.
fn prepare(server: &MariaDb) -> Result<()> {
    let sql = "create database if not exists test character set latin1;\n\
               create database if not exists mtr character set latin1;\n\
               create procedure mtr.add_suppression(in pattern varchar(255)) begin end;\n\
               drop database if exists orders;";
    server.sql("mysql", sql)?;
    let zones = std::fs::read_to_string(TIME_ZONES).context(TIME_ZONES)?;
    server.sql("mysql", &zones).map(drop)
}
