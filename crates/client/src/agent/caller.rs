//! Who is at the other end of a connection: asked of the kernel, never of the client. What cannot be found out is
//! refused.
//!
//! The table of connections of the listener's network namespace names the account that made the client's socket and the
//! socket's inode; every process that has that inode open is a holder, in whichever thread. All of them count.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use model::Caller;
use model::caller::HOST_NETWORK;

/// Where namespaces have names (ip-netns(8)).
const NAMED_NETWORKS: &str = "/run/netns";

/// Why it cannot be said who is at the other end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unknown {
    #[error("the connection does not come from a process in this network namespace")]
    Elsewhere,
    #[error("no process holds the connection")]
    Nobody,
    #[error("the process {pid} went away")]
    Gone { pid: u32 },
    #[error("the kernel does not say: {0}")]
    Unreadable(#[from] io::Error),
}

/// The holders of the client's end of a TCP connection that was accepted at `ours` from `peer`; `network` is the folder
/// with the tables of the namespace in which it was accepted.
pub(crate) fn of_connection(
    network: &Path,
    (ours, peer): (SocketAddr, SocketAddr),
) -> Result<Vec<Caller>, Unknown> {
    let row = find(network, (ours, peer))?.ok_or(Unknown::Elsewhere)?;
    let names = Networks::read();
    let mut callers = BTreeSet::new();
    for pid in holders(row.inode)? {
        let caller = of_process(pid, &names)?;
        // Who made the socket counts as well as who holds it.
        callers.insert(Caller { uid: row.uid, ..caller.clone() });
        callers.insert(caller);
    }
    if callers.is_empty() {
        return Err(Unknown::Nobody);
    }
    Ok(callers.into_iter().collect())
}

/// A process, such as the one that connected to a Unix socket.
pub(crate) fn of_peer(pid: u32, uid: u32) -> Result<Vec<Caller>, Unknown> {
    let caller = of_process(pid, &Networks::read())?;
    let callers = BTreeSet::from([Caller { uid, ..caller.clone() }, caller]);
    Ok(callers.into_iter().collect())
}

#[derive(Debug, PartialEq, Eq)]
struct Row {
    local: SocketAddr,
    remote: SocketAddr,
    uid: u32,
    inode: u64,
}

fn find(network: &Path, (ours, peer): (SocketAddr, SocketAddr)) -> Result<Option<Row>, Unknown> {
    let (ours, peer) = (canonical(ours), canonical(peer));
    for table in ["tcp", "tcp6"] {
        let table = match File::open(network.join(table)) {
            // A kernel without IPv6.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            table => BufReader::new(table?),
        };
        for line in table.lines() {
            let found = row(&line?).filter(|row| row.local == peer && row.remote == ours);
            // A socket that nobody holds any more has no inode.
            if let Some(row) = found.filter(|row| row.inode != 0) {
                return Ok(Some(row));
            }
        }
    }
    Ok(None)
}

/// One line of `/proc/net/tcp` or `tcp6` (proc_pid_net(5)).
fn row(line: &str) -> Option<Row> {
    let mut words = line.split_ascii_whitespace();
    let local = address(words.nth(1)?)?;
    let remote = address(words.next()?)?;
    let uid = words.nth(4)?.parse().ok()?;
    let inode = words.nth(1)?.parse().ok()?;
    Some(Row { local, remote, uid, inode })
}

