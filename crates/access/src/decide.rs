//! The decision, top to bottom: network → principal → credential → conditional access → database → membership →
//! replication → age.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use model::kind::server::{DatabaseServer, Databases, Engine};
use model::verdict::Verdict;
use model::{
    ActivationId, DatabaseRoleName, Document, Lifetime, Principal, PrincipalId, PrincipalKind,
    Refusal, ServerName, Snapshot, Timestamp, code,
};

use crate::membership::{self, ActiveRole, Lost};
use crate::token::{self, Credential};
use crate::{conditional, database_user, network};

/// A person's session whose membership has no end lives at most so long, unless the server says otherwise.
const SESSION_AGE_MAX_DEFAULT: Duration = Duration::from_hours(12);

/// What is asked: one principal, one server, one database, from one address. Kept with the session, so that the same
/// question can be asked again.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who.
    pub principal: PrincipalId,
    /// What they proved it with.
    pub credential: Credential,
    /// Where to.
    pub server: ServerName,
    /// Which database there.
    pub database: String,
    /// The user name that the client gave.
    pub user: String,
    /// Address of the client.
    pub source: IpAddr,
    /// Whether a replication connection is asked for.
    pub replication: bool,
    /// Present once the session is open.
    pub opened_with: Option<OpenedWith>,
}

/// What an open session was opened with. The relay replaces `roles` by those of each later grant: a role gained in
/// between may have been used, so losing it cuts too.
#[derive(Clone, Debug)]
pub struct OpenedWith {
    /// When the session was opened.
    pub at: Timestamp,
    /// The roles that it may have used.
    pub roles: BTreeSet<DatabaseRoleName>,
    /// The shared user as which it is logged in; absent where everyone has their own.
    pub shared_user: Option<String>,
}

/// The outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Yes, until the grant's deadline.
    Allow(Box<Grant>),
    /// No, for this reason.
    Deny(Refusal),
}

/// What is granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Who.
    pub principal: Principal,
    /// Exactly these database roles.
    pub roles: BTreeSet<DatabaseRoleName>,
    /// The activations that they rest on.
    pub activations: Vec<ActivationId>,
    /// It ends by itself at this instant, as things stand; absent: only when the snapshot changes.
    pub until: Option<Timestamp>,
    /// The question must be asked again at this instant as well, whatever the answer will be.
    pub again_at: Option<Timestamp>,
    /// The user's name on the server.
    pub database_user: String,
    /// Said to people when they log in.
    pub notice: Option<String>,
    /// What conditional access said, policies that only report among it.
    pub policies: Vec<Verdict>,
}

/// One check of `portcullis explain`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What was checked.
    pub name: String,
    /// Whether it holds.
    pub met: bool,
    /// What was found.
    pub detail: String,
    /// The refusal's code when it does not hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What would help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Request {
    /// The question that `explain` asks: as if the principal had come with a fresh token and their own name.
    pub fn hypothetical(
        principal: &Principal,
        server: ServerName,
        database: String,
        source: IpAddr,
    ) -> Self {
        Self {
            principal: principal.id,
            credential: Credential::assumed(principal.id),
            user: principal.name.clone(),
            server,
            database,
            source,
            replication: false,
            opened_with: None,
        }
    }
}

/// Whether the principal may open the session, or keep it when it is open. Deny by default: the first check that does
/// not hold is the reason.
pub fn decide(request: &Request, snapshot: &Snapshot, now: Timestamp) -> Decision {
    match grant(&Facts { request, snapshot, now }) {
        Ok(grant) => Decision::Allow(Box::new(grant)),
        Err(refusal) => Decision::Deny(refusal),
    }
}

/// Every check and its outcome, in the order of [`decide`], which denies exactly when one of them is not met.
pub fn explain(request: &Request, snapshot: &Snapshot, now: Timestamp) -> Vec<Condition> {
    let facts = Facts { request, snapshot, now };
    CHECKS.iter().map(|(name, check)| condition(name, check(&facts))).collect()
}

