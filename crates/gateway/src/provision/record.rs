//! What is recorded of database users. Every write looks at the document as it is when its turn comes.

use std::collections::BTreeSet;

use access::Grant;
use control::{Verb, Writing};
use model::event::{Actor, EventBody};
use model::kind::database_user::{DatabaseUser, DatabaseUserState, DatabaseUserStatus};
use model::{
    DatabaseRoleName, Document, PrincipalId, PrincipalKind, Refusal, Snapshot, Timestamp, code,
};

use super::connection::Trouble;
use super::names;
use super::server::Server;
use super::users::taken;

/// How an ending went.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) login_disabled_at: Timestamp,
    pub(super) gone_at: Timestamp,
    pub(super) left_behind: Vec<String>,
}

impl Server {
    pub(super) async fn record_planned(
        &self,
        grant: &Grant,
    ) -> Result<Document<DatabaseUser>, Refusal> {
        let name = names::document(&self.name, &grant.database_user);
        let spec = DatabaseUser {
            server: self.name.clone(),
            principal: grant.principal.id,
            user: grant.database_user.clone(),
        };
        let document = Document::new(name.clone(), spec);
        let write =
            move |writing: &mut Writing<'_, '_>| match writing.state().database_users.get(&name) {
                Some(known) if known.spec == document.spec => Ok(known.as_ref().clone()),
                Some(known) => Err(taken(&known.spec.user)),
                None if writing.state().servers.get(&document.spec.server).is_none() => {
                    let message = format!("the server `{}` was deleted", document.spec.server);
                    Err(Refusal::new(&code::SERVER_UNKNOWN, message))
                }
                None => Ok(writing.put(document)?),
            };
        let subject = format!("DatabaseUser/{}", names::document(&self.name, &grant.database_user));
        Ok(self.control.system(Verb::Provision, subject, write).await?.value)
    }

    pub(super) async fn record_enabled(
        &self,
        known: &Document<DatabaseUser>,
        oid: u32,
        roles: BTreeSet<DatabaseRoleName>,
    ) -> Result<(), Trouble> {
        self.update(known, move |status, now| {
            let enabled = status.state == DatabaseUserState::Enabled;
            if enabled && status.oid == Some(oid) && status.roles == roles {
                return None;
            }
            let left_behind = std::mem::take(&mut status.left_behind);
            *status = DatabaseUserStatus {
                state: DatabaseUserState::Enabled,
                oid: Some(oid),
                roles,
                changed_at: Some(now),
                left_behind,
            };
            Some(Told::Changed)
        })
        .await
    }

    /// It is not on the server any more; the next login makes it anew.
    pub(super) async fn record_lost(&self, known: &Document<DatabaseUser>) -> Result<(), Trouble> {
        self.update(known, |status, now| {
            if status.state == DatabaseUserState::Enabled {
                let left_behind = std::mem::take(&mut status.left_behind);
                *status = DatabaseUserStatus {
                    state: DatabaseUserState::Planned,
                    changed_at: Some(now),
                    left_behind,
                    ..DatabaseUserStatus::default()
                };
            }
            None
        })
        .await
    }

    pub(super) async fn record_revoking(
        &self,
        known: &Document<DatabaseUser>,
    ) -> Result<(), Trouble> {
        self.update(known, |status, now| {
            // An ending that was faster than this write stays complete.
            if status.state != DatabaseUserState::Disabled {
                status.state = DatabaseUserState::Revoking;
                status.changed_at = Some(now);
            }
            None
        })
        .await
    }

    pub(super) async fn record_disabled(
        &self,
        known: &Document<DatabaseUser>,
        ending: Ending,
    ) -> Result<(), Trouble> {
        self.update(known, move |status, now| {
            status.state = DatabaseUserState::Disabled;
            status.roles = BTreeSet::new();
            status.changed_at = Some(now);
            status.left_behind.clone_from(&ending.left_behind);
            Some(Told::Withdrawn(ending))
        })
        .await
    }

    async fn update<F>(&self, known: &Document<DatabaseUser>, change: F) -> Result<(), Trouble>
    where
        F: FnOnce(&mut DatabaseUserStatus, Timestamp) -> Option<Told> + Send + 'static,
    {
        let (name, subject) = (known.name().to_owned(), format!("DatabaseUser/{}", known.name()));
        let write = move |writing: &mut Writing<'_, '_>| {
            let Some(known) = writing.state().database_users.get(&name) else { return Ok(()) };
            let mut document = known.as_ref().clone();
            let told = change(&mut document.status, writing.now());
            if document.status == known.status {
                return Ok(());
            }
            let event = told.map(|told| told.event(&document, writing.state()));
            writing.put(document)?;
            if let Some(event) = event {
                writing.note(event);
            }
            Ok::<(), Refusal>(())
        };
        self.control.system(Verb::Provision, subject, write).await?;
        Ok(())
    }
}

/// What the audit log is told of a change.
#[derive(Debug)]
enum Told {
    Changed,
    Withdrawn(Ending),
}

impl Told {
    fn event(self, document: &Document<DatabaseUser>, state: &Snapshot) -> EventBody {
        let DatabaseUser { server, principal, user } = document.spec.clone();
        let test_stack = state.servers.get(&server).is_some_and(|server| server.spec.test_stack);
        let actor = actor(principal, &user, state);
        match self {
            Self::Changed => EventBody::DatabaseUserChanged {
                server,
                actor,
                user,
                roles: document.status.roles.clone(),
                test_stack,
            },
            Self::Withdrawn(Ending { login_disabled_at, gone_at, left_behind }) => {
                EventBody::DatabaseUserWithdrawn {
                    server,
                    actor,
                    user,
                    login_disabled_at,
                    backends_gone_at: Some(gone_at),
                    left_behind,
                }
            }
        }
    }
}

/// A principal that was deleted meanwhile is named as its user was.
fn actor(id: PrincipalId, user: &str, state: &Snapshot) -> Actor {
    match state.principal(id) {
        Some(principal) => Actor::from(&principal),
        None => Actor { id: Some(id), name: user.to_owned(), kind: None::<PrincipalKind> },
    }
}
