//! THE write path, and there is no other: authenticate → authorise → (policy) → store → audit.
//!
//! The audit events are appended and on disk before the store commits, inside the store's transaction: a write that
//! cannot be recorded does not happen. When the commit then fails, a second event takes the first one back.

use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use model::event::{Actor, EventBody, Outcome, Write};
use model::{Kind, PrincipalId, Refusal, Revision, code};
use store::{Committed, Transaction};

use crate::caller::Caller;
use crate::check;
use crate::control::Control;
use crate::credentials::end_sign_ins;
use crate::diff;
use crate::scim::Provisioner;
use crate::verb::Verb;

/// `request`, `approve` and `apply` wait so long for every live gateway to act on them.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(2);

/// A write in progress: the store's transaction, and what the audit log will say of it.
#[derive(Debug)]
pub struct Writing<'a, 'tx> {
    transaction: &'a mut Transaction<'tx>,
    events: Vec<EventBody>,
}

impl<'a, 'tx> Writing<'a, 'tx> {
    pub(crate) fn new(transaction: &'a mut Transaction<'tx>) -> Self {
        Self { transaction, events: Vec::new() }
    }

    /// Adds an event that says more than the difference between two documents. A write of Portcullis itself that notes
    /// events is described by them alone.
    pub fn note(&mut self, event: EventBody) {
        self.events.push(event);
    }
}

impl<'tx> Deref for Writing<'_, 'tx> {
    type Target = Transaction<'tx>;

    fn deref(&self) -> &Transaction<'tx> {
        self.transaction
    }
}

impl DerefMut for Writing<'_, '_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.transaction
    }
}

/// What was written, and who may not act on it yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done<T> {
    /// What was asked for.
    pub value: T,
    /// The store's revision after it.
    pub revision: Revision,
    /// A warning: these gateways had not acknowledged it in time. The write stands.
    pub lag: Option<String>,
}

/// What the audit log says of a write as a whole.
#[derive(Clone, Debug)]
struct Intent {
    actor: Actor,
    own: bool,
    source: Option<IpAddr>,
    verb: Verb,
    subject: String,
}

impl Control {
    /// Runs one write of a caller. Nothing of it stays when it returns a refusal, but the refusal is in the audit log.
    pub async fn write<T, F>(
        &self,
        caller: &Caller,
        verb: Verb,
        subject: impl Into<String>,
        work: F,
    ) -> Result<Committed<T>, Refusal>
    where
        F: FnOnce(&mut Writing<'_, '_>) -> Result<T, Refusal> + Send + 'static,
        T: Send + 'static,
    {
        let intent = Intent {
            actor: Actor::from(&caller.principal),
            own: false,
            source: caller.source,
            verb,
            subject: subject.into(),
        };
        let asking = caller.clone();
        let work = move |writing: &mut Writing<'_, '_>| {
            asking.authorise(verb, writing.state())?;
            work(writing)
        };
        let written = self.commit(intent.clone(), work).await;
        if let Err(refusal) = &written {
            self.record_refusal(&intent, refusal);
        }
        written
    }

    /// Runs one write of a directory that pushes people and groups.
    pub(crate) async fn provisioned<T, F>(
        &self,
        by: &Provisioner,
        verb: Verb,
        subject: impl Into<String>,
        work: F,
    ) -> Result<Committed<T>, Refusal>
    where
        F: FnOnce(&mut Writing<'_, '_>) -> Result<T, Refusal> + Send + 'static,
        T: Send + 'static,
    {
        let intent = Intent {
            actor: by.actor(),
            own: false,
            source: by.source(),
            verb,
            subject: subject.into(),
        };
        let asking = by.clone();
        let work = move |writing: &mut Writing<'_, '_>| {
            asking.authorise(writing)?;
            work(writing)
        };
        let written = self.commit(intent.clone(), work).await;
        if let Err(refusal) = &written {
            self.record_refusal(&intent, refusal);
        }
        written
    }

    /// Runs one write of Portcullis itself: expiry, provisioning, keys, what signing in leaves behind. Whoever started
    /// it has been authenticated elsewhere, and that place records a refusal.
    pub async fn system<T, F>(
        &self,
        verb: Verb,
        subject: impl Into<String>,
        work: F,
    ) -> Result<Committed<T>, Refusal>
    where
        F: FnOnce(&mut Writing<'_, '_>) -> Result<T, Refusal> + Send + 'static,
        T: Send + 'static,
    {
        let intent = Intent {
            actor: Actor::portcullis(),
            own: true,
            source: None,
            verb,
            subject: subject.into(),
        };
        let written = self.commit(intent.clone(), work).await;
        if let Err(refusal) = &written
            && refusal.code == &code::STORE_UNAVAILABLE
        {
            self.record_refusal(&intent, refusal);
        }
        written
    }

