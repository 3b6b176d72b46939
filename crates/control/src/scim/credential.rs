//! Provisioning credentials: made and removed by owners, shown once.

use data_encoding::BASE64URL_NOPAD;
use model::{Lifetime, Refusal, Timestamp, code};
use runtime::Secret;

use super::ScimCredential;
use crate::caller::Caller;
use crate::control::Control;
use crate::credentials::Hash;
use crate::issue::random;
use crate::verb::Verb;
use crate::write::Writing;

/// As Entra's provisioning tokens live at most.
const LIFETIME_MAX: Lifetime = Lifetime::from_seconds(730 * 24 * 3_600);
/// Directories of one installation.
const CREDENTIALS_MAX: usize = 50;

/// What becomes of the directory's people and groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// They stay the directory's: another credential of that name goes on with them.
    No,
    /// They become people's to manage.
    Yes,
}

/// A credential, as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Names the directory.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Dead at this instant.
    pub expires_at: Timestamp,
}

impl Control {
    /// Makes a credential: its token, and when it dies. Two of one name may overlap while a directory changes over.
    pub async fn add_scim_credential(
        &self,
        caller: &Caller,
        name: String,
        lifetime: Lifetime,
    ) -> Result<(Secret<String>, Timestamp), Refusal> {
        let subject = format!("ScimCredential/{name}");
        let work = move |writing: &mut Writing<'_, '_>| {
            model::name::check(&name)
                .map_err(|error| Refusal::new(&code::INVALID, error.to_string()))?;
            if lifetime.seconds() == 0 || lifetime > LIFETIME_MAX {
                let message = format!("a provisioning credential lives at most {LIFETIME_MAX}");
                return Err(Refusal::new(&code::INVALID, message).hint("ask for less"));
            }
            if writing.records::<ScimCredential>()?.len() >= CREDENTIALS_MAX {
                let message = format!("there are {CREDENTIALS_MAX} provisioning credentials");
                return Err(Refusal::new(&code::TOO_LARGE, message).hint("remove one first"));
            }
            let token = Secret::new(format!("pcd_{}", BASE64URL_NOPAD.encode(&random::<32>()?)));
            let (created_at, key) = (writing.now(), Hash::of(token.expose().as_bytes()));
            let expires_at = created_at.plus(lifetime.duration());
            let kept = ScimCredential { name, created_at, expires_at };
            writing.put_record(key.as_str(), &kept, Some(expires_at))?;
            Ok((token, expires_at))
        };
        Ok(self.write(caller, Verb::AddScimCredential, subject, work).await?.value)
    }

    /// Removes every credential of that name.
    pub async fn remove_scim_credential(
        &self,
        caller: &Caller,
        name: String,
        release: Release,
    ) -> Result<(), Refusal> {
        let subject = format!("ScimCredential/{name}");
        let work = move |writing: &mut Writing<'_, '_>| {
            let mut removed = 0;
            for (key, known) in writing.records::<ScimCredential>()? {
                if known.name == name {
                    writing.delete_record::<ScimCredential>(&key)?;
                    removed += 1;
                }
            }
            let released = if release == Release::Yes { self::release(writing, &name)? } else { 0 };
            if removed == 0 && released == 0 {
                let message = format!("there is no provisioning credential `{name}`");
                return Err(Refusal::new(&code::NOT_FOUND, message)
                    .hint("`portcullis scim credential list` lists what there is"));
            }
            Ok(())
        };
        self.write(caller, Verb::RemoveScimCredential, subject, work).await?;
        Ok(())
    }

    /// All that count, in the order of names.
    pub fn scim_credentials(&self, caller: &Caller) -> Result<Vec<Known>, Refusal> {
        caller.authorise(Verb::ReadScimCredentials, &self.snapshots().load())?;
        let kept = self.store().read(store::Reader::records::<ScimCredential>)?;
        let mut known: Vec<Known> = kept
            .into_iter()
            .map(|(_, ScimCredential { name, created_at, expires_at })| Known {
                name,
                created_at,
                expires_at,
            })
            .collect();
        known.sort_by(|one, other| {
            (&one.name, one.created_at).cmp(&(&other.name, other.created_at))
        });
        Ok(known)
    }
}

/// How many were released. Those who have left stay as they are.
fn release(writing: &mut Writing<'_, '_>, source: &str) -> Result<usize, Refusal> {
    let state = writing.state().clone();
    let mut released = 0;
    for user in
        state.users.iter().filter(|user| user.status.owned().is_some_and(|by| by.source == source))
    {
        let mut user = model::Document::clone(user);
        user.status.scim = None;
        writing.put(user)?;
        released += 1;
    }
    for group in state
        .groups
        .iter()
        .filter(|group| group.status.owned().is_some_and(|by| by.source == source))
    {
        let mut group = model::Document::clone(group);
        group.status.scim = None;
        writing.put(group)?;
        released += 1;
    }
    Ok(released)
}
