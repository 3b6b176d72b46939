//! Three ways to the same MariaDB: the naked server over TLS, through haproxy, through Portcullis.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use testkit::stack::{API, Credential, MARIADB_SERVER, Stack};
use testkit::{process, program};

use super::haproxy::HaProxy;
use crate::processor::Processor;
use crate::sessions::{Door, Engine};
use crate::stacks;

/// Comes in around the gateway, over TLS, and is asked for nothing.
const USER: &str = "bench";

/// One way.
pub(crate) struct Way {
    pub(crate) name: &'static str,
    pub(crate) door: Door,
    /// What clients of MariaDB's own library read: where to go, as whom, with which token.
    options: PathBuf,
    /// The same for sysbench, which looks for certificates where it is started.
    folder: PathBuf,
    /// Process id of what stands between client and server.
    pub(crate) proxy: Option<u32>,
}

impl Way {
    /// What the proxy has computed so far; nothing where there is none.
    pub(crate) fn processor(&self) -> Result<Option<Processor>> {
        self.proxy.map(Processor::of).transpose()
    }

    /// A client of MariaDB's own that takes this way.
    pub(crate) fn client(&self, program: &str) -> Command {
        let mut command = program::clean(program);
        command.arg(format!("--defaults-file={}", self.options.display()));
        command
    }

    /// sysbench on this way.
    pub(crate) fn sysbench(&self, script: &str) -> Command {
        let mut command = program::clean("sysbench");
        command.current_dir(&self.folder).args(["--config-file=sysbench.conf", script]);
        command
    }
}

/// All of them, and what they stand on.
pub(crate) struct Ways {
    pub(crate) ways: [Way; 3],
    pub(crate) stack: Stack,
    _haproxy: HaProxy,
    _folder: tempfile::TempDir,
}

impl Ways {
    /// For so many sessions at once.
    pub(crate) fn start(sessions: usize) -> Result<Self> {
        let mut stack = stacks::for_sessions(sessions, Engine::MariaDb)?;
        let gateway = stack.server().identity().pid;
        let mariadb = stack.mariadb.as_ref().context("no MariaDB runs beside")?;
        mariadb.sql(
            "mysql",
            &format!(
                "create user '{USER}'@'127.0.0.1' identified by '' require ssl;\n\
                 grant all on orders.* to '{USER}'@'127.0.0.1';\n"
            ),
        )?;
        let haproxy = HaProxy::start(mariadb.port(), sessions)?;
        let (port, authority) = (mariadb.port(), mariadb.server_ca_file());
        let api = writer(&stack)?;
        let folder = tempfile::Builder::new().prefix("portcullis-bench-").tempdir()?;
        let reach = &stack.facts.reach;
        // sysbench wants a client certificate; nobody asks to see it.
        let direct = mariadb.direct().context("there is no way around the gateway")?;
        let shown = (direct.certificate.as_path(), direct.key.as_path());
        let account = |port| Account { port, ca: &authority, user: USER, token: None, shown };
        let portcullis =
            Account { port: reach.mysql_port, ca: &reach.ca, user: API, token: Some(&api), shown };
        let way = |name, account: &Account<'_>, door, proxy| -> Result<Way> {
            let folder = folder.path().join(name);
            account.write(&folder)?;
            Ok(Way { name, door, options: folder.join("client.cnf"), folder, proxy })
        };
        let door = |port| Door::mariadb((port, authority.clone()), USER, &stack);
        let ways = [
            way("naked", &account(port), door(port), None)?,
            way("haproxy", &account(haproxy.port), door(haproxy.port), Some(haproxy.pid()))?,
            way(
                "Portcullis",
                &portcullis,
                Door::portcullis(&stack, Engine::MariaDb)?,
                Some(gateway),
            )?,
        ];
        Ok(Self { ways, stack, _haproxy: haproxy, _folder: folder })
    }
}

/// The workload reads by itself; here it writes, too. Its token, by a handle.
fn writer(stack: &Stack) -> Result<String> {
    let applied = stack.facts.apply(&format!(
        "apiVersion: portcullis.dev/v1
kind: RoleAssignment
metadata: {{ name: {MARIADB_SERVER}-{API}-writes }}
spec: {{ principal: {{ application: {API} }}, role: {MARIADB_SERVER}.writer }}
"
    ))?;
    ensure!(applied.ok(), "{applied}");
    // sysbench's file of options cuts lines that are as long as a token.
    let mut command = stack.facts.api.token_command(Credential::Secret)?;
    program::run(command.arg("--handle"))?.expect_success()
}

struct Account<'a> {
    port: u16,
    ca: &'a Path,
    user: &'a str,
    token: Option<&'a str>,
    /// Certificate and key.
    shown: (&'a Path, &'a Path),
}

impl Account<'_> {
    /// Nobody else may read what is written: a token is in it.
    fn write(&self, folder: &Path) -> Result<()> {
        use std::io::Write as _;
        fs::create_dir(folder)?;
        let Self { port, ca, user, token, shown: (certificate, key) } = self;
        let named =
            [(*ca, "cacert.pem"), (*certificate, "client-cert.pem"), (*key, "client-key.pem")];
        for (file, name) in named {
            fs::copy(file, folder.join(name))?;
        }
        let password = token.unwrap_or_default();
        let ca = ca.display();
        let client = format!(
            "[client]\nprotocol = tcp\nhost = 127.0.0.1\nport = {port}\nuser = {user}\n\
             password = {password}\nssl\nssl-ca = {ca}\nssl-verify-server-cert\n"
        );
        process::private_file(&folder.join("client.cnf"))?.write_all(client.as_bytes())?;
        let sysbench = format!(
            "db-driver=mysql\nmysql-host=127.0.0.1\nmysql-port={port}\nmysql-user={user}\n\
             mysql-password={password}\nmysql-db=orders\nmysql-ssl=on\n"
        );
        process::private_file(&folder.join("sysbench.conf"))?.write_all(sysbench.as_bytes())?;
        Ok(())
    }
}
