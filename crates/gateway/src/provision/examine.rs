//! A thorough look at one server for `portcullis doctor`: asked afresh, never from what was seen before.

use std::collections::BTreeSet;
use std::time::Duration;

use model::finding::{self, Check, Finding};
use model::kind::database_user::DatabaseUserState;
use model::kind::server::DatabaseServer;
use model::{Document, ServerName, Snapshot, Timestamp, code};

mod old_tls;

use super::connection::{Connection, Trouble};
use super::drift::found;
use super::seen::Facts;
use super::{Provisioner, plan, server_name};
use crate::upstream;

/// Clocks this close are the same: a question's own way takes some of it.
const CLOCKS_APART_MAX: Duration = Duration::from_secs(2);
/// Certificates that end sooner are named.
const ENDS_SOON: Duration = Duration::from_hours(30 * 24);
/// Fewer free connections than this are hardly any.
const CONNECTIONS_FREE_MIN: u32 = 3;

impl Provisioner {
    /// What is wrong with every server, one after the other.
    pub async fn examine_all(&self) -> Vec<Finding> {
        let snapshot = self.shared.control.snapshots().load();
        let mut findings = Vec::new();
        for server in snapshot.servers.iter() {
            if let Ok(name) = server_name(server) {
                findings.extend(self.examine(&name, server, &snapshot).await);
            }
        }
        findings
    }

    async fn examine(
        &self,
        name: &ServerName,
        server: &Document<DatabaseServer>,
        snapshot: &Snapshot,
    ) -> Vec<Finding> {
        let mut findings = stuck(name, snapshot);
        let dialler = &self.shared.dialler;
        match dialler.connect(server, &server.spec.maintenance_database).await {
            Ok(connection) => {
                let seen = self.inside(name, &connection, snapshot).await;
                findings.extend(seen.unwrap_or_else(|trouble| {
                    vec![finding::SERVER_UNREACHABLE.found(name.as_str(), trouble.to_string())]
                }));
                findings.extend(self.certificate(name, server).await);
                if old_tls::is_accepted(server).await {
                    let message = "the server goes on with a client that speaks TLS 1.1";
                    findings.push(finding::SERVER_TLS_OLD.found(name.as_str(), message));
                }
            }
            // Its standing finding says so; what can be seen without a user is looked at.
            Err(Trouble::Shared) => {
                findings.extend(self.certificate(name, server).await);
                let standing = &server.status.findings;
                let found = standing.iter().map(|it| finding::DRIFT.found(name.as_str(), it));
                findings.extend(found);
            }
            Err(trouble) => findings.push(outside(name, &trouble)),
        }
        findings
    }

    /// What the server says of itself.
    async fn inside(
        &self,
        name: &ServerName,
        connection: &Connection,
        snapshot: &Snapshot,
    ) -> Result<Vec<Finding>, Trouble> {
        let clock = &self.shared.dialler.clock;
        let asked_at = clock.now();
        let facts = connection.facts().await?;
        let mut findings = of_facts(name, &facts, (asked_at, clock.now()));
        let users: Vec<String> =
            plan::users_of(name, snapshot).map(|user| user.spec.user.clone()).collect();
        let weaknesses = connection.weaknesses(&users).await?;
        findings.extend(
            weaknesses.into_iter().map(|(check, message)| check.found(name.as_str(), message)),
        );
        let observed = connection.observe_drift(&users).await?;
        // A login in progress makes a user that an older snapshot does not know.
        let after = self.shared.control.snapshots().load();
        let known = plan::users_of(name, &after).map(|user| user.spec.user.as_str());
        findings.extend(
            found::sorted(&observed, &known.collect::<BTreeSet<_>>())
                .into_iter()
                .map(|(check, message)| check.found(name.as_str(), message)),
        );
        let named: BTreeSet<String> =
            findings.iter().map(|finding| finding.message.clone()).collect();
        let standing = after.servers.get(name).map(|server| server.status.findings.clone());
        let others = standing
            .unwrap_or_default()
            .into_iter()
            .filter(|found| !named.contains(found) && !found::is_of_sorted(found));
        findings.extend(others.map(|found| finding::DRIFT.found(name.as_str(), found)));
        Ok(findings)
    }

