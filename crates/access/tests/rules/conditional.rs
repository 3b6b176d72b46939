//! Conditional access: each condition, the decision that it is part of, and a slow, obvious evaluator beside.

use std::collections::BTreeSet;

use access::conditional::{Session, evaluate};
use access::{Decision, Request, decide, explain};
use model::kind::conditional_access_policy::{
    ConditionalAccessPolicy, Conditions, Control, Day, GrantControls, Locations, PolicyState,
    PrincipalSort, Principals, RiskLevel, Servers, TimeWindow,
};
use model::kind::named_location::NamedLocation;
use model::kind::principal_risk::PrincipalRisk;
use model::verdict::{Outcome, Reason};
use model::{
    ApplicationId, Code, Lifetime, NamedLocationName, PrincipalId, Resource, ServerName, Snapshot,
    Timestamp, code,
};
use proptest::prelude::*;
use uuid::Uuid;

use crate::directory::*;

const API: &str = "orders-api";

fn policy(change: impl FnOnce(&mut ConditionalAccessPolicy)) -> ConditionalAccessPolicy {
    let mut policy = ConditionalAccessPolicy {
        description: None,
        state: PolicyState::Enabled,
        include: everyone(),
        exclude: None,
        servers: Servers::Any,
        conditions: Conditions::default(),
        grant: GrantControls::Block,
        sign_in_frequency: None,
    };
    change(&mut policy);
    policy
}

fn everyone() -> Principals {
    Principals {
        all: vec![PrincipalSort::Users, PrincipalSort::Workloads],
        ..Principals::default()
    }
}

fn place(name: &str, ranges: &[&str]) -> Resource {
    let ranges = ranges.iter().map(|range| range.parse().unwrap()).collect();
    stored(name, NamedLocation { description: None, ranges }).into()
}

fn place_name(name: &str) -> NamedLocationName {
    name.parse().unwrap()
}

/// Ada is a reader from 10:00 to 10:30, and these policies stand.
fn state(policies: &[ConditionalAccessPolicy], more: Vec<Resource>) -> Snapshot {
    let mut all = resources();
    all.push(active("orders-readers").into());
    all.push(place("office", &["10.0.0.0/28"]));
    all.extend(more);
    for (index, policy) in policies.iter().enumerate() {
        all.push(stored(&format!("policy-{index}"), policy.clone()).into());
    }
    snapshot(all)
}

/// What is decided of Ada at this time, after some change of her request: the refusal's code.
fn decided(
    state: &Snapshot,
    now: &str,
    change: impl FnOnce(&mut Request),
) -> Result<Option<Timestamp>, &'static Code> {
    let mut asked = request(ADA, state);
    asked.credential.methods = ["swk", "otp", "mfa"].map(str::to_owned).into();
    asked.credential.signed_in_at = Some(at("09:50:00"));
    change(&mut asked);
    match decide(&asked, state, at(now)) {
        Decision::Allow(grant) => Ok(grant.until),
        Decision::Deny(refusal) => Err(refusal.code),
    }
}

