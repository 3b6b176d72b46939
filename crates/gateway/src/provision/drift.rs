//! Drift: what is on a server that no resource explains, reported once and kept in the server's status while it stands.

use std::collections::BTreeSet;

use control::{Verb, Writing};
use model::event::EventBody;
use model::kind::database_user::{DatabaseUser, DatabaseUserState};
use model::kind::server::{DatabaseServer, DatabaseServerStatus, Product};
use model::{Document, Refusal, Snapshot};

use super::connection::{Connection, Trouble};
use super::names;
use super::plan;
use super::server::Server;
use found::{Known, UNSEEN};

pub(crate) mod found;

/// What there is to say of a server whose users are shared.
const SHARED: &str = "the server's database users are shared (`upstreamIdentity`): their rights, passwords and leftovers \
                      are an administrator's, and the server's own logs show the user, not the person";

/// What the server is, as its status says it.
struct Seen {
    version: Option<u32>,
    product: Option<Product>,
    connections_max: Option<u32>,
}

impl Seen {
    fn before(status: &DatabaseServerStatus) -> Self {
        Self {
            version: status.version_number,
            product: status.product,
            connections_max: status.connections_max,
        }
    }
}

impl Server {
    /// Roles, drift and what is pending: looked at, repaired where that is ours to do, reported.
    pub(crate) async fn look(&self, snapshot: &Snapshot) -> Result<(), Trouble> {
        let server = self.document(snapshot)?;
        let mut findings = Vec::new();
        let mut seen = Seen::before(&server.status);
        match self.look_inside(&server, snapshot).await {
            Ok((found, now)) => {
                findings.extend(found);
                seen = now;
            }
            Err(Trouble::Shared) => findings.push(SHARED.to_owned()),
            Err(trouble) => {
                // What stood at the last look is taken to stand still.
                let known = server.status.findings.iter();
                findings.extend(known.filter(|known| !known.starts_with(UNSEEN)).cloned());
                findings.push(format!("{UNSEEN}: {trouble}"));
            }
        }
        findings.extend(self.pending());
        let mut once = BTreeSet::new();
        findings.retain(|finding| once.insert(finding.clone()));
        self.report(findings, seen).await
    }

    async fn look_inside(
        &self,
        server: &Document<DatabaseServer>,
        snapshot: &Snapshot,
    ) -> Result<(Vec<String>, Seen), Trouble> {
        let mut findings = self.reconcile_roles(server, snapshot).await?;
        let users: Vec<String> =
            plan::users_of(&self.name, snapshot).map(|user| user.spec.user.clone()).collect();
        let connection = self.standing(server).await?;
        let observed = connection.observe_drift(&users).await?;
        // Who was made while the server was looked at is known by now.
        let after = self.control.snapshots().load();
        let known: BTreeSet<&str> =
            plan::users_of(&self.name, &after).map(|user| user.spec.user.as_str()).collect();
        findings.extend(found::findings(&observed, &known));
        for user in plan::users_of(&self.name, &after) {
            let seen = observed.users.iter().find(|seen| seen.name == user.spec.user);
            let suspect = match seen {
                Some(seen) => {
                    if seen.login && !seen.stale {
                        self.note_signing(&seen.name, &connection);
                    }
                    let known = self.known(user, (&connection, &after));
                    seen.entered || seen.stale || !suspicions(user, seen, &known).is_empty()
                }
                None => is_enabled(user),
            };
            if suspect {
                findings.extend(self.look_again(server, user.name()).await?);
            }
        }
        let databases: BTreeSet<&String> =
            plan::roles_of(&self.name, snapshot).flat_map(|role| &role.spec.databases).collect();
        for database in databases.into_iter().filter(|_| !users.is_empty()) {
            // A database that cannot be entered is among the findings of the roles already.
            if let Ok(inside) = self.dialler.connect(server, database).await {
                findings.extend(inside.drift_in(database, &users).await?.findings(database));
            }
        }
        let seen = Seen {
            version: Some(connection.version()),
            product: Some(connection.product()),
            connections_max: Some(connection.facts().await?.connections_max),
        };
        Ok((findings, seen))
    }

