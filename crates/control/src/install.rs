//! The beginning of an installation, and the way back in when nobody can sign in any more.

use std::collections::BTreeMap;

use model::event::{Actor, EventBody};
use model::kind::revocation::{Revocation, RevokedTokens};
use model::kind::tenant::{ClientSecretPolicy, Tenant};
use model::kind::user::User;
use model::{
    ControlRole, Document, Principal, PrincipalId, PrincipalKind, Refusal, TenantId, Timestamp,
    UserName, code,
};
use runtime::Secret;
use serde::{Deserialize, Serialize};
use store::{Record, Store, Transaction};
use uuid::Uuid;

use crate::apply::{Applied, ApplyOptions, Conflicts, Manifest, carry_out};
use crate::caller::Caller;
use crate::control::Control;
use crate::interrupted::take_back;
use crate::issue::{TOKEN_LIFETIME_MAX, pass_for};
use crate::resources::forget_person;
use crate::verb::Verb;
use crate::write::Writing;

/// How an installation begins.
#[derive(Clone, Debug)]
pub struct InitOptions {
    /// The tenant's name, shown to people.
    pub tenant: String,
    /// The domain of its people.
    pub domain: String,
    /// The first owner.
    pub owner: UserName,
}

/// What `init` made.
#[derive(Debug)]
pub struct Initialised {
    /// The tenant.
    pub tenant: TenantId,
    /// The owner's Temporary Access Pass, shown once.
    pub pass: Secret<String>,
    /// When it dies.
    pub expires_at: Timestamp,
}

/// An event of an offline act, which the next start appends before anything else. Key: its time.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct PendingEvent {
    event: EventBody,
}

impl Record for PendingEvent {
    const COLLECTION: &'static str = "pending-events";
}

/// Leaves an event for the next start to append. `act` tells acts of the same instant apart.
pub(crate) fn put_pending(
    transaction: &mut Transaction<'_>,
    act: &str,
    event: EventBody,
) -> Result<(), store::StoreError> {
    let key = format!("{} {act}", transaction.now());
    transaction.put_record(&key, &PendingEvent { event }, None)
}

/// That the folder was applied. Key: `seed`.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Seeded {
    at: Timestamp,
}

impl Record for Seeded {
    const COLLECTION: &'static str = "seeded";
}

impl Control {
    /// Makes the tenant and one owner, once.
    pub async fn init(&self, options: InitOptions) -> Result<Initialised, Refusal> {
        let work = move |writing: &mut Writing<'_, '_>| {
            if writing.state().tenant().is_some() {
                let message = "this installation has its tenant and owner already";
                return Err(Refusal::new(&code::CONFLICT, message)
                    .hint("`portcullis recover-owner` helps an owner who cannot sign in"));
            }
            let InitOptions { tenant, domain, owner } = options;
            let spec = Tenant {
                display_name: tenant,
                domains: vec![domain.clone()],
                client_secrets: ClientSecretPolicy::Allowed,
            };
            let tenant = writing.put(Document::new(domain, spec))?;
            crate::rules::check(None, &tenant.clone().into(), writing.state())?;
            make_owner(writing, &owner)?;
            let (pass, expires_at) = pass_for(writing, &owner)?;
            Ok(Initialised { tenant: TenantId(tenant.uid()), pass, expires_at })
        };
        Ok(self.system(Verb::Initialise, "Tenant", work).await?.value)
    }

    /// Applies a folder's documents once in the life of an installation. `None`: it has been done before.
    pub async fn seed(&self, documents: Vec<Manifest>) -> Result<Option<Vec<Applied>>, Refusal> {
        let work = move |writing: &mut Writing<'_, '_>| {
            if writing.record::<Seeded>("seed")?.is_some() {
                return Ok(None);
            }
            let at = writing.now();
            writing.put_record("seed", &Seeded { at }, None)?;
            // What `init` made and a file speaks of too is the file's from here on.
            let options = ApplyOptions { conflicts: Conflicts::Overwrite, ..Default::default() };
            carry_out(writing, &portcullis(), &documents, options).map(Some)
        };
        Ok(self.system(Verb::Seed, "Seed", work).await?.value)
    }