    /// How long the server's own certificate holds.
    async fn certificate(
        &self,
        name: &ServerName,
        server: &Document<DatabaseServer>,
    ) -> Option<Finding> {
        let shown = upstream::server_certificate(server).await.ok()??;
        let ends = keys::authority::not_after(&shown).ok()?;
        ends_soon(self.shared.dialler.clock.now(), ends).then(|| {
            let message = format!("the server's certificate ends at {ends}");
            finding::SERVER_CERTIFICATE_ENDS.found(name.as_str(), message)
        })
    }
}

/// Whether something that ends then should be replaced now.
pub(crate) fn ends_soon(now: Timestamp, ends: Timestamp) -> bool {
    ends <= now.plus(ENDS_SOON)
}

/// Users whose access has ended and who may still be able to log in.
fn stuck(name: &ServerName, snapshot: &Snapshot) -> Vec<Finding> {
    let revoking = plan::users_of(name, snapshot)
        .filter(|user| user.status.state == DatabaseUserState::Revoking);
    let message = |user: &str| format!("database user `{user}` is still being withdrawn");
    revoking
        .map(|user| finding::USER_REVOKING.found(name.as_str(), message(&user.spec.user)))
        .collect()
}

/// Why it could not be looked at from inside.
fn outside(name: &ServerName, trouble: &Trouble) -> Finding {
    let check: &Check = match trouble {
        Trouble::Dial { refusal, .. } if refusal.code == &code::UPSTREAM_UNTRUSTED => {
            &finding::SERVER_UNTRUSTED
        }
        Trouble::Dial { .. } | Trouble::Broken { .. } | Trouble::Late(_) => {
            &finding::SERVER_UNREACHABLE
        }
        Trouble::Sql { .. }
        | Trouble::MySql { .. }
        | Trouble::Answer { .. }
        | Trouble::Lacking(_)
        | Trouble::Shared
        | Trouble::Refused(_) => &finding::GATEWAY_REFUSED,
    };
    check.found(name.as_str(), trouble.to_string())
}

fn of_facts(
    name: &ServerName,
    facts: &Facts,
    (asked_at, answered_at): (Timestamp, Timestamp),
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let theirs = Timestamp::from_micros(facts.now);
    let apart = theirs.since(answered_at).max(asked_at.since(theirs));
    if apart > CLOCKS_APART_MAX {
        let message = format!(
            "the server's clock says {theirs}, the gateway's {answered_at}: {} s apart",
            apart.as_secs()
        );
        findings.push(finding::SERVER_CLOCK.found(name.as_str(), message));
    }
    let free = facts.connections_max.saturating_sub(facts.connections_used);
    if free < CONNECTIONS_FREE_MIN {
        let (used, max) = (facts.connections_used, facts.connections_max);
        let message = format!("{used} of {max} connections are taken");
        findings.push(finding::CONNECTIONS_SCARCE.found(name.as_str(), message));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_795_000_000);

    fn found(change: impl FnOnce(&mut Facts)) -> Vec<String> {
        let mut facts = Facts { now: NOW.micros(), connections_max: 97, connections_used: 4 };
        change(&mut facts);
        let name = ServerName::new("orders").unwrap();
        let asked = (NOW, NOW.plus(Duration::from_secs(1)));
        of_facts(&name, &facts, asked).into_iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn clocks_and_scarce_connections_are_told_from_a_healthy_server() {
        let second = 1_000_000;
        assert_eq!(found(|_| {}), Vec::<String>::new());
        assert_eq!(found(|facts| facts.now += 3 * second), Vec::<String>::new());
        assert_eq!(found(|facts| facts.now += 4 * second), ["PH205"]);
        assert_eq!(found(|facts| facts.now -= 3 * second), ["PH205"]);
        assert_eq!(found(|facts| facts.connections_used = 94), Vec::<String>::new());
        assert_eq!(found(|facts| facts.connections_used = 95), ["PH214"]);
    }

    #[test]
    fn what_ends_within_a_month_ends_soon() {
        let day = Duration::from_hours(24);
        assert!(ends_soon(NOW, NOW.plus(30 * day)) && !ends_soon(NOW, NOW.plus(31 * day)));
    }
}
