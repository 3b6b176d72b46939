//! Giving up a server that was taken down before it was deleted here: nobody can withdraw its users any more.

use std::collections::BTreeMap;

use model::event::{Actor, EventBody};
use model::kind::database_user::{DatabaseUser, DatabaseUserState};
use model::{Document, Refusal, ServerName, code};

use crate::caller::Caller;
use crate::control::Control;
use crate::sessions::bounded;
use crate::verb::Verb;
use crate::write::Writing;

impl Control {
    /// The users of a deleted server count as gone, and its name is free. Their names.
    pub async fn abandon(
        &self,
        caller: &Caller,
        server: ServerName,
        reason: String,
    ) -> Result<Vec<String>, Refusal> {
        let (subject, actor) = (format!("DatabaseServer/{server}"), Actor::from(&caller.principal));
        let about = subject.clone();
        let work = move |writing: &mut Writing<'_, '_>| {
            bounded(Some(&reason))?;
            let names = let_go(writing, &server)?;
            let detail = BTreeMap::from([
                ("reason".to_owned(), reason.into()),
                ("users".to_owned(), names.join(", ").into()),
            ]);
            let action = "serverAbandoned".to_owned();
            writing.note(EventBody::Installation { actor, action, subject: about, detail });
            Ok(names)
        };
        Ok(self.write(caller, Verb::AbandonServer, subject, work).await?.value)
    }
}

fn let_go(writing: &mut Writing<'_, '_>, server: &ServerName) -> Result<Vec<String>, Refusal> {
    if writing.state().servers.get(server).is_some() {
        let message = format!("`{server}` is protected here");
        return Err(Refusal::new(&code::CONFLICT, message)
            .hint(format!("delete it first: `portcullis delete databaseserver {server}`")));
    }
    let left: Vec<Document<DatabaseUser>> = writing
        .state()
        .database_users
        .iter()
        .filter(|user| {
            user.spec.server == *server && user.status.state != DatabaseUserState::Disabled
        })
        .map(|user| Document::clone(user))
        .collect();
    if left.is_empty() {
        let message = format!("no user of a former server `{server}` is left to give up");
        return Err(Refusal::new(&code::NOT_FOUND, message));
    }
    let names = left.iter().map(|user| user.spec.user.clone()).collect();
    for mut user in left {
        user.status.state = DatabaseUserState::Disabled;
        user.status.roles.clear();
        writing.put(user)?;
    }
    Ok(names)
}
