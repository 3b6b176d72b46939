//! pgbouncer, set up as Portcullis is: TLS on both sides, one server connection a client.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use testkit::postgres::Account;
use testkit::process::Running;
use testkit::stack::Stack;
use testkit::wait;

pub(crate) struct PgBouncer {
    pub(crate) port: u16,
    process: Running,
    _folder: tempfile::TempDir,
}

impl PgBouncer {
    pub(crate) fn start(stack: &Stack) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("portcullis-pgbouncer-").tempdir_in("/tmp")?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let configuration = folder.path().join("pgbouncer.ini");
        fs::write(&configuration, settings(stack, port)?)?;
        let mode = if rustix::process::geteuid().is_root() { 0o755 } else { 0o700 };
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode))?;

        // It refuses to run as root, and must be able to read the server's key.
        let account = Account::for_servers()?;
        let mut command = account.command(&program()?);
        let log = folder.path().join("pgbouncer.log");
        let process = Running::start(command.arg(&configuration), &log)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        wait::try_until(Duration::from_secs(10), || TcpStream::connect(address).ok())
            .with_context(|| fs::read_to_string(&log).unwrap_or_default())?;
        Ok(Self { port, process, _folder: folder })
    }

    /// `setpriv` becomes the program that it starts, so this is pgbouncer's own.
    pub(crate) fn pid(&self) -> u32 {
        self.process.identity().pid
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        if let Err(error) = self.process.kill() {
            eprintln!("pgbouncer stays: {error:#}");
        }
    }
}

fn settings(stack: &Stack, port: u16) -> Result<String> {
    let direct = stack.postgres.direct().context("there is no way around the gateway")?;
    let data = stack.postgres.data_directory();
    let (key, certificate) = (readable(&direct.key, stack)?, readable(&direct.certificate, stack)?);
    Ok(format!(
        "[databases]
orders = host=localhost port={server} dbname=orders user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = session
max_client_conn = 500
default_pool_size = 150
client_tls_sslmode = require
client_tls_cert_file = {data}/server.crt
client_tls_key_file = {data}/server.key
server_tls_sslmode = verify-full
server_tls_ca_file = {ca}
server_tls_cert_file = {certificate}
server_tls_key_file = {key}
log_connections = 0
log_disconnections = 0
",
        server = stack.postgres.port(),
        data = data.display(),
        ca = stack.postgres.server_ca_file().display(),
        certificate = certificate.display(),
        key = key.display(),
    ))
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
