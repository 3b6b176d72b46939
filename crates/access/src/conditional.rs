//! Conditional access: which policies apply to a session, and whether it satisfies them.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use model::kind::conditional_access_policy::{
    ConditionalAccessPolicy, Conditions, Control, Day, GrantControls, Locations, PolicyState,
    PrincipalSort, Principals, RiskLevel, Servers, TimeWindow,
};
use model::verdict::{Outcome, Reason, Verdict};
use model::{
    ApplicationId, GroupName, Principal, PrincipalKind, Refusal, ServerName, Snapshot, Timestamp,
    code,
};

use crate::membership::active_groups;
use crate::token::Credential;

const MINUTES_A_DAY: i64 = 24 * 60;
/// `amr` of two factors (RFC 8176).
const MFA: &str = "mfa";
/// `amr` of a passkey.
const FIDO: &str = "fido";

/// Whose session it is, from where, with what.
#[derive(Clone, Debug)]
pub struct Session<'a> {
    /// Whose.
    pub principal: &'a Principal,
    /// To which server.
    pub server: &'a ServerName,
    /// From where.
    pub source: IpAddr,
    /// How they signed in (`amr`).
    pub methods: &'a [String],
    /// When they signed in, where it is known.
    pub signed_in_at: Option<Timestamp>,
    /// The program that got the token, where it is known.
    pub client: Option<ApplicationId>,
    /// Groups of which the person is, or was, a member beside those of which they are one at that time.
    pub also_in: &'a [GroupName],
}

impl<'a> Session<'a> {
    /// With what the credential says.
    pub fn new(
        principal: &'a Principal,
        server: &'a ServerName,
        (source, credential): (IpAddr, &'a Credential),
    ) -> Self {
        let Credential { methods, signed_in_at, client, .. } = credential;
        let (signed_in_at, client) = (*signed_in_at, *client);
        Self { principal, server, source, methods, signed_in_at, client, also_in: &[] }
    }
}

/// What every policy that is not disabled says, in the order of names.
pub fn evaluate(session: &Session<'_>, snapshot: &Snapshot, now: Timestamp) -> Vec<Verdict> {
    let mut facts = Facts { session, snapshot, now, groups: None };
    let policies = snapshot.conditional_access_policies.iter();
    let policies = policies.filter(|policy| policy.spec.state != PolicyState::Disabled);
    policies
        .map(|policy| Verdict {
            policy: policy.name().to_owned(),
            report_only: policy.spec.state == PolicyState::ReportOnly,
            outcome: facts.outcome(&policy.spec),
        })
        .collect()
}

/// What one policy would say of a session, whether it stands anywhere or not, and whatever its state.
pub fn what_if(
    policy: &ConditionalAccessPolicy,
    session: &Session<'_>,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Outcome {
    Facts { session, snapshot, now, groups: None }.outcome(policy)
}

/// Whether the enabled policies let the session be. A block goes before a demand that a sign-in could meet.
pub fn check(
    session: &Session<'_>,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Result<String, Refusal> {
    let verdicts = evaluate(session, snapshot, now);
    let enforced = || verdicts.iter().filter(|verdict| !verdict.report_only);
    let blocked = enforced().find(|verdict| verdict.outcome == Outcome::Blocked);
    if let Some(refusing) = blocked.or_else(|| enforced().find(|it| it.outcome.refuses())) {
        return Err(refusal(refusing, snapshot));
    }
    let satisfied = enforced().filter(|verdict| verdict.outcome == Outcome::Satisfied);
    let names: Vec<String> = satisfied.map(|verdict| format!("`{}`", verdict.policy)).collect();
    Ok(if names.is_empty() {
        "no policy applies".to_owned()
    } else {
        format!("satisfies {}", names.join(", "))
    })
}

fn refusal(verdict: &Verdict, snapshot: &Snapshot) -> Refusal {
    let policy = snapshot.conditional_access_policies.get(&verdict.policy);
    let about = policy.and_then(|policy| policy.spec.description.as_deref());
    let about = about.map(|about| format!(" ({about})")).unwrap_or_default();
    let named = format!("the conditional access policy `{}`{about}", verdict.policy);
    match &verdict.outcome {
        Outcome::Unmet(controls) => {
            let wanted: Vec<String> = controls.iter().map(ToString::to_string).collect();
            Refusal::new(&code::SIGN_IN_AGAIN, format!("{named} demands {}", wanted.join(" or ")))
                .hint("sign in so, and connect with the token itself: a handle does not say how you signed in")
        }
        Outcome::SignInTooOld => {
            let within = policy.and_then(|policy| policy.spec.sign_in_frequency);
            let within = within.map(|within| format!(" within {within}")).unwrap_or_default();
            Refusal::new(&code::SIGN_IN_AGAIN, format!("{named} demands a sign-in{within}"))
        }
        Outcome::Blocked | Outcome::NotApplied(_) | Outcome::Satisfied => {
            Refusal::new(&code::CONDITIONAL_ACCESS, format!("{named} blocks this"))
        }
    }
}

/// The earliest instant at which a policy can say something else without a change of the snapshot.
pub fn next_change(
    session: &Session<'_>,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Option<Timestamp> {
    let policies = snapshot.conditional_access_policies.iter();
    let enabled = policies.filter(|policy| policy.spec.state == PolicyState::Enabled);
    let by_policy = enabled.flat_map(|policy| {
        let times = policy.spec.conditions.times.as_ref();
        let edge = times.and_then(|times| next_edge(times, now));
        let signed_in = session.signed_in_at.filter(|_| is_person(session));
        let too_old = policy.spec.sign_in_frequency.zip(signed_in);
        let too_old = too_old.map(|(within, at)| at.plus(within.duration()));
        edge.into_iter().chain(too_old)
    });
    let risks = snapshot.principal_risks.iter();
    let risks = risks.filter(|risk| risk.spec.principal == session.principal.id);
    let forgotten = risks.filter_map(|risk| risk.spec.ends_at);
    by_policy.chain(forgotten).filter(|at| now < *at).min()
}

fn is_person(session: &Session<'_>) -> bool {
    session.principal.kind == PrincipalKind::User
}

struct Facts<'a> {
    session: &'a Session<'a>,
    snapshot: &'a Snapshot,
    now: Timestamp,
    /// Looked up when the first policy asks.
    groups: Option<BTreeSet<GroupName>>,
}