/// Words of memory as the processor has them, in hexadecimal.
fn address(text: &str) -> Option<SocketAddr> {
    let (words, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        let word = u32::from_str_radix(words.get(at * 8..at * 8 + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    let address = match words.len() {
        8 => IpAddr::from(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for (at, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(at)?);
            }
            IpAddr::from(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some(canonical(SocketAddr::new(address, port)))
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Every process in one of whose threads the socket is open. A process that cannot be looked into could be one: then
/// nobody is.
fn holders(inode: u64) -> Result<BTreeSet<u32>, Unknown> {
    let wanted = format!("socket:[{inode}]");
    let mut holders = BTreeSet::new();
    for process in numbered(Path::new("/proc"))? {
        let tasks = process.1.join("task");
        for (_, task) in unless_gone(numbered(&tasks))?.unwrap_or_default() {
            let descriptors = unless_gone(numbered(&task.join("fd")))?.unwrap_or_default();
            let open = descriptors.iter().any(|(_, descriptor)| {
                fs::read_link(descriptor).is_ok_and(|to| to.as_os_str() == wanted.as_str())
            });
            if open {
                holders.insert(process.0);
                break;
            }
        }
    }
    Ok(holders)
}

fn numbered(folder: &Path) -> io::Result<Vec<(u32, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if let Some(number) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
            found.push((number, entry.path()));
        }
    }
    Ok(found)
}

/// Processes end while they are looked at.
fn unless_gone<T>(outcome: io::Result<T>) -> io::Result<Option<T>> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

fn of_process(pid: u32, networks: &Networks) -> Result<Caller, Unknown> {
    let folder = PathBuf::from(format!("/proc/{pid}"));
    let look = || -> io::Result<(String, String, u64)> {
        let status = fs::read_to_string(folder.join("status"))?;
        let groups = fs::read_to_string(folder.join("cgroup"))?;
        Ok((status, groups, fs::metadata(folder.join("ns/net"))?.ino()))
    };
    let (status, groups, network) = unless_gone(look())?.ok_or(Unknown::Gone { pid })?;
    let uid = effective_uid(&status).ok_or(Unknown::Gone { pid })?;
    Ok(Caller { uid, cgroup: cgroup(&groups), network_namespace: networks.name(network) })
}

/// Of real, effective, saved and file system's, the second.
fn effective_uid(status: &str) -> Option<u32> {
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    uids.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The one of the unified hierarchy (cgroups(7)).
fn cgroup(groups: &str) -> String {
    groups.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default().to_owned()
}

/// Names of network namespaces, by inode.
struct Networks(Vec<(u64, String)>);

impl Networks {
    fn read() -> Self {
        let mut names = Vec::new();
        if let Ok(own) = fs::metadata("/proc/1/ns/net") {
            names.push((own.ino(), HOST_NETWORK.to_owned()));
        }
        for entry in fs::read_dir(NAMED_NETWORKS).into_iter().flatten().flatten() {
            if let (Ok(about), Some(name)) =
                (fs::metadata(entry.path()), entry.file_name().to_str())
            {
                names.push((about.ino(), name.to_owned()));
            }
        }
        Self(names)
    }

    fn name(&self, inode: u64) -> Option<String> {
        self.0.iter().find(|(known, _)| *known == inode).map(|(_, name)| name.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_row_of_the_kernels_table_is_read() {
        let line = "   1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1001        0 424242 1 0000000000000000 20 4 30 10 -1";
        let expected = Row {
            local: "127.0.0.1:8080".parse().unwrap(),
            remote: "127.0.0.1:50000".parse().unwrap(),
            uid: 1001,
            inode: 424_242,
        };
        assert_eq!(row(line), Some(expected));
        let mapped = "0000000000000000FFFF00000100007F:1F90";
        assert_eq!(address(mapped), Some("127.0.0.1:8080".parse().unwrap()));
        assert_eq!(
            address("00000000000000000000000001000000:0050"),
            Some("[::1]:80".parse().unwrap())
        );
        let heading = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
        assert_eq!(row(heading), None);
        for broken in ["", "1:", "0100007F", "0100007F:", "0100007é:1F90", "7F:1"] {
            assert_eq!(address(broken), None, "{broken}");
        }
    }

    #[test]
    fn the_other_end_of_a_connection_is_this_process() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, peer) = listener.accept().unwrap();
        let ends = (accepted.local_addr().unwrap(), peer);
        let callers = of_connection(Path::new("/proc/self/net"), ends).unwrap();
        let own = of_process(std::process::id(), &Networks::read()).unwrap();
        assert_eq!(callers, [own]);
        drop(client);
        let gone = of_connection(Path::new("/proc/self/net"), ends);
        assert!(matches!(gone, Err(Unknown::Elsewhere)), "{gone:?}");
    }

    #[test]
    fn the_second_uid_and_the_unified_group_are_meant() {
        assert_eq!(effective_uid("Name:\tx\nUid:\t1000\t1001\t1002\t1003\n"), Some(1001));
        assert_eq!(effective_uid("Name:\tx\n"), None);
        assert_eq!(cgroup("1:cpu:/a\n0::/system.slice/x.service\n"), "/system.slice/x.service");
        assert_eq!(cgroup("1:cpu:/a\n"), "");
    }
}
