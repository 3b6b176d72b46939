//! Which identity a process on a host is.

use access::host::{NoIdentity, identity};
use model::kind::host::{AllowedCaller, Host, HostIdentity};
use model::kind::managed_identity::{Assignment, ManagedIdentity, ManagedIdentityStatus};
use model::{ApplicationId, Caller, Document, Revision, Selector, Snapshot, Timestamp};
use proptest::prelude::*;
use uuid::Uuid;

fn managed(name: &str, number: u128, assignment: Assignment) -> Document<ManagedIdentity> {
    let mut identity = Document::new(
        name,
        ManagedIdentity {
            display_name: name.to_owned(),
            enabled: true,
            client_id: None,
            assignment,
            resource_id: None,
            federated_credentials: Vec::new(),
        },
    );
    identity.metadata.uid = Some(Uuid::from_u128(number));
    identity.status = ManagedIdentityStatus {
        client_id: Some(ApplicationId(Uuid::from_u128(number + 100))),
        resource_id: Some(format!("/subscriptions/s/providers/Identities/{name}")),
    };
    identity
}

fn own(host: &str) -> Assignment {
    Assignment::SystemAssigned { host: host.to_owned() }
}

fn uid(uid: u32) -> AllowedCaller {
    AllowedCaller { uid: Some(uid), ..AllowedCaller::default() }
}

fn cgroup(path: &str) -> AllowedCaller {
    AllowedCaller { cgroup: Some(path.to_owned()), ..AllowedCaller::default() }
}

fn host(listed: &[(&str, Vec<AllowedCaller>)]) -> Document<Host> {
    let identities = listed.iter().map(|(identity, callers)| HostIdentity {
        identity: identity.parse().unwrap(),
        callers: callers.clone(),
    });
    let spec =
        Host { display_name: "db".to_owned(), enabled: true, identities: identities.collect() };
    Document::new("web-1", spec)
}

fn snapshot() -> Snapshot {
    let off = managed("off", 4, Assignment::UserAssigned);
    let off = Document { spec: ManagedIdentity { enabled: false, ..off.spec }, ..off };
    let identities = [
        managed("orders", 1, Assignment::UserAssigned),
        managed("billing", 2, Assignment::UserAssigned),
        managed("web-1-own", 3, own("web-1")),
        off,
        managed("web-2-own", 5, own("web-2")),
    ];
    Snapshot::of(Revision(1), Timestamp::EPOCH, identities.map(Into::into))
}

fn process(uid: u32, cgroup: &str) -> Caller {
    Caller { uid, cgroup: cgroup.to_owned(), network_namespace: Some("host".to_owned()) }
}

fn choice(
    host: &Document<Host>,
    selector: Option<&Selector>,
    callers: &[Caller],
) -> Result<String, NoIdentity> {
    let chosen = identity(host, selector, callers, &snapshot());
    chosen.map(|identity| identity.name().to_owned())
}

fn client(number: u128) -> Selector {
    Selector::ClientId(Uuid::from_u128(number + 100).to_string())
}

#[test]
fn an_identity_is_found_by_each_of_its_ids() {
    let host = host(&[("orders", vec![uid(1)]), ("billing", vec![uid(1)])]);
    let object = Selector::ObjectId(Uuid::from_u128(2).to_string());
    let resource = Selector::ResourceId("/SUBSCRIPTIONS/s/providers/identities/BILLING".to_owned());
    let name = Selector::Name("billing".to_owned());
    for selector in [client(2), object, resource, name] {
        assert_eq!(choice(&host, Some(&selector), &[process(1, "/")]), Ok("billing".to_owned()));
    }
    let object_as_client = Some(&Selector::ClientId(Uuid::from_u128(2).to_string()));
    assert_eq!(choice(&host, object_as_client, &[process(1, "/")]), Err(NoIdentity::NotAssigned));
}

#[test]
fn without_a_name_it_is_the_hosts_own_else_the_only_one() {
    let all =
        host(&[("orders", vec![uid(1)]), ("billing", vec![uid(1)]), ("web-1-own", vec![uid(2)])]);
    assert_eq!(choice(&all, None, &[process(2, "/")]), Ok("web-1-own".to_owned()));
    assert_eq!(choice(&all, None, &[process(1, "/")]), Err(NoIdentity::Ambiguous));
    assert_eq!(choice(&all, None, &[process(3, "/")]), Err(NoIdentity::Nothing));
    let one = host(&[("orders", vec![uid(1)]), ("billing", vec![uid(2)]), ("off", vec![uid(1)])]);
    assert_eq!(choice(&one, None, &[process(1, "/")]), Ok("orders".to_owned()));
}

