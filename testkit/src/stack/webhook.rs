//! The admission webhook of a stack that stays: the product's own process, behind a stand-in of a cluster in another.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{Created, Facts};
use crate::kubernetes::Cluster;
use crate::process::{self, Running};
use crate::server::tls::Identity;
use crate::{program, wait};

/// What the stand-in writes when it listens.
const READY: &str = "cluster.json";
const READY_WITHIN: Duration = Duration::from_mins(1);
/// As long as a stack may stay.
const TOKEN_SECONDS: u64 = 365 * 24 * 3_600;

/// Where reviews are posted, and the authority of the certificate that is shown there.
#[derive(Debug)]
pub struct Webhook {
    pub url: String,
    pub authority: String,
}

/// Where the stand-in of a cluster runs.
#[derive(Clone, Debug)]
pub enum StandIn {
    /// In this process, and no longer than it.
    Thread,
    /// In one of its own: this program, started with `cluster` and a folder, stays.
    Program(PathBuf),
}

/// Starts both.
pub(super) fn start(
    facts: &Facts,
    folder: &Path,
    stand_in: &StandIn,
    created: &mut dyn FnMut(&Created<'_>) -> Result<()>,
) -> Result<Webhook> {
    let place = folder.join("cluster");
    fs::create_dir_all(&place)?;
    fs::write(place.join("manifests.json"), manifests(facts)?)?;
    let log = folder.join("webhook.log");
    match stand_in {
        StandIn::Thread => populate(&place)?,
        StandIn::Program(program) => {
            // It must be able to run after this checkout has built another.
            let kept = folder.join("stand-in");
            fs::copy(program, &kept)?;
            let cluster = Running::start(program::clean(kept).arg("cluster").arg(&place), &log)?;
            created(&Created::Server(cluster.identity()))?;
        }
    }
    let api_server: Value = wait::try_until(READY_WITHIN, || {
        serde_json::from_slice(&fs::read(place.join(READY)).ok()?).ok()
    })
    .context("the stand-in of a cluster did not start")?;

    let identity = Identity::create()?;
    fs::write(place.join("webhook.crt"), &identity.chain)?;
    fs::write(place.join("webhook-ca.crt"), &identity.authority)?;
    process::private_file(&place.join("webhook.key"))?.write_all(identity.key.as_bytes())?;
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let configuration = json!({
        "listen": free,
        "authorityHost": facts.reach.url,
        "tenantId": facts.reach.tenant,
        "trust": { "configMap": { "name": "portcullis-ca" } },
        "proxy": { "image": "registry.example/proxy:1", "initImage": "registry.example/init:1" },
        "certificate": { "files": {
            "chain": "webhook.crt", "key": "webhook.key", "authority": "webhook-ca.crt", "host": "localhost",
        } },
        "apiServer": api_server,
    });
    let file = place.join("webhook.yaml");
    fs::write(&file, configuration.to_string())?;
    let mut command = program::clean(&facts.reach.binary);
    let command = command.args(["kubernetes", "webhook", "--config"]).arg(file);
    let webhook = Running::start(command, &log)?;
    created(&Created::Server(webhook.identity()))?;
    wait::try_until(READY_WITHIN, || {
        fs::read_to_string(&log).ok()?.contains("the webhooks are ready").then_some(())
    })
    .context("the admission webhook is not ready")?;
    let url = format!("https://localhost:{}/mutate-v1-pod", free.port());
    Ok(Webhook { url, authority: identity.authority })
}

fn manifests(facts: &Facts) -> Result<String> {
    let mut command = facts.reach.portcullis(&facts.folder.join("nobody"));
    command.args(["kubernetes", "manifests", "--image", "portcullis", "-o", "json", "--tenant"]);
    command.arg(&facts.reach.tenant).args(["--workload-namespace", "team"]);
    program::run(&mut command)?.expect_success()
}

/// The stand-in's process, until it is ended.
pub fn stand_in(folder: &Path) -> Result<()> {
    populate(folder)?;
    loop {
        std::thread::park();
    }
}

/// A cluster with the manifests and two service accounts.
fn populate(folder: &Path) -> Result<()> {
    let cluster = Cluster::start(folder)?;
    let text = fs::read(folder.join("manifests.json"))?;
    for object in serde_json::from_slice::<Vec<Value>>(&text)? {
        cluster.apply(&object)?;
    }
    let client_id = "00000000-0000-0000-0000-0000000000aa";
    for (namespace, name) in [("team", "app"), ("default", "default")] {
        cluster.apply(&json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {
                "name": name, "namespace": namespace,
                "annotations": { "azure.workload.identity/client-id": client_id },
            },
        }))?;
    }
    let token = folder.join("webhook.token");
    let signed = cluster.token("portcullis", "portcullis-webhook", cluster.url(), TOKEN_SECONDS)?;
    process::private_file(&token)?.write_all(signed.as_bytes())?;
    let told = json!({
        "url": cluster.url(), "tokenFile": token, "authorityFile": cluster.authority_file(),
    });
    let written = folder.join("cluster.new");
    fs::write(&written, told.to_string())?;
    Ok(fs::rename(written, folder.join(READY))?)
}
