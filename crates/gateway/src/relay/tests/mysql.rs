//! The same with MySQL's protocol: what is not forwarded as it is.

use model::event::{LocalFile, MySqlOutcome, StatementProtocol};
use model::{Refusal, code};
use wire::mysql::error::{Report, ok, server_error};
use wire::mysql::{Capabilities, packet};

use super::*;
use crate::cancel::threads::{Registered, Thread, Threads};

fn thread(principal: PrincipalId, number: u32) -> Thread {
    Thread { principal, server: ServerName::new("orders").unwrap(), number }
}

/// A session of a principal who has another one, which the server knows as 11 and the client by the number returned.
fn session() -> (Bench, u32, Registered) {
    session_with(Capabilities::default(), AuditSettings::default())
}

fn session_with(more: Capabilities, audit: AuditSettings) -> (Bench, u32, Registered) {
    let threads = Arc::new(Threads::default());
    let ada = PrincipalId::random();
    let other = threads.number();
    let registered = threads.register(other, thread(ada, 11));
    let own = threads.register(threads.number(), thread(ada, 12));
    let agreed = observe::mysql::Agreed {
        capabilities: Capabilities::PROTOCOL_41
            .with(Capabilities::DEPRECATE_EOF)
            .with(Capabilities::TRANSACTIONS)
            .with(more),
        collation: 45,
        database: Some("orders"),
    };
    let protocol = observe::mysql::Protocol::new(agreed, own, threads);
    (bench_of(Box::new(protocol), audit, 4096), other, registered)
}

fn query(sql: &str) -> Vec<u8> {
    packet::encode(0, &[&[3], sql.as_bytes()].concat())
}

async fn moved(bench: &mut Bench) -> Option<End> {
    tokio::time::timeout(Duration::from_millis(50), bench.pump.run()).await.ok()
}

async fn received(stream: &mut DuplexStream) -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    let reading = stream.read(&mut bytes);
    let read = tokio::time::timeout(Duration::from_millis(20), reading).await;
    bytes.truncate(read.map_or(0, Result::unwrap));
    bytes
}

#[tokio::test]
async fn a_query_and_what_became_of_it_are_recorded() {
    let (mut bench, ..) = session();
    bench.client.write_all(&query("insert into t values (1), (2)")).await.unwrap();
    // Two rows, 7 as the last id, autocommit, 1 warning.
    let answer = packet::encode(1, &[0, 2, 7, 2, 0, 1, 0]);
    bench.server.write_all(&answer).await.unwrap();
    assert!(moved(&mut bench).await.is_none());
    assert_eq!(received(&mut bench.server).await, query("insert into t values (1), (2)"));
    assert_eq!(received(&mut bench.client).await, answer);
    let events = bench.events();
    let [EventBody::Statement(statement), EventBody::StatementOutcome(outcome)] = events.as_slice()
    else {
        panic!("{events:?}")
    };
    assert_eq!(statement.protocol, StatementProtocol::Query);
    let said =
        MySqlOutcome { results: 1, affected: 2, last_insert_id: 7, warnings: 1, files: Vec::new() };
    assert_eq!((outcome.number, &outcome.mysql, &outcome.error), (1, &Some(said), &None));
}

#[tokio::test]
async fn a_command_that_is_not_forwarded_is_answered_and_recorded_and_the_session_goes_on() {
    let (mut bench, ..) = session();
    let change_user = packet::encode(0, b"\x11root\0\0");
    bench.client.write_all(&[change_user, query("select 1")].concat()).await.unwrap();
    assert!(moved(&mut bench).await.is_none());
    assert_eq!(received(&mut bench.server).await, query("select 1"));
    let told = received(&mut bench.client).await;
    assert_eq!(told.get(3), Some(&1));
    assert_eq!(server_error(&told[4..]).code, 1047);
    assert_eq!(bench.statements(), ["/* COM_CHANGE_USER */", "select 1"]);
    let events = bench.events();
    let Some(EventBody::StatementOutcome(outcome)) = events.get(1) else { panic!("{events:?}") };
    assert_eq!(outcome.error.as_ref().and_then(|error| error.number), Some(1047));
}

#[tokio::test]
async fn a_command_that_is_not_forwarded_cannot_overtake_answers() {
    let (mut bench, ..) = session();
    let change_user = packet::encode(0, b"\x11root\0\0");
    bench.client.write_all(&[query("select 1"), change_user].concat()).await.unwrap();
    let end = moved(&mut bench).await;
    assert!(matches!(end, Some(End::ClientUnobservable(_))), "{end:?}");
}

#[tokio::test]
async fn a_request_to_kill_is_told_the_servers_number_for_sessions_of_ones_own() {
    let (mut bench, other, _registered) = session();
    let asked = query(&format!("KILL QUERY {other}"));
    bench.client.write_all(&asked).await.unwrap();
    bench.server.write_all(&packet::encode(1, &ok(2))).await.unwrap();
    assert!(moved(&mut bench).await.is_none());
    assert_eq!(received(&mut bench.server).await, query("KILL QUERY 11"));
    let command = packet::encode(0, &[&[0x0c], other.to_le_bytes().as_slice()].concat());
    bench.client.write_all(&command).await.unwrap();
    assert!(moved(&mut bench).await.is_none());
    assert_eq!(received(&mut bench.server).await, packet::encode(0, b"\x0c\x0b\0\0\0"));
    // Nobody else's: the server is asked as the client asked.
    bench.server.write_all(&packet::encode(1, &ok(2))).await.unwrap();
    bench.client.write_all(&query("KILL 7")).await.unwrap();
    assert!(moved(&mut bench).await.is_none());
    assert_eq!(received(&mut bench.server).await, query("KILL 7"));
    assert_eq!(
        bench.statements(),
        [format!("KILL QUERY {other}"), format!("KILL {other}"), "KILL 7".to_owned()]
    );
}

