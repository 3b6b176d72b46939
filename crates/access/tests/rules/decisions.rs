//! Who may open a session, and who keeps one.

use std::collections::BTreeSet;

use access::{Decision, Grant, decide, explain};
use model::kind::activation::ActivationState;
use model::kind::revocation::{Revocation, RevokedTokens};
use model::kind::server::{
    Databases, PublicNetworkAccess, SharedCredential, SharedUser, UpstreamIdentity,
};
use model::{Code, Document, Refusal, Resource, Snapshot, TokenId, code};
use proptest::prelude::*;

use crate::directory::*;

fn denied(decision: Decision) -> Refusal {
    match decision {
        Decision::Deny(refusal) => refusal,
        Decision::Allow(grant) => panic!("allowed: {grant:?}"),
    }
}

fn allowed(decision: Decision) -> Grant {
    match decision {
        Decision::Allow(grant) => *grant,
        Decision::Deny(refusal) => panic!("denied: {refusal}"),
    }
}

fn with(extra: Vec<Resource>) -> Snapshot {
    snapshot(resources().into_iter().chain(extra).collect())
}

fn without(kind: model::Kind, name: &str, extra: Vec<Resource>) -> Snapshot {
    let kept = resources()
        .into_iter()
        .filter(|resource| !(resource.kind() == kind && resource.name() == name));
    snapshot(kept.chain(extra).collect())
}

#[test]
fn an_eligible_person_is_refused_with_the_command_that_helps() {
    let snapshot = with(vec![]);
    let refusal = denied(decide(&request(ADA, &snapshot), &snapshot, at("10:00:00")));
    assert_eq!(
        refusal,
        Refusal::new(&code::NOT_A_MEMBER, "you are not a member of `orders-readers` or `orders-writers` now").hint(
            "you are eligible; ask with `portcullis request orders-readers --for 30m --because \"…\"`"
        )
    );
}

#[test]
fn an_active_membership_opens_the_session_until_its_end() {
    let snapshot = with(vec![active("orders-readers").into()]);
    let grant = allowed(decide(&request(ADA, &snapshot), &snapshot, at("10:05:00")));
    assert_eq!(grant.roles, BTreeSet::from([role_name("orders.reader")]));
    assert_eq!(grant.until, Some(at("10:30:00")));
    assert_eq!(grant.database_user, ADA);
    assert_eq!(
        grant.notice.as_deref(),
        Some(
            "Portcullis: access to orders.reader as ada@example.com until 2026-11-24T10:30:00Z (25 min left); every statement is recorded"
        )
    );
}

#[test]
fn a_membership_is_dead_at_its_end_whatever_its_state_says() {
    let snapshot = with(vec![active("orders-readers").into()]);
    let request = open(request(ADA, &snapshot), "10:05:00", &["orders.reader"]);
    let refusal = denied(decide(&request, &snapshot, at("10:30:00")));
    assert_eq!(
        refusal.to_string(),
        "PC1204: your membership of `orders-readers` expired at 2026-11-24T10:30:00Z"
    );
}

#[test]
fn expired_or_revoked_or_given_up_membership_cuts_the_session_and_names_the_group() {
    for (state, how) in [
        (ActivationState::Revoked, "was revoked by grace@example.com"),
        (ActivationState::Deactivated, "was given up"),
        (ActivationState::Expired, "expired at 2026-11-24T10:30:00Z"),
    ] {
        let mut activation = active("orders-readers");
        activation.status.state = state;
        activation.status.ended_by = Some(user_name(GRACE));
        let snapshot = with(vec![activation.into()]);
        let request = open(request(ADA, &snapshot), "10:05:00", &["orders.reader"]);
        let refusal = denied(decide(&request, &snapshot, at("10:06:00")));
        assert_eq!(
            refusal.to_string(),
            format!("PC1204: your membership of `orders-readers` {how}")
        );
    }
}

#[test]
fn losing_one_of_two_roles_cuts_unless_another_assignment_gives_the_same() {
    let both = with(vec![active("orders-readers").into(), active("orders-writers").into()]);
    let session = open(request(ADA, &both), "10:05:00", &["orders.reader", "orders.writer"]);
    assert_eq!(allowed(decide(&session, &both, at("10:06:00"))).roles.len(), 2);

    let readers_only = with(vec![active("orders-readers").into()]);
    assert_eq!(denied(decide(&session, &readers_only, at("10:06:00"))).code, &code::ROLES_CHANGED);
}

