//! Who may do what: one table, and every way in asks it.

use control::{ApplyOptions, Caller, Cutting, Manifest, Revoke, Verb, allowed};
use model::code::{FORBIDDEN, PRINCIPAL_DISABLED, PRINCIPAL_UNKNOWN};
use model::event::{EventBody, Outcome};
use model::{ActivationId, ControlRole, Kind, Lifetime, Refusal, Resource, SessionId, TokenId};
use serde_json::json;

use crate::fixture::{APPROVER, AUDITOR, DEV, OWNER, Plane, ask, document, refused};

const U: ControlRole = ControlRole::User;
const A: ControlRole = ControlRole::Auditor;
const P: ControlRole = ControlRole::Approver;
const O: ControlRole = ControlRole::Owner;

/// The table as `docs/security.md` shows it.
const TABLE: &[(&str, &[ControlRole])] = &[
    ("read", &[U, A, P, O]),
    ("listSessions", &[U, A, P, O]),
    ("explain", &[A, P, O]),
    ("readAudit", &[A, O]),
    ("readMetrics", &[A, O]),
    ("diagnose", &[A, O]),
    ("enrollServer", &[O]),
    ("apply", &[O]),
    ("put", &[O]),
    ("delete", &[O]),
    ("request", &[U, P, O]),
    ("approve", &[P, O]),
    ("deny", &[P, O]),
    ("cancel", &[U, P, O]),
    ("deactivate", &[U, P, O]),
    ("revoke", &[P, O]),
    ("issuePass", &[O]),
    ("issueJoinToken", &[O]),
    ("addClientSecret", &[O]),
    ("removeClientSecret", &[O]),
    ("addScimCredential", &[O]),
    ("removeScimCredential", &[O]),
    ("readScimCredentials", &[A, O]),
    ("revokeTokens", &[O]),
    ("revokeOwnTokens", &[U, A, P, O]),
    ("cutSession", &[O]),
    ("adoptDatabaseUser", &[O]),
    ("abandonServer", &[O]),
    ("rotateSigningKey", &[O]),
    ("rotateAuthority", &[O]),
    ("provisionDirectory", &[]),
    ("initialise", &[]),
    ("seed", &[]),
    ("recoverOwner", &[]),
    ("signIn", &[]),
    ("expire", &[]),
    ("forget", &[]),
    ("provision", &[]),
    ("observe", &[]),
    ("keepKeys", &[]),
];

const PEOPLE: [(&str, ControlRole); 4] = [(DEV, U), (AUDITOR, A), (APPROVER, P), (OWNER, O)];

#[test]
fn every_verb_is_in_the_table_with_exactly_its_roles() {
    let written: Vec<(&str, Vec<ControlRole>)> =
        TABLE.iter().map(|(verb, roles)| (*verb, roles.to_vec())).collect();
    let in_force: Vec<(&str, Vec<ControlRole>)> = Verb::ALL
        .iter()
        .map(|verb| {
            let roles = [U, A, P, O].into_iter().filter(|role| allowed(*verb, *role));
            (verb.name(), roles.collect())
        })
        .collect();
    assert_eq!(in_force, written);
}

#[test]
fn the_page_on_security_shows_the_table_as_it_is() {
    let page = include_str!("../../../../docs/security.md");
    let shown: Vec<String> = page
        .lines()
        .skip_while(|line| *line != "## Control-plane roles")
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.split(" | ").take(5).collect::<Vec<_>>().join(" | "))
        .collect();
    let mark = |verb: Verb, role| if allowed(verb, role) { "yes" } else { "–" };
    let in_force: Vec<String> = Verb::ALL
        .iter()
        .map(|verb| {
            let [u, a, p, o] = [U, A, P, O].map(|role| mark(*verb, role));
            format!("| `{verb}` | {u} | {a} | {p} | {o}")
        })
        .collect();
    assert_eq!(shown, in_force);
}

