//! Documents one at a time: read, put, delete.

use std::collections::BTreeSet;

use model::document::WrittenBy;
use model::kind::application::Application;
use model::{
    ApplicationId, Document, Kind, PrincipalId, Refusal, Resource, Snapshot, code, suggest,
};

use crate::activations;
use crate::caller::{Caller, role};
use crate::check;
use crate::control::Control;
use crate::credentials::{AccessPass, ClientSecrets, Enrolment, RefreshFamily, SignInState};
use crate::rules;
use crate::verb::Verb;
use crate::visible::Viewer;
use crate::write::{Done, Writing};

impl Control {
    /// One document, as the caller may see it. What they may not see does not exist for them.
    pub fn get(&self, caller: &Caller, kind: Kind, name: &str) -> Result<Resource, Refusal> {
        let state = self.snapshots().load();
        caller.authorise(Verb::Read, &state)?;
        let viewer = Viewer::new(&caller.principal, role(&caller.principal, &state), &state);
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
        let viewer = Viewer::new(&caller.principal, role(&caller.principal, &state), &state);
        Ok(state.list(kind).into_iter().filter_map(|resource| viewer.sees(resource)).collect())
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
            let resource = with_own_status(resource, before.as_ref())?;
            let put = writing.put_resource(resource)?;
            rules::check(before.as_ref(), &put, writing.state())?;
            check::resolved(&put, writing.state())?;
            Ok(put)
        };
        let committed = self.write(caller, Verb::Put, subject, work).await?;
        Ok(self.acknowledged(committed).await)
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
        (Resource::Application(application), before) => {
            let before = match before {
                Some(Resource::Application(before)) => Some(before),
                _ => None,
            };
            application.status.client_id = client_id(application, before);
        }
        _ => {}
    }
    Ok(resource)
}

/// Drawn at creation when the document names none; then it stays.
fn client_id(
    application: &Document<Application>,
    before: Option<&Document<Application>>,
) -> Option<ApplicationId> {
    let in_force = before.and_then(|before| before.status.client_id);
    in_force.or(application.spec.client_id).or_else(|| Some(ApplicationId::random()))
}

/// Takes a document out together with what is its alone: credentials, open activations, records of database users.
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
    match &stored {
        Resource::User(user) => {
            let because = "the person was deleted";
            activations::end_open(writing, caller, because, |open| open.user.as_str() == name)?;
            forget_person(writing, PrincipalId(user.uid()))?;
        }
        Resource::Group(_) => {
            let because = "the group was deleted";
            activations::end_open(writing, caller, because, |open| open.group.as_str() == name)?;
        }
        Resource::Application(application) => {
            writing.delete_record::<ClientSecrets>(&application.uid().to_string())?;
        }
        // A server of that name that comes later is another one: on it, no user is known to be the gateway's own.
        Resource::DatabaseServer(_) => {
            for user in users_on(name, writing.state()) {
                writing.delete(Kind::DatabaseUser, &user)?;
            }
        }
        Resource::Tenant(_)
        | Resource::DatabaseRole(_)
        | Resource::RoleAssignment(_)
        | Resource::Eligibility(_)
        | Resource::AccessRules(_)
        | Resource::FirewallRule(_)
        | Resource::Activation(_)
        | Resource::DatabaseUser(_)
        | Resource::SigningKey(_)
        | Resource::Revocation(_) => {}
    }
    Ok(writing.delete(kind, name)?)
}

fn users_on(server: &str, state: &Snapshot) -> Vec<String> {
    let users = state.database_users.iter().filter(|user| user.spec.server.as_str() == server);
    users.map(|user| user.name().to_owned()).collect()
}

/// Everything with which a person signs in, or is signed in.
pub(crate) fn forget_person(
    writing: &mut Writing<'_, '_>,
    person: PrincipalId,
) -> Result<(), Refusal> {
    let key = person.to_string();
    writing.delete_record::<Enrolment>(&key)?;
    writing.delete_record::<AccessPass>(&key)?;
    writing.delete_record::<SignInState>(&key)?;
    end_refresh(writing, person)
}

/// Ends every sign-in of a principal: no refresh token of theirs counts any more.
pub(crate) fn end_refresh(
    writing: &mut Writing<'_, '_>,
    principal: PrincipalId,
) -> Result<(), Refusal> {
    for (key, family) in writing.records::<RefreshFamily>()? {
        if family.principal == principal {
            writing.delete_record::<RefreshFamily>(&key)?;
        }
    }
    Ok(())
}

fn missing(kind: Kind, name: &str, known: &[Resource]) -> Refusal {
    let refusal = Refusal::new(&code::NOT_FOUND, format!("there is no {kind} `{name}`"));
    match suggest::nearest(name, known.iter().map(Resource::name)) {
        Some(near) => refusal.hint(format!("did you mean `{near}`?")),
        None => refusal.hint(format!("`portcullis get {}` lists what there is", kind.plural())),
    }
}
