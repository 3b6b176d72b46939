//! A proxy that is compared with: a process with a folder of its own, both gone when it is dropped.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;
use testkit::process::{Reaper, Running};
use testkit::wait;

const LISTENS_WITHIN: Duration = Duration::from_secs(10);

pub(crate) struct Peer {
    name: &'static str,
    process: Running,
    /// Ends it when we die without having done so.
    reaper: Reaper,
    _folder: TempDir,
}

impl Peer {
    /// A port that nobody listens on.
    pub(crate) fn free_port() -> Result<u16> {
        Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
    }

    /// Starts the program, whose files lie in this folder, and waits until it listens.
    pub(crate) fn start(
        (name, port): (&'static str, u16),
        command: &mut Command,
        folder: TempDir,
    ) -> Result<Self> {
        let log = folder.path().join("log");
        let mut reaper = Reaper::start()?;
        reaper.folder(folder.path())?;
        let process = Running::start(command, &log)?;
        reaper.process(process.identity())?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        wait::try_until(LISTENS_WITHIN, || TcpStream::connect(address).ok())
            .with_context(|| fs::read_to_string(&log).unwrap_or_default())?;
        Ok(Self { name, process, reaper, _folder: folder })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.identity().pid
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        match self.process.kill() {
            Ok(_) => self.reaper.dismiss(),
            Err(error) => eprintln!("{} stays: {error:#}", self.name),
        }
    }
}
