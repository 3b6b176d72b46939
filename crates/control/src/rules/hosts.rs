//! What a host must obey: no identity without callers, and no caller that could be anybody.

use model::kind::host::{AllowedCaller, Host};
use model::kind::managed_identity::Assignment;
use model::{Document, Refusal, Snapshot};

use super::invalid;

/// Azure's bound is on the order of this.
const IDENTITIES_MAX: usize = 100;
/// Of one identity.
const CALLERS_MAX: usize = 100;

pub(super) fn check(host: &Document<Host>, state: &Snapshot) -> Result<(), Refusal> {
    let identities = &host.spec.identities;
    if identities.len() > IDENTITIES_MAX {
        let why = format!("`spec.identities` has more than {IDENTITIES_MAX} elements");
        return Err(invalid(host, &why));
    }
    for (number, listed) in identities.iter().enumerate() {
        let at = |why: &str| {
            Err(invalid(host, &format!("`spec.identities`, `{}`: {why}", listed.identity)))
        };
        if identities.iter().take(number).any(|other| other.identity == listed.identity) {
            return at("the identity is there twice");
        }
        if listed.callers.is_empty() {
            return at("it has no `callers`, so nobody on the host could be it");
        }
        if listed.callers.len() > CALLERS_MAX {
            return at(&format!("`callers` has more than {CALLERS_MAX} elements"));
        }
        if let Some(why) = listed.callers.iter().find_map(unsound) {
            return at(&why);
        }
        let identity = state.managed_identities.get(&listed.identity);
        let whose = identity.and_then(|identity| match &identity.spec.assignment {
            Assignment::UserAssigned => None,
            Assignment::SystemAssigned { host } => Some(host.as_str()),
        });
        if let Some(other) = whose.filter(|whose| *whose != host.name()) {
            return at(&format!("it is the system-assigned identity of `{other}`"));
        }
    }
    Ok(())
}

/// An entry that says nothing would make every process on the host that identity.
fn unsound(caller: &AllowedCaller) -> Option<String> {
    let AllowedCaller { uid, cgroup, network_namespace } = caller;
    if uid.is_none() && cgroup.is_none() && network_namespace.is_none() {
        return Some(
            "an entry of `callers` says nothing, so every process would be the identity".to_owned(),
        );
    }
    if let Some(cgroup) = cgroup.as_deref().filter(|cgroup| !is_path(cgroup)) {
        return Some(format!(
            "`{cgroup}` is not a control group: `/` and components, such as `/system.slice/orders.service`"
        ));
    }
    let name = network_namespace.as_deref().filter(|name| model::name::check(name).is_err());
    name.map(|name| format!("`{name}` is not the name of a network namespace"))
}

/// The root is none: everything is below it.
fn is_path(cgroup: &str) -> bool {
    let Some(components) = cgroup.strip_prefix('/') else { return false };
    components.split('/').all(|component| {
        !matches!(component, "" | "." | "..") && !component.chars().any(char::is_control)
    })
}
