//! What the API asks the data path about database servers.

use std::net::IpAddr;

use api::{Adopt, DatabaseServers, Future};
use control::{Caller, Keyring};
use gateway::enroll::EnrollInput;
use gateway::provision::Provisioner;
use model::finding::Finding;
use model::{Document, Refusal, ServerName, code};
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
    checkup: Checkup,
}

impl FromGateway {
    pub(crate) fn new(installation: &Installation, provisioner: Provisioner) -> Self {
        Self {
            snapshots: installation.store.snapshots(),
            keyring: installation.keyring.clone(),
            provisioner,
            addresses: installation.config.gateway.addresses.clone(),
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

    fn examine(&self) -> Future<'_, Vec<Finding>> {
        Box::pin(async move {
            let mut findings = self.checkup.findings();
            findings.extend(self.provisioner.examine_all().await);
            findings
        })
    }
}