#[test]
fn a_session_of_a_shared_user_lasts_while_that_user_stands_for_roles_that_are_held() {
    let shared = |user: &str, roles: &[&str]| SharedUser {
        roles: roles.iter().map(|role| role_name(role)).collect(),
        user: user.to_owned(),
        credential: SharedCredential::Password { secret: user.to_owned() },
    };
    let with_users = |identity: UpstreamIdentity, groups: &[&str]| {
        let mut server = server();
        server.spec.upstream_identity = identity;
        let active = groups.iter().map(|group| active(group).into());
        without(model::Kind::DatabaseServer, "orders", active.chain([server.into()]).collect())
    };
    let users = |users: Vec<SharedUser>| UpstreamIdentity::SharedUsers(users);
    let (reader, writer) = (
        shared("reader", &["orders.reader"]),
        shared("writer", &["orders.reader", "orders.writer"]),
    );
    let both = users(vec![reader.clone(), writer.clone()]);
    let (one, two) =
        (["orders-readers"].as_slice(), ["orders-readers", "orders-writers"].as_slice());
    let before = with_users(both.clone(), one);
    assert_eq!(
        allowed(decide(&request(ADA, &before), &before, at("10:05:00"))).database_user,
        "reader"
    );
    let mut session = open(request(ADA, &before), "10:05:00", &["orders.reader"]);
    session.opened_with.as_mut().unwrap().shared_user = Some("reader".to_owned());
    // A role gained takes nothing away.
    for snapshot in
        [with_users(both, one), with_users(users(vec![reader.clone(), writer.clone()]), two)]
    {
        allowed(decide(&session, &snapshot, at("10:06:00")));
    }
    for identity in [
        users(vec![writer.clone()]),
        users(vec![shared("reader", &["orders.reader", "orders.other"]), writer]),
        UpstreamIdentity::Certificate,
    ] {
        let snapshot = with_users(identity, two);
        let refusal = denied(decide(&session, &snapshot, at("10:06:00")));
        assert_eq!(refusal.code, &code::NO_SHARED_USER);
    }
    // Nor does a session of one's own outlast the change to shared ones.
    session.opened_with.as_mut().unwrap().shared_user = None;
    let snapshot = with_users(users(vec![reader]), one);
    assert_eq!(denied(decide(&session, &snapshot, at("10:06:00"))).code, &code::NO_SHARED_USER);
}

#[test]
fn an_assignment_deleted_while_time_is_left_says_so() {
    let snapshot =
        without(model::Kind::RoleAssignment, "readers", vec![active("orders-readers").into()]);
    let session = open(request(ADA, &snapshot), "10:05:00", &["orders.reader"]);
    assert_eq!(
        denied(decide(&session, &snapshot, at("10:06:00"))).to_string(),
        "PC1204: the role `orders.reader` is no longer assigned to you"
    );
}

#[test]
fn taking_the_eligibility_away_ends_the_activation() {
    let name = format!("{ADA}-orders-readers");
    let snapshot = without(model::Kind::Eligibility, &name, vec![active("orders-readers").into()]);
    let session = open(request(ADA, &snapshot), "10:05:00", &["orders.reader"]);
    assert_eq!(denied(decide(&session, &snapshot, at("10:06:00"))).code, &code::MEMBERSHIP_ENDED);
}

#[test]
fn a_person_recreated_under_the_same_name_does_not_inherit_an_activation() {
    let mut people = resources();
    for resource in &mut people {
        if resource.name() == ADA {
            resource.metadata_mut().created_at = Some(at("10:01:00"));
        }
    }
    people.push(active("orders-readers").into());
    let snapshot = snapshot(people);
    assert_eq!(
        denied(decide(&request(ADA, &snapshot), &snapshot, at("10:05:00"))).code,
        &code::NOT_A_MEMBER
    );
}

#[test]
fn a_workload_keeps_its_session_after_its_token_expired_but_cannot_open_another() {
    let snapshot = with(vec![]);
    let request = request("orders-api", &snapshot);
    let grant = allowed(decide(&request, &snapshot, at("10:00:00")));
    assert_eq!((grant.until, grant.notice), (None, None));
    assert_eq!(
        denied(decide(&request, &snapshot, at("11:00:00"))).to_string(),
        "PC1104: the token expired at 2026-11-24T11:00:00Z, 0s ago"
    );
    let open = open(request, "10:00:00", &["orders.reader"]);
    allowed(decide(&open, &snapshot, at("23:00:00")));
}

#[test]
fn a_standing_members_session_ends_after_twelve_hours() {
    let mut people = resources();
    for resource in &mut people {
        if let Resource::Group(group) = resource {
            group.spec.members = vec![user_name(ADA)];
        }
    }
    let snapshot = snapshot(people);
    let session = open(request(ADA, &snapshot), "08:00:00", &["orders.reader"]);
    assert_eq!(allowed(decide(&session, &snapshot, at("19:59:59"))).until, Some(at("20:00:00")));
    assert_eq!(denied(decide(&session, &snapshot, at("20:00:00"))).code, &code::SESSION_AGE);
}

