//! The pump between two in-memory streams: no TLS, no server, every byte in the test's hand.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use audit::read::Reader;
use audit::{Log, Options};
use control::{LiveSessions, SessionInfo, SessionState};
use keys::AuditKey;
use model::event::{Actor, Event, EventBody};
use model::kind::server::{AuditMode, AuditSettings};
use model::{Principal, PrincipalId, PrincipalKind, ServerName, SessionId, Timestamp};
use runtime::{Clock, Shutdown, Tasks};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use wire::pg::startup::Replication;

use super::{Activity, End, Pump, Surroundings};
use crate::end::LastRecord;
use crate::metrics::Relayed;
use crate::observe::{self, Observer, Subject};
use crate::record::Recorder;

mod mysql;

/// A session whose two ends are the test's.
struct Bench {
    client: DuplexStream,
    server: DuplexStream,
    pump: Pump<DuplexStream, DuplexStream>,
    live: LiveSessions,
    shutdown: Shutdown,
    directory: TempDir,
    log: Log,
}

fn bench(audit: AuditSettings, buffer_bytes: usize) -> Bench {
    let protocol = observe::pg::Protocol::new(Replication::No, &[]);
    bench_of(Box::new(protocol), audit, buffer_bytes)
}

fn bench_of(
    protocol: Box<dyn observe::Protocol>,
    audit: AuditSettings,
    buffer_bytes: usize,
) -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let clock = Clock::system();
    let options = Options {
        directory: directory.path().join("audit"),
        gateway: "test".to_owned(),
        key: AuditKey::generate().unwrap(),
        clock: clock.clone(),
        sync_interval: Duration::from_millis(1),
        checkpoint_sink: None,
        known: None,
    };
    let (log, _opened) = Log::open(options).unwrap();
    let (live, shutdown) = (LiveSessions::new(), Shutdown::new());
    let session = SessionId::random();
    let registered = Arc::new(live.register(info(session)));
    let recorder = Recorder::new(log.clone(), audit.mode);
    let subject = Subject {
        session,
        actor: Actor::claimed("ada@example.com"),
        server: ServerName::new("orders").unwrap(),
        database: "orders".to_owned(),
        audit,
    };
    let observer = Observer::new(subject, protocol, registered);
    let (client, client_side) = tokio::io::duplex(buffer_bytes);
    let (server, server_side) = tokio::io::duplex(buffer_bytes);
    let around = Surroundings {
        activity: Arc::new(Activity::since(clock.now(), Relayed::default())),
        shutdown: shutdown.clone(),
        clock,
    };
    let pump = Pump::new((client_side, server_side), (observer, recorder), around);
    Bench { client, server, pump, live, shutdown, directory, log }
}

fn info(id: SessionId) -> SessionInfo {
    SessionInfo {
        id,
        principal: Principal {
            id: PrincipalId::random(),
            name: "ada@example.com".to_owned(),
            kind: PrincipalKind::User,
            enabled: true,
        },
        source: IpAddr::from([127, 0, 0, 1]),
        server: ServerName::new("orders").unwrap(),
        database: "orders".to_owned(),
        database_user: "ada@example.com".to_owned(),
        roles: BTreeSet::new(),
        activations: Vec::new(),
        since: Timestamp::EPOCH,
        until: None,
        statement: None,
        state: SessionState::Idle,
    }
}

impl Bench {
    fn events(&self) -> Vec<EventBody> {
        let reader = Reader::open(&self.directory.path().join("audit"), 1).unwrap();
        reader.map(|event: Result<Event, _>| event.unwrap().body).collect()
    }

    fn statements(&self) -> Vec<String> {
        self.events()
            .into_iter()
            .filter_map(|event| match event {
                EventBody::Statement(statement) => Some(statement.sql),
                _ => None,
            })
            .collect()
    }
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[tag][..], &length.to_be_bytes(), body].concat()
}

fn query(sql: &str) -> Vec<u8> {
    message(b'Q', format!("{sql}\0").as_bytes())
}

fn answer(tag: &str) -> Vec<u8> {
    [message(b'C', format!("{tag}\0").as_bytes()), message(b'Z', b"I")].concat()
}

/// A row of so many bytes, header included.
fn row(bytes: usize) -> Vec<u8> {
    message(b'D', &vec![7; bytes - 5])
}

