//! Secrets that are shown once, and tokens that no longer count.

use std::time::Duration;

use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use model::kind::revocation::{Revocation, RevokedTokens};
use model::kind::tenant::ClientSecretPolicy;
use model::{
    ApplicationName, Document, HostName, Lifetime, PrincipalId, Refusal, Snapshot, Timestamp,
    TokenId, UserName, code,
};
use runtime::Secret;
use uuid::Uuid;

use crate::caller::Caller;
use crate::control::Control;
use crate::credentials::{AccessPass, ClientSecret, ClientSecrets, Hash, JoinToken, end_sign_ins};
use crate::sessions::bounded;
use crate::verb::Verb;
use crate::write::{Done, Writing};

/// A Temporary Access Pass lives so long.
pub const PASS_LIFETIME: Duration = Duration::from_hours(1);
/// A machine joins within this after it was asked to.
const JOIN_TOKEN_LIFETIME: Duration = Duration::from_hours(1);
/// No access token lives longer, so a revocation can be forgotten after it.
pub const TOKEN_LIFETIME_MAX: Duration = Duration::from_hours(24);
/// Entra's bound on the life of a client secret.
const SECRET_LIFETIME_MAX: Lifetime = Lifetime::from_seconds(730 * 24 * 3600);
/// Two rotate; a few more are different places.
const SECRETS_MAX: usize = 10;
/// Expired secrets are told apart from wrong ones for so long.
const EXPIRED_SECRET_KEPT: Duration = Duration::from_hours(30 * 24);

/// Which tokens no longer count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoke {
    /// Every token of a principal issued until now, refresh tokens included.
    Principal(PrincipalId),
    /// One token.
    Token(TokenId),
}

impl Control {
    /// Issues a Temporary Access Pass. A former one of that person no longer counts.
    pub async fn issue_pass(
        &self,
        caller: &Caller,
        user: UserName,
    ) -> Result<(Secret<String>, Timestamp), Refusal> {
        let subject = format!("User/{user}");
        let work = move |writing: &mut Writing<'_, '_>| pass_for(writing, &user);
        Ok(self.write(caller, Verb::IssuePass, subject, work).await?.value)
    }

    /// Issues a token with which a machine joins as this host. A former one no longer counts.
    pub async fn issue_join_token(
        &self,
        caller: &Caller,
        host: HostName,
    ) -> Result<(Secret<String>, Timestamp), Refusal> {
        let subject = format!("Host/{host}");
        let work = move |writing: &mut Writing<'_, '_>| join_token_for(writing, &host);
        Ok(self.write(caller, Verb::IssueJoinToken, subject, work).await?.value)
    }

    /// Makes a secret for an application: its id, the secret, and when it dies.
    pub async fn add_client_secret(
        &self,
        caller: &Caller,
        application: ApplicationName,
        lifetime: Lifetime,
    ) -> Result<(String, Secret<String>, Timestamp), Refusal> {
        let subject = format!("Application/{application}");
        let work = move |writing: &mut Writing<'_, '_>| {
            if lifetime.seconds() == 0 || lifetime > SECRET_LIFETIME_MAX {
                let message = format!("a secret lives at most {SECRET_LIFETIME_MAX}");
                return Err(Refusal::new(&code::INVALID, message));
            }
            let key = application_key(&application, writing.state())?;
            secrets_allowed(writing.state())?;
            let now = writing.now();
            let mut kept: ClientSecrets = writing.record(&key)?.unwrap_or_default();
            kept.secrets.retain(|secret| now < secret.expires_at.plus(EXPIRED_SECRET_KEPT));
            if kept.secrets.len() >= SECRETS_MAX {
                let message = format!("`{application}` has {SECRETS_MAX} secrets already");
                return Err(Refusal::new(&code::INVALID, message).hint("remove one first"));
            }
            let secret = client_secret()?;
            let made = ClientSecret {
                id: Uuid::new_v4(),
                hash: Hash::of(secret.expose().as_bytes()),
                created_at: now,
                expires_at: now.plus(lifetime.duration()),
            };
            let shown = (made.id.to_string(), secret, made.expires_at);
            kept.secrets.push(made);
            writing.put_record(&key, &kept, None)?;
            Ok(shown)
        };
        Ok(self.write(caller, Verb::AddClientSecret, subject, work).await?.value)
    }

    /// Removes a secret of an application.
    pub async fn remove_client_secret(
        &self,
        caller: &Caller,
        application: ApplicationName,
        id: String,
    ) -> Result<(), Refusal> {
        let subject = format!("Application/{application}");
        let work = move |writing: &mut Writing<'_, '_>| {
            let key = application_key(&application, writing.state())?;
            let mut kept: ClientSecrets = writing.record(&key)?.unwrap_or_default();
            let before = kept.secrets.len();
            kept.secrets.retain(|secret| secret.id.to_string() != id);
            if kept.secrets.len() == before {
                let message = format!("`{application}` has no secret {id}");
                return Err(Refusal::new(&code::NOT_FOUND, message));
            }
            Ok(writing.put_record(&key, &kept, None)?)
        };
        self.write(caller, Verb::RemoveClientSecret, subject, work).await?;
        Ok(())
    }

