//! Appending, from many threads, and reading meanwhile.

use audit::read::Reader;
use audit::search::Query;
use model::event::EventBody;

use crate::fixture::{Fixture, statement};

#[test]
fn what_was_appended_is_read_back_in_order_also_while_it_is_written() {
    let fixture = Fixture::new();
    let (log, _) = fixture.open().unwrap();
    log.append(&[statement(1), statement(2)]).unwrap();
    let mut reader = Reader::open(fixture.path(), 1).unwrap();
    let read: Vec<_> = reader.by_ref().map(Result::unwrap).collect();
    assert_eq!(read.iter().map(|event| event.sequence).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(
        read.into_iter().map(|event| event.body).collect::<Vec<_>>(),
        [statement(1), statement(2)]
    );

    log.append(&[statement(3)]).unwrap();
    assert_eq!(reader.next().unwrap().unwrap().sequence, 3);
    assert!(reader.next().is_none());
    assert_eq!(Reader::open(fixture.path(), 3).unwrap().count(), 1);
}

#[test]
fn a_hundred_threads_make_one_chain_without_gaps() {
    let fixture = Fixture::new();
    let (log, _) = fixture.open().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..100 {
            let log = log.clone();
            scope.spawn(move || {
                for number in 0..20 {
                    let receipt = log.append(&[statement(thread * 100 + number)]).unwrap();
                    if number == 19 {
                        log.durable_blocking(receipt).unwrap();
                    }
                }
            });
        }
    });
    drop(log);
    let verified = fixture.verify(None).unwrap();
    assert_eq!((verified.records, verified.covered), (2000, 2000));
}

#[tokio::test]
async fn durable_returns_once_a_signed_checkpoint_covers_the_record() {
    let fixture = Fixture::new();
    let (log, _) = fixture.open().unwrap();
    let receipt = log.append(&[statement(1)]).unwrap();
    log.durable(receipt).await.unwrap();
    // The checkpoint follows the sync that `durable` waits for.
    let deadline = runtime::Clock::system();
    for _ in 0..200 {
        if log.checkpoint().is_some() {
            break;
        }
        deadline.sleep(std::time::Duration::from_millis(10)).await;
    }
    let checkpoint = log.checkpoint().unwrap();
    assert_eq!(checkpoint.sequence, receipt.sequence);
    assert_eq!(checkpoint.verify(log.public_key()), Ok(()));
}

#[test]
fn a_second_process_cannot_write_the_same_log() {
    let fixture = Fixture::new();
    let (_log, _) = fixture.open().unwrap();
    let refused = fixture.open().unwrap_err().to_string();
    assert_eq!(
        refused,
        format!("another process writes the audit log in `{}`", fixture.path().display())
    );
}

#[test]
fn queries_select_by_every_condition() {
    let fixture = Fixture::with(3);
    let all: Vec<_> = Reader::open(fixture.path(), 1).unwrap().map(Result::unwrap).collect();
    let count = |query: Query| all.iter().filter(|event| query.matches(event)).count();
    assert_eq!(count(Query::default()), 3);
    assert_eq!(count(Query { actor: Some("ada@example.com".to_owned()), ..Query::default() }), 3);
    assert_eq!(count(Query { actor: Some("eve@example.com".to_owned()), ..Query::default() }), 0);
    assert_eq!(count(Query { text: Some("SELECT 2".to_owned()), ..Query::default() }), 1);
    assert_eq!(count(Query { types: vec!["sessionCut".to_owned()], ..Query::default() }), 0);
    assert_eq!(count(Query { server: Some("orders".to_owned()), ..Query::default() }), 3);
    assert_eq!(count(Query { until: Some(all[0].time), ..Query::default() }), 0);
    assert!(matches!(all[0].body, EventBody::Statement(_)));
}
