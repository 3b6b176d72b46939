//! Refresh tokens: opaque, one family a sign-in, replaced at every use. Whoever presents a replaced one shows that it
//! was copied, and the family ends.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use control::credentials::{Enrolment, Hash, RefreshFamily};
use model::kind::revocation::RevokedTokens;
use model::{ApplicationId, PrincipalId, Snapshot, Timestamp};
use store::{Reader, StoreError, Transaction};

use crate::claims::SignedIn;
use crate::failure::{
    Failure, FailureKind, REFRESH_CLIENT, REFRESH_EXPIRED, REFRESH_MALFORMED, REFRESH_REVOKED,
    USER_DISABLED,
};
use crate::service::keys_failed;

const PREFIX: &str = "pcr_";
const FAMILY_BYTES: usize = 16;
const SECRET_BYTES: usize = 32;

/// An expired family is kept this long, so that its end can be told apart from a token that never was.
const MEMORY: Duration = Duration::from_hours(24);

/// A token as the client holds it, and its family's key.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RefreshToken {
    text: String,
    family: Hash,
}

impl std::fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[refresh token]")
    }
}

impl RefreshToken {
    /// The first of a new family.
    pub(crate) fn first() -> Result<Self, Failure> {
        Self::of(&keys::random::<FAMILY_BYTES>().map_err(|error| keys_failed(&error))?)
    }

    fn of(family: &[u8]) -> Result<Self, Failure> {
        let secret = keys::random::<SECRET_BYTES>().map_err(|error| keys_failed(&error))?;
        let bytes = [family, secret.as_slice()].concat();
        Ok(Self {
            text: format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)),
            family: Hash::of(family),
        })
    }

    /// Reads what a client presents, and draws the token that would follow it.
    pub(crate) fn parse(text: &str) -> Result<(Self, Self), Failure> {
        let bytes = text
            .strip_prefix(PREFIX)
            .and_then(|encoded| URL_SAFE_NO_PAD.decode(encoded).ok())
            .filter(|bytes| bytes.len() == FAMILY_BYTES + SECRET_BYTES)
            .ok_or_else(|| {
                Failure::new(
                    &REFRESH_MALFORMED,
                    "The refresh token is malformed or not valid here.",
                )
            })?;
        let (family, _secret) = bytes.split_at(FAMILY_BYTES);
        let presented = Self { text: text.to_owned(), family: Hash::of(family) };
        Ok((presented, Self::of(family)?))
    }

    /// What the client keeps.
    pub(crate) fn into_text(self) -> String {
        self.text
    }

    fn hash(&self) -> Hash {
        Hash::of(self.text.as_bytes())
    }
}

/// Who holds a new family.
#[derive(Clone, Debug)]
pub(crate) struct Holder {
    pub(crate) principal: PrincipalId,
    pub(crate) client: ApplicationId,
    pub(crate) signed_in: SignedIn,
    pub(crate) expires_at: Timestamp,
    /// What it was asked for with.
    pub(crate) scope: Option<String>,
}

/// Begins a family with its first token.
pub(crate) fn begin(
    transaction: &mut Transaction<'_>,
    token: &RefreshToken,
    holder: Holder,
) -> Result<(), StoreError> {
    let family = RefreshFamily {
        principal: holder.principal,
        client: holder.client,
        scope: holder.scope,
        current: token.hash(),
        signed_in_at: holder.signed_in.at,
        methods: holder.signed_in.methods,
        session: holder.signed_in.session,
        expires_at: holder.expires_at,
    };
    keep(transaction, token, &family)
}

fn keep(
    transaction: &mut Transaction<'_>,
    token: &RefreshToken,
    family: &RefreshFamily,
) -> Result<(), StoreError> {
    let keep_until = family.expires_at.plus(MEMORY);
    transaction.put_record(token.family.as_str(), family, Some(keep_until))
}

/// Why a refresh token does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dead {
    Unknown,
    OtherClient,
    Expired,
    Replaced,
    Revoked,
    UserDisabled,
}

impl Dead {
    pub(crate) fn failure(self) -> Failure {
        let (kind, message): (&'static FailureKind, &str) = match self {
            Self::Unknown => (
                &REFRESH_REVOKED,
                "The refresh token has been revoked, or was never issued. Sign in again.",
            ),
            Self::OtherClient => {
                (&REFRESH_CLIENT, "The refresh token was issued to another client.")
            }
            Self::Expired => (&REFRESH_EXPIRED, "The refresh token has expired. Sign in again."),
            Self::Replaced => (
                &REFRESH_REVOKED,
                "The refresh token was used before. All tokens of its sign-in are revoked; sign in again.",
            ),
            Self::Revoked => {
                (&REFRESH_REVOKED, "The refresh token has been revoked. Sign in again.")
            }
            Self::UserDisabled => (&USER_DISABLED, "The user account is disabled."),
        };
        Failure::new(kind, message)
    }
}

