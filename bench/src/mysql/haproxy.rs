//! haproxy, passing the encrypted stream through untouched: it can do no TLS of its own for this protocol, whose TLS begins
//! after a greeting in plain text. No relay that looks at what it carries can do less.

use std::fs;
use std::process::Command;

use anyhow::Result;

use crate::peer::Peer;

const PROGRAM: &str = "/usr/sbin/haproxy";

pub(crate) struct HaProxy {
    pub(crate) port: u16,
    peer: Peer,
}

impl HaProxy {
    /// To this port, with room for so many clients.
    pub(crate) fn start(server: u16, clients: usize) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("portcullis-haproxy-").tempdir()?;
        let port = Peer::free_port()?;
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
        let mut command = Command::new(PROGRAM);
        // In the foreground, one process.
        command.arg("-db").arg("-f").arg(&configuration);
        Ok(Self { port, peer: Peer::start(("haproxy", port), &mut command, folder)? })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.peer.pid()
    }
}
