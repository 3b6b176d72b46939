//! Who holds which database role now, and why not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use model::kind::activation::{Activation, ActivationState};
use model::kind::eligibility::Eligibility;
use model::kind::role_assignment::Assignee;
use model::{
    ActivationId, DatabaseRoleName, Document, GroupName, Principal, PrincipalId, PrincipalKind,
    Refusal, ServerName, Snapshot, Timestamp, code,
};

/// A database role that is held now, with the strongest reason for it (the one that lasts longest).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveRole {
    /// The role.
    pub role: DatabaseRoleName,
    /// The group it comes through.
    pub group: Option<GroupName>,
    /// The activation that makes the principal a member.
    pub activation: Option<ActivationId>,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
}

impl fmt::Display for ActiveRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.role)?;
        if let Some(group) = &self.group {
            write!(f, " through `{group}`")?;
        }
        match self.until {
            Some(until) => write!(f, " until {until}"),
            None => f.write_str(" without an end"),
        }
    }
}

/// Membership of one group now.
#[derive(Clone)]
struct Membership {
    group: GroupName,
    activation: Option<ActivationId>,
    until: Option<Timestamp>,
}

/// Every database role of the server that the principal holds at `now`, each once, in the order of names. A disabled
/// or unknown principal holds none.
pub fn active_roles(
    principal: PrincipalId,
    server: &ServerName,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Vec<ActiveRole> {
    let Some(principal) = snapshot.principal(principal).filter(|principal| principal.enabled)
    else {
        return Vec::new();
    };
    let memberships = match principal.kind {
        PrincipalKind::User => memberships(&principal, snapshot, now),
        PrincipalKind::Application | PrincipalKind::ManagedIdentity => Vec::new(),
    };
    let mut held: BTreeMap<DatabaseRoleName, ActiveRole> = BTreeMap::new();
    for assignment in snapshot.role_assignments.iter() {
        let role = &assignment.spec.role;
        if snapshot.database_roles.get(role).is_none_or(|role| role.spec.server != *server) {
            continue;
        }
        let reasons = match &assignment.spec.principal {
            Assignee::Application(_) | Assignee::ManagedIdentity(_) => {
                direct(&principal, &assignment.spec.principal, role).into_iter().collect()
            }
            Assignee::Group(group) => through(&memberships, group, role),
        };
        for reason in reasons {
            keep_longest(&mut held, reason);
        }
    }
    held.into_values().collect()
}

/// The groups of which the person is a member at `now`, each once, in the order of names. A disabled or unknown person
/// is a member of none.
pub fn active_groups(
    principal: PrincipalId,
    snapshot: &Snapshot,
    now: Timestamp,
) -> BTreeSet<GroupName> {
    let person = snapshot
        .principal(principal)
        .filter(|principal| principal.enabled && principal.kind == PrincipalKind::User);
    let memberships = person.map(|person| memberships(&person, snapshot, now)).unwrap_or_default();
    memberships.into_iter().map(|membership| membership.group).collect()
}

fn direct(
    principal: &Principal,
    assignee: &Assignee,
    role: &DatabaseRoleName,
) -> Option<ActiveRole> {
    let own = match (assignee, principal.kind) {
        (Assignee::Application(name), PrincipalKind::Application) => {
            principal.name == name.as_str()
        }
        (Assignee::ManagedIdentity(name), PrincipalKind::ManagedIdentity) => {
            principal.name == name.as_str()
        }
        (
            Assignee::Group(_) | Assignee::Application(_) | Assignee::ManagedIdentity(_),
            PrincipalKind::User | PrincipalKind::Application | PrincipalKind::ManagedIdentity,
        ) => false,
    };
    own.then(|| ActiveRole { role: role.clone(), group: None, activation: None, until: None })
}

fn through(
    memberships: &[Membership],
    group: &GroupName,
    role: &DatabaseRoleName,
) -> Vec<ActiveRole> {
    let mine = memberships.iter().filter(|membership| membership.group == *group);
    mine.map(|membership| ActiveRole {
        role: role.clone(),
        group: Some(group.clone()),
        activation: membership.activation,
        until: membership.until,
    })
    .collect()
}

fn keep_longest(held: &mut BTreeMap<DatabaseRoleName, ActiveRole>, reason: ActiveRole) {
    let lasts = |role: &ActiveRole| role.until.unwrap_or(Timestamp::MAX);
    let longer = held.get(&reason.role).is_none_or(|known| lasts(known) < lasts(&reason));
    if longer {
        held.insert(reason.role.clone(), reason);
    }
}

fn memberships(principal: &Principal, snapshot: &Snapshot, now: Timestamp) -> Vec<Membership> {
    let standing = standing(&principal.name, snapshot);
    let activated = snapshot
        .activations
        .iter()
        .filter(|activation| activation.spec.user.as_str() == principal.name)
        .filter_map(|activation| activated(activation, principal, snapshot, now));
    with_enclosing(standing.chain(activated).collect(), snapshot)
}

/// Whoever is a member of a group is, for as long, one of those that count it among their members.
fn with_enclosing(mut memberships: Vec<Membership>, snapshot: &Snapshot) -> Vec<Membership> {
    // Groups that stand in a circle, which no write lets in, end as soon as each was seen once for each reason.
    let mut next = 0;
    while let Some(Membership { group, activation, until }) = memberships.get(next).cloned() {
        next += 1;
        for enclosing in snapshot.groups.iter().filter(|other| other.spec.groups.contains(&group)) {
            let known = memberships.iter().any(|membership| {
                membership.group.as_str() == enclosing.name() && membership.activation == activation
            });
            if let (false, Ok(group)) = (known, GroupName::new(enclosing.name())) {
                memberships.push(Membership { group, activation, until });
            }
        }
    }
    memberships
}

/// Groups whose members the person is one of by name.
fn standing<'a>(user: &'a str, snapshot: &'a Snapshot) -> impl Iterator<Item = Membership> + 'a {
    snapshot
        .groups
        .iter()
        .filter(move |group| group.spec.members.iter().any(|member| member.as_str() == user))
        .filter_map(|group| GroupName::new(group.name()).ok())
        .map(|group| Membership { group, activation: None, until: None })
}

/// The groups of which a person is a member without an activation, through other groups too.
pub fn standing_groups(user: &str, snapshot: &Snapshot) -> BTreeSet<GroupName> {
    let all = with_enclosing(standing(user, snapshot).collect(), snapshot);
    all.into_iter().map(|membership| membership.group).collect()
}

/// An activation makes a member only while it is active, its eligibility stands, and the group exists.
fn activated(
    activation: &Document<Activation>,
    principal: &Principal,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Option<Membership> {
    let (status, group) = (&activation.status, &activation.spec.group);
    let (from, until) = (status.active_from?, status.active_until?);
    let live = status.state == ActivationState::Active && from <= now && now < until;
    // A person deleted and created again under the same name is another person.
    let same_person = snapshot.users.by_uid(principal.id.0).is_some_and(|user| {
        user.metadata.created_at.is_none_or(|created| created <= activation.spec.requested_at)
    });
    let eligible_until = eligible_until(&principal.name, group, snapshot, now)?;
    (live && same_person && snapshot.groups.get(group).is_some()).then(|| Membership {
        group: group.clone(),
        activation: activation.name().parse().ok(),
        until: Some(until.min(eligible_until)),
    })
}

/// Until when the person may ask for membership of the group; `None` when not now.
pub(crate) fn eligible_until(
    user: &str,
    group: &GroupName,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Option<Timestamp> {
    snapshot
        .eligibilities
        .iter()
        .map(|eligibility| &eligibility.spec)
        .filter(|spec| spec.group == *group && is_eligible(user, spec, snapshot))
        .filter(|spec| spec.starts_at.is_none_or(|starts| starts <= now))
        .map(|spec| spec.ends_at.unwrap_or(Timestamp::MAX))
        .filter(|ends| now < *ends)
        .max()
}

/// Whether the eligibility speaks of this person. Both fields at once, which no write lets in, speak of nobody.
pub fn is_eligible(user: &str, eligibility: &Eligibility, snapshot: &Snapshot) -> bool {
    match (&eligibility.user, &eligibility.members_of) {
        (Some(named), None) => named.as_str() == user,
        (None, Some(group)) => standing_groups(user, snapshot).contains(group),
        (Some(_), Some(_)) | (None, None) => false,
    }
}

/// Groups through which the server can be reached.
fn groups_of(server: &ServerName, snapshot: &Snapshot) -> Vec<GroupName> {
    let on_server = |role: &DatabaseRoleName| {
        snapshot.database_roles.get(role).is_some_and(|role| role.spec.server == *server)
    };
    snapshot
        .role_assignments
        .iter()
        .filter(|assignment| on_server(&assignment.spec.role))
        .filter_map(|assignment| match &assignment.spec.principal {
            Assignee::Group(group) => Some(group.clone()),
            Assignee::Application(_) | Assignee::ManagedIdentity(_) => None,
        })
        .collect()
}

/// Why the principal holds no role on the server, and what would help.
pub(crate) fn why_none(
    principal: PrincipalId,
    server: &ServerName,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Refusal {
    let Some(principal) = snapshot.principal(principal) else {
        return Refusal::new(&code::PRINCIPAL_UNKNOWN, "the principal does not exist any more");
    };
    if !principal.kind.is_person() {
        let message = format!("no database role on `{server}` is assigned to `{}`", principal.name);
        return Refusal::new(&code::NOT_A_MEMBER, message)
            .hint("an owner can assign one with a RoleAssignment");
    }
    let eligible: Vec<GroupName> = groups_of(server, snapshot)
        .into_iter()
        .filter(|group| eligible_until(&principal.name, group, snapshot, now).is_some())
        .collect();
    let Some(first) = eligible.first() else {
        let message = format!("you are not a member of any group that has a role on `{server}`");
        return Refusal::new(&code::NOT_A_MEMBER, message);
    };
    let pending = snapshot.activations.iter().find(|activation| {
        activation.status.state == ActivationState::Requested
            && activation.spec.user.as_str() == principal.name
            && eligible.contains(&activation.spec.group)
    });
    if let Some(pending) = pending {
        let message = format!("your request for `{}` has not been decided yet", pending.spec.group);
        let hint = format!("an approver can decide with `portcullis approve {}`", pending.name());
        return Refusal::new(&code::NOT_A_MEMBER, message).hint(hint);
    }
    let names: Vec<String> = eligible.iter().map(|group| format!("`{group}`")).collect();
    let message = format!("you are not a member of {} now", names.join(" or "));
    let duration = snapshot
        .access_rules
        .iter()
        .find(|rules| rules.spec.group == *first)
        .map_or_else(|| "30m".to_owned(), |rules| rules.spec.duration_max.to_string());
    Refusal::new(&code::NOT_A_MEMBER, message).hint(format!(
        "you are eligible; ask with `portcullis request {first} --for {duration} --because \"…\"`"
    ))
}

/// Why an open session lost a role.
pub(crate) fn why_lost(lost: &Lost<'_>, snapshot: &Snapshot, now: Timestamp) -> Refusal {
    let code = if lost.last { &code::MEMBERSHIP_ENDED } else { &code::ROLES_CHANGED };
    let unassigned =
        || Refusal::new(code, format!("the role `{}` is no longer assigned to you", lost.role));
    let Some(activation) = latest_activation(lost, snapshot) else {
        return unassigned();
    };
    let (status, group) = (&activation.status, &activation.spec.group);
    let until = status.active_until.unwrap_or_default();
    let by = status.ended_by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    let how = match status.state {
        ActivationState::Revoked => format!("was revoked{by}"),
        ActivationState::Deactivated => "was given up".to_owned(),
        // Time is left on it: the assignment, the eligibility or the group has gone.
        ActivationState::Active if now < until => return unassigned(),
        ActivationState::Active | ActivationState::Expired => format!("expired at {until}"),
        ActivationState::Requested
        | ActivationState::Scheduled
        | ActivationState::Denied
        | ActivationState::Cancelled => return unassigned(),
    };
    Refusal::new(code, format!("your membership of `{group}` {how}"))
        .hint(format!("ask again with `portcullis request {group} --because \"…\"`"))
}

/// A role that an open session was opened with and that is not held any more.
pub(crate) struct Lost<'a> {
    pub(crate) principal: PrincipalId,
    pub(crate) role: &'a DatabaseRoleName,
    /// No other role is left.
    pub(crate) last: bool,
}

fn latest_activation<'a>(
    lost: &Lost<'_>,
    snapshot: &'a Snapshot,
) -> Option<&'a Document<Activation>> {
    let user = snapshot.principal(lost.principal)?.name;
    let groups: Vec<&GroupName> = snapshot
        .role_assignments
        .iter()
        .filter(|assignment| assignment.spec.role == *lost.role)
        .filter_map(|assignment| match &assignment.spec.principal {
            Assignee::Group(group) => Some(group),
            Assignee::Application(_) | Assignee::ManagedIdentity(_) => None,
        })
        .collect();
    snapshot
        .activations
        .iter()
        .filter(|activation| {
            activation.spec.user.as_str() == user && groups.contains(&&activation.spec.group)
        })
        .filter(|activation| activation.status.active_until.is_some())
        .max_by_key(|activation| activation.status.active_from)
        .map(AsRef::as_ref)
}
