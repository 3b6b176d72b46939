//! What compression of the protocol would cost and bring, and what it tells: the naked server over TLS with and without it.
//! The gateway does not offer it; this is why.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use testkit::mariadb::{MariaDb, Options};
use testkit::server::Fsync;
use testkit::{program, wait};

use crate::Extent;
use crate::processor::Processor;
use crate::statistics::{Spread, in_turns};

/// Rows as an application's: numbers, a time, a name, words that come again and some that do not.
const ROWS: u32 = 500_000;
const USER: &str = "bench";
/// What a statement holds that whoever chooses another part of it does not know.
const SECRET: &str = "session=K7Qm2zXw9Lr4";
/// Guesses of the same length: one that begins as the secret does, one that does not.
const GUESSES: [(&str, &str); 2] =
    [("right", "session=K7Qm2zXw9Lr4"), ("wrong", "session=pYv8bHdT6nJ1")];
const STATEMENTS: u32 = 100;

/// Whether client and server compress what they say.
struct Way {
    name: &'static str,
    flag: &'static str,
}

const WAYS: [Way; 2] = [
    Way { name: "as it is", flag: "--skip-compress" },
    Way { name: "compressed (zlib)", flag: "--compress" },
];

pub(crate) fn run(extent: Extent) -> Result<()> {
    let mariadb = MariaDb::start_with(&Options { fsync: Fsync::On, ..Options::default() })?;
    let rows = if extent.rounds > 1 { ROWS } else { ROWS / 10 };
    mariadb.sql(
        "mysql",
        &format!(
            "create database orders; create user '{USER}'@'127.0.0.1' identified by '' require ssl;\n\
             grant all on orders.* to '{USER}'@'127.0.0.1';\n\
             create table orders.bulk as select seq as id, now() - interval seq second as at,\n\
               concat('customer ', seq mod 1000) as name, md5(seq) as reference, 'shipped' as state,\n\
               round(seq mod 10007 / 7, 2) as total from seq_1_to_{rows};\n"
        ),
    )?;
    let wire = Wire::to(mariadb.port())?;
    let [plain, compressed] =
        in_turns(extent.rounds, &WAYS, |way| read(&mariadb, &wire, way, rows))?;
    println!("{:<22}{:>14}{:>14}{:>22}{:>22}", "", "MB", "MB/s", "client, µs/MB", "server, µs/MB");
    for (way, turns) in WAYS.iter().zip([&plain, &compressed]) {
        let median = |figure: fn(&Turn) -> f64| Spread::of(turns.iter().map(figure)).median;
        println!(
            "{:<22}{:>14.1}{:>14.0}{:>22.0}{:>22.0}",
            way.name,
            median(|it| it.wire),
            median(|it| it.rate),
            median(|it| it.client),
            median(|it| it.server),
        );
    }
    println!(
        "\nA read of {rows} rows over TLS, on the loopback. MB: on the wire, encrypted. MB/s, µs/MB: of the client's output.\n\
         A gateway that records statements and outcomes would have to do the client's part on its way there, too.\n"
    );
    tell(&mariadb, &wire)
}

/// How many bytes a hundred statements take on the wire, with a right and a wrong guess of a part that is secret.
fn tell(mariadb: &MariaDb, wire: &Wire) -> Result<()> {
    println!("{:<22}{:>16}{:>16}", "bytes to the server", "right guess", "wrong guess");
    for way in &WAYS {
        let mut bytes = Vec::new();
        for (_, guess) in GUESSES {
            let before = wire.sent();
            let statement = format!(
                "select o.id, o.at, o.name, o.reference, o.state, o.total from orders.bulk as o \
                 where o.reference = '{SECRET}' and o.name = '{guess}' and o.state = 'shipped' \
                 and o.total > 0 and o.id < 0 order by o.id, o.at, o.name limit 10;\n"
            );
            let mut command = client(mariadb, wire, way);
            program::feed(&mut command, &statement.repeat(usize::try_from(STATEMENTS)?))?
                .expect_success()?;
            bytes.push(wire.sent() - before);
        }
        let [right, wrong] = bytes.as_slice() else { continue };
        println!("{:<22}{right:>16}{wrong:>16}", way.name);
    }
    println!(
        "\n{STATEMENTS} statements that hold a secret of 12 letters and a guess of it, seen from outside of TLS."
    );
    Ok(())
}

