//! What the API asks the data path about database servers.

use std::net::IpAddr;

use api::{Adopt, DatabaseServers, Entrance, Future};
use control::{Caller, Keyring};
use gateway::enroll::EnrollInput;
use gateway::provision::Provisioner;
use model::finding::Finding;
use model::kind::server::DatabaseServer;
use model::{Document, Refusal, ServerName, code};
use runtime::Config;
use runtime::config::{Authentication, HostPort, Listener, Protocol};
use serde_json::{Value, json};
use store::Snapshots;

use super::checkup::Checkup;
use crate::installation::Installation;

/// The gateway's answers.
#[derive(Debug)]
pub(crate) struct FromGateway {
    snapshots: Snapshots,
    keyring: Keyring,
    provisioner: Provisioner,
    addresses: Vec<IpAddr>,
    /// Listeners that take a token as the password, in the order of the configuration, and where they are reached.
    entrances: Vec<(Listener, HostPort)>,
    checkup: Checkup,
}

impl FromGateway {
    pub(crate) fn new(installation: &Installation, provisioner: Provisioner) -> Self {
        Self {
            snapshots: installation.store.snapshots(),
            keyring: installation.keyring.clone(),
            provisioner,
            addresses: installation.config.gateway.addresses.clone(),
            entrances: entrances(&installation.config),
            checkup: Checkup::of(installation),
        }
    }

    async fn enroll_input(&self, server: &ServerName) -> Result<EnrollInput, Refusal> {
        let snapshot = self.snapshots.load();
        let Some(document) = snapshot.servers.get(server) else {
            return Err(Refusal::new(
                &code::NOT_FOUND,
                format!("there is no DatabaseServer `{server}`"),
            ));
        };
        if !document.spec.upstream_identity.is_certificate() {
            let message =
                format!("the database users of `{server}` are shared: nothing is enrolled there");
            return Err(Refusal::new(&code::INVALID, message).hint(
                "docs/guides/shared-users.md says what an administrator of the server does",
            ));
        }
        let roles = snapshot.database_roles.iter().filter(|role| role.spec.server == *server);
        // Made on first use, and then in the server's status: both certificates during a rotation.
        let authority = self.keyring.client_authority(server).await?;
        let published = self.snapshots.load();
        let published = published.servers.get(server);
        let client_authority = published
            .and_then(|server| server.status.client_authority.clone())
            .unwrap_or_else(|| authority.certificate_pem());
        Ok(EnrollInput {
            server: Document::clone(document),
            roles: roles.map(|role| Document::clone(role)).collect(),
            client_authority,
            gateway_addresses: self.addresses.clone(),
            additional_authorities: Vec::new(),
            observed: None,
        })
    }
}

fn entrances(config: &Config) -> Vec<(Listener, HostPort)> {
    let listeners = config.gateway.listeners.iter();
    let with_password = listeners.filter(|it| it.authentication == Authentication::Password);
    with_password.map(|listener| (listener.clone(), config.reached_at(listener))).collect()
}

impl DatabaseServers for FromGateway {
    fn enrollment<'a>(&'a self, server: &'a ServerName) -> Future<'a, Result<Value, Refusal>> {
        Box::pin(async move {
            let input = self.enroll_input(server).await?;
            serde_json::to_value(input)
                .map_err(|_| Refusal::new(&code::INTERNAL, "the plan's inputs cannot be written"))
        })
    }

    fn adopt<'a>(
        &'a self,
        caller: &'a Caller,
        server: &'a ServerName,
        adopt: Adopt,
    ) -> Future<'a, Result<Value, Refusal>> {
        Box::pin(async move {
            let Adopt { user, principal } = adopt;
            let Some(principal) = self.snapshots.load().principal_named(&principal) else {
                let message = format!("there is no person or workload `{principal}`");
                return Err(Refusal::new(&code::NOT_FOUND, message));
            };
            self.provisioner.adopt(caller, server, (&user, &principal)).await?;
            Ok(json!({ "server": server, "user": user, "principal": principal.name }))
        })
    }

    fn entrance(&self, server: &DatabaseServer) -> Option<Entrance> {
        let speaks = Protocol::of(server.engine);
        let leads = |listener: &Listener| {
            listener.protocol == speaks && server.listeners.contains(&listener.name)
        };
        let (_, reached) = self.entrances.iter().find(|(listener, _)| leads(listener))?;
        // A name of the server's own routes to it whatever database is asked for.
        let host = server.server_names.first().unwrap_or(&reached.host);
        Some(Entrance { host: host.clone(), port: reached.port })
    }

    fn examine(&self) -> Future<'_, Vec<Finding>> {
        Box::pin(async move {
            let mut findings = self.checkup.findings();
            findings.extend(self.provisioner.examine_all().await);
            findings
        })
    }
}
