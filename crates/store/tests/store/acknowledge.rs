//! Waiting for gateways.

use std::time::Duration;

use model::Revision;
use store::NotAcknowledged;

use crate::fixture::{Fixture, put, user};

const SOON: Duration = Duration::from_millis(50);

#[tokio::test]
async fn without_gateways_nobody_waits() {
    let Fixture { store, directory: _directory, .. } = Fixture::new();
    assert_eq!(store.snapshots().acknowledged(Revision(99), SOON).await, Ok(()));
}

#[tokio::test]
async fn a_write_waits_for_the_last_gateway_and_names_the_late_ones() {
    let Fixture { store, directory: _directory, .. } = Fixture::new();
    let snapshots = store.snapshots();
    let (quick, slow) = (snapshots.register("gw-1"), snapshots.register("gw-2"));
    let written = {
        let store = store.clone();
        tokio::task::spawn_blocking(move || put(&store, user("ada@example.com")).unwrap())
    };
    let revision = written.await.unwrap().revision;
    quick.acknowledge(revision);
    let late = snapshots.acknowledged(revision, SOON).await;
    assert_eq!(late, Err(NotAcknowledged { gateways: vec!["gw-2".to_owned()] }));
    let waiting = snapshots.acknowledged(revision, Duration::from_secs(10));
    let (reached, ()) = tokio::join!(waiting, async { slow.acknowledge(revision) });
    assert_eq!(reached, Ok(()));
}

#[tokio::test]
async fn a_gateway_that_leaves_is_not_waited_for() {
    let Fixture { store, directory: _directory, .. } = Fixture::new();
    let snapshots = store.snapshots();
    let gateway = snapshots.register("gw-1");
    let waiting = snapshots.acknowledged(Revision(1), Duration::from_secs(10));
    let (reached, ()) = tokio::join!(waiting, async { drop(gateway) });
    assert_eq!(reached, Ok(()));
}

#[tokio::test]
async fn an_older_acknowledgement_takes_nothing_back() {
    let Fixture { store, directory: _directory, .. } = Fixture::new();
    let snapshots = store.snapshots();
    let gateway = snapshots.register("gw-1");
    gateway.acknowledge(Revision(5));
    gateway.acknowledge(Revision(3));
    assert_eq!(snapshots.acknowledged(Revision(5), SOON).await, Ok(()));
}
