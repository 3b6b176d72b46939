//! Who asks. Whether they may is looked up anew in the state that the write sees.

use std::net::IpAddr;

use model::{ControlRole, Principal, PrincipalKind, Refusal, Snapshot, UserName, code};

use crate::verb::{Verb, allowed};

/// Someone who was authenticated.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who.
    pub principal: Principal,
    /// Their role when they were authenticated: what an answer may show them.
    pub role: ControlRole,
    /// From where.
    pub source: Option<IpAddr>,
}

impl Caller {
    /// Whether they may, by their role in this state: a role that was taken away since they signed in is gone.
    pub(crate) fn authorise(&self, verb: Verb, state: &Snapshot) -> Result<ControlRole, Refusal> {
        let name = &self.principal.name;
        let Some(now) = state.principal(self.principal.id) else {
            let message = format!("`{name}` does not exist any more");
            return Err(Refusal::new(&code::PRINCIPAL_UNKNOWN, message));
        };
        if !now.enabled {
            return Err(Refusal::new(&code::PRINCIPAL_DISABLED, format!("`{name}` is disabled")));
        }
        let role = role(&now, state);
        if allowed(verb, role) {
            return Ok(role);
        }
        let who: Vec<String> = verb.roles().iter().map(|role| format!("`{role}`")).collect();
        let message = format!("`{name}` has the role `{role}`, which does not allow `{verb}`");
        let refusal = Refusal::new(&code::FORBIDDEN, message);
        Err(if who.is_empty() {
            refusal.hint("only Portcullis itself does that")
        } else {
            refusal.hint(format!("it takes {}", who.join(" or ")))
        })
    }

    /// The caller as a person; workloads have no memberships to ask for.
    pub(crate) fn person(&self) -> Result<UserName, Refusal> {
        match self.principal.kind {
            PrincipalKind::User => UserName::new(self.principal.name.clone())
                .map_err(|error| Refusal::new(&code::INVALID, error.to_string())),
            PrincipalKind::Application | PrincipalKind::ManagedIdentity => {
                Err(Refusal::new(&code::FORBIDDEN, "only people take part in activations"))
            }
        }
    }
}

/// Workloads have no say beyond what everyone has.
pub(crate) fn role(principal: &Principal, state: &Snapshot) -> ControlRole {
    state.users.by_uid(principal.id.0).map_or(ControlRole::User, |user| user.spec.control_role)
}