#[test]
fn a_policy_blocks_whom_it_means_and_nobody_else() {
    type Change = fn(&mut ConditionalAccessPolicy);
    let cases: &[(&str, Change, bool)] = &[
        ("everyone", |_| (), true),
        ("disabled", |policy| policy.state = PolicyState::Disabled, false),
        ("report only", |policy| policy.state = PolicyState::ReportOnly, false),
        ("workloads", |policy| policy.include.all = vec![PrincipalSort::Workloads], false),
        (
            "excluded by name",
            |policy| {
                let users = vec![user_name(ADA)];
                policy.exclude = Some(Principals { users, ..Principals::default() });
            },
            false,
        ),
        (
            "a group of hers",
            |policy| {
                let groups = vec![group_name("orders-readers")];
                policy.include = Principals { groups, ..Principals::default() };
            },
            true,
        ),
        (
            "a group that she is not in",
            |policy| {
                let groups = vec![group_name("orders-writers")];
                policy.include = Principals { groups, ..Principals::default() };
            },
            false,
        ),
        (
            "another server",
            |policy| policy.servers = Servers::Only(BTreeSet::from(["other".parse().unwrap()])),
            false,
        ),
        (
            "everywhere but the office",
            |policy| {
                let exclude = vec![place_name("office")];
                policy.conditions.locations = Some(Locations { include: vec![], exclude });
            },
            false,
        ),
        (
            "the office",
            |policy| {
                let include = vec![place_name("office")];
                policy.conditions.locations = Some(Locations { include, exclude: vec![] });
            },
            true,
        ),
        ("at risk", |policy| policy.conditions.risk = vec![RiskLevel::High], false),
        ("at no risk", |policy| policy.conditions.risk = vec![RiskLevel::None], true),
        (
            "an unknown program may be any",
            |policy| policy.conditions.clients = vec![ApplicationId(Uuid::from_u128(5))],
            true,
        ),
    ];
    for (name, change, blocked) in cases {
        let state = state(&[policy(change)], vec![]);
        let expected = if *blocked { Err(&code::CONDITIONAL_ACCESS) } else { Ok(()) };
        assert_eq!(decided(&state, "10:05:00", |_| ()).map(drop), expected, "{name}");
    }
    let other_program = |asked: &mut Request| {
        asked.credential.client = Some(ApplicationId(Uuid::from_u128(6)));
    };
    let programs =
        policy(|policy| policy.conditions.clients = vec![ApplicationId(Uuid::from_u128(5))]);
    assert!(decided(&state(&[programs], vec![]), "10:05:00", other_program).is_ok());
}

#[test]
fn what_is_demanded_of_a_sign_in_is_demanded_and_a_block_goes_before() {
    let demands = |grant: GrantControls| policy(move |policy| policy.grant = grant);
    let outcome = |grant: GrantControls, methods: &[&str]| {
        let state = state(&[demands(grant)], vec![]);
        let methods = methods.iter().map(|method| (*method).to_owned()).collect();
        decided(&state, "10:05:00", |asked| asked.credential.methods = methods).map(drop)
    };
    let (mfa, fido) = (Control::Mfa, Control::PhishingResistant);
    assert_eq!(outcome(GrantControls::All(vec![mfa]), &["mfa"]), Ok(()));
    assert_eq!(outcome(GrantControls::All(vec![mfa]), &[]), Err(&code::SIGN_IN_AGAIN));
    assert_eq!(outcome(GrantControls::All(vec![mfa, fido]), &["mfa"]), Err(&code::SIGN_IN_AGAIN));
    assert_eq!(outcome(GrantControls::Any(vec![mfa, fido]), &["mfa"]), Ok(()));
    assert_eq!(outcome(GrantControls::Any(vec![fido]), &["fido", "pop", "mfa"]), Ok(()));

    let both = state(&[demands(GrantControls::All(vec![fido])), policy(|_| ())], vec![]);
    assert_eq!(decided(&both, "10:05:00", |_| ()), Err(&code::CONDITIONAL_ACCESS));
    let explained = explain(&request(ADA, &both), &both, at("10:05:00"));
    let named = explained.iter().find(|condition| condition.name == "conditional access").unwrap();
    assert!(!named.met && named.detail.contains("`policy-1` blocks"), "{named:?}");
    // A workload has no second factor.
    let state = state(&[demands(GrantControls::All(vec![mfa]))], vec![]);
    let asked = request(API, &state);
    let Decision::Deny(refusal) = decide(&asked, &state, at("10:05:00")) else { panic!() };
    assert_eq!(refusal.code, &code::SIGN_IN_AGAIN);
}

