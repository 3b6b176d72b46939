//! What systemd is told: ready, stopping, alive (sd_notify(3)). Without systemd nobody is told anything.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use runtime::{Clock, Environment, Shutdown, Tasks};
use tracing::warn;

/// Where systemd listens.
#[derive(Clone, Debug)]
struct Notifier(String);

/// Says that the service is ready; from then on, until the last session has ended, that it lives.
pub(super) fn ready(tasks: &Tasks, clock: &Clock, closing: &Shutdown) {
    let environment = Environment::read();
    let Some(socket) = environment.notify_socket else { return };
    let notifier = Notifier(socket);
    notifier.say("READY=1");
    let (shutdown, closing, clock) = (tasks.shutdown().clone(), closing.clone(), clock.clone());
    // Twice as often as is asked for. Without a watchdog only the stop is told.
    let every = environment.watchdog_micros.map(|micros| Duration::from_micros(micros) / 2);
    drop(tasks.spawn("notify", async move {
        let alive = async {
            match every {
                Some(every) => loop {
                    notifier.say("WATCHDOG=1");
                    clock.sleep(every).await;
                },
                None => std::future::pending::<()>().await,
            }
        };
        let stopping = async {
            shutdown.requested().await;
            notifier.say("STOPPING=1");
            closing.requested().await;
        };
        tokio::select! {
            () = alive => {}
            () = stopping => {}
        }
    }));
}

impl Notifier {
    /// A service that cannot tell goes on: systemd notices by itself.
    fn say(&self, state: &str) {
        if let Err(error) = self.send(state) {
            warn!(%error, state, "systemd could not be told");
        }
    }

    /// An address that begins with `@` is in the abstract namespace.
    fn send(&self, state: &str) -> io::Result<()> {
        let address = match self.0.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(&self.0)?,
        };
        UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_arrive_at_a_path_and_at_an_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify").to_str().unwrap().to_owned();
        let name = format!("portcullis-{}", folder.path().display());
        let listeners = [
            (path.clone(), UnixDatagram::bind(&path).unwrap()),
            (
                format!("@{name}"),
                UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap(),
            ),
        ];
        for (address, listener) in listeners {
            Notifier(address).send("READY=1").unwrap();
            let mut heard = [0; 64];
            let length = listener.recv(&mut heard).unwrap();
            assert_eq!(&heard[..length], b"READY=1");
        }
        assert!(Notifier("/nowhere/notify".to_owned()).send("READY=1").is_err());
    }
}