fn condition(name: &str, outcome: Result<String, Refusal>) -> Condition {
    let name = name.to_owned();
    match outcome {
        Ok(detail) => Condition { name, met: true, detail, code: None, hint: None },
        Err(refusal) => Condition {
            name,
            met: false,
            detail: refusal.message,
            code: Some(refusal.code.id.to_owned()),
            hint: refusal.hint,
        },
    }
}

struct Facts<'a> {
    request: &'a Request,
    snapshot: &'a Snapshot,
    now: Timestamp,
}

type Check = fn(&Facts<'_>) -> Result<String, Refusal>;

/// The name of the check that asks about the client's address.
pub const NETWORK: &str = "network";

const CHECKS: &[(&str, Check)] = &[
    ("server", check_server),
    (NETWORK, check_network),
    ("principal", check_principal),
    ("token", check_token),
    ("conditional access", check_conditional_access),
    ("user name", check_user_name),
    ("database", check_database),
    ("membership", check_membership),
    ("shared user", check_shared_user),
    ("replication", check_replication),
    ("session age", check_age),
];

fn grant(facts: &Facts<'_>) -> Result<Grant, Refusal> {
    for (_, check) in CHECKS {
        check(facts)?;
    }
    let principal = facts.principal()?;
    let active = facts.active_roles();
    let again_at = conditional::next_change(&facts.session(&principal), facts.snapshot, facts.now);
    let until = deadline(facts, &principal, &active, again_at);
    let database_user = facts.database_user(&principal)?;
    let notice = notice(facts, &principal, &active, until);
    let policies = conditional::evaluate(&facts.session(&principal), facts.snapshot, facts.now);
    Ok(Grant {
        policies,
        again_at,
        roles: active.iter().map(|held| held.role.clone()).collect(),
        activations: active.iter().filter_map(|held| held.activation).collect(),
        principal,
        until,
        database_user,
        notice,
    })
}

impl Facts<'_> {
    fn server(&self) -> Result<&Arc<Document<DatabaseServer>>, Refusal> {
        self.snapshot.servers.get(&self.request.server).ok_or_else(|| {
            let code = if self.open() { &code::SERVER_DELETED } else { &code::SERVER_UNKNOWN };
            Refusal::new(
                code,
                format!("the server `{}` is not protected here", self.request.server),
            )
        })
    }

    fn principal(&self) -> Result<Principal, Refusal> {
        self.snapshot.principal(self.request.principal).ok_or_else(|| {
            Refusal::new(
                &code::PRINCIPAL_UNKNOWN,
                format!("no principal has the object id {}", self.request.principal),
            )
        })
    }

    fn active_roles(&self) -> Vec<ActiveRole> {
        membership::active_roles(
            self.request.principal,
            &self.request.server,
            self.snapshot,
            self.now,
        )
    }

    /// Their own, or the one that they share with all who hold the same roles.
    fn database_user(&self, principal: &Principal) -> Result<String, Refusal> {
        let server = self.server()?;
        if server.spec.upstream_identity.is_certificate() {
            return Ok(database_user::name_for(principal, &self.request.server, self.snapshot));
        }
        let held = self.active_roles().into_iter().map(|held| held.role).collect();
        match server.spec.upstream_identity.shared_user_for(&held) {
            Some(shared) => Ok(shared.user.clone()),
            None => Err(Refusal::new(
                &code::NO_SHARED_USER,
                format!("no shared user of `{}` stands for the roles that you hold", server.name()),
            )),
        }
    }

    /// As conditional access sees it.
    fn session<'a>(&'a self, principal: &'a Principal) -> conditional::Session<'a> {
        let Request { server, source, credential, .. } = self.request;
        conditional::Session::new(principal, server, (*source, credential))
    }

    fn open(&self) -> bool {
        self.request.opened_with.is_some()
    }
}

fn check_server(facts: &Facts<'_>) -> Result<String, Refusal> {
    let server = facts.server()?;
    Ok(format!("`{}` is protected here", server.name()))
}

fn check_network(facts: &Facts<'_>) -> Result<String, Refusal> {
    let source = facts.request.source;
    network::server_allows(facts.server()?, source, facts.snapshot).map_err(|mut refusal| {
        if facts.open() {
            refusal.code = &code::FIREWALL_CHANGED;
        }
        refusal
    })
}