impl Facts<'_> {
    fn outcome(&mut self, policy: &ConditionalAccessPolicy) -> Outcome {
        if let Some(reason) = self.not_meant(policy) {
            return Outcome::NotApplied(reason);
        }
        let missing = |controls: &[Control]| -> Vec<Control> {
            controls.iter().filter(|control| !self.has(**control)).copied().collect()
        };
        let unmet = match &policy.grant {
            GrantControls::Block => return Outcome::Blocked,
            GrantControls::All(controls) => missing(controls),
            GrantControls::Any(controls) => {
                let missing = missing(controls);
                if missing.len() < controls.len() { Vec::new() } else { missing }
            }
        };
        if !unmet.is_empty() {
            return Outcome::Unmet(unmet);
        }
        match policy.sign_in_frequency {
            Some(within) if is_person(self.session) => {
                let fresh = self
                    .session
                    .signed_in_at
                    .is_some_and(|at| self.now < at.plus(within.duration()));
                if fresh { Outcome::Satisfied } else { Outcome::SignInTooOld }
            }
            Some(_) | None => Outcome::Satisfied,
        }
    }

    fn has(&self, control: Control) -> bool {
        let wanted = match control {
            Control::Mfa => MFA,
            Control::PhishingResistant => FIDO,
        };
        is_person(self.session) && self.session.methods.iter().any(|method| method == wanted)
    }

    fn not_meant(&mut self, policy: &ConditionalAccessPolicy) -> Option<Reason> {
        let excluded = policy.exclude.as_ref().is_some_and(|excluded| self.is_among(excluded));
        if excluded || !self.is_among(&policy.include) {
            return Some(Reason::Principal);
        }
        match &policy.servers {
            Servers::Only(names) if !names.contains(self.session.server) => {
                return Some(Reason::Server);
            }
            Servers::Only(_) | Servers::Any => {}
        }
        let Conditions { locations, clients, risk, times } = &policy.conditions;
        if locations.as_ref().is_some_and(|locations| !self.is_at(locations)) {
            return Some(Reason::Location);
        }
        // A program that nobody knows may be any of them.
        let other = |client: ApplicationId| !clients.contains(&client);
        if !clients.is_empty() && self.session.client.is_some_and(other) {
            return Some(Reason::Client);
        }
        if !risk.is_empty() && !risk.contains(&self.risk()) {
            return Some(Reason::Risk);
        }
        let within = |times: &TimeWindow| is_within(times, self.now) != times.outside;
        if times.as_ref().is_some_and(|times| !within(times)) {
            return Some(Reason::Time);
        }
        None
    }

    fn is_among(&mut self, principals: &Principals) -> bool {
        let Principals { all, users, groups, workloads } = principals;
        let principal = self.session.principal;
        let name = principal.name.as_str();
        if !is_person(self.session) {
            return all.contains(&PrincipalSort::Workloads)
                || workloads.iter().any(|named| named == name);
        }
        if all.contains(&PrincipalSort::Users) || users.iter().any(|user| user.as_str() == name) {
            return true;
        }
        if groups.is_empty() {
            return false;
        }
        let (snapshot, now) = (self.snapshot, self.now);
        let own = self.groups.get_or_insert_with(|| active_groups(principal.id, snapshot, now));
        groups.iter().any(|group| own.contains(group) || self.session.also_in.contains(group))
    }

    fn is_at(&self, locations: &Locations) -> bool {
        let at = |name: &model::NamedLocationName| {
            let location = self.snapshot.named_locations.get(name);
            location.is_some_and(|location| location.spec.contains(self.session.source))
        };
        let Locations { include, exclude } = locations;
        (include.is_empty() || include.iter().any(at)) && !exclude.iter().any(at)
    }

    /// The highest that has not been forgotten.
    fn risk(&self) -> RiskLevel {
        let own = self.snapshot.principal_risks.iter().filter(|risk| {
            risk.spec.principal == self.session.principal.id
                && risk.spec.ends_at.is_none_or(|ends| self.now < ends)
        });
        own.map(|risk| risk.spec.level).max().unwrap_or(RiskLevel::None)
    }
}

