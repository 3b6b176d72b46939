//! Servers that are away, or listen and never say anything, cost no client its time, and no server a dial for each client.

use std::sync::atomic::{AtomicUsize, Ordering};

use runtime::{ManualClock, Shutdown};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use wire::mysql::authentication::NATIVE_PASSWORD;
use wire::mysql::{Capabilities, packet};

use super::*;

/// Far less than a dial may take.
const AT_ONCE: Duration = Duration::from_secs(5);

/// A gateway's memory, and its time, which stands still.
struct Gateway {
    greetings: Arc<Greetings>,
    clock: Clock,
    time: ManualClock,
    tasks: Tasks,
}

impl Gateway {
    fn new() -> Self {
        let (clock, time) = Clock::manual(Timestamp::EPOCH);
        Self { greetings: Arc::default(), clock, time, tasks: Tasks::new(Shutdown::new()) }
    }

    async fn of(&self, servers: &[Server]) -> Result<Greeting, Denied> {
        let told = self.greetings.of(servers, &self.clock, &self.tasks);
        tokio::time::timeout(AT_ONCE, told).await.unwrap().map(|(greeting, _)| greeting)
    }
}

/// What every server speaks.
fn least() -> Capabilities {
    Capabilities::PROTOCOL_41.with(Capabilities::PLUGIN_AUTH)
}

fn greeting(version: &str, capabilities: Capabilities) -> Greeting {
    Greeting {
        version: version.to_owned(),
        connection_id: 7,
        scramble: vec![b'x'; 20],
        capabilities,
        collation: 45,
        status: 2,
        plugin: NATIVE_PASSWORD.to_owned(),
    }
}

async fn listening(name: &str) -> (Server, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut server = upstream::tests::server("127.0.0.1", listener.local_addr().unwrap().port());
    server.metadata.name = name.to_owned();
    (Arc::new(server), listener)
}

/// A server that says this to whoever comes, and closes; and who came.
fn saying(
    tasks: &Tasks,
    listener: TcpListener,
    said: Vec<u8>,
) -> (Arc<AtomicUsize>, JoinHandle<()>) {
    let came = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&came);
    let serving = tasks.spawn("server", async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::Relaxed);
            stream.write_all(&said).await.unwrap();
        }
    });
    (came, serving)
}

#[tokio::test]
async fn servers_that_say_nothing_are_asked_at_once_together_and_hold_nobody_up() {
    let gateway = Gateway::new();
    let (first, silent) = listening("a").await;
    let (second, silent_too) = listening("b").await;
    let (third, speaking) = listening("c").await;
    let (fourth, speaking_too) = listening("d").await;
    let more = least().with(Capabilities::SSL);
    let both = [(speaking, "10.11", more), (speaking_too, "9.7", least())];
    for (listener, version, capabilities) in both {
        saying(
            &gateway.tasks,
            listener,
            packet::encode(0, &greeting(version, capabilities).encode()),
        );
    }
    let servers = [first, second, third, fourth];
    let told = gateway.of(&servers).await.unwrap();
    // The first by name of those that answered, and what both of them offer.
    assert_eq!((told.version.as_str(), told.capabilities), ("10.11", least()));
    for silent in [&silent, &silent_too] {
        tokio::time::timeout(AT_ONCE, silent.accept()).await.unwrap().unwrap();
    }
    // Now nobody waits any more, and nobody is dialled.
    let known = gateway.greetings.of(&servers, &gateway.clock, &gateway.tasks);
    tokio::time::timeout(Duration::ZERO, known).await.unwrap().unwrap();
    for silent in [&silent, &silent_too] {
        tokio::time::timeout(Duration::from_millis(50), silent.accept()).await.unwrap_err();
    }
}

#[tokio::test]
async fn a_server_without_a_greeting_is_dialled_once_for_all_who_come_and_then_left_alone() {
    let gateway = Gateway::new();
    let (server, listener) = listening("a").await;
    let port = listener.local_addr().unwrap().port();
    let (came, serving) = saying(&gateway.tasks, listener, Vec::new());
    let mut strangers = JoinSet::new();
    for _ in 0..50 {
        let (greetings, server) = (Arc::clone(&gateway.greetings), Arc::clone(&server));
        let (clock, tasks) = (gateway.clock.clone(), gateway.tasks.clone());
        strangers.spawn(async move { greetings.of(&[server], &clock, &tasks).await });
    }
    while let Some(told) = strangers.join_next().await {
        assert_eq!(told.unwrap().unwrap_err().refusal.code, &code::UPSTREAM_UNREACHABLE);
    }
    let servers = [server];
    gateway.of(&servers).await.unwrap_err();
    assert_eq!(came.load(Ordering::Relaxed), 1);
    gateway.time.advance(LEFT_ALONE_FOR);
    gateway.of(&servers).await.unwrap_err();
    assert_eq!(came.load(Ordering::Relaxed), 2);
    // It comes back, and is heard when it is asked the next time.
    serving.abort();
    assert!(serving.await.unwrap_err().is_cancelled());
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let said = greeting("10.11", least());
    saying(&gateway.tasks, listener, packet::encode(0, &said.encode()));
    gateway.of(&servers).await.unwrap_err();
    gateway.time.advance(LEFT_ALONE_FOR);
    assert_eq!(gateway.of(&servers).await.unwrap().version, "10.11");
}

#[tokio::test]
async fn what_a_session_learned_of_a_server_outlives_a_question_that_failed() {
    let gateway = Gateway::new();
    let (server, _silent) = listening("a").await;
    gateway.greetings.learn("a", &greeting("10.11", least()));
    let failed = Denied::new(&code::UPSTREAM_UNREACHABLE, "it cannot be reached");
    gateway.greetings.answered("a", Err(failed), gateway.clock.now());
    assert_eq!(gateway.of(&[server]).await.unwrap().version, "10.11");
    let (code, none) = (&code::SERVER_UNKNOWN, gateway.of(&[]).await.unwrap_err());
    assert_eq!(none.refusal.code, code);
}