    fn known(
        &self,
        user: &Document<DatabaseUser>,
        (connection, snapshot): (&Connection, &Snapshot),
    ) -> Known {
        let attributes = plan::attributes(&user.status.roles, &self.name, snapshot);
        Known {
            oid: user.status.oid,
            mark: names::mark(user.uid()),
            enabled: is_enabled(user),
            roles: user.status.roles.iter().map(|role| connection.role_name(role)).collect(),
            superuser: attributes.superuser || attributes.replication,
        }
    }

    /// A second look when nobody else is at it: a login in progress is no drift. What is ours to repair is repaired:
    /// logins that came back, memberships that nobody gave. A user that is gone, or another one now, is not in use any
    /// more: the next login makes it anew, or is refused.
    async fn look_again(
        &self,
        server: &Document<DatabaseServer>,
        name: &str,
    ) -> Result<Vec<String>, Trouble> {
        let known = self.control.snapshots().load().database_users.get(name).cloned();
        let Some(known) = known else { return Ok(Vec::new()) };
        let turn = self.turn(&known.spec.user);
        let _turn = turn.lock().await;
        let snapshot = self.control.snapshots().load();
        let Some(known) = snapshot.database_users.get(name) else { return Ok(Vec::new()) };
        let connection = self.standing(server).await?;
        let record = self.known(known, (&connection, &snapshot));
        let observed = connection.observe_drift(std::slice::from_ref(&known.spec.user)).await?;
        let user = known.spec.user.as_str();
        let Some(seen) = observed.users.iter().find(|seen| seen.name == user) else {
            if !is_enabled(known) {
                return Ok(Vec::new());
            }
            self.record_lost(known).await?;
            return Ok(vec![format!("database user `{user}` was dropped by hand")]);
        };
        let mut findings = suspicions(known, seen, &record);
        let repaired = match findings.as_slice() {
            [] if !seen.stale => Ok(()),
            [..] if is_enabled(known) && found::is_another(seen, &record) => {
                self.record_lost(known).await
            }
            [..] => self.restore(server, known).await,
        };
        if let Err(trouble) = repaired {
            tracing::warn!(server = %self.name, user, %trouble, "drift could not be repaired");
        }
        if seen.entered {
            connection.leave(user).await?;
            findings.push(format!("the provisioner was left a member of database user `{user}`"));
        }
        Ok(findings)
    }

    /// Once a finding: what was reported and still stands is not told to the audit log again.
    async fn report(&self, findings: Vec<String>, seen: Seen) -> Result<(), Trouble> {
        let name = self.name.clone();
        let write = move |writing: &mut Writing<'_, '_>| {
            let Some(known) = writing.state().servers.get(&name) else { return Ok(()) };
            let mut document = known.as_ref().clone();
            let news: Vec<String> = findings
                .iter()
                .filter(|finding| !document.status.findings.contains(finding))
                .cloned()
                .collect();
            document.status.findings = findings;
            document.status.version_number = seen.version;
            document.status.product = seen.product;
            document.status.connections_max = seen.connections_max;
            if document.status == known.status {
                return Ok(());
            }
            writing.put(document)?;
            for finding in news {
                tracing::warn!(server = %name, finding, "a server has drifted");
                writing.note(EventBody::Drift { server: name.clone(), finding });
            }
            Ok::<(), Refusal>(())
        };
        let subject = format!("DatabaseServer/{}", self.name);
        self.control.system(Verb::Observe, subject, write).await?;
        Ok(())
    }
}

/// What differs between a user and its record. While someone is working on the user, nothing can be said.
fn suspicions(user: &Document<DatabaseUser>, seen: &found::User, known: &Known) -> Vec<String> {
    match user.status.state {
        DatabaseUserState::Enabled | DatabaseUserState::Disabled => found::of_user(seen, known),
        DatabaseUserState::Planned | DatabaseUserState::Revoking => Vec::new(),
    }
}

fn is_enabled(user: &Document<DatabaseUser>) -> bool {
    user.status.state == DatabaseUserState::Enabled
}