fn check_principal(facts: &Facts<'_>) -> Result<String, Refusal> {
    let principal = facts.principal()?;
    if !principal.enabled {
        return Err(Refusal::new(
            &code::PRINCIPAL_DISABLED,
            format!("`{}` is disabled", principal.name),
        ));
    }
    Ok(format!("`{}` is enabled", principal.name))
}

fn check_token(facts: &Facts<'_>) -> Result<String, Refusal> {
    let (credential, now) = (&facts.request.credential, facts.now);
    if credential.principal != facts.request.principal {
        return Err(Refusal::new(&code::TOKEN_ISSUER, "the token is another principal's"));
    }
    if token::revoked(credential, facts.snapshot) {
        return Err(Refusal::new(&code::TOKEN_REVOKED, "the token was revoked"));
    }
    if credential.server.as_ref().is_some_and(|server| *server != facts.request.server) {
        return Err(Refusal::new(&code::TOKEN_AUDIENCE, "the handle is for another server"));
    }
    // An open session outlives its token: what it rests on is asked again, and ends it.
    if !facts.open() && now >= credential.expires_at {
        return Err(token::expired(credential.expires_at, now));
    }
    Ok("valid, not revoked".to_owned())
}

fn check_conditional_access(facts: &Facts<'_>) -> Result<String, Refusal> {
    let principal = facts.principal()?;
    let checked = conditional::check(&facts.session(&principal), facts.snapshot, facts.now);
    checked.map_err(|mut refusal| {
        if facts.open() {
            let blocked = refusal.code == &code::CONDITIONAL_ACCESS;
            refusal.code = if blocked { &code::POLICY_ENDED } else { &code::SIGN_IN_ENDED };
        }
        refusal
    })
}

fn check_user_name(facts: &Facts<'_>) -> Result<String, Refusal> {
    let principal = facts.principal()?;
    let own = database_user::name_for(&principal, &facts.request.server, facts.snapshot);
    if facts.request.user == principal.name || facts.request.user == own {
        return Ok(format!("`{own}` is their name"));
    }
    let message = format!("the token is of `{}`, not of `{}`", principal.name, facts.request.user);
    Err(Refusal::new(&code::USER_MISMATCH, message)
        .hint(format!("connect as user `{}`", principal.name)))
}

fn check_database(facts: &Facts<'_>) -> Result<String, Refusal> {
    let (server, database) = (facts.server()?, &facts.request.database);
    match &server.spec.databases {
        Databases::Any => Ok(format!("any database of `{}` is reachable", server.name())),
        Databases::Only(names) if names.contains(database) => {
            Ok(format!("`{database}` is reachable"))
        }
        // MySQL's sessions need none: `mysqldump` and `mysqladmin` name none, and `USE` changes it at any time. What is
        // reached is what the roles hold, which reach into these databases only.
        Databases::Only(_) if database.is_empty() && server.spec.engine == Engine::MySql => {
            Ok("none is named; the roles say what is reached".to_owned())
        }
        Databases::Only(names) => {
            let message =
                format!("the database `{database}` is not reachable on `{}`", server.name());
            let refusal = Refusal::new(&code::DATABASE_UNKNOWN, message);
            Err(match model::suggest::nearest(database, names.iter().map(String::as_str)) {
                Some(known) => refusal.hint(format!("did you mean `{known}`?")),
                None => refusal,
            })
        }
    }
}

fn check_membership(facts: &Facts<'_>) -> Result<String, Refusal> {
    let active = facts.active_roles();
    if let Some(opened) = &facts.request.opened_with {
        let lost = opened.roles.iter().find(|role| !active.iter().any(|held| held.role == **role));
        if let Some(lost) = lost {
            let lost =
                Lost { principal: facts.request.principal, role: lost, last: active.is_empty() };
            return Err(membership::why_lost(&lost, facts.snapshot, facts.now));
        }
    }
    if active.is_empty() {
        return Err(membership::why_none(
            facts.request.principal,
            &facts.request.server,
            facts.snapshot,
            facts.now,
        ));
    }
    let held: Vec<String> = active.iter().map(ToString::to_string).collect();
    Ok(held.join("; "))
}

