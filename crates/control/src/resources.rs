//! Documents one at a time: read, put, delete.

use std::collections::BTreeSet;

use model::document::WrittenBy;
use model::event::Actor;
use model::kind::database_user::DatabaseUserState;
use model::kind::managed_identity::{Assignment, ManagedIdentity};
use model::kind::server::DatabaseServer;
use model::{
    ApplicationId, Document, Kind, PrincipalId, Refusal, Resource, ServerName, Snapshot, code,
    suggest,
};
use serde::{Deserialize, Serialize};

use crate::activations;
use crate::caller::{Caller, role};
use crate::check;
use crate::control::Control;
use crate::credentials::{AccessPass, ClientSecrets, JoinToken, end_sign_ins, forget_factors};
use crate::rules;
use crate::verb::Verb;
use crate::visible::Viewer;
use crate::write::{Done, Writing};

impl Control {
    /// One document, as the caller may see it. What they may not see does not exist for them.
    pub fn get(&self, caller: &Caller, kind: Kind, name: &str) -> Result<Resource, Refusal> {
        let state = self.snapshots().load();
        caller.authorise(Verb::Read, &state)?;
        let viewer = self.viewer(caller, &state);
        if let Some(resource) = state.get(kind, name).and_then(|resource| viewer.sees(resource)) {
            return Ok(resource);
        }
        let known: Vec<Resource> =
            state.list(kind).into_iter().filter_map(|resource| viewer.sees(resource)).collect();
        Err(missing(kind, name, &known))
    }

    /// Every document of a kind that the caller may see, in the order of names.
    pub fn list(&self, caller: &Caller, kind: Kind) -> Result<Vec<Resource>, Refusal> {
        let state = self.snapshots().load();
        caller.authorise(Verb::Read, &state)?;
        let viewer = self.viewer(caller, &state);
        Ok(state.list(kind).into_iter().filter_map(|resource| viewer.sees(resource)).collect())
    }

    fn viewer<'a>(&self, caller: &'a Caller, state: &'a Snapshot) -> Viewer<'a> {
        let role = role(&caller.principal, state);
        Viewer::new(&caller.principal, role, (state, self.now()))
    }

    /// Creates or replaces one document. Its status is Portcullis' own; a revision in it must be the stored one.
    pub async fn put(
        &self,
        caller: &Caller,
        resource: Resource,
    ) -> Result<Done<Resource>, Refusal> {
        let subject = format!("{}/{}", resource.kind(), resource.name());
        let work = move |writing: &mut Writing<'_, '_>| {
            let (kind, name) = (resource.kind(), resource.name().to_owned());
            writable(&resource)?;
            let before = writing.state().get(kind, &name);
            let resource = with_own_status(resource, before.as_ref(), writing.state())?;
            let put = writing.put_resource(resource)?;
            rules::check(before.as_ref(), &put, writing.state())?;
            check::resolved(&put, writing.state())?;
            Ok(put)
        };
        let committed = self.write(caller, Verb::Put, subject, work).await?;
        Ok(self.acknowledged(committed).await)
    }

    /// A server that was deleted while some of its users could log in, as it was last.
    pub fn former_server(
        &self,
        name: &ServerName,
    ) -> Result<Option<Document<DatabaseServer>>, Refusal> {
        let read = self.store().read(|store| store.record::<FormerServer>(name.as_str()));
        Ok(read?.map(|former| former.server))
    }

    /// Deletes one document that nothing refers to, and what hangs on it alone.
    pub async fn delete(
        &self,
        caller: &Caller,
        kind: Kind,
        name: &str,
    ) -> Result<Done<Resource>, Refusal> {
        let (asking, name) = (caller.clone(), name.to_owned());
        let subject = format!("{kind}/{name}");
        let work = move |writing: &mut Writing<'_, '_>| {
            let deleted = take_out(writing, &asking, kind, &name)?;
            check::unreferenced(&BTreeSet::from([(kind, name)]), writing.state())?;
            Ok(deleted)
        };
        let committed = self.write(caller, Verb::Delete, subject, work).await?;
        Ok(self.acknowledged(committed).await)
    }
}

/// Documents of Portcullis' own are written by its intents only.
pub(crate) fn writable(resource: &Resource) -> Result<(), Refusal> {
    match resource.kind().written_by() {
        WrittenBy::People => Ok(()),
        WrittenBy::Portcullis => {
            let (kind, name) = (resource.kind(), resource.name());
            let message = format!("`{kind}/{name}` is not for people to write");
            Err(Refusal::new(&code::READ_ONLY_KIND, message))
        }
    }
}