#[test]
fn everything_that_touches_the_inputs_changes_the_answer() {
    type Edit = fn(&mut Resource);
    let edits: [(&Code, Edit); 4] = [
        (&code::PRINCIPAL_DISABLED, |resource| {
            if let Resource::Application(application) = resource {
                application.spec.enabled = false;
            }
            if let Resource::ManagedIdentity(identity) = resource {
                identity.spec.enabled = false;
            }
        }),
        (&code::FIREWALL_CHANGED, |resource| {
            if let Resource::FirewallRule(rule) = resource {
                rule.spec.end_ip_address = ip("10.0.0.1");
            }
        }),
        (&code::FIREWALL_CHANGED, |resource| {
            if let Resource::DatabaseServer(server) = resource {
                server.spec.public_network_access = PublicNetworkAccess::Disabled;
            }
        }),
        (&code::DATABASE_UNKNOWN, |resource| {
            if let Resource::DatabaseServer(server) = resource {
                server.spec.databases = Databases::Only(BTreeSet::from(["other".to_owned()]));
            }
        }),
    ];
    for workload in ["orders-api", "orders-job"] {
        let before = with(vec![]);
        let session = open(request(workload, &before), "10:00:00", &["orders.reader"]);
        allowed(decide(&session, &before, at("10:01:00")));
        for (code, edit) in &edits {
            let mut changed = resources();
            changed.iter_mut().for_each(edit);
            assert_eq!(denied(decide(&session, &snapshot(changed), at("10:01:00"))).code, *code);
        }
        let deleted = without(model::Kind::DatabaseServer, "orders", vec![]);
        assert_eq!(denied(decide(&session, &deleted, at("10:01:00"))).code, &code::SERVER_DELETED);
    }
}

#[test]
fn a_revoked_token_counts_no_more_even_in_an_open_session() {
    let revocation = |tokens| {
        Document::new("r", Revocation { tokens, keep_until: at("12:00:00"), reason: None }).into()
    };
    let plain = with(vec![]);
    let session = open(request("orders-api", &plain), "10:00:00", &["orders.reader"]);
    let principal = session.principal;
    let this = RevokedTokens::Token(session.credential.token);
    let earlier = RevokedTokens::IssuedBefore { principal, before: at("10:00:00") };
    for tokens in [this, earlier] {
        let refusal = denied(decide(&session, &with(vec![revocation(tokens)]), at("10:01:00")));
        assert_eq!(refusal.code, &code::TOKEN_REVOKED);
    }
    let other = RevokedTokens::Token(TokenId::random());
    let later = RevokedTokens::IssuedBefore { principal, before: at("09:59:00") };
    for tokens in [other, later] {
        allowed(decide(&session, &with(vec![revocation(tokens)]), at("10:01:00")));
    }
}

#[test]
fn another_name_than_the_tokens_is_refused_without_saying_whether_it_exists() {
    let snapshot = with(vec![active("orders-readers").into()]);
    let mut request = request(ADA, &snapshot);
    request.user = "postgres".to_owned();
    assert_eq!(
        denied(decide(&request, &snapshot, at("10:05:00"))),
        Refusal::new(&code::USER_MISMATCH, "the token is of `ada@example.com`, not of `postgres`")
            .hint("connect as user `ada@example.com`")
    );
}

#[test]
fn replication_needs_a_role_that_allows_it() {
    let snapshot = with(vec![active("orders-readers").into()]);
    let mut request = request(ADA, &snapshot);
    request.replication = true;
    assert_eq!(denied(decide(&request, &snapshot, at("10:05:00"))).code, &code::REPLICATION_DENIED);
}

proptest! {
    /// No activation gives access at or after its deadline, whatever its state, and explain agrees with decide.
    #[test]
    fn no_access_outlives_the_deadline_and_explain_agrees_with_decide(
        offset in -7_200_i64..7_200, state in 0_usize..7, source in 0_u8..=255,
    ) {
        let states = [
            ActivationState::Requested, ActivationState::Denied, ActivationState::Cancelled, ActivationState::Active,
            ActivationState::Expired, ActivationState::Revoked, ActivationState::Deactivated,
        ];
        let mut activation = active("orders-readers");
        activation.status.state = states[state];
        let snapshot = with(vec![activation.into()]);
        let now = model::Timestamp::from_micros(at("10:30:00").micros() + offset * 1_000_000);
        let mut request = request(ADA, &snapshot);
        request.source = format!("10.0.{}.7", source % 2).parse().unwrap();
        let decision = decide(&request, &snapshot, now);
        if offset >= 0 || states[state] != ActivationState::Active {
            prop_assert!(matches!(decision, Decision::Deny(_)));
        }
        let unmet = explain(&request, &snapshot, now).iter().any(|condition| !condition.met);
        prop_assert_eq!(matches!(decision, Decision::Deny(_)), unmet);
        if let Decision::Allow(grant) = decision {
            prop_assert!(grant.until.unwrap() > now);
        }
    }
}