#[test]
fn a_session_ends_when_its_sign_in_is_too_old_and_says_so_before() {
    let fresh = policy(|policy| {
        policy.grant = GrantControls::All(vec![]);
        policy.sign_in_frequency = Some(Lifetime::from_seconds(1200));
    });
    let state = state(&[fresh], vec![]);
    assert_eq!(decided(&state, "10:05:00", |_| ()), Ok(Some(at("10:10:00"))));
    assert_eq!(decided(&state, "10:10:00", |_| ()), Err(&code::SIGN_IN_AGAIN));
    let live = |asked: &mut Request| *asked = open(asked.clone(), "10:01:00", &["orders.reader"]);
    assert_eq!(decided(&state, "10:10:00", live), Err(&code::SIGN_IN_ENDED));
    let unknown = |asked: &mut Request| asked.credential.signed_in_at = None;
    assert_eq!(decided(&state, "10:05:00", unknown), Err(&code::SIGN_IN_AGAIN));
}

#[test]
fn hours_are_those_of_the_clock_there_and_their_edges_are_asked_about() {
    // A Tuesday.
    let hours = |from: &str, until: &str, outside: bool| {
        policy(|policy| {
            policy.conditions.times = Some(TimeWindow {
                days: vec![Day::Tuesday],
                from: from.parse().unwrap(),
                until: until.parse().unwrap(),
                utc_offset: Some("+02:00".parse().unwrap()),
                outside,
            });
        })
    };
    let within = state(&[hours("12:15", "13:00", false)], vec![]);
    assert_eq!(decided(&within, "10:05:00", |_| ()), Ok(Some(at("10:15:00"))), "blocked then");
    assert_eq!(decided(&within, "10:15:00", |_| ()), Err(&code::CONDITIONAL_ACCESS));
    let outside = state(&[hours("12:00", "12:20", true)], vec![]);
    assert_eq!(decided(&outside, "10:05:00", |_| ()), Ok(Some(at("10:20:00"))));
    // An edge at which nothing changes ends nothing, and is asked about.
    let harmless = state(
        &[hours("12:15", "12:20", true), policy(|p| p.state = PolicyState::Disabled)],
        vec![],
    );
    assert_eq!(decided(&harmless, "10:16:00", |_| ()), Ok(Some(at("10:20:00"))));
    let report = state(
        &[policy(|policy| {
            *policy = hours("12:15", "12:20", false);
            policy.grant = GrantControls::All(vec![Control::Mfa]);
        })],
        vec![],
    );
    let asked = {
        let mut asked = request(ADA, &report);
        asked.credential.methods = vec!["mfa".to_owned()];
        asked
    };
    let Decision::Allow(grant) = decide(&asked, &report, at("10:05:00")) else { panic!() };
    assert_eq!((grant.until, grant.again_at), (Some(at("10:30:00")), Some(at("10:15:00"))));
}

#[test]
fn the_highest_risk_counts_until_it_is_forgotten() {
    let risk = |name: &str, level: RiskLevel, ends: Option<&str>| {
        let principal = id_of(ADA, &snapshot(resources()));
        let spec =
            PrincipalRisk { principal, level, reason: "seen".to_owned(), ends_at: ends.map(at) };
        Resource::from(stored(name, spec))
    };
    let high = policy(|policy| policy.conditions.risk = vec![RiskLevel::High]);
    let risks = vec![risk("a", RiskLevel::Low, None), risk("b", RiskLevel::High, Some("10:06:00"))];
    let state = state(&[high], risks);
    assert_eq!(decided(&state, "10:05:59", |_| ()), Err(&code::CONDITIONAL_ACCESS));
    assert!(decided(&state, "10:06:00", |_| ()).is_ok());
}

#[test]
fn what_only_reports_is_told_and_refuses_nothing() {
    let report = policy(|policy| policy.state = PolicyState::ReportOnly);
    let state = state(&[report], vec![]);
    let Decision::Allow(grant) = decide(&request(ADA, &state), &state, at("10:05:00")) else {
        panic!("refused")
    };
    let [verdict] = grant.policies.as_slice() else { panic!("{:?}", grant.policies) };
    assert_eq!((verdict.report_only, &verdict.outcome), (true, &Outcome::Blocked));
}