fn check_shared_user(facts: &Facts<'_>) -> Result<String, Refusal> {
    let server = facts.server()?;
    let identity = &server.spec.upstream_identity;
    if let Some(opened) = &facts.request.opened_with {
        let held: BTreeSet<_> = facts.active_roles().into_iter().map(|held| held.role).collect();
        let stands = match &opened.shared_user {
            None => identity.is_certificate(),
            Some(user) => {
                identity.shared_user(user).is_some_and(|shared| shared.roles.is_subset(&held))
            }
        };
        if !stands {
            let message =
                "the database user that the session is logged in as stands for your roles no more";
            return Err(Refusal::new(&code::NO_SHARED_USER, message).hint("connect again"));
        }
    }
    if identity.is_certificate() {
        return Ok("everyone has their own".to_owned());
    }
    let user = facts.database_user(&facts.principal()?)?;
    Ok(format!("`{user}` stands for the roles"))
}

fn check_replication(facts: &Facts<'_>) -> Result<String, Refusal> {
    if !facts.request.replication {
        return Ok("not asked for".to_owned());
    }
    let allowing = facts.active_roles().into_iter().find(|held| {
        facts.snapshot.database_roles.get(&held.role).is_some_and(|role| role.spec.replication)
    });
    match allowing {
        Some(held) => Ok(format!("`{}` allows it", held.role)),
        None => Err(Refusal::new(
            &code::REPLICATION_DENIED,
            "none of your roles allows replication connections",
        )),
    }
}

fn check_age(facts: &Facts<'_>) -> Result<String, Refusal> {
    let (Some(opened), Ok(principal)) = (&facts.request.opened_with, facts.principal()) else {
        return Ok("not open yet".to_owned());
    };
    let active = facts.active_roles();
    match age_deadline(facts, &principal, &active, opened.at) {
        Some(end) if facts.now >= end => Err(Refusal::new(
            &code::SESSION_AGE,
            format!("the session was opened at {} and has reached its greatest age", opened.at),
        )),
        Some(end) => Ok(format!("may live until {end}")),
        None => Ok("no bound".to_owned()),
    }
}

/// The earliest instant at which the answer becomes no without a change of the snapshot, as far as can be seen.
fn deadline(
    facts: &Facts<'_>,
    principal: &Principal,
    active: &[ActiveRole],
    again_at: Option<Timestamp>,
) -> Option<Timestamp> {
    let opened_at = facts.request.opened_with.as_ref().map_or(facts.now, |opened| opened.at);
    let membership = active.iter().filter_map(|held| held.until).min();
    let age = age_deadline(facts, principal, active, opened_at);
    let refused = again_at
        .filter(|at| conditional::check(&facts.session(principal), facts.snapshot, *at).is_err());
    membership.into_iter().chain(age).chain(refused).min()
}

/// Only people's sessions age, and only when no membership ends them.
fn age_deadline(
    facts: &Facts<'_>,
    principal: &Principal,
    active: &[ActiveRole],
    opened_at: Timestamp,
) -> Option<Timestamp> {
    let endless = active.iter().any(|held| held.until.is_none());
    match principal.kind {
        PrincipalKind::User if endless => {
            let configured =
                facts.server().ok().and_then(|server| server.spec.sessions.session_age_max);
            Some(opened_at.plus(configured.map_or(SESSION_AGE_MAX_DEFAULT, Lifetime::duration)))
        }
        PrincipalKind::User | PrincipalKind::Application | PrincipalKind::ManagedIdentity => None,
    }
}

fn notice(
    facts: &Facts<'_>,
    principal: &Principal,
    active: &[ActiveRole],
    until: Option<Timestamp>,
) -> Option<String> {
    if principal.kind != PrincipalKind::User {
        return None;
    }
    let roles: Vec<&str> = active.iter().map(|held| held.role.as_str()).collect();
    let end = match until {
        Some(until) => {
            format!(" until {until} ({} min left)", until.since(facts.now).as_secs().div_ceil(60))
        }
        None => String::new(),
    };
    Some(format!(
        "Portcullis: access to {} as {}{end}; every statement is recorded",
        roles.join(", "),
        principal.name
    ))
}
