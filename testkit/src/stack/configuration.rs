//! The files that a stack starts from: `portcullis.yaml`, and `examples/orders` with this stack's own server in it.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::federation;
use super::mariadb::{self, LISTENER};
use super::{Beside, Options, Privileges, REDIRECT_URI};
use crate::issuer::Issuer;
use crate::mariadb::MariaDb;
use crate::postgres::Postgres;

/// Ports that were free a moment ago.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    pub(super) https: u16,
    pub(super) postgresql: u16,
    pub(super) oauth: u16,
    pub(super) mysql: u16,
}

impl Ports {
    pub(super) fn find() -> Result<Self> {
        // All held at once, so that they differ.
        let probe = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port");
        let probes = [probe()?, probe()?, probe()?, probe()?];
        let port = |listener: &TcpListener| listener.local_addr().map(|address| address.port());
        let [https, postgresql, oauth, mysql] = &probes;
        let (https, postgresql) = (port(https)?, port(postgresql)?);
        Ok(Self { https, postgresql, oauth: port(oauth)?, mysql: port(mysql)? })
    }

    pub(super) fn origin(self) -> String {
        format!("https://localhost:{}", self.https)
    }
}

/// `portcullis.yaml`; its path.
pub(super) fn write(
    folder: &Path,
    ports: Ports,
    options: &Options,
    issuer: &Issuer,
) -> Result<PathBuf> {
    let Ports { https, postgresql, oauth, mysql } = ports;
    let path = folder.join("portcullis.yaml");
    let Options { limits, configuration, gateway, .. } = options;
    let log = if configuration.contains("log:") { "" } else { "log: { format: text }" };
    let beside = match options.beside {
        Beside::Nothing => String::new(),
        Beside::MariaDb => format!(
            "    - {{ name: {LISTENER}, protocol: mysql, listen: \"127.0.0.1:{mysql}\" }}\n"
        ),
    };
    let federation = federation::configuration(issuer);
    let text = format!(
        "dataDirectory: data
origin: {origin}
http: {{ listen: \"127.0.0.1:{https}\" }}
seed: seed
{configuration}
{log}
{federation}
audit: {{ checkpointFile: checkpoint.json }}
gateway:
  name: gateway-1
  addresses: [127.0.0.1]
  secrets: secrets
{gateway}
  limits: {{ {limits} }}
  listeners:
    - {{ name: postgresql, listen: \"127.0.0.1:{postgresql}\" }}
    - {{ name: postgresql-oauth, listen: \"127.0.0.1:{oauth}\", authentication: oauthbearer }}
{beside}",
        origin = ports.origin()
    );
    fs::write(&path, text)?;
    Ok(path)
}

/// `examples/orders`, with the address and authority of the stack's own server, and its workload's certificate.
pub(super) fn seed(
    folder: &Path,
    (postgres, beside): (&Postgres, Option<&MariaDb>),
    certificate: &str,
    options: &Options,
) -> Result<()> {
    let seed = folder.join("seed");
    fs::create_dir_all(&seed)?;
    for entry in fs::read_dir(examples()).context("the example folder is missing")? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let text = fs::read_to_string(&path)?;
        let text = match name {
            "1-directory.yaml" => directory(&text, certificate)?,
            "2-server.yaml" => server(&text, postgres, options)?,
            _ => text,
        };
        fs::write(seed.join(name), text)?;
    }
    if let Some(mariadb) = beside {
        let documents = mariadb::documents(mariadb, options);
        fs::write(seed.join("6-mariadb.yaml"), documents)?;
    }
    if options.privileges == Privileges::TestStack {
        fs::write(seed.join("5-test-stack.yaml"), TEST_STACK)?;
    }
    Ok(())
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/orders")
}

fn directory(text: &str, certificate: &str) -> Result<String> {
    let certificates = format!(
        "displayName: Orders API\n  redirectUris: [{REDIRECT_URI}]\n  certificates:\n    - |\n{}",
        indented(certificate.trim_end(), 6)
    );
    replaced(text, "displayName: Orders API", &certificates)
}

fn server(text: &str, postgres: &Postgres, options: &Options) -> Result<String> {
    let port = postgres.port();
    let port = format!("port: {port}\n  listeners: [postgresql, postgresql-oauth]");
    let text = replaced(text, "port: 5432", &port)?;
    let mode = format!("mode: {}", options.audit_mode);
    let mut text = replaced(&text, "mode: bounded", &mode)?;
    if options.privileges == Privileges::TestStack {
        // The server itself answers for databases that do not exist: PostgreSQL's own suite makes some.
        text =
            replaced(&text, "databases:\n    only: [orders]", "testStack: true\n  databases: any")?;
    }
    let (before, example) = text.split_once("  ca: |\n").context("the example names no `ca`")?;
    ensure!(
        example.trim_end().ends_with("-----END CERTIFICATE-----"),
        "the example's `ca` is not its last field"
    );
    Ok(format!("{before}  ca: |\n{}\n", indented(postgres.server_ca().trim_end(), 4)))
}

/// What nobody but a test stack has: a workload that is a superuser of its server.
const TEST_STACK: &str = "\
apiVersion: portcullis.dev/v1
kind: Application
metadata:
  name: orders-owner
spec:
  displayName: Superuser of the test stack's server
---
apiVersion: portcullis.dev/v1
kind: DatabaseRole
metadata:
  name: orders.superuser
spec:
  server: orders
  privileges: superuser
  replication: true
---
apiVersion: portcullis.dev/v1
kind: RoleAssignment
metadata:
  name: orders-owner-is-superuser
spec:
  principal: { application: orders-owner }
  role: orders.superuser
";

fn replaced(text: &str, old: &str, new: &str) -> Result<String> {
    ensure!(text.matches(old).count() == 1, "the example has `{old}` not once");
    Ok(text.replacen(old, new, 1))
}

pub(super) fn indented(text: &str, spaces: usize) -> String {
    let indent = " ".repeat(spaces);
    text.lines().map(|line| format!("{indent}{line}")).collect::<Vec<_>>().join("\n")
}