    async fn commit<T, F>(&self, intent: Intent, work: F) -> Result<Committed<T>, Refusal>
    where
        F: FnOnce(&mut Writing<'_, '_>) -> Result<T, Refusal> + Send + 'static,
        T: Send + 'static,
    {
        let log = self.log().clone();
        let written = self.store().write(move |transaction| {
            let mut writing = Writing::new(transaction);
            let value = work(&mut writing)?;
            end_disabled(&mut writing)?;
            check::invariants(&writing.snapshot(), writing.state())?;
            let events = intent.events(writing);
            if !events.is_empty() {
                let receipt = log.append(&events).map_err(|error| unrecorded(&error))?;
                log.durable_blocking(receipt).map_err(|error| unrecorded(&error))?;
            }
            Ok(value)
        });
        written.await.map_err(store::WriteError::into_inner)
    }

    /// Writes that gateways act on return when all of them do, or say that not all do yet.
    pub(crate) async fn acknowledged<T>(&self, committed: Committed<T>) -> Done<T> {
        let Committed { value, revision, committed_at: _ } = committed;
        let reached = self.store().snapshots().acknowledged(revision, ACKNOWLEDGED_WITHIN).await;
        let lag = reached.err().map(|late| format!("revision {revision} is {late}"));
        if let Some(lag) = &lag {
            tracing::warn!(%revision, lag, "gateways are late");
        }
        Done { value, revision, lag }
    }

    fn record_refusal(&self, intent: &Intent, refusal: &Refusal) {
        let outcome =
            Outcome::Refused { code: refusal.code.id.to_owned(), message: refusal.message.clone() };
        let event = intent.event(intent.subject.clone(), outcome);
        // The write is refused either way; the log itself tells everyone when it can no longer be written.
        if let Err(error) = self.log().append(&[EventBody::Write(Box::new(event))]) {
            tracing::error!(%error, verb = %intent.verb, "a refused write could not be recorded");
        }
    }
}

/// Whoever was disabled signs in anew once they are enabled again, by whichever way the document was written.
fn end_disabled(writing: &mut Writing<'_, '_>) -> Result<(), Refusal> {
    let before = writing.snapshot();
    let disabled: Vec<PrincipalId> = writing
        .touched()
        .filter(|(kind, _)| *kind == Kind::User)
        .filter_map(|(_, name)| Some((before.users.get(name)?, writing.state().users.get(name)?)))
        .filter(|(before, after)| before.spec.enabled && !after.spec.enabled)
        .map(|(_, after)| PrincipalId(after.uid()))
        .collect();
    disabled.into_iter().try_for_each(|person| end_sign_ins(writing, person))
}

fn unrecorded(error: &audit::AuditError) -> Refusal {
    tracing::error!(%error, "a write could not be recorded");
    Refusal::new(&code::AUDIT_FAILED, "the write cannot be recorded, so it was not made")
}

impl Intent {
    fn events(&self, writing: Writing<'_, '_>) -> Vec<EventBody> {
        let Writing { transaction, mut events } = writing;
        if self.own && (!events.is_empty() || transaction.is_empty()) {
            return events;
        }
        let (before, after) = (transaction.snapshot(), transaction.state());
        let revision = (!transaction.is_empty()).then(|| transaction.revision());
        let mut described = !events.is_empty();
        for (kind, name) in transaction.touched() {
            // The life cycle notes each of its steps itself.
            if kind == Kind::Activation {
                continue;
            }
            let changes =
                diff::changes(before.get(kind, name).as_ref(), after.get(kind, name).as_ref());
            let event = self.event(format!("{kind}/{name}"), Outcome::Succeeded);
            events.push(EventBody::Write(Box::new(Write { revision, changes, ..event })));
            described = true;
        }
        if !described {
            let event = self.event(self.subject.clone(), Outcome::Succeeded);
            events.push(EventBody::Write(Box::new(Write { revision, ..event })));
        }
        events
    }

    fn event(&self, subject: String, outcome: Outcome) -> Write {
        Write {
            actor: self.actor.clone(),
            source: self.source,
            verb: self.verb.name().to_owned(),
            subject,
            revision: None,
            changes: std::collections::BTreeMap::new(),
            outcome,
        }
    }
}
