//! Where the agent listens: an address of this machine that no other machine reaches, in its own network namespace or in
//! one that has a name.

use std::fmt;
use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::mpsc;

use rustix::thread::{LinkNameSpaceType, gettid, move_into_link_name_space};

/// A loopback or link-local address, in a network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its name under `/run/netns`; absent: the agent's own.
    pub network: Option<String>,
    /// Port 0: any that is free.
    pub address: SocketAddr,
}

/// Why a text is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPlace {
    /// It has no address.
    #[error("write it like `127.0.0.1:40342`, or `NAMESPACE@169.254.169.254:80`")]
    Form,
    /// Other machines reach it.
    #[error("it is neither a loopback nor a link-local address: other machines could reach it")]
    Reachable,
}

impl FromStr for Place {
    type Err = InvalidPlace;

    fn from_str(text: &str) -> Result<Self, InvalidPlace> {
        let (network, address) = match text.split_once('@') {
            Some((network, address)) => (Some(network.to_owned()), address),
            None => (None, text),
        };
        if network.as_ref().is_some_and(|name| model::name::check(name).is_err()) {
            return Err(InvalidPlace::Form);
        }
        let address: SocketAddr = address.parse().map_err(|_| InvalidPlace::Form)?;
        let near = match address.ip() {
            IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local(),
        };
        if near { Ok(Self { network, address }) } else { Err(InvalidPlace::Reachable) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.network {
            Some(network) => write!(f, "{network}@{}", self.address),
            None => write!(f, "{}", self.address),
        }
    }
}

/// A place where the agent listens.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) listener: tokio::net::TcpListener,
    /// With the address in force.
    pub(crate) place: Place,
    /// The folder with the kernel's tables of the namespace.
    pub(crate) tables: PathBuf,
    /// While it lives, a thread stays in the namespace, through which the tables are read.
    _stay: Option<mpsc::SyncSender<()>>,
}

impl Place {
    pub(crate) fn bind(&self) -> io::Result<Bound> {
        let (listener, tables, stay) = match &self.network {
            None => (TcpListener::bind(self.address)?, PathBuf::from("/proc/self/net"), None),
            Some(network) => {
                let (listener, tables, stay) = bind_in(network, self.address)?;
                (listener, tables, Some(stay))
            }
        };
        listener.set_nonblocking(true)?;
        let place = Self { network: self.network.clone(), address: listener.local_addr()? };
        let listener = tokio::net::TcpListener::from_std(listener)?;
        Ok(Bound { listener, place, tables, _stay: stay })
    }
}

type InNamespace = (TcpListener, PathBuf, mpsc::SyncSender<()>);

/// A thread of its own goes into the namespace, makes the socket there and stays.
fn bind_in(network: &str, address: SocketAddr) -> io::Result<InNamespace> {
    let file = File::open(Path::new("/run/netns").join(network))?;
    let (made, wait) = mpsc::sync_channel(1);
    let (stay, leave) = mpsc::sync_channel::<()>(1);
    std::thread::Builder::new().name(format!("in {network}")).spawn(move || {
        let inside = move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(io::Error::from)
            .and_then(|()| TcpListener::bind(address));
        let thread = gettid().as_raw_nonzero();
        let tables = PathBuf::from(format!("/proc/self/task/{thread}/net"));
        if made.send(inside.map(|listener| (listener, tables))).is_ok() {
            // Ends with an error once the other end is gone.
            let _ended = leave.recv();
        }
    })?;
    let (listener, tables) = wait.recv().map_err(io::Error::other)??;
    Ok((listener, tables, stay))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_one_that_no_other_machine_reaches() {
        for text in ["127.0.0.1:80", "[::1]:0", "web@169.254.169.254:80"] {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), text);
        }
        for text in ["0.0.0.0:80", "10.0.0.1:80", "[::]:80", "web@192.0.2.1:80"] {
            assert_eq!(text.parse::<Place>(), Err(InvalidPlace::Reachable), "{text}");
        }
        for text in ["", "127.0.0.1", "a/b@127.0.0.1:80", "@127.0.0.1:80"] {
            assert_eq!(text.parse::<Place>(), Err(InvalidPlace::Form), "{text}");
        }
    }
}
