//! Pods get their workload identity: the manifests that `portcullis kubernetes manifests` prints are installed in a
//! cluster, the webhooks run as they say, pods are created, and an unmodified azure-identity uses what a pod was given.
//!
//! No Kubernetes can run here. `testkit::kubernetes` stands in for its API server and its kubelet: it asks RBAC about every
//! request, calls the webhooks over TLS as their configurations say, applies the patches (RFC 6902), issues real signed
//! service-account tokens, and makes files and environment of a pod. What it does not show is written in the guide.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::kubernetes::{Cluster, Container};
use testkit::process::Running;
use testkit::program::{self, Said};
use testkit::stack::{Beside, Facts, Options, federation};
use testkit::wait;

use crate::support::{assert_says, own_with, shared};
use crate::token_service::{CLIENTS, python};

const CONFIGURATION: &str = "/api/v1/namespaces/portcullis/configmaps/portcullis-webhook";
const MUTATING: &str =
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/portcullis-webhook";
const READY_WITHIN: Duration = Duration::from_secs(30);

/// A cluster in which the manifests were applied.
struct Installed {
    cluster: Cluster,
    folder: TempDir,
}

fn manifests(facts: &Facts, format: &str, namespaces: &[&str]) -> String {
    let mut command = facts.reach.portcullis(&facts.folder.join("nobody"));
    command.args(["kubernetes", "manifests", "--image", "registry.example/portcullis@sha256:0123"]);
    command.args(["--tenant", &facts.reach.tenant, "-o", format]);
    command.args([
        "--proxy-image",
        "registry.example/proxy:1",
        "--proxy-init-image",
        "registry.example/init:1",
    ]);
    for namespace in namespaces {
        command.args(["--workload-namespace", namespace]);
    }
    program::run(&mut command).unwrap().expect_success().unwrap()
}

impl Installed {
    fn new(facts: &Facts) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cluster = Cluster::under(
            &folder.path().join("cluster"),
            &facts.federation.issuer,
            &facts.federation.folder,
        )
        .unwrap();
        let objects: Vec<Value> =
            serde_json::from_str(&manifests(facts, "json", &["orders"])).unwrap();
        for object in &objects {
            cluster.apply(object).unwrap();
        }
        let installed = Self { cluster, folder };
        installed.apply("Namespace", None, "others", &json!({}));
        let annotations =
            json!({ "azure.workload.identity/client-id": facts.federation.client_id });
        installed.apply("ServiceAccount", Some("orders"), "orders-job", &annotations);
        installed
    }

    fn apply(&self, kind: &str, namespace: Option<&str>, name: &str, annotations: &Value) {
        let mut metadata = json!({ "name": name, "annotations": annotations });
        if let Some(namespace) = namespace {
            metadata["namespace"] = namespace.into();
        }
        self.cluster
            .apply(&json!({ "apiVersion": "v1", "kind": kind, "metadata": metadata }))
            .unwrap();
    }

    /// One replica, with the configuration that was installed, but for where it listens and how it reaches the cluster.
    fn replica(&self, facts: &Facts) -> (Replica, SocketAddr) {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let installed = self.cluster.object(CONFIGURATION).unwrap();
        let mut configuration: Value =
            serde_json::from_str(installed["data"]["webhook.yaml"].as_str().unwrap()).unwrap();
        configuration["listen"] = free.to_string().into();
        configuration["apiServer"] = json!({
            "url": self.cluster.url(),
            "tokenFile": self.cluster.token_file("portcullis", "portcullis-webhook").unwrap(),
            "authorityFile": self.cluster.authority_file(),
        });
        let file = self.folder.path().join(format!("webhook-{}.yaml", free.port()));
        std::fs::write(&file, configuration.to_string()).unwrap();
        let mut command = program::clean(&facts.reach.binary);
        command.args(["kubernetes", "webhook", "--config"]).arg(file);
        let log = self.folder.path().join("webhook.log");
        (Replica(Running::start(&mut command, &log).unwrap()), free)
    }

    fn ready(&self, address: SocketAddr) {
        self.cluster.endpoint("portcullis", "portcullis-webhook", address);
        let ready = wait::try_until(READY_WITHIN, || self.cluster.is_ready().then_some(()));
        let log = std::fs::read_to_string(self.folder.path().join("webhook.log"));
        assert!(ready.is_some(), "not ready: {}", log.unwrap_or_default());
    }
}

/// Ends with the test.
struct Replica(Running);

impl Drop for Replica {
    fn drop(&mut self) {
        drop(self.0.kill());
    }
}

fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "generateName": name, "labels": { "azure.workload.identity/use": "true" } },
        "spec": { "serviceAccountName": "orders-job", "containers": [{ "name": "web", "image": "web:1" }] },
    })
}