#[tokio::test]
async fn a_statement_is_in_the_log_before_its_first_byte_reaches_the_server() {
    let mut bench = bench(AuditSettings::default(), 4096);
    let sent = query("select 1");
    // Byte by byte: nothing may pass before the message is whole and recorded.
    for byte in &sent {
        assert_eq!(bench.statements(), Vec::<String>::new());
        bench.client.write_all(&[*byte]).await.unwrap();
        let moved = tokio::time::timeout(Duration::from_millis(2), bench.pump.run()).await;
        assert!(moved.is_err());
    }
    assert_eq!(bench.statements(), ["select 1"]);
    let mut received = vec![0; sent.len()];
    bench.server.read_exact(&mut received).await.unwrap();
    assert_eq!(received, sent);
    let listed = bench.live.list();
    assert_eq!(
        (listed[0].state, listed[0].statement.as_deref()),
        (SessionState::Active, Some("select 1"))
    );
}

#[tokio::test]
async fn an_answer_reaches_the_client_unchanged_and_its_outcome_the_log() {
    let mut bench = bench(AuditSettings::default(), 4096);
    bench.client.write_all(&query("insert into t values (1)")).await.unwrap();
    bench.server.write_all(&answer("INSERT 0 1")).await.unwrap();
    drop(tokio::time::timeout(Duration::from_millis(20), bench.pump.run()).await);
    let mut received = vec![0; answer("INSERT 0 1").len()];
    bench.client.read_exact(&mut received).await.unwrap();
    assert_eq!(received, answer("INSERT 0 1"));
    let events = bench.events();
    let Some(EventBody::StatementOutcome(outcome)) = events.last() else { panic!("{events:?}") };
    assert_eq!(
        (outcome.number, outcome.rows, outcome.tags.as_slice()),
        (1, 1, ["INSERT 0 1".to_owned()].as_slice())
    );
    assert_eq!(bench.live.list()[0].state, SessionState::Idle);
}

#[tokio::test]
async fn both_sides_can_be_full_at_once_without_a_deadlock() {
    // Buffers far smaller than what is sent, and a server that answers before it has read everything.
    let Bench { client, server, mut pump, .. } = bench(AuditSettings::default(), 512);
    let statement = query(&format!("select '{}'", "x".repeat(1000)));
    let (count, reply) = (500_usize, [row(3000), answer("SELECT 1")].concat());
    let (sent, expected) = (statement.len() * count, reply.len() * count);
    let (mut client_read, mut client_write) = tokio::io::split(client);
    let (mut server_read, mut server_write) = tokio::io::split(server);
    let ((), (), received, answered, _end) = tokio::time::timeout(Duration::from_secs(20), async {
        tokio::join!(
            async {
                for _ in 0..count {
                    client_write.write_all(&statement).await.unwrap();
                }
            },
            async {
                for _ in 0..count {
                    server_write.write_all(&reply).await.unwrap();
                }
                server_write.shutdown().await.unwrap();
            },
            read_exactly(&mut server_read, sent),
            read_exactly(&mut client_read, expected),
            pump.run(),
        )
    })
    .await
    .unwrap();
    assert_eq!((received, answered), (sent, expected));
}

/// Sends without end and never reads; takes what is written to it, and remembers that.
struct Sender {
    /// What has not been read of it, before the zeros.
    begun: Vec<u8>,
    received: Vec<u8>,
}

impl Sender {
    /// Of one message that is longer than the test.
    fn new() -> Self {
        let header = [&b"d"[..], &(1_u32 << 29).to_be_bytes()].concat();
        Self { begun: header, received: Vec::new() }
    }
}

