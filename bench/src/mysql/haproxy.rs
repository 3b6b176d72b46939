//! haproxy, passing the encrypted stream through untouched: it can do no TLS of its own for this protocol, whose TLS begins
//! after a greeting in plain text. No relay that looks at what it carries can do less.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use testkit::process::{Reaper, Running};
use testkit::wait;

const PROGRAM: &str = "/usr/sbin/haproxy";

pub(crate) struct HaProxy {
    pub(crate) port: u16,
    process: Running,
    /// Ends it when we die without having done so.
    reaper: Reaper,
    _folder: tempfile::TempDir,
}

impl HaProxy {
    /// To this port, with room for so many clients.
    pub(crate) fn start(server: u16, clients: usize) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("portcullis-haproxy-").tempdir()?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let configuration = folder.path().join("haproxy.cfg");
        let text = format!(
            "global
    maxconn {room}
defaults
    mode tcp
    timeout connect 10s
    timeout client 1h
    timeout server 1h
listen mysql
    bind 127.0.0.1:{port}
    server database 127.0.0.1:{server}
",
            room = clients + 50,
        );
        fs::write(&configuration, text)?;
        let log = folder.path().join("haproxy.log");
        let mut reaper = Reaper::start()?;
        reaper.folder(folder.path())?;
        let mut command = Command::new(PROGRAM);
        // In the foreground, one process.
        let process = Running::start(command.arg("-db").arg("-f").arg(&configuration), &log)?;
        reaper.process(process.identity())?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        wait::try_until(Duration::from_secs(10), || TcpStream::connect(address).ok())
            .with_context(|| fs::read_to_string(&log).unwrap_or_default())?;
        Ok(Self { port, process, reaper, _folder: folder })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.identity().pid
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        match self.process.kill() {
            Ok(_) => self.reaper.dismiss(),
            Err(error) => eprintln!("haproxy stays: {error:#}"),
        }
    }
}
