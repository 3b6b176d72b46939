//! The beginning of an installation, and the way back in.

use audit::Log;
use control::credentials::{Enrolment, RefreshFamily, SignInState};
use control::{Verb, recover_owner};
use model::code::{CONFLICT, INVALID};
use model::event::EventBody;
use model::{ControlRole, TenantId, Timestamp};

use crate::fixture::{DEV, OWNER, Plane, at, directory_files, first, refused};

#[tokio::test]
async fn init_makes_a_tenant_an_owner_and_one_pass_once() {
    let plane = Plane::empty();
    let made = plane.control.init(first()).await.unwrap();
    let state = plane.control.snapshots().load();
    let tenant = state.tenant().unwrap();
    assert_eq!(TenantId(tenant.uid()), made.tenant);
    assert_eq!((tenant.name(), tenant.spec.display_name.as_str()), ("example.com", "Example"));
    assert_eq!(tenant.spec.domains, ["example.com"]);
    let owner = state.users.get(OWNER).unwrap();
    assert_eq!((owner.spec.control_role, owner.spec.enabled), (ControlRole::Owner, true));
    assert_eq!(made.expires_at, at("2026-11-24T11:00:00Z"));
    assert_eq!(refused(plane.control.init(first()).await), &CONFLICT);
    let told: Vec<String> = plane
        .events()
        .into_iter()
        .map(|event| match event {
            EventBody::Write(write) => {
                format!("{} {} {}", write.actor.name, write.verb, write.subject)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        told,
        [
            "portcullis initialise Tenant/example.com",
            "portcullis initialise User/owner@example.com"
        ]
    );
}

#[tokio::test]
async fn a_domain_that_is_none_begins_nothing() {
    let plane = Plane::empty();
    let mut options = first();
    options.domain = "example".to_owned();
    assert_eq!(refused(plane.control.init(options).await), &INVALID);
    assert!(plane.control.snapshots().load().tenant().is_none());
}

#[tokio::test]
async fn the_folder_is_applied_once_in_the_life_of_an_installation() {
    let plane = Plane::new().await;
    let owner = plane.caller(OWNER);
    plane.control.delete(&owner, model::Kind::Eligibility, "dev-reads").await.unwrap();
    let plane = plane.restart(at("2026-11-24T12:00:00Z"));
    assert_eq!(plane.control.seed(directory_files()).await.unwrap(), None);
    assert!(plane.control.snapshots().load().eligibilities.is_empty());
}

#[tokio::test]
async fn an_owner_comes_back_without_the_api_and_the_next_start_says_so_first() {
    let plane = Plane::new().await;
    let dev = plane.control.snapshots().load().users.get(DEV).unwrap().uid();
    let kept = plane.control.system(Verb::SignIn, "test", move |writing| {
        let enrolment = Enrolment {
            public_key: None,
            sealed_seed: String::new(),
            sealed_at: 1,
            enrolled_at: writing.now(),
        };
        writing.put_record(&dev.to_string(), &enrolment, None)?;
        Ok(writing.put_record(&dev.to_string(), &SignInState::default(), None)?)
    });
    kept.await.unwrap();
    let store = plane.control.store().clone();
    let recovering =
        tokio::task::spawn_blocking(move || recover_owner(&store, DEV.parse().unwrap()));
    let (pass, expires_at): (_, Timestamp) = recovering.await.unwrap().unwrap();
    assert_eq!(pass.expose().len(), "abcd-efgh-ijkl-mnop-qrst-uvwx".len());
    assert_eq!(expires_at, at("2026-11-24T11:00:00Z"));
    let enrolled =
        plane.control.store().read(|reader| reader.record::<Enrolment>(&dev.to_string()));
    assert_eq!(enrolled.unwrap(), None);

    let plane = plane.restart(at("2026-11-24T10:05:00Z"));
    let before = plane.events().len();
    plane.control.announce().await.unwrap();
    let events = plane.events_after(before);
    let [EventBody::Installation { action, subject, detail, .. }] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert_eq!((action.as_str(), subject.as_str()), ("ownerRecovered", "User/dev@example.com"));
    assert_eq!(detail["at"], "2026-11-24T10:00:00Z");
    let state = plane.control.snapshots().load();
    assert_eq!(state.users.get(DEV).unwrap().spec.control_role, ControlRole::Owner);
    plane.control.announce().await.unwrap();
    assert_eq!(plane.events().len(), before + 1);
}

#[tokio::test]
async fn a_new_pass_ends_no_sign_in_but_recovery_does() {
    let plane = Plane::new().await;
    let owner = plane.control.snapshots().load().users.get(OWNER).unwrap().uid();
    let kept = plane.control.system(Verb::SignIn, "test", move |writing| {
        let family = RefreshFamily {
            principal: model::PrincipalId(owner),
            client: model::ApplicationId::random(),
            scope: None,
            current: control::credentials::Hash::of(b"token"),
            signed_in_at: writing.now(),
            methods: Vec::new(),
            session: uuid::Uuid::nil(),
            expires_at: Timestamp::MAX,
        };
        Ok(writing.put_record("family", &family, None)?)
    });
    kept.await.unwrap();
    let families = || {
        let read = plane.control.store().read(|reader| reader.record::<RefreshFamily>("family"));
        read.unwrap().is_some()
    };
    plane.control.issue_pass(&plane.caller(OWNER), OWNER.parse().unwrap()).await.unwrap();
    assert!(families());
    let store = plane.control.store().clone();
    let recovering =
        tokio::task::spawn_blocking(move || recover_owner(&store, OWNER.parse().unwrap()));
    recovering.await.unwrap().unwrap();
    assert!(!families());
}

/// The log can be opened by one process only, so what `recover_owner` did cannot be lost between two of them.
#[tokio::test]
async fn the_log_has_one_writer() {
    let plane = Plane::empty();
    let second = Log::open(audit::Options {
        directory: plane.audit_directory(),
        gateway: "test".to_owned(),
        key: keys::AuditKey::generate().unwrap(),
        clock: runtime::Clock::system(),
        sync_interval: std::time::Duration::from_millis(10),
        checkpoint_sink: None,
        known: None,
    });
    assert!(second.is_err());
}
