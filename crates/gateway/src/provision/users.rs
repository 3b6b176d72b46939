//! Login users: made at the first login, changed with their roles, withdrawn when the last role ends.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use access::Grant;
use model::kind::database_user::{DatabaseUser, DatabaseUserState};
use model::kind::server::DatabaseServer;
use model::{Document, Refusal, Snapshot, Timestamp, code};

use super::connection::{Connection, Trouble};
use super::engine::LoginUser;
use super::names;
use super::plan::{self, Change, UserStep};
use super::record::Ending;
use super::seen::{Backends, NAMED_MAX, ObservedUser, Prepared, WantedUser};
use super::server::{Server, lock};

/// A backend that was told to end is gone long before; what is not by then is tried again.
const GONE_WITHIN: Duration = Duration::from_secs(10);
/// A login that took a role away waits so long for the sessions that still use it.
const LOSS_GONE_WITHIN: Duration = Duration::from_secs(3);
/// Between two looks at the server's list of backends.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// A backend shows up in the server's list only at the end of its login: the list is looked at once more.
const SECOND_LOOK_AFTER: Duration = Duration::from_millis(250);

/// Whether the recorded state already is what a login needs.
pub(crate) fn is_prepared(snapshot: &Snapshot, name: &str, grant: &Grant) -> Result<bool, Refusal> {
    let Some(known) = snapshot.database_users.get(name) else { return Ok(false) };
    if known.spec.principal != grant.principal.id {
        return Err(taken(&grant.database_user));
    }
    let status = &known.status;
    Ok(status.state == DatabaseUserState::Enabled
        && status.oid.is_some()
        && status.roles == grant.roles)
}

pub(super) fn taken(user: &str) -> Refusal {
    let message = format!("a database user `{user}` exists that Portcullis did not make for you");
    Refusal::new(&code::DATABASE_USER_EXISTS, message)
}

impl Server {
    /// Makes the login user a member of exactly the granted roles, creating it if need be.
    pub(crate) async fn prepare(
        &self,
        server: &Document<DatabaseServer>,
        grant: &Grant,
    ) -> Result<(), Trouble> {
        let name = names::document(&self.name, &grant.database_user);
        let turn = self.turn(&grant.database_user);
        let _turn = turn.lock().await;
        let snapshot = self.control.snapshots().load();
        let signing = self.dialler.signing(server).await?;
        if is_prepared(&snapshot, &name, grant)?
            && self.is_under(&grant.database_user, signing.as_deref())
        {
            return Ok(());
        }
        let known = snapshot.database_users.get(&name).cloned();
        if let Some(known) = &known
            && known.status.state == DatabaseUserState::Revoking
        {
            self.finish_withdrawal(server, known).await?;
        }
        self.ensure_roles(server, &grant.roles).await?;
        let connection = self.standing(server).await?;
        let observed = connection.observe_user(&grant.database_user).await?;
        if let Some(observed) = &observed {
            fit_for_use(known.as_deref(), observed, &connection, grant)?;
        }
        let record = match known {
            Some(known) => known,
            // Recorded before it is made: what a crash leaves behind is known to be ours.
            None => Arc::new(self.record_planned(grant).await?),
        };
        let oid = self.enable(server, grant, (&record, observed.as_ref(), &connection)).await?;
        self.note_signing(&grant.database_user, &connection);
        let lost = plan::change(&record.status.roles, grant.roles.clone()).lost;
        if !lost.is_empty() {
            self.end_sessions_before_now(
                &connection,
                (&grant.database_user, oid),
                LOSS_GONE_WITHIN,
            )
            .await?;
        }
        self.record_enabled(&record, oid, grant.roles.clone()).await?;
        Ok(())
    }