#[tokio::test]
async fn a_server_that_wants_a_clients_file_gets_none() {
    let (mut bench, ..) = session();
    bench.client.write_all(&query("select 1")).await.unwrap();
    bench.server.write_all(&packet::encode(1, b"\xfb/etc/passwd")).await.unwrap();
    let end = moved(&mut bench).await;
    assert!(matches!(end, Some(End::ServerUnobservable(_))), "{end:?}");
    assert_eq!(received(&mut bench.client).await, b"");
}

#[tokio::test]
async fn where_files_may_be_loaded_it_is_the_one_that_the_statement_names() {
    let load = query("load data local infile 'new.csv' into table orders");
    let (mut bench, ..) = session_with(Capabilities::LOCAL_FILES, AuditSettings::default());
    bench.client.write_all(&load).await.unwrap();
    bench.server.write_all(&packet::encode(1, b"\xfb/etc/passwd")).await.unwrap();
    let end = moved(&mut bench).await;
    assert!(matches!(end, Some(End::ServerUnobservable(_))), "{end:?}");
    assert_eq!(received(&mut bench.client).await, b"");

    let (mut bench, ..) = session_with(Capabilities::LOCAL_FILES, AuditSettings::default());
    bench.client.write_all(&load).await.unwrap();
    let asked = packet::encode(1, b"\xfbnew.csv");
    bench.server.write_all(&asked).await.unwrap();
    assert!(moved(&mut bench).await.is_none());
    assert_eq!(received(&mut bench.server).await, load);
    assert_eq!(received(&mut bench.client).await, asked);
    let file = [packet::encode(2, b"8,9\n"), packet::encode(3, b"")].concat();
    bench.client.write_all(&file).await.unwrap();
    bench.server.write_all(&packet::encode(4, &[0, 1, 0, 2, 0, 0, 0])).await.unwrap();
    assert!(moved(&mut bench).await.is_none());
    assert_eq!(received(&mut bench.server).await, file);
    let events = bench.events();
    let Some(EventBody::StatementOutcome(outcome)) = events.get(1) else { panic!("{events:?}") };
    let said = outcome.mysql.as_ref().unwrap();
    assert_eq!(said.files, [LocalFile { name: "new.csv".to_owned(), bytes: 4 }]);
    assert_eq!(said.affected, 1);
}

#[tokio::test]
async fn literals_are_left_out_where_the_rules_say_so_also_those_of_mysql_alone() {
    let audit = AuditSettings { redact_literals: true, ..AuditSettings::default() };
    let (mut bench, ..) = session_with(Capabilities::default(), audit);
    let asked = query("select \"secret\" /*!, 'secret' */ from `t` where id = 4711");
    bench.client.write_all(&asked).await.unwrap();
    assert!(moved(&mut bench).await.is_none());
    assert_eq!(bench.statements(), ["select ? /*!, ? */ from `t` where id = ?"]);
    assert_eq!(received(&mut bench.server).await, asked);
}

#[tokio::test]
async fn a_packet_with_a_wrong_number_ends_the_session() {
    let (mut bench, ..) = session();
    bench.client.write_all(&packet::encode(3, b"\x03select 1")).await.unwrap();
    let end = moved(&mut bench).await;
    assert!(matches!(end, Some(End::ClientUnobservable(_))), "{end:?}");
    assert_eq!(received(&mut bench.server).await, b"");
}

#[tokio::test]
async fn a_session_that_is_cut_is_told_in_place_of_the_answer_that_is_due() {
    let (mut bench, ..) = session();
    let refusal = Refusal::new(&code::MEMBERSHIP_ENDED, "your access has ended");
    let told = bench.pump.observer.refusal(&refusal);
    assert_eq!((told[3], server_error(&told[4..]).code), (1, 1927));
    bench.client.write_all(&query("select 1")).await.unwrap();
    // One column, and a row.
    let begun =
        [packet::encode(1, &[1]), packet::encode(2, b"\x03def"), packet::encode(3, b"\x011")];
    bench.server.write_all(&begun.concat()).await.unwrap();
    assert!(moved(&mut bench).await.is_none());
    let told = bench.pump.observer.refusal(&refusal);
    assert_eq!(told[3], 4);
}

#[tokio::test]
async fn what_the_server_says_by_itself_ends_the_session_as_the_servers_own() {
    let (mut bench, ..) = session();
    let report = Report { code: 1927, sqlstate: "70100", message: "Connection was killed" };
    bench.server.write_all(&packet::encode(0, &report.encode())).await.unwrap();
    bench.server.shutdown().await.unwrap();
    let end = moved(&mut bench).await;
    assert!(matches!(end, Some(End::Server(_))), "{end:?}");
    assert!(bench.pump.observer.was_told());
    assert_eq!(server_error(&received(&mut bench.client).await[4..]).code, 1927);
}

#[tokio::test]
async fn a_session_that_the_server_ends_with_an_answer_has_been_told() {
    for (code, told) in [(1317, false), (1927, true), (1053, true)] {
        let (mut bench, ..) = session();
        bench.client.write_all(&query("kill connection_id()")).await.unwrap();
        let report = Report { code, sqlstate: "70100", message: "" };
        bench.server.write_all(&packet::encode(1, &report.encode())).await.unwrap();
        bench.server.shutdown().await.unwrap();
        let end = moved(&mut bench).await;
        assert!(matches!(end, Some(End::Server(_))), "{end:?}");
        assert_eq!(bench.pump.observer.was_told(), told, "{code}");
    }
}
