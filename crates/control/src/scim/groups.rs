//! Groups of a directory: sets of its people.

use model::kind::group::Group;
use model::{Document, GroupName, Refusal, Resource, Revision, UserName, code};
use uuid::Uuid;

use super::{PROVISIONING, Provisioner, expected, missing};
use crate::activations;
use crate::check;
use crate::control::Control;
use crate::rules;
use crate::write::{Done, Writing};

/// What a directory says of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryGroup {
    /// The name here.
    pub name: GroupName,
    /// `displayName`, as the directory writes it.
    pub display_name: String,
    /// `externalId`.
    pub external_id: Option<String>,
    /// Its people, who are the directory's own too.
    pub members: Vec<UserName>,
}

impl Control {
    /// A new group. One that exists, whoever made it, is not taken over.
    pub async fn scim_create_group(
        &self,
        by: &Provisioner,
        wanted: DirectoryGroup,
    ) -> Result<Done<Document<Group>>, Refusal> {
        let (directory, subject) = (by.clone(), format!("Group/{}", wanted.name));
        let work = move |writing: &mut Writing<'_, '_>| {
            if writing.state().groups.get(&wanted.name).is_some() {
                let message = format!("there is a group `{}` already", wanted.name);
                return Err(Refusal::new(&code::CONFLICT, message).hint(
                    "an owner can delete that group, or leave it out of the directory's scope",
                ));
            }
            let spec = Group { description: None, members: Vec::new(), groups: Vec::new() };
            let group = Document::new(wanted.name.as_str(), spec);
            put(writing, &directory, (None, group), wanted)
        };
        let committed = self.provisioned(by, PROVISIONING, subject, work).await?;
        Ok(self.acknowledged(committed).await)
    }

    /// What the directory says now. The name here stays: role assignments go by it.
    pub async fn scim_replace_group(
        &self,
        by: &Provisioner,
        id: Uuid,
        revision: Option<Revision>,
        wanted: DirectoryGroup,
    ) -> Result<Done<Document<Group>>, Refusal> {
        let (directory, subject) = (by.clone(), format!("Group/{}", wanted.name));
        let work = move |writing: &mut Writing<'_, '_>| {
            let before = group(writing, &directory, id)?;
            expected(&before, revision)?;
            put(writing, &directory, (Some(before.clone()), before), wanted)
        };
        let committed = self.provisioned(by, PROVISIONING, subject, work).await?;
        Ok(self.acknowledged(committed).await)
    }

    /// The group has no members any more, nobody's membership of it is open, and the directory does not see it.
    pub async fn scim_delete_group(
        &self,
        by: &Provisioner,
        id: Uuid,
        revision: Option<Revision>,
    ) -> Result<Done<()>, Refusal> {
        let directory = by.clone();
        let work = move |writing: &mut Writing<'_, '_>| {
            let before = group(writing, &directory, id)?;
            expected(&before, revision)?;
            let because = "the directory has deleted the group";
            activations::end_open(writing, (&directory.actor(), None), because, |open| {
                open.group.as_str() == before.name()
            })?;
            let mut after = before;
            after.spec.members.clear();
            after.spec.groups.clear();
            if let Some(status) = after.status.scim.as_mut() {
                status.active = false;
                status.left = true;
            }
            writing.put(after).map(drop).map_err(Refusal::from)
        };
        let committed = self.provisioned(by, PROVISIONING, format!("Group/{id}"), work).await?;
        Ok(self.acknowledged(committed).await)
    }
}

fn group(
    writing: &Writing<'_, '_>,
    by: &Provisioner,
    id: Uuid,
) -> Result<Document<Group>, Refusal> {
    let found = writing.state().groups.by_uid(id).filter(|group| by.owns(&group.status));
    found.map(|group| Document::clone(group)).ok_or_else(|| missing(id))
}

fn put(
    writing: &mut Writing<'_, '_>,
    by: &Provisioner,
    (before, group): (Option<Document<Group>>, Document<Group>),
    wanted: DirectoryGroup,
) -> Result<Document<Group>, Refusal> {
    let DirectoryGroup { name: _, display_name, external_id, members } = wanted;
    let known = |member: &UserName| {
        writing.state().users.get(member).is_some_and(|user| by.owns(&user.status))
    };
    let foreign = members.iter().find(|member| !known(member));
    if let Some(foreign) = foreign {
        let message = format!("`{foreign}` is not of this directory");
        return Err(Refusal::new(&code::REFERENCE_UNKNOWN, message));
    }
    let mut after = group;
    after.spec.members = members;
    let mut status = by.provisioned(external_id);
    status.display_name = Some(display_name);
    after.status.scim = Some(status);
    if before.as_ref() == Some(&after) {
        return Ok(after);
    }
    let after = writing.put(after)?;
    let (before, resource) = (before.map(Resource::Group), Resource::Group(after.clone()));
    rules::check_own(before.as_ref(), &resource, writing.state())?;
    check::resolved(&resource, writing.state())?;
    Ok(after)
}