    /// Takes back what was recorded and never committed, and appends the events of offline acts. The server does this
    /// before it appends anything else.
    pub async fn announce(&self) -> Result<(), Refusal> {
        let (log, committed) = (self.log().clone(), self.snapshots().load().revision);
        let taken_back = tokio::task::spawn_blocking(move || take_back(&log, committed)).await;
        taken_back.map_err(|_| Refusal::new(&code::INTERNAL, "the audit log was not read"))??;
        let pending = self.store().read(|reader| {
            let pending = reader.records::<PendingEvent>()?;
            Ok((!pending.is_empty()).then_some(pending))
        })?;
        let Some(pending) = pending else {
            return Ok(());
        };
        let work = move |writing: &mut Writing<'_, '_>| {
            for (key, PendingEvent { event }) in pending {
                writing.delete_record::<PendingEvent>(&key)?;
                writing.note(event);
            }
            Ok(())
        };
        self.system(Verb::RecoverOwner, "offline acts", work).await?;
        Ok(())
    }
}

/// Does something on the server's own host while no server runs, and leaves its event for the next start to append
/// before anything else. Whoever calls this has shown the master key.
pub fn offline(
    store: &Store,
    (action, subject): (&str, &str),
    detail: BTreeMap<String, serde_json::Value>,
    act: impl FnOnce(&mut Transaction<'_>) -> Result<(), store::StoreError> + Send + 'static,
) -> Result<(), store::StoreError> {
    let event = EventBody::Installation {
        actor: Actor::claimed("root"),
        action: action.to_owned(),
        subject: subject.to_owned(),
        detail,
    };
    let act_name = action.to_owned();
    let work = move |transaction: &mut Transaction<'_>| {
        act(transaction)?;
        put_pending(transaction, &act_name, event)
    };
    store.write_blocking(work).map(drop).map_err(store::WriteError::into_inner)
}

/// Makes a person an enabled owner who can enrol anew, on the server's own host while no server runs. Whoever calls
/// this has shown the master key. The event waits in the store, in the same transaction.
pub fn recover_owner(
    store: &Store,
    user: UserName,
) -> Result<(Secret<String>, Timestamp), Refusal> {
    let work = move |transaction: &mut Transaction<'_>| {
        let mut writing = Writing::new(transaction);
        let person = make_owner(&mut writing, &user)?;
        let principal = PrincipalId(person.uid());
        forget_person(&mut writing, principal)?;
        // Whoever took the owner's place loses what they hold.
        let before = writing.now();
        let revocation = Revocation {
            tokens: RevokedTokens::IssuedBefore { principal, before },
            keep_until: before.plus(TOKEN_LIFETIME_MAX),
            reason: Some("the owner was recovered".to_owned()),
        };
        writing.put(Document::new(Uuid::new_v4().to_string(), revocation))?;
        let shown = pass_for(&mut writing, &user)?;
        let event = EventBody::Installation {
            actor: Actor::claimed("root"),
            action: "ownerRecovered".to_owned(),
            subject: format!("User/{user}"),
            detail: BTreeMap::from([("at".to_owned(), writing.now().to_string().into())]),
        };
        put_pending(&mut writing, "owner", event)?;
        Ok::<_, Refusal>(shown)
    };
    let recovered = store.write_blocking(work).map_err(store::WriteError::into_inner)?;
    Ok(recovered.value)
}

/// The person as an enabled owner, created where there is none.
fn make_owner(writing: &mut Writing<'_, '_>, name: &UserName) -> Result<Document<User>, Refusal> {
    let stored = writing.state().users.get(name).map(|user| Document::clone(user));
    let mut user = stored.unwrap_or_else(|| {
        let spec = User {
            display_name: name.to_string(),
            enabled: true,
            control_role: ControlRole::Owner,
            manager: None,
        };
        Document::new(name.as_str(), spec)
    });
    user.spec.enabled = true;
    user.spec.control_role = ControlRole::Owner;
    Ok(writing.put(user)?)
}

/// Portcullis as the one who deletes or ends something: named in events, a principal of no directory.
fn portcullis() -> Caller {
    let Actor { id, name, kind: _ } = Actor::portcullis();
    let principal = Principal {
        id: id.unwrap_or(PrincipalId(Uuid::nil())),
        name,
        kind: PrincipalKind::Application,
        enabled: true,
    };
    Caller { principal, role: ControlRole::User, source: None }
}