fn refusal(created: anyhow::Result<Value>) -> String {
    format!("{:#}", created.unwrap_err())
}

/// What azure-identity gets in a container, one token for each of its credentials that is named.
fn ask(container: &Container, credentials: &[&str]) -> Said {
    let mut client = program::clean(python());
    client.arg(Path::new(CLIENTS).join("workload_identity.py")).args(credentials);
    program::run(container.equip(&mut client)).unwrap()
}

fn tokens(container: &Container, credentials: &[&str]) -> Vec<String> {
    let said = ask(container, credentials).expect_success().unwrap();
    let tokens: Vec<String> = said.lines().map(str::to_owned).collect();
    assert_eq!(tokens.len(), credentials.len());
    tokens
}

#[test]
fn the_manifests_are_what_kubernetes_schemas_allow_and_print_as_yaml_too() {
    let facts = shared();
    let json = manifests(facts, "json", &["team", "shop"]);
    let mut check = program::clean(python());
    check.arg(Path::new(CLIENTS).join("kubernetes_manifests.py")).args(["1.30", "1.33", "1.37"]);
    let checked = program::feed(&mut check, &json).unwrap().expect_success().unwrap();
    let objects: Vec<Value> = serde_json::from_str(&json).unwrap();
    assert_eq!(checked.trim(), objects.len().to_string());

    let yaml = manifests(facts, "yaml", &["team", "shop"]);
    assert_eq!(
        yaml.matches("\nkind: ").count() + usize::from(yaml.starts_with("kind: ")),
        objects.len()
    );
    // A webhook that is not there must never let a pod through.
    for configuration in objects.iter().filter(|object| object.get("webhooks").is_some()) {
        assert_eq!(configuration["webhooks"][0]["failurePolicy"], "Fail");
        assert!(configuration["webhooks"][0]["namespaceSelector"]["matchLabels"].is_object());
    }
}

#[test]
fn a_pod_is_given_its_identity_and_an_unmodified_client_opens_the_database_with_it() {
    let facts = shared();
    let installed = Installed::new(facts);
    let cluster = &installed.cluster;
    // Nothing is let through while the webhooks are away, and others are not held up.
    assert_says(
        &refusal(cluster.create_pod("orders", &pod("early-"))),
        &["failed calling webhook", "no endpoints"],
    );
    let mut unlabelled = pod("plain-");
    unlabelled["metadata"]["labels"] = json!({});
    cluster.create_pod("orders", &unlabelled).unwrap();

    let (_replica, address) = installed.replica(facts);
    installed.ready(address);
    let created = cluster.create_pod("orders", &pod("web-")).unwrap();
    let place = installed.folder.path().join("pod");
    let container = cluster.run(&created, "web", &place).unwrap();
    assert_eq!(container.value("AZURE_CLIENT_ID"), Some(facts.federation.client_id.as_str()));
    assert_eq!(container.value("AZURE_TENANT_ID"), Some(facts.reach.tenant.as_str()));
    assert_eq!(
        container.value("AZURE_AUTHORITY_HOST"),
        Some(format!("{}/", facts.reach.url).as_str())
    );
    let token =
        std::fs::read_to_string(container.value("AZURE_FEDERATED_TOKEN_FILE").unwrap()).unwrap();
    let claims = e2e::jwt::Jwt::read(&token).unwrap().claims;
    assert_eq!(claims["sub"], federation::SUBJECT);
    assert_eq!(claims["aud"], json!(["api://AzureADTokenExchange"]));
    let trusted = std::fs::read_to_string(container.value("SSL_CERT_FILE").unwrap()).unwrap();
    assert_eq!(trusted, std::fs::read_to_string(&facts.reach.ca).unwrap());

    // Unmodified, told about everything by the environment alone, and without a secret anywhere.
    for token in tokens(&container, &["workload", "default", "workload-aio"]) {
        let user = facts.reach.psql(federation::JOB, &token, "select session_user").unwrap();
        assert_eq!(user.expect_success().unwrap(), federation::JOB);
    }
    // Another service account's token is nobody's here.
    installed.apply(
        "ServiceAccount",
        Some("orders"),
        "other",
        &json!({
            "azure.workload.identity/client-id": facts.federation.client_id,
        }),
    );
    let mut other = pod("other-");
    other["spec"]["serviceAccountName"] = "other".into();
    let created = cluster.create_pod("orders", &other).unwrap();
    let other = cluster.run(&created, "web", &installed.folder.path().join("other")).unwrap();
    let said = ask(&other, &["workload"]);
    assert!(!said.ok());
    assert_says(&said.stderr, &["AADSTS700213"]);

    // The webhooks did what their roles allow and nothing else.
    let refused: Vec<_> =
        cluster.requests().into_iter().filter(|asked| asked.status >= 400).collect();
    assert_eq!(refused, []);
    assert!(
        cluster
            .requests()
            .iter()
            .all(|asked| asked.by == "system:serviceaccount:portcullis:portcullis-webhook")
    );
}

