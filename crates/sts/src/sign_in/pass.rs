//! Temporary Access Passes: each counts once, for an hour, and dies after a few wrong tries.

use control::Writing;
use control::credentials::{AccessPass, Hash, PASS_TRIES_MAX};
use model::{PrincipalId, Refusal, Timestamp};

const NOBODY: PrincipalId = PrincipalId(uuid::Uuid::nil());

/// Uses the pass up if it is right, or counts the wrong try. An unknown user's try is written down as well, so that it
/// takes as long.
pub(crate) fn spend(
    writing: &mut Writing<'_, '_>,
    whose: Option<PrincipalId>,
    hash: &Hash,
) -> Result<bool, Refusal> {
    let id = whose.unwrap_or(NOBODY);
    let (key, now) = (id.to_string(), writing.now());
    let pass = writing
        .record::<AccessPass>(&key)?
        .filter(|pass| now < pass.expires_at && pass.tries < PASS_TRIES_MAX && id != NOBODY);
    if pass.as_ref().is_some_and(|pass| pass.hash == *hash) {
        writing.delete_record::<AccessPass>(&key)?;
        return Ok(true);
    }
    let (key, pass) = match pass {
        Some(pass) => (key, AccessPass { tries: pass.tries.saturating_add(1), ..pass }),
        None => (NOBODY.to_string(), nobodys(hash.clone(), now)),
    };
    writing.put_record(&key, &pass, Some(pass.expires_at))?;
    Ok(false)
}

fn nobodys(hash: Hash, now: Timestamp) -> AccessPass {
    AccessPass { hash, expires_at: now, tries: PASS_TRIES_MAX }
}
