//! Login users, roles and sessions on a MySQL or MariaDB server: the same steps as on PostgreSQL, in statements that
//! cannot be undone together. Each step can be repeated, so what was interrupted is brought to its end the next time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use access::Grant;
use model::kind::database_role::DatabaseRole;
use model::kind::database_user::{DatabaseUser, DatabaseUserState};
use model::kind::server::{DatabaseServer, Databases};
use model::{DatabaseRoleName, Document, Snapshot, Timestamp};

use super::names;
use super::pg::connection::Trouble;
use super::plan::{self, UserStep};
use super::record::Ending;
use super::server::Server;
use super::users::{is_prepared, taken};

pub(crate) mod account;
pub(crate) mod connection;

use account::{Account, NotOurs};
use connection::Connection;

/// The server's own number of a user; it has none.
const NO_OID: u32 = 0;
/// A session that was told to end is gone long before; what is not by then is tried again.
const GONE_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// A session shows up in the server's list only during its login: the list is looked at once more.
const SECOND_LOOK_AFTER: Duration = Duration::from_millis(250);

impl Server {
    /// Makes the account hold exactly the granted roles, creating it if need be.
    pub(super) async fn prepare_account(
        &self,
        server: &Document<DatabaseServer>,
        grant: &Grant,
    ) -> Result<(), Trouble> {
        let name = names::document(&self.name, &grant.database_user);
        let turn = self.turn(&grant.database_user);
        let _turn = turn.lock().await;
        let snapshot = self.control.snapshots().load();
        if is_prepared(&snapshot, &name, grant)? {
            return Ok(());
        }
        let known = snapshot.database_users.get(&name).cloned();
        let connection = self.standing_mysql(server).await?;
        let account = self.account(&connection, &grant.database_user).await?;
        // What was not made for this principal is never taken over, whoever made it.
        let observed = match account::observe(&connection, &account).await? {
            Ok(observed) if observed.is_none() || known.is_some() => observed,
            Ok(_) | Err(NotOurs) => return Err(Trouble::Refused(taken(&grant.database_user))),
        };
        let record = match known {
            Some(known) => known,
            // Recorded before it is made: what a crash leaves behind is known to be ours.
            None => Arc::new(self.record_planned(grant).await?),
        };
        self.ensure_mysql_roles(server, &connection, &snapshot, &grant.roles).await?;
        let roles: BTreeSet<String> = grant.roles.iter().map(names::role).collect();
        let limit = server.spec.sessions.per_principal_max;
        connection
            .run("prepare a user", &account::enable(&account, observed.as_ref(), &roles, limit))
            .await?;
        let lost = plan::change(&record.status.roles, grant.roles.clone()).lost;
        if !lost.is_empty() {
            self.end_mysql_sessions(&connection, &account.user).await?;
        }
        self.record_enabled(&record, NO_OID, grant.roles.clone()).await
    }

    /// Does what one user needs now, if it still needs it when its turn comes.
    pub(super) async fn settle_account(
        &self,
        server: &Document<DatabaseServer>,
        (known, snapshot): (&Document<DatabaseUser>, &Snapshot),
    ) -> Result<(), Trouble> {
        match plan::user_step(known, snapshot, self.dialler.clock.now()) {
            UserStep::Nothing => Ok(()),
            UserStep::Withdraw => {
                let (recorded, done) =
                    tokio::join!(self.record_revoking(known), self.finish_account(server, known));
                done?;
                recorded.map(drop)
            }
            UserStep::Change(change) => {
                let connection = self.standing_mysql(server).await?;
                let account = self.account(&connection, &known.spec.user).await?;
                self.ensure_mysql_roles(server, &connection, snapshot, &change.gained).await?;
                let roles: BTreeSet<String> = change.roles.iter().map(names::role).collect();
                let limit = server.spec.sessions.per_principal_max;
                let Ok(Some(observed)) = account::observe(&connection, &account).await? else {
                    return Err(Trouble::Refused(taken(&known.spec.user)));
                };
                let sql = account::enable(&account, Some(&observed), &roles, limit);
                connection.run("change a user's roles", &sql).await?;
                if !change.lost.is_empty() {
                    self.end_mysql_sessions(&connection, &account.user).await?;
                }
                self.record_enabled(known, NO_OID, change.roles).await
            }
        }
    }

    /// Locks the account first, so that nobody comes in while sessions end; its role goes with them.
    async fn finish_account(
        &self,
        server: &Document<DatabaseServer>,
        known: &Document<DatabaseUser>,
    ) -> Result<(), Trouble> {
        let connection = self.standing_mysql(server).await?;
        let account = self.account(&connection, &known.spec.user).await?;
        let observed = account::observe(&connection, &account).await?;
        let clock = &self.dialler.clock;
        let Ok(Some(observed)) = observed else {
            // Dropped by hand, or never made, or someone else's of the same name: nothing here that is ours.
            let now = clock.now();
            let ending = Ending { login_disabled_at: now, gone_at: now, left_behind: Vec::new() };
            return self.record_disabled(known, ending).await;
        };
        connection.run("withdraw a user", &account::disable(&account, &observed)).await?;
        let login_disabled_at = clock.now();
        let gone_at = self.end_mysql_sessions(&connection, &account.user).await?;
        let left_behind = account::left_behind(&connection, &account).await?;
        self.record_disabled(known, Ending { login_disabled_at, gone_at, left_behind }).await
    }