impl AsyncRead for Sender {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        buffer.put_slice(&std::mem::take(&mut self.begun));
        buffer.initialize_unfilled().fill(0);
        buffer.set_filled(buffer.capacity());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Sender {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.received.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn an_error_reaches_a_client_that_sends_without_end_in_the_same_turn() {
    let bench = bench(AuditSettings::default(), 4096);
    let error = message(b'E', b"SERROR\0VERROR\0C23505\0Mduplicate key\0\0");
    // Takes everything, and has said something long ago.
    let server = tokio::io::join(&error[..], tokio::io::sink());
    let Pump { observer, recorder, activity, .. } = bench.pump;
    let around = Surroundings { activity, shutdown: bench.shutdown, clock: Clock::system() };
    let mut pump = Pump::new((Sender::new(), server), (observer, recorder), around);
    let mut run = Box::pin(pump.run());
    let mut once = Context::from_waker(Waker::noop());
    // The test's server has nothing behind the error, which the pump takes for its end.
    assert!(matches!(run.as_mut().poll(&mut once), Poll::Ready(End::Server(_))));
    drop(run);
    assert_eq!(pump.client.received, error);
}

async fn read_exactly(from: &mut (impl AsyncRead + Unpin), bytes: usize) -> usize {
    let mut all = vec![0; bytes];
    from.read_exact(&mut all).await.unwrap()
}

#[tokio::test]
async fn a_client_that_speaks_something_else_is_stopped_at_its_first_byte() {
    let mut bench = bench(AuditSettings::default(), 4096);
    bench.client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let end = bench.pump.run().await;
    assert!(matches!(&end, End::ClientUnobservable(_)), "{end:?}");
}

#[tokio::test]
async fn a_server_that_speaks_something_else_is_stopped() {
    let mut bench = bench(AuditSettings::default(), 4096);
    bench.server.write_all(&message(b'Z', b"?")).await.unwrap();
    let end = bench.pump.run().await;
    assert!(matches!(&end, End::ServerUnobservable(_)), "{end:?}");
}

#[tokio::test]
async fn what_a_server_said_last_is_delivered_although_it_takes_nothing_any_more() {
    let Bench { mut client, mut server, mut pump, .. } = bench(AuditSettings::default(), 4096);
    let last = message(b'E', b"SFATAL\0VFATAL\0C57P01\0Mterminating connection\0\0");
    server.write_all(&last).await.unwrap();
    drop(server);
    client.write_all(&query("select 1")).await.unwrap();
    assert!(matches!(pump.run().await, End::Server(_)));
    assert!(pump.observer.was_told());
    let mut received = vec![0; last.len()];
    client.read_exact(&mut received).await.unwrap();
    assert_eq!(received, last);
}

#[tokio::test]
async fn a_warning_waits_for_the_answer_that_is_under_way_and_is_said_once() {
    let mut bench = bench(AuditSettings::default(), 4096);
    let (activity, end) = (Arc::clone(&bench.pump.activity), Clock::system().now());
    bench.client.write_all(&query("select 1")).await.unwrap();
    let told = async {
        let mut asked = vec![0; query("select 1").len()];
        bench.server.read_exact(&mut asked).await.unwrap();
        activity.warn(end);
        let (row, answer) = (row(20), answer("SELECT 1"));
        bench.server.write_all(&row).await.unwrap();
        let mut received = vec![0; row.len()];
        bench.client.read_exact(&mut received).await.unwrap();
        assert_eq!(received, row);
        bench.server.write_all(&answer).await.unwrap();
        bench.server.shutdown().await.unwrap();
        let mut rest = Vec::new();
        while rest.len() < answer.len() + 80 {
            bench.client.read_buf(&mut rest).await.unwrap();
        }
        assert_eq!(rest[..answer.len()], answer);
        rest.split_off(answer.len())
    };
    let (_end, told) = tokio::join!(bench.pump.run(), told);
    let said = String::from_utf8_lossy(&told);
    assert!(said.starts_with('N') && said.contains("SNOTICE\0") && said.contains("access ends at"));
    assert_eq!(activity.due_warning(), None);
}

#[tokio::test]
async fn a_closed_client_ends_the_session_as_its_own_doing() {
    let Bench { client, mut pump, server: _server, .. } = bench(AuditSettings::default(), 4096);
    drop(client);
    assert!(matches!(pump.run().await, End::Client));
}

#[tokio::test]
async fn a_cut_finishes_a_short_message_and_forwards_nothing_behind_it() {
    let mut bench = bench(AuditSettings::default(), 1 << 20);
    bench.client.write_all(&query("select")).await.unwrap();
    let whole = row(10_000);
    bench.server.write_all(&whole[..4000]).await.unwrap();
    drop(tokio::time::timeout(Duration::from_millis(20), bench.pump.run()).await);
    bench.server.write_all(&whole[4000..]).await.unwrap();
    bench.server.write_all(&row(100)).await.unwrap();
    assert!(bench.pump.finish_message(64 * 1024).await);
    drop(bench.pump);
    let mut received = Vec::new();
    bench.client.read_to_end(&mut received).await.unwrap();
    assert_eq!(received, whole);
}

#[tokio::test]
async fn a_cut_does_not_wait_for_a_long_message() {
    let mut bench = bench(AuditSettings::default(), 1 << 20);
    bench.client.write_all(&query("select")).await.unwrap();
    bench.server.write_all(&row(200_000)[..4000]).await.unwrap();
    drop(tokio::time::timeout(Duration::from_millis(20), bench.pump.run()).await);
    assert!(!bench.pump.finish_message(64 * 1024).await);
}

#[tokio::test]
async fn a_stopping_gateway_lets_a_statement_end_and_then_the_session() {
    let mut bench = bench(AuditSettings::default(), 4096);
    bench.client.write_all(&query("select 1")).await.unwrap();
    drop(tokio::time::timeout(Duration::from_millis(20), bench.pump.run()).await);
    bench.shutdown.request();
    bench.server.write_all(&answer("SELECT 1")).await.unwrap();
    assert!(matches!(bench.pump.run().await, End::Drained));
    let mut received = vec![0; answer("SELECT 1").len()];
    bench.client.read_exact(&mut received).await.unwrap();
    assert_eq!(received, answer("SELECT 1"));
}

#[tokio::test]
async fn every_mode_records_and_relays() {
    for mode in [AuditMode::Durable, AuditMode::Gated, AuditMode::Bounded] {
        let mut bench = bench(AuditSettings { mode, ..AuditSettings::default() }, 4096);
        bench.client.write_all(&query("select 1")).await.unwrap();
        bench.server.write_all(&answer("SELECT 1")).await.unwrap();
        let mut received = vec![0; answer("SELECT 1").len()];
        let read = tokio::time::timeout(Duration::from_secs(5), async {
            tokio::select! {
                _end = bench.pump.run() => panic!("it ended"),
                read = bench.client.read_exact(&mut received) => read.unwrap(),
            }
        });
        assert_eq!(read.await.unwrap(), received.len(), "{mode:?}");
        assert_eq!(bench.statements(), ["select 1"], "{mode:?}");
    }
}

#[tokio::test]
async fn literals_and_values_are_left_out_where_the_server_says_so() {
    let redacting = AuditSettings {
        redact_parameters: true,
        redact_literals: true,
        ..AuditSettings::default()
    };
    let mut bench = bench(redacting, 4096);
    let parse = message(b'P', b"\0select * from t where a = 'secret' and b = $1\0\0\0");
    let bind = message(b'B', b"\0\0\0\0\0\x01\0\0\0\x06hidden\0\0");
    let execute = message(b'E', b"\0\0\0\0\0");
    bench.client.write_all(&[parse, bind, execute, message(b'S', b"")].concat()).await.unwrap();
    let failure = message(b'E', b"SERROR\0VERROR\0C22P02\0Minvalid input: \"hidden\"\0\0");
    let reply = [message(b'1', b""), message(b'2', b""), failure, message(b'Z', b"I")].concat();
    drop(tokio::time::timeout(Duration::from_millis(20), bench.pump.run()).await);
    bench.server.write_all(&reply).await.unwrap();
    drop(tokio::time::timeout(Duration::from_millis(20), bench.pump.run()).await);
    let text = format!("{:?} {:?}", bench.events(), bench.live.list());
    assert!(!text.contains("secret") && !text.contains("hidden"), "{text}");
    assert!(text.contains("select * from t where a = ? and b = $1"), "{text}");
    assert!(text.contains("Redacted { bytes: 6") && text.contains("22P02"), "{text}");
}

#[tokio::test]
async fn a_statement_longer_than_the_log_keeps_is_cut_with_length_and_digest_of_the_whole() {
    let mut bench = bench(AuditSettings::default(), 1 << 20);
    let sql = format!("select '{}'", "x".repeat(3_000_000));
    let sent = query(&sql);
    let Bench { client, server, pump, .. } = &mut bench;
    tokio::select! {
        _end = pump.run() => panic!("it ended"),
        received = async {
            let (written, received) = tokio::join!(client.write_all(&sent), read_exactly(server, sent.len()));
            written.unwrap();
            received
        } => assert_eq!(received, sent.len()),
    }
    let events = bench.events();
    let [EventBody::Statement(statement)] = events.as_slice() else { panic!("{}", events.len()) };
    assert_eq!((statement.sql.len(), statement.sql_bytes), (64 * 1024, Some(3_000_009)));
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, sql.as_bytes());
    let hex = observe::hex(digest.as_ref());
    assert_eq!(statement.sql_sha256, Some(hex));
}

#[tokio::test]
async fn a_panic_ends_one_session_and_is_its_last_record() {
    let Bench { pump, directory, log, .. } = bench(AuditSettings::default(), 4096);
    let (session, actor) = (pump.observer.subject().session, Actor::claimed("ada@example.com"));
    let record = LastRecord::of(session, actor, &pump.activity, log);
    let task = Tasks::new(Shutdown::new()).spawn("session", async move {
        let _record = record;
        panic!("on purpose");
    });
    assert!(task.await.unwrap_err().is_panic());
    let reader = Reader::open(&directory.path().join("audit"), 1).unwrap();
    let events: Vec<EventBody> = reader.map(|event| event.unwrap().body).collect();
    let [EventBody::SessionEnded(ended)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((ended.session, ended.reason.as_str()), (session, "panic"));
}