/// The same question, answered one condition after the other without looking for short cuts.
mod reference {
    use super::*;

    pub(super) struct Case {
        pub(super) person: bool,
        pub(super) name: String,
        pub(super) groups: Vec<String>,
        pub(super) server: String,
        pub(super) address: u32,
        pub(super) methods: Vec<String>,
        pub(super) signed_in: Option<i64>,
        pub(super) client: Option<u128>,
        pub(super) risk: RiskLevel,
        pub(super) now: i64,
    }

    fn named(principals: &Principals, case: &Case) -> bool {
        let mut found = false;
        if case.person {
            found |= principals.all.contains(&PrincipalSort::Users);
            found |= principals.users.iter().any(|user| user.as_str() == case.name);
            for group in &principals.groups {
                found |= case.groups.iter().any(|own| own == group.as_str());
            }
        } else {
            found |= principals.all.contains(&PrincipalSort::Workloads);
            found |= principals.workloads.contains(&case.name);
        }
        found
    }

    /// The places of the random cases: 10.0.0.0/28 and 10.0.0.8/29.
    fn at(place: &str, address: u32) -> bool {
        let low = address.checked_sub(0x0a00_0000);
        match place {
            "office" => low.is_some_and(|low| low < 16),
            "lab" => low.is_some_and(|low| (8..16).contains(&low)),
            other => panic!("{other}"),
        }
    }

    pub(super) fn outcome(policy: &ConditionalAccessPolicy, case: &Case) -> Outcome {
        let included = named(&policy.include, case);
        let excluded = policy.exclude.as_ref().is_some_and(|excluded| named(excluded, case));
        if !included || excluded {
            return Outcome::NotApplied(Reason::Principal);
        }
        if let Servers::Only(names) = &policy.servers
            && !names.iter().any(|name| name.as_str() == case.server)
        {
            return Outcome::NotApplied(Reason::Server);
        }
        if let Some(Locations { include, exclude }) = &policy.conditions.locations {
            let mut there = include.is_empty();
            for place in include {
                there |= at(place.as_str(), case.address);
            }
            for place in exclude {
                there &= !at(place.as_str(), case.address);
            }
            if !there {
                return Outcome::NotApplied(Reason::Location);
            }
        }
        let clients = &policy.conditions.clients;
        if let Some(client) = case.client
            && !clients.is_empty()
            && clients.iter().all(|named| named.0.as_u128() != client)
        {
            return Outcome::NotApplied(Reason::Client);
        }
        let risk = &policy.conditions.risk;
        if !risk.is_empty() && !risk.contains(&case.risk) {
            return Outcome::NotApplied(Reason::Risk);
        }
        if policy.conditions.times.as_ref().is_some_and(|times| !in_time(times, case.now)) {
            return Outcome::NotApplied(Reason::Time);
        }
        granted(policy, case)
    }

    fn in_time(times: &TimeWindow, now: i64) -> bool {
        let ahead = times.utc_offset.map_or(0, |offset| i64::from(offset.minutes()) * 60);
        // Monday, 2026-11-23.
        let monday: Timestamp = "2026-11-23T00:00:00Z".parse().unwrap();
        let mut left = now + ahead - monday.seconds();
        let mut day = 0;
        while left < 0 {
            left += 86_400;
            day = (day + 6) % 7;
        }
        while left >= 86_400 {
            left -= 86_400;
            day = (day + 1) % 7;
        }
        let days = [
            Day::Monday,
            Day::Tuesday,
            Day::Wednesday,
            Day::Thursday,
            Day::Friday,
            Day::Saturday,
            Day::Sunday,
        ];
        let today = times.days.is_empty() || times.days.contains(&days[day]);
        let begun = left >= i64::from(times.from.minutes()) * 60;
        let over = left >= i64::from(times.until.minutes()) * 60;
        (today && begun && !over) != times.outside
    }

