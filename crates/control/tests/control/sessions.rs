//! Live sessions: listed by whom they concern, cut by owners.

use std::collections::BTreeSet;
use std::time::Duration;

use control::{Caller, Cutting, LiveSession, SessionInfo, SessionState};
use model::code::{FORBIDDEN, NOT_FOUND, TOO_LARGE};
use model::event::EventBody;
use model::{PrincipalId, SessionId, Timestamp};

use crate::fixture::{APPROVER, AUDITOR, DEV, OWNER, Plane, at, refused};

fn open(plane: &Plane, whose: &Caller, server: &str) -> LiveSession {
    begun(plane, (whose, server), at("2026-11-24T10:00:00Z"))
}

fn begun(plane: &Plane, (whose, server): (&Caller, &str), since: Timestamp) -> LiveSession {
    plane.control.live().register(SessionInfo {
        id: SessionId::random(),
        principal: whose.principal.clone(),
        source: "192.0.2.7".parse().unwrap(),
        server: server.parse().unwrap(),
        database: "orders".to_owned(),
        database_user: whose.principal.name.clone(),
        roles: BTreeSet::new(),
        activations: Vec::new(),
        since,
        until: None,
        statement: None,
        state: SessionState::Idle,
    })
}

fn ids(sessions: &[SessionInfo]) -> BTreeSet<SessionId> {
    sessions.iter().map(|session| session.id).collect()
}

#[tokio::test]
async fn cve_2026_63330_everyone_sees_their_own_sessions_and_auditors_and_owners_all() {
    let plane = Plane::new().await;
    let (dev, approver) = (plane.caller(DEV), plane.caller(APPROVER));
    let (of_dev, of_approver) = (open(&plane, &dev, "orders"), open(&plane, &approver, "orders"));
    let sees = |name: &str| ids(&plane.control.sessions(&plane.caller(name)).unwrap());
    assert_eq!(sees(DEV), BTreeSet::from([of_dev.id()]));
    assert_eq!(sees(APPROVER), BTreeSet::from([of_approver.id()]));
    let all = BTreeSet::from([of_dev.id(), of_approver.id()]);
    assert_eq!((sees(AUDITOR), sees(OWNER)), (all.clone(), all));
    drop(of_dev);
    assert_eq!(sees(DEV), BTreeSet::new());
}

#[tokio::test]
async fn a_list_shows_the_beginning_of_what_runs() {
    let plane = Plane::new().await;
    let session = open(&plane, &plane.caller(DEV), "orders");
    session.statement(&"ä".repeat(1000));
    session.until(Some(at("2026-11-24T10:30:00Z")));
    let shown = plane.control.live().get(session.id()).unwrap();
    assert_eq!(shown.state, SessionState::Active);
    assert_eq!(shown.statement.unwrap(), "ä".repeat(512));
    assert_eq!(shown.until, Some(at("2026-11-24T10:30:00Z")));
    session.statement("select 1");
    session.state(SessionState::IdleInTransaction);
    let shown = plane.control.live().get(session.id()).unwrap();
    assert_eq!(shown.statement.as_deref(), Some("select 1"));
    assert_eq!(shown.state, SessionState::IdleInTransaction);
}

#[tokio::test]
async fn a_cut_is_recorded_reaches_the_session_and_the_first_order_stands() {
    let plane = Plane::new().await;
    let mut session = open(&plane, &plane.caller(DEV), "orders");
    let (id, owner) = (session.id(), plane.caller(OWNER));
    let before = plane.events().len();
    let reason = Some("on the phone".to_owned());
    let cutting = plane.control.cut(&owner, Cutting::Session(id), reason.clone());
    let waiting = tokio::time::timeout(Duration::from_secs(10), session.cut());
    let (told, order) = tokio::join!(cutting, waiting);
    assert_eq!(told.unwrap(), [id]);
    let order = order.unwrap();
    assert_eq!((order.by.name.as_str(), &order.reason), (OWNER, &reason));
    plane.control.cut(&owner, Cutting::Session(id), None).await.unwrap();
    assert_eq!(session.cut_ordered().unwrap().reason, reason);
    let events = plane.events_after(before);
    let EventBody::Write(write) = &events[0] else { panic!("{events:?}") };
    assert_eq!((write.verb.as_str(), &write.subject), ("cutSession", &format!("Session/{id}")));
    assert_eq!(write.revision, None);
}

#[tokio::test]
async fn cve_2026_6667_only_owners_cut_and_all_of_a_principal_or_of_a_server_go_together() {
    let plane = Plane::new().await;
    let (dev, approver) = (plane.caller(DEV), plane.caller(APPROVER));
    let one = open(&plane, &dev, "orders");
    let two = open(&plane, &dev, "pay");
    let three = open(&plane, &approver, "pay");
    let own = plane.control.cut(&dev, Cutting::Session(one.id()), None).await;
    assert_eq!(refused(own), &FORBIDDEN);
    assert!(one.cut_ordered().is_none());
    let owner = plane.caller(OWNER);
    let cut = |which| plane.control.cut(&owner, which, None);
    let of = |sessions: &[&LiveSession]| -> BTreeSet<SessionId> {
        sessions.iter().map(|session| session.id()).collect()
    };
    let told = cut(Cutting::Principal(dev.principal.id)).await.unwrap();
    assert_eq!(told.into_iter().collect::<BTreeSet<_>>(), of(&[&one, &two]));
    assert!(three.cut_ordered().is_none());
    let told = cut(Cutting::Server("pay".parse().unwrap())).await.unwrap();
    assert_eq!(told.into_iter().collect::<BTreeSet<_>>(), of(&[&two, &three]));
    assert_eq!(cut(Cutting::Principal(PrincipalId::random())).await.unwrap(), []);
    assert_eq!(refused(cut(Cutting::Session(SessionId::random())).await), &NOT_FOUND);
    let long = Some("x".repeat(1025));
    assert_eq!(
        refused(plane.control.cut(&owner, Cutting::Session(one.id()), long).await),
        &TOO_LARGE
    );
}

#[tokio::test]
async fn logins_that_were_under_way_are_cut_as_they_open_and_later_ones_are_not() {
    let plane = Plane::new().await;
    let (dev, approver) = (plane.caller(DEV), plane.caller(APPROVER));
    let owner = plane.caller(OWNER);
    let cut = |which| plane.control.cut(&owner, which, None);
    let open = open(&plane, &dev, "orders");
    assert_eq!(cut(Cutting::Principal(dev.principal.id)).await.unwrap(), [open.id()]);
    let ordered_at = open.cut_ordered().unwrap().at;
    let later = ordered_at.plus(Duration::from_micros(1));
    let is_cut =
        |whose, server, since| begun(&plane, (whose, server), since).cut_ordered().is_some();
    assert!(is_cut(&dev, "orders", ordered_at) && is_cut(&dev, "pay", ordered_at));
    assert!(!is_cut(&approver, "orders", ordered_at) && !is_cut(&dev, "orders", later));
    assert_eq!(cut(Cutting::Server("pay".parse().unwrap())).await.unwrap(), []);
    assert!(is_cut(&approver, "pay", ordered_at) && !is_cut(&approver, "orders", ordered_at));
}
