//! pgbouncer, set up as Portcullis is: TLS on both sides, one server connection a client.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use testkit::postgres::Account;
use testkit::stack::Stack;

use crate::peer::Peer;

/// Whom it lets in, and how it goes to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Logins {
    /// Anyone. It has a client certificate for the server, and hands kept server connections on.
    Kept,
    /// Who proves a password by SCRAM, and by SCRAM it goes on, on a server connection for this client only. Its file has
    /// the password as the second field.
    Scram(Secret),
}

/// What its file of users holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Secret {
    Password,
    /// What the server itself keeps instead of the password.
    Verifier,
}

/// Who logs in by SCRAM.
const USER: &str = "bench";
const PASSWORD: &str = "throw-away, on loopback";

pub(crate) struct PgBouncer {
    pub(crate) port: u16,
    /// User and password with which clients come.
    pub(crate) client: (&'static str, &'static str),
    peer: Peer,
}

impl PgBouncer {
    /// With room for so many clients.
    pub(crate) fn start(stack: &Stack, clients: usize, logins: Logins) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("portcullis-pgbouncer-").tempdir_in("/tmp")?;
        let port = Peer::free_port()?;
        let configuration = folder.path().join("pgbouncer.ini");
        let (ways, client) = match logins {
            Logins::Kept => (kept(stack)?, ("postgres", "")),
            Logins::Scram(secret) => (scram(stack, folder.path(), secret)?, (USER, PASSWORD)),
        };
        fs::write(&configuration, format!("{ways}{}", settings(stack, (port, clients))))?;
        let mode = if rustix::process::geteuid().is_root() { 0o755 } else { 0o700 };
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode))?;

        // It refuses to run as root, and must be able to read the server's key.
        let account = Account::of_package("postgres")?;
        let mut command = account.command(&program()?);
        command.arg(&configuration);
        Ok(Self { port, client, peer: Peer::start(("pgbouncer", port), &mut command, folder)? })
    }

    /// `setpriv` becomes the program that it starts, so this is pgbouncer's own.
    pub(crate) fn pid(&self) -> u32 {
        self.peer.pid()
    }
}

fn kept(stack: &Stack) -> Result<String> {
    let direct = stack.postgres.direct().context("there is no way around the gateway")?;
    let (key, certificate) = (readable(&direct.key, stack)?, readable(&direct.certificate, stack)?);
    Ok(format!(
        "[databases]
orders = host=localhost port={server} dbname=orders user=postgres
[pgbouncer]
auth_type = any
server_tls_cert_file = {certificate}
server_tls_key_file = {key}
",
        server = stack.postgres.port(),
        certificate = certificate.display(),
        key = key.display(),
    ))
}

/// The server learns of the user and its password, too.
fn scram(stack: &Stack, folder: &Path, secret: Secret) -> Result<String> {
    let postgres = &stack.postgres;
    let exists = format!("select count(*) from pg_roles where rolname = '{USER}'");
    if postgres.psql("orders", &exists)? == "0" {
        let role = format!(
            "create role {USER} login password '{PASSWORD}' in role pg_read_all_data; \
             grant connect on database orders to {USER}"
        );
        postgres.psql("orders", &role)?;
        let hba = postgres.data_directory().join("pg_hba.conf");
        let rules = fs::read_to_string(&hba)?;
        let rule = format!("hostssl orders {USER} 127.0.0.1/32 scram-sha-256\n");
        fs::write(&hba, format!("{rule}{rules}"))?;
        postgres.reload()?;
    }
    let verifier = format!("select rolpassword from pg_authid where rolname = '{USER}'");
    let known = match secret {
        Secret::Password => PASSWORD.to_owned(),
        Secret::Verifier => postgres.psql("orders", &verifier)?,
    };
    let users = folder.join("users.txt");
    fs::write(&users, format!("\"{USER}\" \"{known}\"\n"))?;
    Ok(format!(
        "[databases]
orders = host=localhost port={server} dbname=orders
[pgbouncer]
auth_type = scram-sha-256
auth_file = {users}
server_lifetime = 0
",
        server = postgres.port(),
        users = users.display(),
    ))
}

fn settings(stack: &Stack, (port, clients): (u16, usize)) -> String {
    format!(
        "listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
pool_mode = session
max_client_conn = {room}
default_pool_size = {room}
client_tls_sslmode = require
client_tls_cert_file = {data}/server.crt
client_tls_key_file = {data}/server.key
server_tls_sslmode = verify-full
server_tls_ca_file = {ca}
log_connections = 0
log_disconnections = 0
",
        room = clients + 50,
        data = stack.postgres.data_directory().display(),
        ca = stack.postgres.server_ca_file().display(),
    )
}

/// A copy that the account of the server can read.
fn readable(file: &Path, stack: &Stack) -> Result<PathBuf> {
    let name = file.file_name().context("a file without a name")?;
    let copy = stack.postgres.data_directory().join(name);
    fs::copy(file, &copy)?;
    let owner = fs::metadata(stack.postgres.data_directory())?;
    if rustix::process::geteuid().is_root() {
        use std::os::unix::fs::MetadataExt;
        chown(&copy, Some(owner.uid()), Some(owner.gid()))?;
    }
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o600))?;
    Ok(copy)
}

fn program() -> Result<PathBuf> {
    let places = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"];
    let found = places.iter().map(Path::new).find(|path| path.is_file());
    Ok(found.context("pgbouncer is not installed")?.to_owned())
}