/// The document with the status that Portcullis knows. A document that brings another status than the stored one, or
/// than none, is refused rather than half obeyed.
pub(crate) fn with_own_status(
    mut resource: Resource,
    before: Option<&Resource>,
    state: &Snapshot,
) -> Result<Resource, Refusal> {
    let status = |resource: &Resource| {
        serde_json::to_value(resource).ok().and_then(|document| document.get("status").cloned())
    };
    let brought = status(&resource);
    if brought.is_some() && brought != before.and_then(status) {
        let (kind, name) = (resource.kind(), resource.name());
        let message = format!("`{kind}/{name}` brings a `status`, which only Portcullis writes");
        return Err(Refusal::new(&code::INVALID, message).hint("leave `status` out"));
    }
    match (&mut resource, before) {
        (Resource::DatabaseServer(server), Some(Resource::DatabaseServer(before))) => {
            server.status = before.status.clone();
        }
        (Resource::User(user), Some(Resource::User(before))) => {
            user.status = before.status.clone();
        }
        (Resource::Group(group), Some(Resource::Group(before))) => {
            group.status = before.status.clone();
        }
        (Resource::Host(host), Some(Resource::Host(before))) => {
            host.status = before.status.clone();
        }
        (Resource::Application(application), before) => {
            let before = match before {
                Some(Resource::Application(before)) => before.status.client_id,
                _ => None,
            };
            application.status.client_id = client_id(before, application.spec.client_id);
        }
        (Resource::ManagedIdentity(identity), before) => {
            let before = match before {
                Some(Resource::ManagedIdentity(before)) => Some(&before.status),
                _ => None,
            };
            let known = before.and_then(|before| before.client_id);
            identity.status.client_id = client_id(known, identity.spec.client_id);
            let known = before.and_then(|before| before.resource_id.clone());
            identity.status.resource_id = known
                .or_else(|| identity.spec.resource_id.clone())
                .or_else(|| Some(resource_id(identity, state)));
        }
        _ => {}
    }
    Ok(resource)
}

/// Drawn at creation when the document names none; then it stays.
fn client_id(
    in_force: Option<ApplicationId>,
    wanted: Option<ApplicationId>,
) -> Option<ApplicationId> {
    in_force.or(wanted).or_else(|| Some(ApplicationId::random()))
}

/// In Azure's form, so that what reads `xms_mirid` there reads it here.
fn resource_id(identity: &Document<ManagedIdentity>, state: &Snapshot) -> String {
    let tenant = state.tenant().map(|tenant| tenant.uid()).unwrap_or_default();
    let within = match &identity.spec.assignment {
        Assignment::UserAssigned => {
            format!("Microsoft.ManagedIdentity/userAssignedIdentities/{}", identity.name())
        }
        Assignment::SystemAssigned { host } => format!("Microsoft.Compute/virtualMachines/{host}"),
    };
    format!("/subscriptions/{tenant}/resourcegroups/portcullis/providers/{within}")
}

/// Takes a document out together with what is its alone: credentials, open activations.
pub(crate) fn take_out(
    writing: &mut Writing<'_, '_>,
    caller: &Caller,
    kind: Kind,
    name: &str,
) -> Result<Resource, Refusal> {
    let Some(stored) = writing.state().get(kind, name) else {
        return Err(missing(kind, name, &writing.state().list(kind)));
    };
    writable(&stored)?;
    rules::deletable(&stored)?;
    let (actor, person) = (Actor::from(&caller.principal), caller.person().ok());
    let by = (&actor, person.as_ref());
    match &stored {
        Resource::User(user) => {
            let because = "the person was deleted";
            activations::end_open(writing, by, because, |open| open.user.as_str() == name)?;
            forget_person(writing, PrincipalId(user.uid()))?;
        }
        Resource::Group(_) => {
            let because = "the group was deleted";
            activations::end_open(writing, by, because, |open| open.group.as_str() == name)?;
        }
        Resource::Application(application) => {
            writing.delete_record::<ClientSecrets>(&application.uid().to_string())?;
        }
        Resource::Host(host) => {
            writing.delete_record::<JoinToken>(&host.uid().to_string())?;
        }
        // Its users are withdrawn yet, for which the provisioner has to find it.
        Resource::DatabaseServer(server) => {
            let former = FormerServer { server: server.clone() };
            writing.put_record(name, &former, None)?;
        }
        Resource::Tenant(_)
        | Resource::ManagedIdentity(_)
        | Resource::DatabaseRole(_)
        | Resource::RoleAssignment(_)
        | Resource::Eligibility(_)
        | Resource::AccessRules(_)
        | Resource::NamedLocation(_)
        | Resource::ConditionalAccessPolicy(_)
        | Resource::PrincipalRisk(_)
        | Resource::FirewallRule(_)
        | Resource::Activation(_)
        | Resource::DatabaseUser(_)
        | Resource::SigningKey(_)
        | Resource::Revocation(_) => {}
    }
    Ok(writing.delete(kind, name)?)
}

/// A server that is no longer protected, as it was last. Key: its name. Kept with its client authority until none of its
/// users can log in any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct FormerServer {
    pub(crate) server: Document<DatabaseServer>,
}

impl store::Record for FormerServer {
    const COLLECTION: &'static str = "former-servers";
}

/// Whether a user of the server may still log in, as far as is known.
pub(crate) fn has_open_users(server: &str, state: &Snapshot) -> bool {
    state.database_users.iter().any(|user| {
        user.spec.server.as_str() == server && user.status.state != DatabaseUserState::Disabled
    })
}

/// Everything with which a person signs in, or is signed in.
pub(crate) fn forget_person(
    writing: &mut Writing<'_, '_>,
    person: PrincipalId,
) -> Result<(), Refusal> {
    writing.delete_record::<AccessPass>(&person.to_string())?;
    forget_factors(writing, person)?;
    end_sign_ins(writing, person)
}

fn missing(kind: Kind, name: &str, known: &[Resource]) -> Refusal {
    let refusal = Refusal::new(&code::NOT_FOUND, format!("there is no {kind} `{name}`"));
    match suggest::nearest(name, known.iter().map(Resource::name)) {
        Some(near) => refusal.hint(format!("did you mean `{near}`?")),
        None => refusal.hint(format!("`portcullis get {}` lists what there is", kind.plural())),
    }
}
