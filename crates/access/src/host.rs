//! Which managed identity a process on a host is: what the host's document allows, what the process asks for and what
//! the host's agent saw of it.

use std::sync::Arc;

use model::kind::host::{AllowedCaller, Host};
use model::kind::managed_identity::{Assignment, ManagedIdentity};
use model::{Caller, Document, Selector, Snapshot, Workload};
use uuid::Uuid;

/// Why a process is none of the identities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoIdentity {
    /// No identity of the host goes by what was asked for.
    #[error("no identity of the host goes by that id")]
    NotAssigned,
    /// One does, and none of its callers describes the process.
    #[error("the process may not be that identity")]
    CallerRefused,
    /// One does, and it is disabled.
    #[error("the identity is disabled")]
    Disabled,
    /// Nothing was asked for, and there is nothing that the process may be.
    #[error("the process may be none of the host's identities")]
    Nothing,
    /// Nothing was asked for, and there are several.
    #[error("the process may be several identities and names none")]
    Ambiguous,
}

/// An identity, as the snapshot has it.
pub type Identity = Arc<Document<ManagedIdentity>>;

/// Which identity the holders of one connection are. All of them must be allowed to be it, and there must be one.
pub fn identity(
    host: &Document<Host>,
    selector: Option<&Selector>,
    callers: &[Caller],
    snapshot: &Snapshot,
) -> Result<Identity, NoIdentity> {
    let assigned = assigned(host, snapshot);
    let Some(selector) = selector else { return unnamed(&assigned, callers) };
    let named = assigned.into_iter().find(|(identity, _)| is(identity, selector));
    let Some((identity, allowed)) = named else { return Err(NoIdentity::NotAssigned) };
    if !may_be(allowed, callers) {
        return Err(NoIdentity::CallerRefused);
    }
    enabled(identity)
}

type Assigned<'a> = (Identity, &'a [AllowedCaller]);

/// The host's identities; one that is another host's own is not, whatever its document says.
fn assigned<'a>(host: &'a Document<Host>, snapshot: &Snapshot) -> Vec<Assigned<'a>> {
    let listed = host.spec.identities.iter().filter_map(|listed| {
        let identity = snapshot.managed_identities.get(&listed.identity)?;
        Some((Arc::clone(identity), listed.callers.as_slice()))
    });
    listed
        .filter(|(identity, _)| match &identity.spec.assignment {
            Assignment::UserAssigned => true,
            Assignment::SystemAssigned { host: whose } => whose == host.name(),
        })
        .collect()
}

/// The host's own if the process may be it, else the only one that it may be.
fn unnamed(assigned: &[Assigned<'_>], callers: &[Caller]) -> Result<Identity, NoIdentity> {
    let mut possible = assigned
        .iter()
        .filter(|(identity, allowed)| identity.spec.enabled && may_be(allowed, callers))
        .map(|(identity, _)| identity);
    if let Some(own) =
        possible.clone().find(|identity| !identity.spec.assignment.is_user_assigned())
    {
        return Ok(Arc::clone(own));
    }
    match (possible.next(), possible.next()) {
        (Some(only), None) => Ok(Arc::clone(only)),
        (Some(_), Some(_)) => Err(NoIdentity::Ambiguous),
        (None, _) => Err(NoIdentity::Nothing),
    }
}

fn enabled(identity: Identity) -> Result<Identity, NoIdentity> {
    if identity.spec.enabled { Ok(identity) } else { Err(NoIdentity::Disabled) }
}

fn is(identity: &Identity, selector: &Selector) -> bool {
    let workload = Workload::ManagedIdentity(Arc::clone(identity));
    let id = |text: &str| text.parse::<Uuid>().ok();
    match selector {
        Selector::ClientId(wanted) => {
            id(wanted).is_some_and(|id| workload.client_id().is_some_and(|own| own.0 == id))
        }
        Selector::ObjectId(wanted) => id(wanted).is_some_and(|id| workload.id().0 == id),
        Selector::Name(wanted) => identity.name() == wanted,
        Selector::ResourceId(wanted) => {
            workload.resource_id().is_some_and(|own| own.eq_ignore_ascii_case(wanted))
        }
    }
}

/// Nobody is nobody: a connection without a holder is refused.
fn may_be(allowed: &[AllowedCaller], callers: &[Caller]) -> bool {
    !callers.is_empty()
        && callers.iter().all(|caller| allowed.iter().any(|allowed| matches(allowed, caller)))
}

/// Everything that is said holds, and something is said.
fn matches(allowed: &AllowedCaller, caller: &Caller) -> bool {
    let AllowedCaller { uid, cgroup, network_namespace } = allowed;
    let said = uid.is_some() || cgroup.is_some() || network_namespace.is_some();
    said && uid.is_none_or(|uid| uid == caller.uid)
        && cgroup.as_ref().is_none_or(|cgroup| is_within(cgroup, &caller.cgroup))
        && network_namespace
            .as_ref()
            .is_none_or(|wanted| caller.network_namespace.as_ref() == Some(wanted))
}

/// Equal or below, at a component's boundary.
fn is_within(cgroup: &str, of: &str) -> bool {
    of.strip_prefix(cgroup).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