    async fn enable(
        &self,
        server: &Document<DatabaseServer>,
        grant: &Grant,
        (record, observed, connection): (
            &Document<DatabaseUser>,
            Option<&ObservedUser>,
            &Connection,
        ),
    ) -> Result<u32, Trouble> {
        let snapshot = self.control.snapshots().load();
        let mark = names::mark(record.uid());
        let wanted = WantedUser {
            user: &grant.database_user,
            mark: &mark,
            roles: grant.roles.iter().map(|role| connection.role_name(role)).collect(),
            attributes: plan::attributes(&grant.roles, &self.name, &snapshot),
            connections_max: server.spec.sessions.per_principal_max,
        };
        if let Err(trouble) = connection.enable(&wanted, observed).await {
            // A role of ours that someone dropped by hand is made again, once.
            if !trouble.is_undefined_object() {
                return Err(trouble);
            }
            self.roles.lock().await.clear();
            self.ensure_roles(server, &grant.roles).await?;
            connection.enable(&wanted, observed).await?;
        }
        if let Some(observed) = observed {
            return Ok(observed.oid);
        }
        let made = connection.observe_user(&grant.database_user).await?;
        made.map(|made| made.oid).ok_or(Trouble::Lacking("show the user that was made"))
    }

    /// Does what one user needs now, if it still needs it when its turn comes.
    pub(crate) async fn settle(&self, name: &str) -> Result<(), Trouble> {
        let snapshot = self.control.snapshots().load();
        let Some(known) = snapshot.database_users.get(name) else { return Ok(()) };
        let turn = self.turn(&known.spec.user);
        let _turn = turn.lock().await;
        let snapshot = self.control.snapshots().load();
        let Some(known) = snapshot.database_users.get(name) else { return Ok(()) };
        let server = self.document(&snapshot)?;
        match plan::user_step(known, &snapshot, self.dialler.clock.now()) {
            UserStep::Nothing => Ok(()),
            UserStep::Withdraw => self.withdraw(&server, known).await,
            UserStep::Change(change) => self.change(&server, known, change).await,
        }
    }

    /// Step 3 of docs/architecture.md, "The cut". The store's word and the server's deed do not wait for one another.
    async fn withdraw(
        &self,
        server: &Document<DatabaseServer>,
        known: &Document<DatabaseUser>,
    ) -> Result<(), Trouble> {
        let (recorded, done) =
            tokio::join!(self.record_revoking(known), self.finish_withdrawal(server, known));
        done?;
        recorded?;
        // Whichever came last: the ending is complete.
        let snapshot = self.control.snapshots().load();
        match snapshot.database_users.get(known.name()) {
            Some(now) if now.status.state == DatabaseUserState::Revoking => {
                Err(Trouble::Late("record an ending"))
            }
            _ => Ok(()),
        }
    }

    async fn finish_withdrawal(
        &self,
        server: &Document<DatabaseServer>,
        known: &Document<DatabaseUser>,
    ) -> Result<(), Trouble> {
        let connection = self.standing(server).await?;
        let name = known.spec.user.as_str();
        let observed = connection.observe_user(name).await?;
        let ours = observed.filter(|observed| is_ours(Some(known), observed));
        let Some(observed) = ours else {
            // Dropped by hand, or never made, or someone else's of the same name: nothing here that is ours.
            let now = self.dialler.clock.now();
            return self
                .record_disabled(
                    known,
                    Ending { login_disabled_at: now, gone_at: now, left_behind: Vec::new() },
                )
                .await;
        };
        let rolled_back = self.disable(server, known, (&observed, &connection)).await?;
        let login_disabled_at = self.dialler.clock.now();
        let gone_at = self
            .end_sessions(&connection, (name, observed.oid), (Backends::All, GONE_WITHIN))
            .await?;
        let mut left_behind = rolled_back;
        left_behind.extend(connection.beyond_reach(&observed).map(|held| {
            format!("membership of {}, which only {} can take away", held.role, held.grantor)
        }));
        let handed_over = self.hand_over(server, known, (&connection, observed.oid)).await;
        left_behind.extend(match handed_over {
            Err(trouble) if trouble.is_locked_out() => {
                let rolled_back = self.roll_back_prepared(server, known, observed.oid).await?;
                let moved = self.hand_over(server, known, (&connection, observed.oid)).await?;
                [rolled_back, moved].concat()
            }
            other => other?,
        });
        self.record_disabled(known, Ending { login_disabled_at, gone_at, left_behind }).await
    }

    /// Ends sessions, login and memberships. A prepared transaction of the user's can hold a lock on the user; it does
    /// not hold up the ending, it is rolled back. Returns what was.
    async fn disable(
        &self,
        server: &Document<DatabaseServer>,
        known: &Document<DatabaseUser>,
        (observed, connection): (&ObservedUser, &Connection),
    ) -> Result<Vec<String>, Trouble> {
        let name = known.spec.user.as_str();
        match connection.disable(name, observed).await {
            Err(trouble) if trouble.is_locked_out() => {
                connection.revoke_all(name, observed).await?;
                let rolled_back = self.roll_back_prepared(server, known, observed.oid).await?;
                let rest = ObservedUser { memberships: Vec::new(), ..observed.clone() };
                connection.disable(name, &rest).await?;
                Ok(rolled_back)
            }
            done => done.map(|()| Vec::new()),
        }
    }