#[test]
fn a_pods_token_opens_mariadb_as_it_opens_postgresql() {
    let stack = own_with(&Options { beside: Beside::MariaDb, ..Options::default() });
    let facts = &stack.facts;
    let installed = Installed::new(facts);
    let (_replica, address) = installed.replica(facts);
    installed.ready(address);
    let created = installed.cluster.create_pod("orders", &pod("web-")).unwrap();
    let place = installed.folder.path().join("pod");
    let container = installed.cluster.run(&created, "web", &place).unwrap();
    let [token] = tokens(&container, &["default"]).try_into().unwrap();
    let rows =
        facts.reach.psql(federation::JOB, &token, "select count(*) > 0 from orders").unwrap();
    assert_eq!(rows.expect_success().unwrap(), "t");
    let rows = facts.mariadb(federation::JOB, &token, "select count(*) > 0 from orders").unwrap();
    assert_eq!(rows.expect_success().unwrap(), "1");
}

#[test]
fn what_other_webhooks_add_is_reached_by_a_second_look_and_a_dry_run_changes_nothing() {
    let facts = shared();
    let installed = Installed::new(facts);
    let cluster = &installed.cluster;
    let (_replica, address) = installed.replica(facts);
    installed.ready(address);
    cluster.also_mutates(|pod| {
        let containers = pod["spec"]["containers"].as_array_mut().unwrap();
        containers.push(json!({ "name": "mesh", "image": "mesh:1" }));
    });
    let created = cluster.create_pod("orders", &pod("web-")).unwrap();
    let mesh = &created["spec"]["containers"][1];
    assert_eq!(mesh["name"], "mesh");
    assert!(
        mesh["env"]
            .as_array()
            .unwrap()
            .iter()
            .any(|set| set["name"] == "AZURE_FEDERATED_TOKEN_FILE")
    );

    let mut asking = pod("dry-");
    asking["metadata"]["annotations"] =
        json!({ "azure.workload.identity/inject-proxy-sidecar": "" });
    let tried = cluster.try_pod("orders", &asking).unwrap();
    // The cluster says that it is 1.33, so the proxy is a native sidecar.
    assert_eq!(tried["spec"]["initContainers"][0]["restartPolicy"], "Always");
    assert_eq!(cluster.object("/api/v1/namespaces/orders/pods/dry-x7k2p"), None);

    let mut wrong = pod("wrong-");
    wrong["metadata"]["annotations"] =
        json!({ "azure.workload.identity/service-account-token-expiration": "3599" });
    assert_says(
        &refusal(cluster.create_pod("orders", &wrong)),
        &[
            "denied the request",
            "token expiration 3599 not valid. Expected value to be between 3600 and 86400",
        ],
    );
}

#[test]
fn a_labelled_pod_that_was_not_mutated_does_not_start() {
    let facts = shared();
    let installed = Installed::new(facts);
    let cluster = &installed.cluster;
    let (_replica, address) = installed.replica(facts);
    installed.ready(address);
    cluster.create_pod("orders", &pod("web-")).unwrap();
    // Somebody took the mutating webhook's configuration away, or its call failed and was ignored.
    cluster.delete(MUTATING).unwrap();
    assert_says(
        &refusal(cluster.create_pod("orders", &pod("bare-"))),
        &["denied the request", "was not given it", "`AZURE_CLIENT_ID` in container `web`"],
    );
    // A namespace that does not take part has other rules.
    let mut elsewhere = pod("web-");
    elsewhere["spec"]["serviceAccountName"] = "default".into();
    cluster.create_pod("others", &elsewhere).unwrap();
}

#[test]
fn replicas_share_an_authority_and_another_takes_over_without_a_gap() {
    let facts = shared();
    let installed = Installed::new(facts);
    let (first, first_address) = installed.replica(facts);
    let (_second, second_address) = installed.replica(facts);
    installed.ready(first_address);
    installed.cluster.create_pod("orders", &pod("one-")).unwrap();
    drop(first);
    // The same authority in the configuration serves both.
    let before = installed.cluster.object(MUTATING).unwrap();
    installed.ready(second_address);
    installed.cluster.create_pod("orders", &pod("two-")).unwrap();
    let after = installed.cluster.object(MUTATING).unwrap();
    assert_eq!(before["webhooks"][0]["clientConfig"], after["webhooks"][0]["clientConfig"]);
}
