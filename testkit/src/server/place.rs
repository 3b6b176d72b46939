//! Where a throw-away server lies and listens.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{Account, Direct, leftovers, tls};

/// A server's directory, its port and who it runs as.
#[derive(Debug)]
pub struct Place {
    pub(crate) directory: PathBuf,
    pub(crate) port: u16,
    pub(crate) account: Account,
    pub(crate) server_ca: String,
    pub(crate) direct: Option<Direct>,
    pub(crate) detached: bool,
}

impl Place {
    /// A new one, for a server that listens nowhere yet.
    pub(crate) fn create(prefix: &str, account: Account) -> Result<Self> {
        Ok(Self {
            directory: leftovers::directory(prefix)?,
            port: 0,
            account,
            server_ca: String::new(),
            direct: None,
            detached: false,
        })
    }

    /// One whose server was left running.
    pub(crate) fn attach(directory: &Path, port: u16, account: Account) -> Result<Self> {
        Ok(Self {
            directory: directory.to_owned(),
            port,
            account,
            server_ca: fs::read_to_string(directory.join("server-ca.pem"))?,
            direct: Direct::open(directory)?,
            detached: true,
        })
    }

    /// Puts the server's certificate and key into this folder.
    pub(crate) fn certify(&mut self, folder: &Path) -> Result<()> {
        let identity = tls::Identity::create()?;
        fs::write(folder.join("server.crt"), &identity.chain)?;
        fs::write(folder.join("server.key"), &identity.key)?;
        fs::write(self.server_ca_file(), &identity.authority)?;
        self.server_ca = identity.authority;
        Ok(())
    }

    /// Leaves the server running after this process.
    pub fn detach(&mut self) -> Result<PathBuf> {
        leftovers::unmark(&self.directory)?;
        self.detached = true;
        Ok(self.directory.clone())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// All of it.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// `PGDATA`, `datadir`.
    pub fn data_directory(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// A `tmpdir` of its own: a server of the family of MySQL that starts removes the temporary tables that it finds there,
    /// those of others that run too.
    pub(crate) fn make_temporary_directory(&self) -> Result<()> {
        Ok(fs::create_dir(self.temporary_directory())?)
    }

    pub(crate) fn temporary_directory(&self) -> PathBuf {
        self.directory.join("tmp")
    }

    /// The server's own log.
    pub fn log(&self) -> PathBuf {
        self.directory.join("server.log")
    }

    /// The operating system user that it runs as.
    pub fn os_user(&self) -> &str {
        &self.account.name
    }

    /// PEM of the authority that signed the server's certificate.
    pub fn server_ca(&self) -> &str {
        &self.server_ca
    }

    /// The file with [`Place::server_ca`].
    pub fn server_ca_file(&self) -> PathBuf {
        self.directory.join("server-ca.pem")
    }

    /// The superuser's way around the gateway, when it was asked for.
    pub fn direct(&self) -> Option<&Direct> {
        self.direct.as_ref()
    }
}