    /// Makes tokens no longer count. Everyone may do it to all of their own.
    pub async fn revoke_tokens(
        &self,
        caller: &Caller,
        which: Revoke,
        reason: Option<String>,
    ) -> Result<Done<()>, Refusal> {
        let (verb, subject) = match which {
            Revoke::Principal(id) if id == caller.principal.id => {
                (Verb::RevokeOwnTokens, format!("Principal/{id}"))
            }
            Revoke::Principal(id) => (Verb::RevokeTokens, format!("Principal/{id}")),
            Revoke::Token(id) => (Verb::RevokeTokens, format!("Token/{id}")),
        };
        let work = move |writing: &mut Writing<'_, '_>| {
            bounded(reason.as_deref())?;
            let now = writing.now();
            let tokens = match which {
                Revoke::Token(token) => RevokedTokens::Token(token),
                Revoke::Principal(principal) => {
                    if writing.state().principal(principal).is_none() {
                        let message = format!("there is no principal {principal}");
                        return Err(Refusal::new(&code::NOT_FOUND, message));
                    }
                    end_sign_ins(writing, principal)?;
                    RevokedTokens::IssuedBefore { principal, before: now }
                }
            };
            let keep_until = now.plus(TOKEN_LIFETIME_MAX);
            let revocation = Revocation { tokens, keep_until, reason };
            writing.put(Document::new(Uuid::new_v4().to_string(), revocation))?;
            Ok(())
        };
        let committed = self.write(caller, verb, subject, work).await?;
        Ok(self.acknowledged(committed).await)
    }
}

impl Control {
    /// Makes one token no longer count, because someone else may have it: it was sent where everyone could read it.
    pub async fn revoke_exposed(&self, token: TokenId, reason: String) -> Result<(), Refusal> {
        let work = move |writing: &mut Writing<'_, '_>| {
            let keep_until = writing.now().plus(TOKEN_LIFETIME_MAX);
            let tokens = RevokedTokens::Token(token);
            let revocation = Revocation { tokens, keep_until, reason: Some(reason) };
            writing.put(Document::new(Uuid::new_v4().to_string(), revocation))?;
            Ok(())
        };
        let committed = self.system(Verb::RevokeTokens, format!("Token/{token}"), work).await?;
        self.acknowledged(committed).await;
        Ok(())
    }
}

/// A new pass for a person: what is shown, and when it dies.
pub(crate) fn pass_for(
    writing: &mut Writing<'_, '_>,
    user: &UserName,
) -> Result<(Secret<String>, Timestamp), Refusal> {
    let Some(person) = writing.state().users.get(user).cloned() else {
        return Err(Refusal::new(&code::NOT_FOUND, format!("there is no User `{user}`")));
    };
    if !person.spec.enabled {
        return Err(Refusal::new(&code::PRINCIPAL_DISABLED, format!("`{user}` is disabled")));
    }
    // 120 random bits, in groups that can be read out.
    let letters = BASE32_NOPAD.encode(&random::<15>()?).to_ascii_lowercase();
    let groups: Vec<&str> =
        letters.as_bytes().chunks(4).filter_map(|group| std::str::from_utf8(group).ok()).collect();
    let pass = Secret::new(groups.join("-"));
    let expires_at = writing.now().plus(PASS_LIFETIME);
    let kept = AccessPass { hash: Hash::of(pass.expose().as_bytes()), expires_at, tries: 0 };
    writing.put_record(&person.uid().to_string(), &kept, Some(expires_at))?;
    Ok((pass, expires_at))
}

fn join_token_for(
    writing: &mut Writing<'_, '_>,
    name: &HostName,
) -> Result<(Secret<String>, Timestamp), Refusal> {
    let Some(host) = writing.state().hosts.get(name).cloned() else {
        return Err(Refusal::new(&code::NOT_FOUND, format!("there is no Host `{name}`")));
    };
    if !host.spec.enabled {
        return Err(Refusal::new(&code::HOST_REFUSED, format!("`{name}` is disabled")));
    }
    let token = Secret::new(format!("pcj_{}", BASE64URL_NOPAD.encode(&random::<32>()?)));
    let expires_at = writing.now().plus(JOIN_TOKEN_LIFETIME);
    let kept = JoinToken { hash: Hash::of(token.expose().as_bytes()), expires_at };
    writing.put_record(&host.uid().to_string(), &kept, Some(expires_at))?;
    Ok((token, expires_at))
}

/// 256 random bits behind a prefix that secret scanners can look for.
fn client_secret() -> Result<Secret<String>, Refusal> {
    Ok(Secret::new(format!("pcs_{}", BASE64URL_NOPAD.encode(&random::<32>()?))))
}

pub(crate) fn random<const N: usize>() -> Result<[u8; N], Refusal> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| Refusal::new(&code::INTERNAL, "the system gave no random bytes"))?;
    Ok(bytes)
}

fn secrets_allowed(state: &Snapshot) -> Result<(), Refusal> {
    match state.tenant().map(|tenant| tenant.spec.client_secrets) {
        Some(ClientSecretPolicy::Forbidden) => {
            let message = "the tenant's `clientSecrets` is `forbidden`";
            Err(Refusal::new(&code::SECRETS_FORBIDDEN, message))
        }
        Some(ClientSecretPolicy::Allowed) | None => Ok(()),
    }
}

fn application_key(application: &ApplicationName, state: &Snapshot) -> Result<String, Refusal> {
    state.applications.get(application).map(|found| found.uid().to_string()).ok_or_else(|| {
        Refusal::new(&code::NOT_FOUND, format!("there is no Application `{application}`"))
    })
}
