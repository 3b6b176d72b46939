//! Challenges: what a machine's key signs. Bound to this installation, the user and two minutes; each counts once.

use std::time::Duration;

use control::credentials::Hash;
use model::{Timestamp, UserName};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Call, Refused};
use crate::sealed::{Sealer, Validity};

const LIFETIME: Duration = Duration::from_mins(2);
const PURPOSE: &str = "challenge";

/// What the signed text begins with. The client checks the origin in it, so that nobody can have a challenge of one
/// installation signed at another.
const PREFIX: &str = "portcullis-sign-in";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ask {
    user: UserName,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer {
    challenge: String,
}

#[derive(Serialize, Deserialize)]
struct Payload {
    user: UserName,
    nonce: Uuid,
    #[serde(flatten)]
    validity: Validity,
}

/// A challenge that came back: of this process, for this user, in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    /// What was signed.
    pub(super) text: String,
    /// Until when a second use must be refused.
    pub(super) expires_at: Timestamp,
}

impl Challenge {
    /// Under which it is kept when it was used.
    pub(super) fn key(&self) -> Hash {
        Hash::of(format!("challenge {}", self.text).as_bytes())
    }
}

pub(super) fn issue(call: &Call<'_>, ask: &Ask) -> Result<Answer, Refused> {
    let now = call.service.now();
    write(&call.service.sealer, call.service.origin(), &ask.user, now)
        .map(|challenge| Answer { challenge })
        .ok_or_else(|| Refused::unreadable(super::unavailable()))
}

fn write(sealer: &Sealer, origin: &str, user: &UserName, now: Timestamp) -> Option<String> {
    let validity = Validity { expires_at: now.plus(LIFETIME) };
    let payload = Payload { user: user.clone(), nonce: Uuid::new_v4(), validity };
    let sealed = sealer.seal(PURPOSE, &payload)?;
    Some(format!("{PREFIX} {origin} {user} {sealed}"))
}

/// Reads a challenge that comes back.
pub(super) fn read(
    sealer: &Sealer,
    (origin, user): (&str, &UserName),
    text: &str,
    now: Timestamp,
) -> Option<Challenge> {
    let sealed = text.strip_prefix(&format!("{PREFIX} {origin} {user} "))?;
    let payload: Payload = sealer.open(PURPOSE, sealed)?;
    let counts = payload.user == *user && payload.validity.holds(now);
    counts.then(|| Challenge { text: text.to_owned(), expires_at: payload.validity.expires_at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_counts_for_its_user_and_origin_for_two_minutes() {
        let (sealer, now) = (Sealer::random().unwrap(), Timestamp::from_seconds(1_000));
        let ada: UserName = "ada@example.com".parse().unwrap();
        let eve: UserName = "eve@example.com".parse().unwrap();
        let origin = "https://sts.test";
        let text = write(&sealer, origin, &ada, now).unwrap();
        let read = |sealer: &Sealer, origin: &str, user: &UserName, text: &str, after: u64| {
            read(sealer, (origin, user), text, now.plus(Duration::from_secs(after)))
        };
        assert_eq!(
            read(&sealer, origin, &ada, &text, 119),
            Some(Challenge { text: text.clone(), expires_at: Timestamp::from_seconds(1_120) })
        );
        assert_eq!(read(&sealer, origin, &ada, &text, 120), None);
        assert_eq!(read(&sealer, origin, &eve, &text, 0), None);
        assert_eq!(read(&sealer, origin, &eve, &text.replace("ada@", "eve@"), 0), None);
        assert_eq!(read(&sealer, "https://evil.test", &ada, &text, 0), None);
        assert_eq!(read(&Sealer::random().unwrap(), origin, &ada, &text, 0), None);
    }
}
