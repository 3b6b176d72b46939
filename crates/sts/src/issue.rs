//! The last step of every grant: claims, signature, record on disk, answer.

use std::sync::Arc;
use std::time::Duration;

use access::membership::active_groups;
use access::token::DATABASE_AUDIENCE;
use control::{Verb, Writing};
use keys::TokenSigner;
use model::event::{Actor, EventBody, Outcome};
use model::kind::revocation::RevokedTokens;
use model::{
    ApplicationId, Code, Principal, PrincipalId, Refusal, Snapshot, TenantId, Timestamp, TokenId,
    code,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::claims::{ClientProof, Grant, SignedIn, Subject};
use crate::client::OneTime;
use crate::discovery::Version;
use crate::failure::{Failure, UNAVAILABLE, USER_DISABLED};
use crate::request::Asker;
use crate::scope::Asked;
use crate::service::{Service, keys_failed, store_failed};
use crate::tenant;
use crate::token::Refused;

/// What is to be issued, to whom, and why.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) tenant: TenantId,
    pub(crate) client: ApplicationId,
    pub(crate) proof: ClientProof,
    pub(crate) subject: Subject,
    pub(crate) asked: Asked,
    /// OAuth grant type, for the record.
    pub(crate) grant: &'static str,
    /// The refresh token that goes along.
    pub(crate) refresh_token: Option<String>,
    /// What the request asked for beside.
    pub(crate) extras: Extras,
}

/// What a request may ask of its tokens beside the resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extras {
    /// Comes back in the id token.
    pub(crate) nonce: Option<String>,
    /// `acrs`: authentication contexts that hold.
    pub(crate) contexts: Vec<String>,
    /// `xms_cc`: the client knows what to do when a token is revoked.
    pub(crate) revocable: bool,
}

/// What a write of an issue does beside recording it: uses something up, or refuses.
pub(crate) type Claimed = Result<Result<(), Failure>, Refusal>;

/// An issued token, on disk in the audit log.
pub(crate) struct Issued {
    access_token: String,
    id_token: Option<String>,
    order: Order,
    grant: Grant,
}

/// Records and signs what needs no write.
pub(crate) async fn issue(
    service: &Service,
    order: Order,
    asker: &Asker,
    snapshot: &Snapshot,
) -> Result<Issued, Failure> {
    let signer = signer(service)?;
    let grant = grant(service, &order, snapshot);
    service.record(event(&order, &grant, asker, snapshot)).await?;
    sign(&signer, order, grant)
}

/// Claims, records and signs: `claim` and the record are one write, so nothing is used up without a record and nothing
/// is issued twice. A refusal of `claim` is recorded in the same write, which stands.
pub(crate) async fn issue_for(
    service: &Service,
    order: Order,
    asker: &Asker,
    claim: impl FnOnce(&mut Writing<'_, '_>) -> Claimed + Send + 'static,
) -> Result<Issued, Refused> {
    let signer = signer(service)?;
    let snapshot = service.snapshot();
    let grant = grant(service, &order, &snapshot);
    let event = event(&order, &grant, asker, &snapshot);
    let subject = principal(&order.subject).to_string();
    let written = service.state.control.system(Verb::SignIn, subject, move |writing| {
        let claimed = claim(writing)?;
        writing.note(match &claimed {
            Ok(()) => event,
            Err(failure) => refused(event, failure),
        });
        Ok(claimed)
    });
    let claimed = written.await.map_err(|refusal| Refused::from(store_failed(refusal)))?.value;
    claimed.map_err(Refused::recorded)?;
    Ok(sign(&signer, order, grant)?)
}

/// The same for an assertion that counts once; many of these share a write.
pub(crate) async fn issue_once(
    service: &Service,
    order: Order,
    asker: &Asker,
    one_time: OneTime,
) -> Result<Issued, Refused> {
    let signer = signer(service)?;
    let snapshot = service.snapshot();
    let grant = grant(service, &order, &snapshot);
    let event = event(&order, &grant, asker, &snapshot);
    service.spender.spend(one_time, event).await?.map_err(Refused::recorded)?;
    Ok(sign(&signer, order, grant)?)
}

fn grant(service: &Service, order: &Order, snapshot: &Snapshot) -> Grant {
    let now = service.now();
    let id = match &order.subject {
        Subject::Workload { .. } => TokenId::random(),
        Subject::Person { signed_in, .. } => TokenId::of_sign_in(signed_in.session),
    };
    Grant {
        id,
        issuer: tenant::issuer(service.origin(), order.tenant),
        tenant: order.tenant,
        audience: order.asked.audience.clone(),
        client: order.client,
        proof: order.proof.clone(),
        issued_at: not_revoked_from(principal(&order.subject), snapshot, now),
        lifetime: lifetime(service, &order.asked.audience),
        subject: order.subject.clone(),
        contexts: order.extras.contexts.clone(),
        revocable: order.extras.revocable,
    }
}

/// Looked for before anything is used up or recorded.
pub(crate) fn signer(service: &Service) -> Result<Arc<TokenSigner>, Failure> {
    service.state.keyring.signer().map_err(|error| {
        tracing::error!(%error, "there is no key that signs tokens: nothing is issued until a restart makes one");
        let Code { id, title, remedy, .. } = code::SIGNING_KEY_MISSING;
        Failure::new(&UNAVAILABLE, format!("{id}: {title}; {remedy}."))
    })
}

