//! Ways to the same database.

use std::process::Command;

use anyhow::{Context, Result};
use testkit::program;
use testkit::stack::{Credential, Stack};

use crate::pg::pgbouncer::PgBouncer;
use crate::processor::Processor;

/// One way.
pub(crate) struct Route {
    pub(crate) name: &'static str,
    environment: Vec<(&'static str, String)>,
    /// Process id of what stands between client and server.
    proxy: Option<u32>,
}

impl Route {
    /// Straight to the server, over TLS with a client certificate.
    pub(crate) fn naked(stack: &Stack) -> Result<Self> {
        let direct = stack.postgres.direct().context("there is no way around the gateway")?;
        let environment = vec![
            ("PGHOST", "localhost".to_owned()),
            ("PGPORT", stack.postgres.port().to_string()),
            ("PGUSER", "postgres".to_owned()),
            ("PGSSLROOTCERT", stack.postgres.server_ca_file().display().to_string()),
            ("PGSSLCERT", direct.certificate.display().to_string()),
            ("PGSSLKEY", direct.key.display().to_string()),
        ];
        Ok(Self { name: "naked", environment, proxy: None })
    }

    pub(crate) fn pgbouncer(stack: &Stack, pgbouncer: &PgBouncer) -> Self {
        let (user, password) = pgbouncer.client;
        let environment = vec![
            ("PGHOST", "localhost".to_owned()),
            ("PGPORT", pgbouncer.port.to_string()),
            ("PGUSER", user.to_owned()),
            ("PGPASSWORD", password.to_owned()),
            ("PGSSLROOTCERT", stack.postgres.server_ca_file().display().to_string()),
        ];
        Self { name: "pgbouncer", environment, proxy: Some(pgbouncer.pid()) }
    }

    pub(crate) fn portcullis(stack: &mut Stack) -> Result<Self> {
        let proxy = Some(stack.server().identity().pid);
        let owner = stack.facts.owner.as_ref().context("the stack has no superuser")?;
        let environment = vec![
            ("PGHOST", "localhost".to_owned()),
            ("PGPORT", owner.reach.port.to_string()),
            ("PGUSER", owner.application.clone()),
            ("PGPASSWORD", owner.token(Credential::Secret)?),
            ("PGSSLROOTCERT", owner.reach.ca.display().to_string()),
        ];
        Ok(Self { name: "Portcullis", environment, proxy })
    }

    /// What the proxy has computed so far; nothing where there is none.
    pub(crate) fn processor(&self) -> Result<Option<Processor>> {
        self.proxy.map(Processor::of).transpose()
    }

    /// A client that takes this way.
    pub(crate) fn client(&self, program: &str) -> Command {
        let mut command = program::clean(program);
        command.env("PGDATABASE", "orders").env("PGSSLMODE", "verify-full");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}