/// The family of a presented token, whether or not it counts.
pub(crate) fn family(
    reader: &Reader,
    presented: &RefreshToken,
) -> Result<Option<RefreshFamily>, StoreError> {
    reader.record(presented.family.as_str())
}

/// Puts `next` in the place of the presented token, if that counts. A family that is dead for good is deleted.
pub(crate) fn rotate(
    transaction: &mut Transaction<'_>,
    (presented, next): (&RefreshToken, &RefreshToken),
    client: ApplicationId,
) -> Result<Result<(), Dead>, StoreError> {
    let Some(family) = transaction.record::<RefreshFamily>(presented.family.as_str())? else {
        return Ok(Err(Dead::Unknown));
    };
    let dead = if family.client != client {
        Some(Dead::OtherClient)
    } else if family.expires_at <= transaction.now() {
        Some(Dead::Expired)
    } else if family.current != presented.hash() {
        Some(Dead::Replaced)
    } else {
        ended(transaction, family.principal, (family.signed_in_at, &family.methods))?
    };
    let Some(dead) = dead else {
        let family = RefreshFamily { current: next.hash(), ..family };
        keep(transaction, next, &family)?;
        return Ok(Ok(()));
    };
    match dead {
        Dead::Unknown | Dead::OtherClient | Dead::Expired => {}
        Dead::Replaced | Dead::Revoked | Dead::UserDisabled => {
            transaction.delete_record::<RefreshFamily>(presented.family.as_str())?;
        }
    }
    Ok(Err(dead))
}

/// Why a sign-in of that time and way does not count any more: the person is disabled or gone, enrolled anew, or was
/// revoked.
pub(crate) fn ended(
    transaction: &Transaction<'_>,
    principal: PrincipalId,
    signed_in: (Timestamp, &[String]),
) -> Result<Option<Dead>, StoreError> {
    let enrolment = transaction.record::<Enrolment>(&principal.to_string())?;
    Ok(over(principal, signed_in, transaction.state(), enrolment.as_ref()))
}

/// The same from what was read already.
pub(crate) fn over(
    principal: PrincipalId,
    (signed_in_at, methods): (Timestamp, &[String]),
    snapshot: &Snapshot,
    enrolment: Option<&Enrolment>,
) -> Option<Dead> {
    if snapshot.users.by_uid(principal.0).is_none_or(|user| !user.spec.enabled) {
        return Some(Dead::UserDisabled);
    }
    // A passkey stands by itself: what it opened ends when it is removed.
    let by_code = methods.iter().any(|method| method == "otp");
    let enrolled_anew = by_code && enrolment.is_none_or(|it| signed_in_at < it.enrolled_at);
    let over = enrolled_anew || revoked(principal, signed_in_at, snapshot);
    over.then_some(Dead::Revoked)
}

/// Whether all tokens of that time were revoked.
fn revoked(principal: PrincipalId, signed_in_at: Timestamp, snapshot: &Snapshot) -> bool {
    snapshot.revocations.iter().any(|revocation| match &revocation.spec.tokens {
        RevokedTokens::IssuedBefore { principal: whose, before } => {
            *whose == principal && signed_in_at < *before
        }
        // Refresh tokens are signed by no key.
        RevokedTokens::Token(_)
        | RevokedTokens::SignIn(_)
        | RevokedTokens::EveryIssuedBefore { .. } => false,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_next_token_is_of_the_same_family_and_another() {
        let first = RefreshToken::first().unwrap();
        let (read, next) = RefreshToken::parse(&first.text).unwrap();
        assert_eq!(read, first);
        assert_eq!(next.family, first.family);
        assert_ne!(next.hash(), first.hash());
        assert_ne!(RefreshToken::first().unwrap().family, first.family);
    }

    proptest! {
        #[test]
        fn what_is_not_a_refresh_token_is_refused(text in "(pcr_)?[A-Za-z0-9_.-]{0,80}") {
            prop_assume!(text.len() != first_length());
            prop_assert_eq!(RefreshToken::parse(&text).unwrap_err().code(), "AADSTS9002313");
        }
    }

    fn first_length() -> usize {
        RefreshToken::first().unwrap().text.len()
    }
}