#[test]
fn nobody_is_what_they_may_not_be() {
    let listed = host(&[
        ("orders", vec![uid(1)]),
        ("off", vec![uid(1)]),
        ("web-2-own", vec![uid(1)]),
        ("billing", vec![AllowedCaller::default()]),
    ]);
    let me = [process(1, "/")];
    assert_eq!(
        choice(&listed, Some(&client(1)), &[process(2, "/")]),
        Err(NoIdentity::CallerRefused)
    );
    assert_eq!(choice(&listed, Some(&client(4)), &me), Err(NoIdentity::Disabled));
    // Another host's own, though the document lists it; one with an entry that says nothing; one that is not listed.
    assert_eq!(choice(&listed, Some(&client(5)), &me), Err(NoIdentity::NotAssigned));
    assert_eq!(choice(&listed, Some(&client(2)), &me), Err(NoIdentity::CallerRefused));
    assert_eq!(choice(&listed, Some(&client(3)), &me), Err(NoIdentity::NotAssigned));
    // A connection that a process of another account holds as well, and one that nobody holds.
    let shared = [process(1, "/"), process(2, "/")];
    assert_eq!(choice(&listed, Some(&client(1)), &shared), Err(NoIdentity::CallerRefused));
    assert_eq!(choice(&listed, Some(&client(1)), &[]), Err(NoIdentity::CallerRefused));
    assert_eq!(choice(&listed, None, &[]), Err(NoIdentity::Nothing));
}

#[test]
fn a_control_group_counts_at_and_below_its_path() {
    let host = host(&[("orders", vec![cgroup("/system.slice/orders.service")])]);
    for inside in ["/system.slice/orders.service", "/system.slice/orders.service/worker"] {
        assert_eq!(choice(&host, Some(&client(1)), &[process(1, inside)]), Ok("orders".to_owned()));
    }
    for outside in ["/", "/system.slice", "/system.slice/orders.service2", "/x/orders.service"] {
        let refused = choice(&host, Some(&client(1)), &[process(1, outside)]);
        assert_eq!(refused, Err(NoIdentity::CallerRefused), "{outside}");
    }
}

#[test]
fn all_that_an_entry_says_must_hold() {
    let allowed = AllowedCaller {
        uid: Some(1),
        cgroup: Some("/a".to_owned()),
        network_namespace: Some("web".to_owned()),
    };
    let host = host(&[("orders", vec![allowed])]);
    let right = Caller { uid: 1, cgroup: "/a".into(), network_namespace: Some("web".into()) };
    assert_eq!(choice(&host, None, std::slice::from_ref(&right)), Ok("orders".to_owned()));
    for wrong in [
        Caller { uid: 2, ..right.clone() },
        Caller { cgroup: "/b".into(), ..right.clone() },
        Caller { network_namespace: Some("host".into()), ..right.clone() },
        Caller { network_namespace: None, ..right },
    ] {
        assert_eq!(choice(&host, None, &[wrong]), Err(NoIdentity::Nothing));
    }
}

fn allowed() -> impl Strategy<Value = AllowedCaller> {
    let path = prop::option::of(prop::sample::select(vec!["/a", "/a/b", "/b"]));
    let space = prop::option::of(prop::sample::select(vec!["host", "web"]));
    (prop::option::of(0..3_u32), path, space).prop_map(|(uid, cgroup, space)| AllowedCaller {
        uid,
        cgroup: cgroup.map(str::to_owned),
        network_namespace: space.map(str::to_owned),
    })
}

fn caller() -> impl Strategy<Value = Caller> {
    let path = prop::sample::select(vec!["/", "/a", "/a/b", "/a/bc", "/ab", "/b/c"]);
    let space = prop::option::of(prop::sample::select(vec!["host", "web"]));
    (0..3_u32, path, space).prop_map(|(uid, cgroup, space)| Caller {
        uid,
        cgroup: cgroup.to_owned(),
        network_namespace: space.map(str::to_owned),
    })
}

const NAMES: [&str; 5] = ["orders", "billing", "web-1-own", "off", "web-2-own"];

fn hosts() -> impl Strategy<Value = Document<Host>> {
    prop::collection::vec(prop::collection::vec(allowed(), 0..3), NAMES.len()).prop_map(|callers| {
        let listed: Vec<_> = NAMES.into_iter().zip(callers).collect();
        host(&listed)
    })
}

/// The rule once more, the long way round.
fn describes(entry: &AllowedCaller, caller: &Caller) -> bool {
    let components = |path: &str| {
        path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    let mut said = Vec::new();
    said.extend(entry.uid.map(|uid| uid == caller.uid));
    said.extend(
        entry.cgroup.as_ref().map(|path| components(&caller.cgroup).starts_with(&components(path))),
    );
    let space = entry.network_namespace.as_deref();
    said.extend(space.map(|name| caller.network_namespace.as_deref() == Some(name)));
    !said.is_empty() && said.into_iter().all(|holds| holds)
}

proptest! {
    #[test]
    fn whatever_is_chosen_every_holder_may_be(
        host in hosts(),
        callers in prop::collection::vec(caller(), 0..4),
        wanted in prop::option::of(1..6_u128),
    ) {
        if let Ok(name) = choice(&host, wanted.map(client).as_ref(), &callers) {
            let listed = host.spec.identities.iter().find(|it| it.identity.as_str() == name).unwrap();
            prop_assert!(!callers.is_empty() && name != "off" && name != "web-2-own");
            for caller in &callers {
                prop_assert!(listed.callers.iter().any(|entry| describes(entry, caller)));
            }
        }
    }

    #[test]
    fn another_holder_never_allows_more(
        host in hosts(),
        callers in prop::collection::vec(caller(), 1..4),
        more in caller(),
        wanted in 1..6_u128,
    ) {
        let before = choice(&host, Some(&client(wanted)), &callers);
        let all: Vec<Caller> = callers.into_iter().chain([more]).collect();
        if let Ok(name) = choice(&host, Some(&client(wanted)), &all) {
            prop_assert_eq!(before, Ok(name));
        }
    }
}