/// Whether the instant lies in the window, by the clock there.
fn is_within(window: &TimeWindow, now: Timestamp) -> bool {
    let (day, minute) = local(window, now);
    let today = window.days.is_empty() || window.days.contains(&Day::after_monday(day));
    let minute = u16::try_from(minute).unwrap_or(u16::MAX);
    today && window.from.minutes() <= minute && minute < window.until.minutes()
}

/// Days after a Monday, and minutes of the day, by the clock there.
fn local(window: &TimeWindow, now: Timestamp) -> (i64, i64) {
    let offset = window.utc_offset.map_or(0, |offset| i64::from(offset.minutes()));
    let minutes = now.seconds().div_euclid(60) + offset;
    // 1970-01-01 was a Thursday.
    (minutes.div_euclid(MINUTES_A_DAY) + 3, minutes.rem_euclid(MINUTES_A_DAY))
}

/// When the window next begins or ends on some day; on days that it does not have nothing changes then, and the question is
/// asked in vain.
fn next_edge(window: &TimeWindow, now: Timestamp) -> Option<Timestamp> {
    let (_, minute) = local(window, now);
    let edges = [window.from.minutes(), window.until.minutes(), 0].map(i64::from);
    let minutes_left = edges.into_iter().map(|edge| {
        let left = (edge - minute).rem_euclid(MINUTES_A_DAY);
        if left == 0 { MINUTES_A_DAY } else { left }
    });
    let minutes = u64::try_from(minutes_left.min()?).ok()?;
    let begun = Timestamp::from_seconds(now.seconds().div_euclid(60) * 60);
    Some(begun.plus(Duration::from_secs(minutes * 60)))
}
