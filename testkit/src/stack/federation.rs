//! A cluster's issuer beside the stack, and the workload that it vouches for: a managed identity with a database role.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Beside, MARIADB_SERVER, Options, Reach, SERVER};
use crate::issuer::{self, Issuer};
use crate::{process, program, wait};

/// The managed identity, and with it the database user.
pub const JOB: &str = "orders-job";
/// As a cluster calls the service account of `orders-job` in the namespace `orders`.
pub const SUBJECT: &str = "system:serviceaccount:orders:orders-job";
/// For whom a cluster signs such tokens.
pub const AUDIENCE: &str = "api://AzureADTokenExchange";

/// A projected token lives so long, as Kubernetes' do unless asked.
const LIVES: Duration = Duration::from_hours(1);
/// And is replaced well before its end.
const RENEWED_EVERY: Duration = Duration::from_mins(10);

/// The issuer, and whom it vouches for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Federation {
    pub issuer: String,
    /// Its keys.
    pub folder: PathBuf,
    /// Of the managed identity.
    pub client_id: String,
}

impl Federation {
    /// What a pod finds mounted: a token that is replaced before it ends.
    pub fn token_file(&self) -> PathBuf {
        token_file(&self.folder)
    }

    /// What it signs with, PKCS #8 in PEM.
    pub fn key_file(&self) -> PathBuf {
        self.folder.join("key.pem")
    }

    /// The key's id.
    pub fn kid(&self) -> Result<String> {
        Ok(fs::read_to_string(self.folder.join("kid"))?)
    }

    /// `portcullis token` in the environment that a cluster gives a pod.
    pub fn token_command(&self, reach: &Reach) -> Command {
        let home = reach.ca.parent().unwrap_or(Path::new("/")).join("nobody");
        let mut command = reach.portcullis(&home);
        command
            .arg("token")
            .env("AZURE_AUTHORITY_HOST", &reach.url)
            .env("AZURE_TENANT_ID", &reach.tenant)
            .env("AZURE_CLIENT_ID", &self.client_id)
            .env("AZURE_FEDERATED_TOKEN_FILE", self.token_file());
        command
    }

    /// A database token of the managed identity.
    pub fn database_token(&self, reach: &Reach) -> Result<String> {
        program::run(&mut self.token_command(reach))?.expect_success()
    }

    /// A token about this subject.
    pub fn token(&self, subject: &str) -> Result<String> {
        token(&self.folder, &self.issuer, subject)
    }
}

/// Serves the issuer of this folder on its port for ever, and keeps the token file fresh.
pub fn serve(folder: &Path, port: u16) -> Result<()> {
    let issuer = Issuer::again(folder, port)?;
    loop {
        write_token(folder, &issuer.url)?;
        wait::pause(RENEWED_EVERY);
    }
}

/// Replaces the token file in one step, as the kubelet does.
pub(super) fn write_token(folder: &Path, issuer: &str) -> Result<()> {
    let next = folder.join("token.next");
    let token = token(folder, issuer, SUBJECT)?;
    process::private_file(&next)?.write_all(token.as_bytes())?;
    fs::rename(&next, token_file(folder)).context("the token file cannot be replaced")
}

fn token_file(folder: &Path) -> PathBuf {
    folder.join("token")
}

#[expect(clippy::disallowed_methods, reason = "an issuer has a clock of its own")]
fn token(folder: &Path, issuer: &str, subject: &str) -> Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let claims = json!({
        "iss": issuer, "sub": subject, "aud": [AUDIENCE], "iat": now, "nbf": now,
        "exp": now + LIVES.as_secs(), "jti": format!("{subject} {now}"),
    });
    issuer::sign(folder, &claims)
}

/// Lines of `portcullis.yaml`: the issuer is on loopback under an authority of its own.
pub(super) fn configuration(issuer: &Issuer) -> String {
    format!(
        "federation:\n  issuers:\n    - {{ issuer: \"{}\", networks: [127.0.0.0/8, \"::1\"], ca: \"{}\" }}\n",
        issuer.url,
        issuer.ca().display()
    )
}

/// The managed identity, whom it trusts, and its database roles.
pub(super) fn documents(issuer: &str, options: &Options) -> String {
    let servers = match options.beside {
        Beside::Nothing => vec![SERVER],
        Beside::MariaDb => vec![SERVER, MARIADB_SERVER],
    };
    let assignments = servers.into_iter().map(|server| {
        format!(
            "---
apiVersion: portcullis.dev/v1
kind: RoleAssignment
metadata: {{ name: {server}-{JOB} }}
spec: {{ principal: {{ managedIdentity: {JOB} }}, role: {server}.reader }}
"
        )
    });
    let identity = format!(
        "apiVersion: portcullis.dev/v1
kind: ManagedIdentity
metadata: {{ name: {JOB} }}
spec:
  displayName: Orders job
  federatedCredentials:
    - name: cluster
      issuer: {issuer}
      subject: {SUBJECT}
"
    );
    std::iter::once(identity).chain(assignments).collect()
}
