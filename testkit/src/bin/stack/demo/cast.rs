//! Who acts in the demo, and from which terminal.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;
use testkit::program;
use testkit::stack::{Facts, Person, Reach, Stack};

use crate::stage::Actor;

/// What the workload's pgbench runs.
const ORDER_TOTAL: &str = "\\set customer random(1, 5000)
select o.id, o.status, sum(l.quantity * l.unit_price) as total
from orders as o join order_lines as l on l.order_id = o.id
where o.customer_id = :customer group by o.id;
";

/// What the developer runs with bind values: psql 15 cannot, pgbench can.
const BY_COUNTRY: &str = "\\set newest 4990
select name, city from customers where id > :newest and country = 'NL';
";

pub(crate) struct Cast {
    pub(crate) dev: Actor,
    pub(crate) approver: Actor,
    pub(crate) auditor: Actor,
    pub(crate) admin: Actor,
    /// On the host of database and gateway.
    pub(crate) operator: Actor,
    pub(crate) api: Actor,
    /// `psql` as the server's own superuser over the unix socket.
    pub(crate) superuser_psql: String,
    pub(crate) facts: Facts,
}

impl Cast {
    pub(crate) fn of(stack: &Stack) -> Result<Self> {
        let facts = stack.facts.clone();
        let superuser_psql = format!("{}psql -U postgres -d orders", as_account(stack));
        fs::write(facts.dev.home.join("newest.sql"), BY_COUNTRY)?;
        fs::write(facts.folder.join("order_total.sql"), ORDER_TOTAL)?;
        Ok(Self {
            dev: person("dev", &facts.dev),
            approver: person("approver", &facts.approver),
            auditor: person("auditor", &facts.auditor),
            admin: admin(stack),
            operator: operator(stack),
            api: api(&facts),
            superuser_psql,
            facts,
        })
    }

    /// `psql` with a token as the password, as a person types it.
    pub(crate) fn psql(sql: &str) -> String {
        format!("PGPASSWORD=$(portcullis token) psql -c \"{sql}\"")
    }

    /// The one request of this person that waits for a decision.
    pub(crate) fn requested(&self, user: &str) -> Result<String> {
        let activations = self.facts.admin.run(&["get", "activations", "-o", "json"])?.json()?;
        let waiting = activations.as_array().into_iter().flatten().find(|activation| {
            let text = |pointer| activation.pointer(pointer).and_then(Value::as_str);
            let state = text("/status/state").unwrap_or("requested");
            text("/spec/user") == Some(user) && state == "requested"
        });
        let name = waiting.and_then(|activation| activation.pointer("/metadata/name")?.as_str());
        Ok(name.with_context(|| format!("no request of {user} waits"))?.to_owned())
    }

    /// The log's public key, as anyone may know it.
    pub(crate) fn audit_key(&self) -> Result<String> {
        let checkpoint = ["audit", "checkpoint", "-o", "json"];
        let checkpoint = self.facts.auditor.run(&checkpoint)?.json()?;
        let key = checkpoint.get("publicKey").and_then(Value::as_str);
        Ok(key.with_context(|| format!("no public key in {checkpoint}"))?.to_owned())
    }

    /// What a stranger runs, offline, with a copy of the log.
    pub(crate) fn verify(&self, log: &Path, key: &str, checkpoint: &Path) -> Command {
        let mut command = program::clean(&self.facts.reach.binary);
        command.args(["audit", "verify", "--public-key", key]);
        command.arg("--checkpoint").arg(checkpoint).arg("--directory").arg(log);
        command
    }
}

/// Switches to the account that the server runs as, when that is another.
fn as_account(stack: &Stack) -> String {
    if rustix::process::geteuid().is_root() {
        format!("runuser -u {} -- ", stack.postgres.os_user())
    } else {
        String::new()
    }
}

fn person(name: &'static str, person: &Person) -> Actor {
    let mut environment = client(&person.reach, &person.user);
    environment.push(("PORTCULLIS_HOME".to_owned(), person.home.display().to_string()));
    Actor { name, environment, folder: person.home.clone() }
}

/// On the database's host, where enrolment is done.
fn admin(stack: &Stack) -> Actor {
    let mut admin = person("admin", &stack.facts.admin);
    for (name, folder) in [
        ("ORDERS_DATA", stack.postgres.data_directory()),
        ("ORDERS_SOCKET", stack.postgres.socket_directory()),
    ] {
        admin.environment.push((name.to_owned(), folder.display().to_string()));
    }
    if let Some(mariadb) = &stack.mariadb {
        for (name, place) in [
            ("MARIADB_DATA", mariadb.data_directory()),
            ("MARIADB_SOCKET", mariadb.socket()),
            ("MARIADB_OPTIONS", mariadb.configuration_directory()),
        ] {
            admin.environment.push((name.to_owned(), place.display().to_string()));
        }
    }
    admin
}

fn api(facts: &Facts) -> Actor {
    let workload = &facts.api;
    let mut environment = client(&workload.reach, &workload.application);
    let certificate = workload.certificate.as_deref().unwrap_or(Path::new(""));
    environment.extend(
        [
            ("PORTCULLIS_HOME", facts.folder.join("nobody").display().to_string()),
            ("AZURE_AUTHORITY_HOST", workload.reach.url.clone()),
            ("AZURE_TENANT_ID", workload.reach.tenant.clone()),
            ("AZURE_CLIENT_ID", workload.client_id.clone()),
            ("AZURE_CLIENT_CERTIFICATE_PATH", certificate.display().to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    Actor { name: "orders-api", environment, folder: facts.folder.clone() }
}

fn operator(stack: &Stack) -> Actor {
    let environment = [
        ("PATH", path(&stack.facts.reach)),
        ("PGHOST", stack.postgres.socket_directory().display().to_string()),
        ("PGPORT", stack.postgres.port().to_string()),
        ("CONFIG", stack.facts.configuration().display().to_string()),
        ("PGDATA", stack.postgres.data_directory().display().to_string()),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value)).to_vec();
    Actor { name: "operator", environment, folder: PathBuf::from("/") }
}

fn client(reach: &Reach, user: &str) -> Vec<(String, String)> {
    [
        ("PATH", path(reach)),
        ("PORTCULLIS_URL", reach.url.clone()),
        ("PORTCULLIS_CA", reach.ca.display().to_string()),
        ("PGHOST", "localhost".to_owned()),
        ("PGPORT", reach.port.to_string()),
        ("PGDATABASE", reach.database.clone()),
        ("PGUSER", user.to_owned()),
        ("PGSSLMODE", "verify-full".to_owned()),
        ("PGSSLROOTCERT", reach.ca.display().to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

/// With the binary under test first.
fn path(reach: &Reach) -> String {
    let folder = reach.binary.parent().unwrap_or(Path::new("/")).display();
    format!("{folder}:{}", program::setting("PATH").unwrap_or_default())
}
