//! Taking over a database user that Portcullis did not make: an owner's explicit act, never a login's.

use access::database_user::{PROVISIONER, name_for};
use control::{Caller, Verb};
use model::kind::database_user::{DatabaseUser, DatabaseUserState, DatabaseUserStatus};
use model::{Document, Principal, Refusal, ServerName, code};

use super::connection::Trouble;
use super::seen::ObservedUser;
use super::users::is_ours;
use super::{Provisioner, names};

impl Provisioner {
    /// Records an existing login user as the principal's. From then on it is a member of exactly the roles that are
    /// active, and without any it cannot log in. Refused for users with attributes that Portcullis never hands out, and
    /// for names that the principal would not log in as.
    pub async fn adopt(
        &self,
        caller: &Caller,
        server: &ServerName,
        (name, principal): (&str, &Principal),
    ) -> Result<(), Refusal> {
        let snapshot = self.shared.control.snapshots().load();
        if !snapshot.servers.iter().any(|known| known.name() == server.as_str()) {
            let message = format!("there is no DatabaseServer `{server}`");
            return Err(Refusal::new(&code::NOT_FOUND, message));
        }
        let expected = name_for(principal, server, &snapshot);
        if name != expected {
            let message = format!("`{}` logs in as `{expected}`, not as `{name}`", principal.name);
            return Err(Refusal::new(&code::USER_MISMATCH, message)
                .hint(format!("rename the database user to `{expected}` first")));
        }
        let worked_on = self.server(server);
        let turn = worked_on.turn(name);
        let _turn = turn.lock().await;
        let connection = self.standing(server).await?;
        let observed = connection.observe_user(name).await.map_err(Trouble::refusal)?;
        let Some(observed) = observed else {
            let message = format!("server `{server}` has no database user `{name}`");
            return Err(Refusal::new(&code::NOT_FOUND, message)
                .hint("it is made at the first login; there is nothing to adopt"));
        };
        adoptable(name, &observed)?;
        let document = adopted(server, (name, principal), observed.oid);
        let subject = format!("DatabaseUser/{}", document.name());
        let write =
            self.shared.control.write(caller, Verb::AdoptDatabaseUser, subject, move |writing| {
                match writing.state().database_users.get(document.name()) {
                    // What an attempt that failed half way recorded is no user of ours yet.
                    Some(known)
                        if known.spec != document.spec || is_ours(Some(known), &observed) =>
                    {
                        let message = format!("`{}` is managed already", known.spec.user);
                        Err(Refusal::new(&code::CONFLICT, message))
                    }
                    _ => Ok(writing.put(document)?.uid()),
                }
            });
        let uid = write.await?.value;
        self.withdraw(server, principal.id);
        // The certificate is its only way in from here on, and the mark says whose it is.
        connection.take_over(name, &names::mark(uid)).await.map_err(Trouble::refusal)
    }
}

fn adopted(
    server: &ServerName,
    (name, principal): (&str, &Principal),
    oid: u32,
) -> Document<DatabaseUser> {
    let spec =
        DatabaseUser { server: server.clone(), principal: principal.id, user: name.to_owned() };
    let mut document = Document::new(names::document(server, name), spec);
    document.status = DatabaseUserStatus {
        state: DatabaseUserState::Enabled,
        // Where users have none of their own the mark brings it, at the next login.
        oid: Some(oid).filter(|oid| *oid != 0),
        ..DatabaseUserStatus::default()
    };
    document
}

/// Never a user that holds more than a database role can give.
fn adoptable(name: &str, observed: &ObservedUser) -> Result<(), Refusal> {
    let attributes = [
        (observed.superuser, "SUPERUSER"),
        (observed.replication, "REPLICATION"),
        (observed.bypass_rls, "BYPASSRLS"),
        (observed.create_role, "CREATEROLE"),
    ];
    let held = attributes.iter().find_map(|(held, attribute)| held.then_some(*attribute));
    let why = match held {
        Some(attribute) => format!("it has the attribute {attribute}"),
        None if name.starts_with("pg_") => "names that begin with `pg_` are PostgreSQL's".into(),
        None if name == PROVISIONER => "it is the gateway's own".into(),
        None => return Ok(()),
    };
    let message = format!("the database user `{name}` cannot be adopted: {why}");
    Err(Refusal::new(&code::DATABASE_USER_EXISTS, message)
        .hint("take the attribute away on the server first"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_attribute_beyond_a_database_role_s_is_taken_over() {
        let plain = ObservedUser {
            oid: 16_400,
            login: true,
            superuser: false,
            replication: false,
            create_role: false,
            create_db: true,
            bypass_rls: false,
            mark: None,
            memberships: Vec::new(),
        };
        assert_eq!(adoptable("ada@example.com", &plain), Ok(()));
        for user in [
            ObservedUser { superuser: true, ..plain.clone() },
            ObservedUser { replication: true, ..plain.clone() },
            ObservedUser { bypass_rls: true, ..plain.clone() },
            ObservedUser { create_role: true, ..plain.clone() },
        ] {
            let refusal = adoptable("ada@example.com", &user).unwrap_err();
            assert_eq!(refusal.code, &code::DATABASE_USER_EXISTS);
        }
        assert!(adoptable("pg_monitor", &plain).is_err());
        assert!(adoptable(PROVISIONER, &plain).is_err());
    }
}
