//! People of a directory: joiners, changes, leavers.

use model::kind::user::User;
use model::{ControlRole, Document, PrincipalId, Refusal, Resource, Revision, UserName, code};
use uuid::Uuid;

use super::{PROVISIONING, Provisioner, expected, missing};
use crate::activations;
use crate::control::Control;
use crate::resources::forget_person;
use crate::rules;
use crate::write::{Done, Writing};

/// What a directory says of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryUser {
    /// `userName`.
    pub name: UserName,
    /// `displayName`.
    pub display_name: String,
    /// `active`.
    pub active: bool,
    /// `externalId`.
    pub external_id: Option<String>,
}

impl Control {
    /// A joiner. A name that is taken, by whomever, is refused: nobody is taken over.
    pub async fn scim_create_user(
        &self,
        by: &Provisioner,
        wanted: DirectoryUser,
    ) -> Result<Done<Document<User>>, Refusal> {
        let (directory, subject) = (by.clone(), format!("User/{}", wanted.name));
        let work = move |writing: &mut Writing<'_, '_>| {
            if let Some(known) = writing.state().users.get(&wanted.name) {
                return Err(taken(known));
            }
            let mut status = directory.provisioned(wanted.external_id.clone());
            status.active = wanted.active;
            let spec = User {
                display_name: wanted.display_name,
                enabled: wanted.active,
                control_role: ControlRole::User,
                manager: None,
            };
            let mut user = Document::new(wanted.name.as_str(), spec);
            user.status.scim = Some(status);
            put(writing, None, user)
        };
        let committed = self.provisioned(by, PROVISIONING, subject, work).await?;
        Ok(self.acknowledged(committed).await)
    }

    /// What the directory says now. Whoever it switches off is cut by the decision that every session takes again.
    pub async fn scim_replace_user(
        &self,
        by: &Provisioner,
        id: Uuid,
        revision: Option<Revision>,
        wanted: DirectoryUser,
    ) -> Result<Done<Document<User>>, Refusal> {
        let (directory, subject) = (by.clone(), format!("User/{}", wanted.name));
        let work = move |writing: &mut Writing<'_, '_>| {
            let before = user(writing, &directory, id)?;
            expected(&before, revision)?;
            if before.name() != wanted.name.as_str() {
                let message = format!("`{}` cannot be renamed", before.name());
                return Err(Refusal::new(&code::IMMUTABLE, message)
                    .hint("a database user bears the name; delete and create the person anew"));
            }
            let mut after = before.clone();
            let was_active = before.status.owned().is_some_and(|owned| owned.active);
            after.spec.display_name = wanted.display_name;
            // An owner who disabled somebody is not overruled by a directory that says nothing new.
            if wanted.active != was_active || !wanted.active {
                after.spec.enabled = wanted.active;
            }
            let mut status = directory.provisioned(wanted.external_id);
            status.active = wanted.active;
            after.status.scim = Some(status);
            if after == before {
                return Ok(before);
            }
            put(writing, Some(before), after)
        };
        let committed = self.provisioned(by, PROVISIONING, subject, work).await?;
        Ok(self.acknowledged(committed).await)
    }

    /// A leaver: disabled, without a credential, in none of the directory's groups, and in no open activation.
    pub async fn scim_delete_user(
        &self,
        by: &Provisioner,
        id: Uuid,
        revision: Option<Revision>,
    ) -> Result<Done<()>, Refusal> {
        let directory = by.clone();
        let work = move |writing: &mut Writing<'_, '_>| {
            let before = user(writing, &directory, id)?;
            expected(&before, revision)?;
            let name = before.name().to_owned();
            let state = writing.state().clone();
            let theirs = state.groups.iter().filter(|group| directory.owns(&group.status));
            for group in theirs
                .filter(|group| group.spec.members.iter().any(|member| member.as_str() == name))
            {
                let mut group = Document::clone(group);
                group.spec.members.retain(|member| member.as_str() != name);
                writing.put(group)?;
            }
            let because = "the person has left the directory";
            activations::end_open(writing, (&directory.actor(), None), because, |open| {
                open.user.as_str() == name
            })?;
            forget_person(writing, PrincipalId(before.uid()))?;
            let mut after = before.clone();
            after.spec.enabled = false;
            after.spec.control_role = ControlRole::User;
            if let Some(status) = after.status.scim.as_mut() {
                status.active = false;
                status.left = true;
            }
            put(writing, Some(before), after).map(drop)
        };
        let committed = self.provisioned(by, PROVISIONING, format!("User/{id}"), work).await?;
        Ok(self.acknowledged(committed).await)
    }
}

fn user(writing: &Writing<'_, '_>, by: &Provisioner, id: Uuid) -> Result<Document<User>, Refusal> {
    let found = writing.state().users.by_uid(id).filter(|user| by.owns(&user.status));
    found.map(|user| Document::clone(user)).ok_or_else(|| missing(id))
}

fn taken(known: &Document<User>) -> Refusal {
    let message = format!("there is a user `{}` already", known.name());
    let refusal = Refusal::new(&code::CONFLICT, message);
    match &known.status.scim {
        Some(status) if status.left => refusal.hint(
            "they have left before, and what refers to them must not pass on: an owner can delete that user",
        ),
        _ => refusal.hint("an owner can delete that user, or leave them out of the directory's scope"),
    }
}

fn put(
    writing: &mut Writing<'_, '_>,
    before: Option<Document<User>>,
    after: Document<User>,
) -> Result<Document<User>, Refusal> {
    let after = writing.put(after)?;
    let before = before.map(Resource::User);
    rules::check_own(before.as_ref(), &after.clone().into(), writing.state())?;
    Ok(after)
}