    fn granted(policy: &ConditionalAccessPolicy, case: &Case) -> Outcome {
        let has = |control: &Control| {
            let word = match control {
                Control::Mfa => "mfa",
                Control::PhishingResistant => "fido",
            };
            case.person && case.methods.iter().any(|method| method == word)
        };
        match &policy.grant {
            GrantControls::Block => return Outcome::Blocked,
            GrantControls::All(controls) => {
                let missing: Vec<Control> =
                    controls.iter().filter(|control| !has(control)).copied().collect();
                if !missing.is_empty() {
                    return Outcome::Unmet(missing);
                }
            }
            GrantControls::Any(controls) => {
                if !controls.is_empty() && !controls.iter().any(has) {
                    return Outcome::Unmet(controls.clone());
                }
            }
        }
        match policy.sign_in_frequency {
            Some(within) if case.person => {
                let within = i64::try_from(within.seconds()).unwrap();
                match case.signed_in {
                    Some(then) if case.now < then + within => Outcome::Satisfied,
                    _ => Outcome::SignInTooOld,
                }
            }
            _ => Outcome::Satisfied,
        }
    }
}

fn some_principals() -> impl Strategy<Value = Principals> {
    let all =
        prop::sample::subsequence(vec![PrincipalSort::Users, PrincipalSort::Workloads], 0..=1);
    let users = prop::sample::subsequence(vec![ADA, GRACE], 0..=1);
    let groups = prop::sample::subsequence(vec!["orders-readers", "orders-writers"], 0..=2);
    let workloads = prop::sample::subsequence(vec![API, "other"], 0..=1);
    (all, users, groups, workloads).prop_map(|(all, users, groups, workloads)| Principals {
        all,
        users: users.into_iter().map(user_name).collect(),
        groups: groups.into_iter().map(group_name).collect(),
        workloads: workloads.into_iter().map(str::to_owned).collect(),
    })
}

fn some_conditions() -> impl Strategy<Value = Conditions> {
    let places = || prop::sample::subsequence(vec!["office", "lab"], 0..=2);
    let locations = prop::option::of((places(), places()).prop_map(|(include, exclude)| {
        let names = |places: Vec<&str>| places.into_iter().map(place_name).collect();
        Locations { include: names(include), exclude: names(exclude) }
    }));
    let clients = prop::collection::vec(1_u128..4, 0..=2);
    let levels = vec![RiskLevel::None, RiskLevel::Low, RiskLevel::Medium, RiskLevel::High];
    let risk = prop::sample::subsequence(levels, 0..=3);
    let days = vec![Day::Monday, Day::Tuesday, Day::Thursday, Day::Sunday];
    let days = prop::sample::subsequence(days, 0..=3);
    let times =
        prop::option::of((days, 0_u16..1440, 1_u16..1440, -14_i16..15, any::<bool>()).prop_map(
            |(days, from, long, offset, outside)| {
                let until = (from + long).min(1440);
                let time = |minutes: u16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
                let sign = if offset < 0 { '-' } else { '+' };
                let offset = format!("{sign}{:02}:00", offset.abs());
                TimeWindow {
                    days,
                    from: time(from).parse().unwrap(),
                    until: time(until).parse().unwrap(),
                    utc_offset: Some(offset.parse().unwrap()),
                    outside,
                }
            },
        ));
    (locations, clients, risk, times).prop_map(|(locations, clients, risk, times)| Conditions {
        locations,
        clients: clients.into_iter().map(|id| ApplicationId(Uuid::from_u128(id))).collect(),
        risk,
        times,
    })
}