/// Does what the verb stands for. What it answers beyond the role's right does not matter here.
async fn attempt(plane: &Plane, caller: &Caller, verb: Verb) -> Result<(), Refusal> {
    let (control, nobody, absent) = (&plane.control, DEV.parse().unwrap(), ActivationId::random());
    match verb {
        Verb::Read => control.list(caller, Kind::Group).map(drop),
        Verb::ListSessions => control.sessions(caller).map(drop),
        Verb::Apply => {
            control.apply(caller, Vec::<Manifest>::new(), ApplyOptions::default()).await.map(drop)
        }
        Verb::Put => {
            let group = document("Group", "new", json!({}));
            control.put(caller, Resource::read(group).unwrap()).await.map(drop)
        }
        Verb::Delete => control.delete(caller, Kind::Group, "none").await.map(drop),
        Verb::Request => {
            let ask = ask(&caller.principal.name, "orders-readers", "why");
            control.request(caller, ask).await.map(drop)
        }
        Verb::Approve => control.approve(caller, absent, None).await.map(drop),
        Verb::Deny => control.deny(caller, absent, None).await.map(drop),
        Verb::Cancel => control.cancel(caller, absent, None).await.map(drop),
        Verb::Deactivate => control.deactivate(caller, absent, None).await.map(drop),
        Verb::Revoke => control.revoke(caller, absent, None).await.map(drop),
        Verb::IssuePass => control.issue_pass(caller, nobody).await.map(drop),
        Verb::IssueJoinToken => {
            control.issue_join_token(caller, "none".parse().unwrap()).await.map(drop)
        }
        Verb::AddClientSecret => {
            let (application, day) = ("none".parse().unwrap(), Lifetime::from_seconds(86_400));
            control.add_client_secret(caller, application, day).await.map(drop)
        }
        Verb::RemoveClientSecret => {
            control.remove_client_secret(caller, "none".parse().unwrap(), String::new()).await
        }
        Verb::RevokeTokens => {
            control.revoke_tokens(caller, Revoke::Token(TokenId::random()), None).await.map(drop)
        }
        Verb::RevokeOwnTokens => {
            let own = Revoke::Principal(caller.principal.id);
            control.revoke_tokens(caller, own, None).await.map(drop)
        }
        Verb::CutSession => {
            control.cut(caller, Cutting::Session(SessionId::random()), None).await.map(drop)
        }
        Verb::AbandonServer => {
            let server = "gone".parse().unwrap();
            control.abandon(caller, server, "it burnt".to_owned()).await.map(drop)
        }
        // These have their doers elsewhere; whatever they write goes through here, under their verb.
        Verb::Explain
        | Verb::ReadAudit
        | Verb::ReadMetrics
        | Verb::Diagnose
        | Verb::EnrollServer
        | Verb::AdoptDatabaseUser
        | Verb::RotateSigningKey
        | Verb::RotateAuthority
        | Verb::Initialise
        | Verb::Seed
        | Verb::RecoverOwner
        | Verb::SignIn
        | Verb::Expire
        | Verb::Forget
        | Verb::Provision
        | Verb::Observe
        | Verb::AddScimCredential
        | Verb::RemoveScimCredential
        | Verb::ReadScimCredentials
        | Verb::ProvisionDirectory
        | Verb::KeepKeys => control.write(caller, verb, "Test/x", |_| Ok(())).await.map(drop),
    }
}

#[tokio::test]
async fn cve_2026_91167_every_intent_asks_the_table_and_records_who_was_turned_away() {
    for verb in Verb::ALL {
        let plane = Plane::new().await;
        for (name, role) in PEOPLE {
            let before = plane.events().len();
            let caller = plane.caller(name);
            let forbidden = match attempt(&plane, &caller, *verb).await {
                Err(refusal) => {
                    refusal.code == &FORBIDDEN && refusal.message.contains("does not allow")
                }
                Ok(()) => false,
            };
            assert_eq!(forbidden, !allowed(*verb, role), "{verb} as {role}");
            if !forbidden || matches!(verb, Verb::Read | Verb::ListSessions) {
                continue;
            }
            let events = plane.events_after(before);
            let [EventBody::Write(write)] = events.as_slice() else {
                panic!("{verb} as {role}: {events:?}")
            };
            assert_eq!((write.verb.as_str(), write.actor.name.as_str()), (verb.name(), name));
            assert_eq!(write.source, caller.source);
            let Outcome::Refused { code, .. } = &write.outcome else { panic!("{write:?}") };
            assert_eq!(code, FORBIDDEN.id);
        }
    }
}

#[tokio::test]
async fn a_refusal_says_what_the_role_lacks() {
    let plane = Plane::new().await;
    let refusal = plane.control.issue_pass(&plane.caller(DEV), DEV.parse().unwrap()).await;
    let refusal = refusal.unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "PC2002: `dev@example.com` has the role `user`, which does not allow `issuePass`"
    );
    assert_eq!(refusal.hint.as_deref(), Some("it takes `owner`"));
}

#[tokio::test]
async fn a_role_that_was_taken_away_after_sign_in_is_gone_at_the_next_write() {
    let plane = Plane::new().await;
    let second = |role| json!({ "displayName": "Second", "controlRole": role });
    plane.put(document("User", "second@example.com", second("owner"))).await.unwrap();
    let signed_in = plane.caller("second@example.com");
    plane.put(document("User", "second@example.com", second("user"))).await.unwrap();
    assert_eq!(signed_in.role, ControlRole::Owner);
    let delete = plane.control.delete(&signed_in, Kind::Group, "orders-readers").await;
    assert_eq!(refused(delete), &FORBIDDEN);
}

#[tokio::test]
async fn disabled_and_deleted_people_write_and_read_nothing() {
    let plane = Plane::new().await;
    let second =
        |enabled| json!({ "displayName": "S", "controlRole": "owner", "enabled": enabled });
    plane.put(document("User", "second@example.com", second(true))).await.unwrap();
    let signed_in = plane.caller("second@example.com");
    plane.put(document("User", "second@example.com", second(false))).await.unwrap();
    let delete = plane.control.delete(&signed_in, Kind::Group, "orders-readers").await;
    assert_eq!(refused(delete), &PRINCIPAL_DISABLED);
    assert_eq!(refused(plane.control.list(&signed_in, Kind::Group)), &PRINCIPAL_DISABLED);
    let owner = plane.caller(OWNER);
    plane.control.delete(&owner, Kind::User, "second@example.com").await.unwrap();
    let delete = plane.control.delete(&signed_in, Kind::Group, "orders-readers").await;
    assert_eq!(refused(delete), &PRINCIPAL_UNKNOWN);
}

#[tokio::test]
async fn a_workload_has_no_say_in_the_control_plane() {
    let plane = Plane::new().await;
    let workload = plane.caller("orders-api");
    let delete = plane.control.delete(&workload, Kind::Group, "orders-readers").await;
    assert_eq!(refused(delete), &FORBIDDEN);
    let request = plane.control.request(&workload, ask(DEV, "orders-readers", "why")).await;
    assert_eq!(refused(request), &FORBIDDEN);
}
