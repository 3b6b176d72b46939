//! Drift: what is on a server that no resource explains, reported once and kept in the server's status while it stands.

use std::collections::BTreeSet;

use control::{Verb, Writing};
use model::event::EventBody;
use model::kind::database_user::DatabaseUserState;
use model::kind::server::DatabaseServer;
use model::{Document, Refusal, Snapshot};

use super::names;
use super::pg::connection::Trouble;
use super::pg::drift::{self, Known};
use super::plan;
use super::server::Server;

impl Server {
    /// Roles, drift and what is pending: looked at, repaired where that is ours to do, reported.
    pub(crate) async fn look(&self, snapshot: &Snapshot) -> Result<(), Trouble> {
        let server = self.document(snapshot)?;
        let mut findings = Vec::new();
        let mut version = server.status.version_number;
        match self.look_inside(&server, snapshot).await {
            Ok((found, seen)) => {
                findings.extend(found);
                version = Some(seen);
            }
            Err(trouble) => findings.push(format!("the server could not be looked at: {trouble}")),
        }
        findings.extend(self.pending());
        self.report(findings, version).await
    }

    async fn look_inside(
        &self,
        server: &Document<DatabaseServer>,
        snapshot: &Snapshot,
    ) -> Result<(Vec<String>, u32), Trouble> {
        let mut findings = self.reconcile_roles(server, snapshot).await?;
        let known: Vec<Known> =
            plan::users_of(&self.name, snapshot).map(|user| self.known(user, snapshot)).collect();
        let users: Vec<String> = known.iter().map(|known| known.user.clone()).collect();
        let connection = self.standing(server).await?;
        let observed = drift::observe(&connection, &users).await?;
        findings.extend(drift::findings(&observed, &known));
        let databases: BTreeSet<&String> =
            plan::roles_of(&self.name, snapshot).flat_map(|role| &role.spec.databases).collect();
        for database in databases.into_iter().filter(|_| !users.is_empty()) {
            // A database that cannot be entered is among the findings of the roles already.
            if let Ok(inside) = self.dialler.connect(server, database).await {
                findings.extend(drift::in_database(&inside, &users).await?.findings(database));
            }
        }
        self.repair(server, &observed, &known).await;
        Ok((findings, connection.version))
    }

    fn known(
        &self,
        user: &Document<model::kind::database_user::DatabaseUser>,
        snapshot: &Snapshot,
    ) -> Known {
        let status = &user.status;
        let attributes = plan::attributes(&status.roles, &self.name, snapshot);
        Known {
            user: user.spec.user.clone(),
            oid: status.oid,
            enabled: match status.state {
                DatabaseUserState::Planned | DatabaseUserState::Enabled => true,
                DatabaseUserState::Revoking | DatabaseUserState::Disabled => false,
            },
            roles: status.roles.iter().map(names::role).collect(),
            superuser: attributes.superuser || attributes.replication,
        }
    }

    /// What is ours to repair: logins that came back, memberships that nobody gave.
    async fn repair(
        &self,
        server: &Document<DatabaseServer>,
        observed: &drift::Observed,
        known: &[Known],
    ) {
        for user in &observed.users {
            let Some(known) = known.iter().find(|known| known.user == user.name) else { continue };
            let returned = user.login && !known.enabled;
            if !returned && (!known.enabled || user.member_of == known.roles) {
                continue;
            }
            if let Err(trouble) = self.restore(server, &user.name).await {
                tracing::warn!(server = %self.name, user = user.name, %trouble, "drift could not be repaired");
            }
        }
    }

    /// Once a finding: what was reported and still stands is not told to the audit log again.
    async fn report(&self, findings: Vec<String>, version: Option<u32>) -> Result<(), Trouble> {
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
            document.status.version_number = version;
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