/// What one read took.
#[derive(Clone, Copy, Debug)]
struct Turn {
    /// Megabytes on the wire.
    wire: f64,
    /// Megabytes of output in a second.
    rate: f64,
    /// Microseconds of processor time for a megabyte of output.
    client: f64,
    server: f64,
}

fn read(mariadb: &MariaDb, wire: &Wire, way: &Way, rows: u32) -> Result<Turn> {
    let mut command = client(mariadb, wire, way);
    command.args(["--quick", "-e", "select * from bulk"]);
    let server = mariadb.process()?.pid;
    let (received, before) = (wire.received(), Processor::of(server)?);
    let started = wait::now();
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut stdout = child.stdout.take().context("no output of mariadb's")?;
    let mut counted = Lines::default();
    io::copy(&mut stdout, &mut counted)?;
    let seconds = started.elapsed().as_secs_f64();
    wait::until(std::time::Duration::from_secs(10), "the client's end", || {
        // Not reaped yet: what it computed can still be read.
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).ok()?;
        stat.contains(") Z ").then_some(())
    });
    let used = Processor::of(child.id())?.microseconds();
    ensure!(child.wait()?.success(), "mariadb failed");
    ensure!(counted.lines == u64::from(rows), "{} rows came", counted.lines);
    let megabytes = megabytes(counted.bytes)?;
    Ok(Turn {
        wire: self::megabytes(wire.received() - received)?,
        rate: megabytes / seconds,
        client: used / megabytes,
        server: (Processor::of(server)?.microseconds() - before.microseconds()) / megabytes,
    })
}

fn megabytes(bytes: u64) -> Result<f64> {
    Ok(f64::from(u32::try_from(bytes / 1_000)?) / 1e3)
}

fn client(mariadb: &MariaDb, wire: &Wire, way: &Way) -> Command {
    let mut command = program::clean("mariadb");
    command
        .args(["--no-defaults", "-N", "-B", "--protocol=tcp", "-h", "127.0.0.1", "-u", USER])
        .args(["-P", &wire.port.to_string(), "-D", "orders", way.flag])
        .args(["--ssl-verify-server-cert", "--ssl-ca"])
        .arg(mariadb.server_ca_file());
    command
}

/// Counts lines and bytes, and keeps none.
#[derive(Default)]
struct Lines {
    lines: u64,
    bytes: u64,
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let lines = bytes.split(|byte| *byte == b'\n').count().saturating_sub(1);
        self.lines = self.lines.saturating_add(u64::try_from(lines).unwrap_or_default());
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or_default());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Stands between client and server and counts what passes, as somebody on the way could.
struct Wire {
    port: u16,
    sent: Arc<AtomicU64>,
    received: Arc<AtomicU64>,
}

impl Wire {
    fn to(server: u16) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let (sent, received) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let counts = (Arc::clone(&sent), Arc::clone(&received));
        // It ends with the program.
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)) else { return };
                let pairs = [(&client, &server, &counts.0), (&server, &client, &counts.1)];
                for (from, to, count) in pairs {
                    let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { return };
                    let count = Arc::clone(count);
                    thread::spawn(move || pass(from, to, &count));
                }
            }
        });
        Ok(Self { port, sent, received })
    }

    fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    fn received(&self) -> u64 {
        self.received.load(Ordering::SeqCst)
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, count: &AtomicU64) {
    let mut bytes = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        count.fetch_add(u64::try_from(length).unwrap_or_default(), Ordering::SeqCst);
        let Some(part) = bytes.get(..length) else { return };
        if to.write_all(part).is_err() {
            return;
        }
    }
    // Whoever is gone already need not be told.
    let _told = to.shutdown(std::net::Shutdown::Write);
}