fn some_policy() -> impl Strategy<Value = ConditionalAccessPolicy> {
    let controls =
        || prop::sample::subsequence(vec![Control::Mfa, Control::PhishingResistant], 0..=2);
    let grant = prop_oneof![
        Just(GrantControls::Block),
        controls().prop_map(GrantControls::All),
        controls().prop_map(GrantControls::Any),
    ];
    let servers = prop::option::of(prop::sample::subsequence(vec!["orders", "other"], 1..=2));
    let frequency = prop::option::of((1_u64..7200).prop_map(Lifetime::from_seconds));
    let exclude = prop::option::weighted(0.3, some_principals());
    (some_principals(), exclude, servers, some_conditions(), grant, frequency).prop_map(
        |(include, exclude, servers, conditions, grant, sign_in_frequency)| {
            let only =
                |names: Vec<&str>| names.into_iter().map(|name| name.parse().unwrap()).collect();
            let servers = servers.map_or(Servers::Any, |names| Servers::Only(only(names)));
            policy(|policy| {
                (policy.include, policy.exclude, policy.servers) = (include, exclude, servers);
                (policy.conditions, policy.grant) = (conditions, grant);
                policy.sign_in_frequency = sign_in_frequency;
            })
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// A hundred thousand policies and sessions: ten policies and ten sessions in each of a thousand cases.
    #[test]
    fn it_says_what_a_slow_and_obvious_evaluator_says(
        policies in prop::collection::vec(some_policy(), 10),
        sessions in prop::collection::vec(
            (any::<bool>(), 0_u32..20, 0_u8..8, prop::option::of(0_i64..9000), prop::option::of(1_u128..4), 0_i64..900_000, any::<bool>()),
            10,
        ),
        feared in prop::option::of(0_usize..3),
    ) {
        let level = feared.map(|index| [RiskLevel::Low, RiskLevel::Medium, RiskLevel::High][index]);
        let base = snapshot(resources());
        let ids: Vec<PrincipalId> = vec![id_of(ADA, &base), id_of(API, &base)];
        let risks = level.iter().flat_map(|level| ids.iter().map(|principal| {
            let spec = PrincipalRisk { principal: *principal, level: *level, reason: String::new(), ends_at: None };
            Resource::from(stored(&principal.to_string(), spec))
        }));
        let mut more: Vec<Resource> = risks.collect();
        more.push(place("lab", &["10.0.0.8/29"]));
        let state = state(&policies, more);
        for (person, low, methods, signed_in, client, after, other_server) in sessions {
            let monday: Timestamp = "2026-11-22T00:00:00Z".parse().unwrap();
            let now = monday.seconds() + after;
            let name = if person { ADA } else { API };
            let principal = state.principal(id_of(name, &state)).unwrap();
            let words = ["mfa", "fido", "otp"].iter().enumerate();
            let methods: Vec<String> = words
                .filter(|(bit, _)| methods & (1 << bit) != 0)
                .map(|(_, word)| (*word).to_owned())
                .collect();
            let server: ServerName = if other_server { "other" } else { "orders" }.parse().unwrap();
            let moment = Timestamp::from_seconds(now);
            let is_reader = at("10:00:00") <= moment && moment < at("10:30:00");
            let case = reference::Case {
                person,
                name: name.to_owned(),
                groups: if person && is_reader { vec!["orders-readers".to_owned()] } else { vec![] },
                server: server.to_string(),
                address: 0x0a00_0000 + low,
                methods: methods.clone(),
                signed_in: signed_in.map(|before| now - before),
                client,
                risk: level.unwrap_or(RiskLevel::None),
                now,
            };
            let session = Session {
                principal: &principal,
                server: &server,
                source: std::net::Ipv4Addr::from_bits(case.address).into(),
                methods: &methods,
                signed_in_at: case.signed_in.map(Timestamp::from_seconds),
                client: client.map(|id| ApplicationId(Uuid::from_u128(id))),
                also_in: &[],
            };
            let verdicts = evaluate(&session, &state, moment);
            prop_assert_eq!(verdicts.len(), policies.len());
            for verdict in verdicts {
                let index: usize = verdict.policy.trim_start_matches("policy-").parse().unwrap();
                prop_assert_eq!(&verdict.outcome, &reference::outcome(&policies[index], &case));
            }
        }
    }
}