    /// Ends the sessions of a user and returns when they were first seen gone, after a second look.
    async fn end_mysql_sessions(
        &self,
        connection: &Connection,
        user: &str,
    ) -> Result<Timestamp, Trouble> {
        let clock = &self.dialler.clock;
        let deadline = clock.now().plus(GONE_WITHIN);
        let mut gone_at = None;
        loop {
            let left = account::end_sessions(connection, user, None).await?;
            let now = clock.now();
            match (left, gone_at) {
                (0, Some(gone_at)) => return Ok(gone_at),
                (0, None) => {
                    gone_at = Some(now);
                    clock.sleep(SECOND_LOOK_AFTER).await;
                }
                (_, _) if now >= deadline => return Err(Trouble::Late("end a user's sessions")),
                (_, _) => {
                    gone_at = None;
                    clock.sleep(LOOK_EVERY).await;
                }
            }
        }
    }

    /// Ends one session, if it is this user's; whether there was one.
    pub(super) async fn terminate_mysql(
        &self,
        server: &Document<DatabaseServer>,
        (user, number): (&str, u32),
    ) -> Result<bool, Trouble> {
        let connection = self.standing_mysql(server).await?;
        Ok(account::end_sessions(&connection, user, Some(number)).await? > 0)
    }

    /// Brings the server's roles to their documents, and reports what no resource explains.
    pub(super) async fn look_at_mysql(&self, snapshot: &Snapshot) -> Result<Vec<String>, Trouble> {
        let server = self.document(snapshot)?;
        let connection = self.standing_mysql(&server).await?;
        let all: BTreeSet<DatabaseRoleName> = plan::roles_of(&self.name, snapshot)
            .filter_map(|role| DatabaseRoleName::new(role.name()).ok())
            .collect();
        self.roles.lock().await.clear();
        self.ensure_mysql_roles(&server, &connection, snapshot, &all).await?;
        let known: Vec<&str> =
            plan::users_of(&self.name, snapshot).map(|user| user.spec.user.as_str()).collect();
        let enabled =
            |user: &&Document<DatabaseUser>| user.status.state == DatabaseUserState::Enabled;
        let mut findings = account::strangers(&connection, &known).await?;
        for user in plan::users_of(&self.name, snapshot).filter(enabled) {
            let account = self.account(&connection, &user.spec.user).await?;
            if account::observe(&connection, &account).await? == Ok(None) {
                findings
                    .push(format!("the database user `{}` is gone from the server", account.user));
                self.record_lost(user).await?;
            }
        }
        Ok(findings)
    }

    /// Makes the roles hold what their documents say, where that is not known to be so already.
    async fn ensure_mysql_roles(
        &self,
        server: &Document<DatabaseServer>,
        connection: &Connection,
        snapshot: &Snapshot,
        wanted: &BTreeSet<DatabaseRoleName>,
    ) -> Result<(), Trouble> {
        let mut taken_on = self.roles.lock().await;
        for name in wanted {
            let Some(role) = snapshot.database_roles.get(name) else { continue };
            let revision = role.metadata.revision.unwrap_or_default();
            if taken_on.get(name) == Some(&revision) {
                continue;
            }
            let databases = databases(server, role, connection).await?;
            let role_name = names::role(name);
            let held = account::held_by(connection, &role_name).await?;
            let sql = account::role(&role_name, &role.spec.privileges, (&databases, &held));
            connection.run("make a role", &sql).await?;
            taken_on.insert(name.clone(), revision);
        }
        Ok(())
    }

    async fn account(&self, connection: &Connection, user: &str) -> Result<Account, Trouble> {
        let authority = self.dialler.keyring.client_authority(&self.name).await;
        let authority = authority.map_err(|error| Trouble::MySql {
            attempt: "name the authority of its certificates",
            number: 0,
            message: error.to_string(),
        })?;
        Ok(Account {
            user: user.to_owned(),
            host: connection.our_address().to_owned(),
            issuer: authority.common_name().to_owned(),
        })
    }
}

/// Where a role holds something: what its document names, within what the server's document lets be reached.
async fn databases(
    server: &Document<DatabaseServer>,
    role: &Document<DatabaseRole>,
    connection: &Connection,
) -> Result<BTreeSet<String>, Trouble> {
    let named: BTreeSet<String> = role.spec.databases.iter().cloned().collect();
    let reachable = match &server.spec.databases {
        Databases::Only(names) => names.clone(),
        Databases::Any => account::databases(connection).await?,
    };
    if named.is_empty() {
        return Ok(reachable);
    }
    Ok(reachable.intersection(&named).cloned().collect())
}