    async fn roll_back_prepared(
        &self,
        server: &Document<DatabaseServer>,
        known: &Document<DatabaseUser>,
        oid: u32,
    ) -> Result<Vec<String>, Trouble> {
        let name = known.spec.user.as_str();
        let connection = self.standing(server).await?;
        let prepared = connection.places((name, oid)).await?.prepared;
        connection.enter(name).await?;
        let rolled_back = self.roll_back_all(server, name, &prepared).await;
        connection.leave(name).await?;
        rolled_back
    }

    async fn roll_back_all(
        &self,
        server: &Document<DatabaseServer>,
        name: &str,
        prepared: &[Prepared],
    ) -> Result<Vec<String>, Trouble> {
        let mut told = Vec::new();
        for prepared in prepared {
            let inside = self.dialler.connect(server, &prepared.database).await?;
            inside.roll_back(name, prepared).await?;
            told.push(format!("{prepared} held up the ending and was rolled back"));
        }
        Ok(told)
    }

    /// Undoes what was done to a user by hand: a login that came back is withdrawn again, memberships become the recorded
    /// ones. Whoever calls it has the user's turn.
    pub(crate) async fn restore(
        &self,
        server: &Document<DatabaseServer>,
        known: &Document<DatabaseUser>,
    ) -> Result<(), Trouble> {
        match known.status.state {
            DatabaseUserState::Disabled => self.finish_withdrawal(server, known).await,
            DatabaseUserState::Enabled => {
                let change = Change { roles: known.status.roles.clone(), ..Change::default() };
                self.change(server, known, change).await
            }
            // Someone is at it already.
            DatabaseUserState::Planned | DatabaseUserState::Revoking => Ok(()),
        }
    }

    /// Roles came or went while others stay. A role that went ends the sessions that may have taken it on.
    async fn change(
        &self,
        server: &Document<DatabaseServer>,
        known: &Document<DatabaseUser>,
        change: Change,
    ) -> Result<(), Trouble> {
        self.ensure_roles(server, &change.gained).await?;
        let connection = self.standing(server).await?;
        let name = known.spec.user.as_str();
        let observed = connection.observe_user(name).await?;
        let Some(observed) = observed.filter(|observed| is_ours(Some(known), observed)) else {
            return Err(Trouble::Refused(taken(name)));
        };
        let wanted = change.roles.iter().map(|role| connection.role_name(role)).collect();
        let snapshot = self.control.snapshots().load();
        let attributes = plan::attributes(&change.roles, &self.name, &snapshot);
        connection.change((name, &observed), &wanted, attributes).await?;
        self.note_signing(name, &connection);
        if !change.lost.is_empty() {
            self.end_sessions_before_now(&connection, (name, observed.oid), GONE_WITHIN).await?;
        }
        self.record_enabled(known, observed.oid, change.roles).await
    }

    /// Ends the sessions of everyone who holds a role that gives less than it did, and began before now.
    pub(crate) async fn end_sessions_of_narrowed(
        &self,
        server: &Document<DatabaseServer>,
    ) -> Result<(), Trouble> {
        let narrowed = lock(&self.narrowed).clone();
        if narrowed.is_empty() {
            return Ok(());
        }
        let snapshot = self.control.snapshots().load();
        let connection = self.standing(server).await?;
        let holders = plan::users_of(&self.name, &snapshot)
            .filter(|user| !user.status.roles.is_disjoint(&narrowed));
        for (user, oid) in holders.filter_map(|user| Some((&user.spec.user, user.status.oid?))) {
            self.end_sessions_before_now(&connection, (user, oid), GONE_WITHIN).await?;
        }
        // Whoever narrows, and whoever ends, has the roles' lock.
        lock(&self.narrowed).retain(|role| !narrowed.contains(role));
        Ok(())
    }