fn sign(signer: &TokenSigner, order: Order, grant: Grant) -> Result<Issued, Failure> {
    let unsigned = |error| keys_failed(&error);
    let access_token = signer.sign_rs256(&grant.access()).map_err(unsigned)?;
    let identity = grant.identity(order.extras.nonce.as_deref());
    let id_token = identity.map(|identity| signer.sign_rs256(&identity)).transpose();
    Ok(Issued { access_token, id_token: id_token.map_err(unsigned)?, order, grant })
}

/// `iat` has whole seconds, and a revocation kills every token issued before it: a token issued within the same second,
/// but after the revocation, says the next second.
fn not_revoked_from(principal: PrincipalId, snapshot: &Snapshot, now: Timestamp) -> Timestamp {
    let second = Timestamp::from_seconds(now.seconds());
    let revoked = snapshot.revocations.iter().filter_map(|revocation| {
        match &revocation.spec.tokens {
            RevokedTokens::IssuedBefore { principal: whose, before } => {
                (*whose == principal && *before <= now).then_some(*before)
            }
            // This one lies up to two seconds ahead, in whole seconds.
            RevokedTokens::EveryIssuedBefore { before } => Some(*before),
            RevokedTokens::Token(_) | RevokedTokens::SignIn(_) => None,
        }
    });
    match revoked.filter(|before| second < *before).max() {
        Some(before) if before > now => before,
        Some(_) => second.plus(Duration::from_secs(1)),
        None => now,
    }
}

fn lifetime(service: &Service, audience: &str) -> Duration {
    let lifetimes = &service.state.lifetimes;
    if audience.strip_suffix('/').unwrap_or(audience) == DATABASE_AUDIENCE {
        lifetimes.database_token_lifetime.duration()
    } else {
        lifetimes.access_token_lifetime.duration()
    }
}

fn principal(subject: &Subject) -> PrincipalId {
    match subject {
        Subject::Workload { principal, .. } | Subject::Person { principal, .. } => *principal,
    }
}

fn event(order: &Order, grant: &Grant, asker: &Asker, snapshot: &Snapshot) -> EventBody {
    let id = principal(&grant.subject);
    let actor = match snapshot.principal(id) {
        Some(principal) => Actor::from(&principal),
        None => Actor { id: Some(id), name: id.to_string(), kind: None },
    };
    EventBody::Token {
        actor,
        source: Some(asker.source),
        grant: order.grant.to_owned(),
        audience: grant.audience.clone(),
        token: Some(grant.id),
        expires_at: Some(grant.expires_at()),
        credential: grant.proof.credential(),
        outcome: Outcome::Succeeded,
    }
}

/// The record of an issue that was refused at the last moment.
pub(crate) fn refused(event: EventBody, failure: &Failure) -> EventBody {
    let EventBody::Token { actor, source, grant, audience, credential, .. } = event else {
        return event;
    };
    let outcome = Outcome::Refused { code: failure.code(), message: failure.message.clone() };
    let (token, expires_at) = (None, None);
    EventBody::Token { actor, source, grant, audience, token, expires_at, credential, outcome }
}

impl Issued {
    /// The answer. Integers in v2.0, as the Rust client demands; text in v1, as Entra has it.
    pub(crate) fn answer(self, version: Version) -> Value {
        let seconds = self.grant.lifetime.as_secs().saturating_sub(1);
        let mut answer = match version {
            Version::V2 => json!({ "expires_in": seconds, "ext_expires_in": seconds }),
            Version::V1 => json!({
                "expires_in": seconds.to_string(),
                "ext_expires_in": seconds.to_string(),
                "expires_on": self.grant.expires_at().seconds().to_string(),
                "not_before": self.grant.issued_at.seconds().to_string(),
                "resource": &self.grant.audience,
            }),
        };
        let mut set = |name: &str, value: Option<Value>| {
            if let (Some(members), Some(value)) = (answer.as_object_mut(), value) {
                members.insert(name.to_owned(), value);
            }
        };
        set("token_type", Some("Bearer".into()));
        set("client_info", self.grant.client_info().map(Value::from));
        set("scope", self.id_token.as_ref().map(|_| self.order.asked.granted().into()));
        set("id_token", self.id_token.map(Value::from));
        set("refresh_token", self.order.refresh_token.map(Value::from));
        set("access_token", Some(self.access_token.into()));
        answer
    }
}

/// A person as tokens describe them now; refused when they are gone or disabled.
pub(crate) fn person(
    id: PrincipalId,
    signed_in: SignedIn,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Result<Subject, Failure> {
    let user = snapshot.users.by_uid(id.0).filter(|user| user.spec.enabled).ok_or_else(disabled)?;
    let groups: Vec<Uuid> = active_groups(id, snapshot, now)
        .iter()
        .filter_map(|group| snapshot.groups.get(group).map(|group| group.uid()))
        .collect();
    Ok(Subject::Person {
        principal: id,
        name: Principal::user(user).name,
        display_name: user.spec.display_name.clone(),
        groups,
        signed_in,
    })
}

pub(crate) fn disabled() -> Failure {
    Failure::new(&USER_DISABLED, "The user account is disabled.")
}
