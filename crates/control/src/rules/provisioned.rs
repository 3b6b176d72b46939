//! What a directory owns is the directory's to change.

use model::document::Document;
use model::kind::directory::Provisioned;
use model::kind::user::User;
use model::{Refusal, Resource, Spec, code};

/// People may change what the directory knows nothing of, and may disable a person whom it wants enabled; no more.
pub(crate) fn untouched(before: Option<&Resource>, after: &Resource) -> Result<(), Refusal> {
    match (before, after) {
        (Some(Resource::User(before)), Resource::User(after)) => {
            let Some(owned) = before.status.owned() else {
                return left_stays(before, after);
            };
            if after.spec.display_name != before.spec.display_name {
                return Err(refusal(after, owned, "displayName"));
            }
            let enables = after.spec.enabled && !before.spec.enabled;
            if enables && !owned.active { Err(refusal(after, owned, "enabled")) } else { Ok(()) }
        }
        (Some(Resource::Group(before)), Resource::Group(after)) => match before.status.owned() {
            Some(owned) if after.spec.members != before.spec.members => {
                Err(refusal(after, owned, "members"))
            }
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Whoever has left their directory comes back as somebody new.
fn left_stays(before: &Document<User>, after: &Document<User>) -> Result<(), Refusal> {
    match &before.status.scim {
        Some(left) if after.spec.enabled => Err(refusal(before, left, "enabled")
            .hint("the person has left the directory; delete the user, and create it anew")),
        _ => Ok(()),
    }
}

/// Whether people may delete it.
pub(crate) fn deletable(stored: &Resource) -> Result<(), Refusal> {
    if let Resource::User(user) = stored
        && let Some(owned) = user.status.owned()
    {
        return Err(whole(user, owned));
    }
    if let Resource::Group(group) = stored
        && let Some(owned) = group.status.owned()
    {
        return Err(whole(group, owned));
    }
    Ok(())
}

fn refusal<S: Spec>(document: &Document<S>, owned: &Provisioned, field: &str) -> Refusal {
    let (kind, name, source) = (S::KIND, document.name(), &owned.source);
    let message =
        format!("`spec.{field}` of `{kind}/{name}` is for the directory `{source}` to change");
    Refusal::new(&code::PROVISIONED, message)
}

fn whole<S: Spec>(document: &Document<S>, owned: &Provisioned) -> Refusal {
    let (kind, name, source) = (S::KIND, document.name(), &owned.source);
    let message = format!("`{kind}/{name}` is the directory `{source}`'s to delete");
    Refusal::new(&code::PROVISIONED, message)
}
