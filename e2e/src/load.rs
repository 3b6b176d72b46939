//! Clients that take more than their share.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};
use testkit::process::Identity;
use testkit::stack::Reach;
use testkit::wait;

use crate::raw::Client;

pub const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
/// A TLS record that says it holds a ClientHello, and does not go on.
pub const HALF_A_CLIENT_HELLO: [u8; 9] = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc];
const CONNECTED_WITHIN: Duration = Duration::from_secs(5);

/// All of 127.0.0.0/8 is this machine: a source address for each number.
pub fn address(number: usize) -> Ipv4Addr {
    let part = |divisor: usize| u8::try_from(number / divisor % 250 + 1).unwrap_or(1);
    Ipv4Addr::new(127, part(250 * 250) + 1, part(250), part(1))
}

/// A connection from that address.
pub fn connect_from(source: Ipv4Addr, port: u16) -> Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    socket
        .connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into(), CONNECTED_WITHIN)?;
    Ok(socket.into())
}

/// So many connections from as many addresses, each of which says this and no more.
pub fn half_open(port: u16, count: usize, says: &[u8]) -> Result<Vec<TcpStream>> {
    let mut open = Vec::with_capacity(count);
    for number in 0..count {
        let mut stream = connect_from(address(number), port)
            .with_context(|| format!("the {number}th connection"))?;
        // Whom it closes already is one of those who have to go.
        drop(stream.write_all(says));
        open.push(stream);
    }
    Ok(open)
}

/// Whether the other side has closed it.
pub fn is_closed(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    drop(stream.set_nonblocking(true));
    let read = stream.read(&mut byte);
    drop(stream.set_nonblocking(false));
    match read {
        Ok(0) => true,
        Ok(_) => false,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

/// Threads that go on until this is dropped.
#[derive(Debug, Default)]
pub struct Crowd {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    pub done: Arc<AtomicUsize>,
}

impl Crowd {
    /// So many threads that do this over and over; what they do may fail.
    pub fn of(
        count: usize,
        act: impl Fn(&AtomicBool) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        let mut crowd = Self::default();
        let act = Arc::new(act);
        for _ in 0..count {
            let (act, over, done) =
                (Arc::clone(&act), Arc::clone(&crowd.over), Arc::clone(&crowd.done));
            crowd.threads.push(std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    done.fetch_add(usize::from(act(&over).is_ok()), Ordering::Relaxed);
                }
            }));
        }
        crowd
    }

    /// Logins, one after the other in each thread, each with a statement.
    pub fn logins(count: usize, reach: &Reach, token: &str) -> Self {
        let (reach, token) = (reach.clone(), token.to_owned());
        Self::of(count, move |_| {
            let mut client = Client::open(&reach, "orders-api", &token)?;
            client.query("select 1")?;
            client.read_until(b'Z').map(drop)
        })
    }

    /// Clients that send the beginning of a start-up message one byte at a time, each in so long.
    pub fn slow_logins(count: usize, reach: &Reach, each_byte: Duration) -> Self {
        let port = reach.port;
        Self::of(count, move |over| {
            let mut stream = crate::raw::connect(port)?;
            for byte in SSL_REQUEST.iter().chain(&HALF_A_CLIENT_HELLO) {
                if stream.write_all(&[*byte]).is_err() {
                    return Ok(());
                }
                pause(over, each_byte);
            }
            while !over.load(Ordering::Relaxed) && !is_closed(&mut stream) {
                pause(over, each_byte);
            }
            Ok(())
        })
    }

    /// Sessions that send a statement one byte at a time, each in so long.
    pub fn slow_sessions(count: usize, reach: &Reach, token: &str, each_byte: Duration) -> Self {
        let (reach, token) = (reach.clone(), token.to_owned());
        Self::of(count, move |over| {
            let mut client = Client::open(&reach, "orders-api", &token)?;
            for byte in b"Q\0\0\0\x0dselect 1\0" {
                client.write(&[*byte])?;
                pause(over, each_byte);
                if over.load(Ordering::Relaxed) {
                    return Ok(());
                }
            }
            client.read_until(b'Z').map(drop)
        })
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

fn pause(over: &AtomicBool, length: Duration) {
    // Whoever paused looks for itself whether it is over.
    let _over = wait::try_until(length, || over.load(Ordering::Relaxed).then_some(()));
}

/// Sessions that ask for gigabytes and read nothing.
pub fn never_reading(count: usize, reach: &Reach, token: &str) -> Result<Vec<Client>> {
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = Client::open(reach, "orders-api", token)?;
        client.query("select repeat('x', 10000) from generate_series(1, 1000000)")?;
        clients.push(client);
    }
    Ok(clients)
}

/// Bytes of a process's memory that are in use.
pub fn resident_bytes(process: &Identity) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    Ok(kilobytes.context("no VmRSS")? * 1024)
}

/// Open descriptors of a process.
pub fn descriptors(process: &Identity) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{}/fd", process.pid))?.count())
}