    async fn end_sessions_before_now(
        &self,
        connection: &Connection,
        user: LoginUser<'_>,
        within: Duration,
    ) -> Result<(), Trouble> {
        let now = connection.now().await?;
        self.end_sessions(connection, user, (Backends::Before(now), within)).await.map(|_| ())
    }

    /// Ends backends and returns when they were first seen gone, after a second look.
    async fn end_sessions(
        &self,
        connection: &Connection,
        user: LoginUser<'_>,
        (which, within): (Backends, Duration),
    ) -> Result<Timestamp, Trouble> {
        let clock = &self.dialler.clock;
        let deadline = clock.now().plus(within);
        let mut gone_at = None;
        loop {
            connection.terminate(user, &which).await?;
            let left = connection.count(user, &which).await?;
            let now = clock.now();
            match (left, gone_at) {
                (0, Some(gone_at)) => return Ok(gone_at),
                (0, None) => {
                    gone_at = Some(now);
                    clock.sleep(SECOND_LOOK_AFTER).await;
                }
                (_, _) if now >= deadline => {
                    return Err(Trouble::Late("end every session of a user"));
                }
                (_, _) => {
                    gone_at = None;
                    clock.sleep(LOOK_EVERY).await;
                }
            }
        }
    }

    /// What the person leaves behind goes to the schemas' owners; what it was is told.
    async fn hand_over(
        &self,
        server: &Document<DatabaseServer>,
        known: &Document<DatabaseUser>,
        (connection, oid): (&Connection, u32),
    ) -> Result<Vec<String>, Trouble> {
        let name = known.spec.user.as_str();
        let places = connection.places((name, oid)).await?;
        let mut left = Vec::new();
        if !places.databases.is_empty() {
            connection.enter(name).await?;
            let moved = self.hand_over_in(server, (name, oid), &places.databases).await;
            connection.leave(name).await?;
            left = moved?;
        }
        let prepared = places.prepared.into_iter();
        left.extend(prepared.map(|prepared| format!("{prepared} is still open")));
        if left.len() > NAMED_MAX {
            let more = left.len() - NAMED_MAX;
            left.truncate(NAMED_MAX);
            left.push(format!("and {more} more"));
        }
        Ok(left)
    }

    async fn hand_over_in(
        &self,
        server: &Document<DatabaseServer>,
        (name, oid): (&str, u32),
        databases: &[String],
    ) -> Result<Vec<String>, Trouble> {
        let mut left = Vec::new();
        for database in databases {
            let inside = self.dialler.connect(server, database).await?;
            let moved = inside.hand_over((name, oid), database).await?;
            left.extend(moved.into_iter().map(|moved| format!("{database}: {moved}")));
        }
        Ok(left)
    }
}

/// Made by us for this record, or taken over: it carries the record's mark, and is the very role that was recorded, if
/// one was. An oid alone says little: a server that was built anew hands out the same ones again.
pub(crate) fn is_ours(known: Option<&Document<DatabaseUser>>, observed: &ObservedUser) -> bool {
    known.is_some_and(|known| {
        known.status.oid.is_none_or(|oid| oid == observed.oid)
            && observed.mark.as_deref() == Some(names::mark(known.uid()).as_str())
    })
}

/// Never adopts, and never hands out rights that no database role grants.
fn fit_for_use(
    known: Option<&Document<DatabaseUser>>,
    observed: &ObservedUser,
    connection: &Connection,
    grant: &Grant,
) -> Result<(), Refusal> {
    let name = &grant.database_user;
    if !is_ours(known, observed) {
        return Err(taken(name));
    }
    // A test stack's provisioner sets these to what they must be; elsewhere nobody of ours can.
    let attributes = observed.superuser || observed.replication || observed.bypass_rls;
    if !connection.is_superuser() && attributes {
        let message = format!("the database user `{name}` was given attributes by hand");
        return Err(Refusal::new(&code::PROVISIONING_FAILED, message));
    }
    let roles: BTreeSet<String> =
        grant.roles.iter().map(|role| connection.role_name(role)).collect();
    if let Some(held) = connection.beyond_reach(observed).find(|held| !roles.contains(&held.role)) {
        let message =
            format!("the database user `{name}` was made a member of `{}` by hand", held.role);
        let hint = format!("an operator must take it away as `{}`, who granted it", held.grantor);
        return Err(Refusal::new(&code::PROVISIONING_FAILED, message).hint(hint));
    }
    Ok(())
}
