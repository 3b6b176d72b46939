//! The creation of a pod: what every admission plugin and webhook makes of it, or why it is refused.

#![expect(clippy::indexing_slicing, reason = "a member that is not there reads as null")]

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Cluster, http, patch};

/// Whether something comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DryRun {
    No,
    Yes,
}

impl Cluster {
    /// The pod as it is stored; an error is the refusal that its creator sees.
    pub fn create_pod(&self, namespace: &str, pod: &Value) -> Result<Value> {
        let pod = self.admit(namespace, pod, DryRun::No)?;
        self.apply(&pod)?;
        Ok(pod)
    }

    /// `kubectl create --dry-run=server`.
    pub fn try_pod(&self, namespace: &str, pod: &Value) -> Result<Value> {
        self.admit(namespace, pod, DryRun::Yes)
    }

    fn admit(&self, namespace: &str, pod: &Value, dry_run: DryRun) -> Result<Value> {
        let mut pod = pod.clone();
        self.account(namespace, &mut pod)?;
        let webhooks = self.webhooks("mutatingwebhookconfigurations");
        for webhook in &webhooks {
            pod = self.mutated(webhook, namespace, pod, dry_run)?;
        }
        let before = pod.clone();
        let others = self.stored().others.clone();
        for other in others {
            other(&mut pod);
        }
        defaults(&mut pod);
        if pod != before {
            let again =
                webhooks.iter().filter(|webhook| webhook["reinvocationPolicy"] == "IfNeeded");
            for webhook in again {
                pod = self.mutated(webhook, namespace, pod, dry_run)?;
            }
        }
        defaults(&mut pod);
        for webhook in self.webhooks("validatingwebhookconfigurations") {
            if let Some(answer) = self.ask(&webhook, namespace, &pod, dry_run)? {
                allowed(&webhook, &answer)?;
            }
        }
        if pod["metadata"]["name"].is_null() {
            let prefix = pod["metadata"]["generateName"].as_str().context("it has no name")?;
            pod["metadata"]["name"] = format!("{prefix}x7k2p").into();
        }
        pod["metadata"]["namespace"] = namespace.into();
        Ok(pod)
    }

    /// The ServiceAccount admission plugin.
    fn account(&self, namespace: &str, pod: &mut Value) -> Result<()> {
        let spec = &mut pod["spec"];
        if spec["serviceAccountName"].as_str().unwrap_or_default().is_empty() {
            spec["serviceAccountName"] = "default".into();
        }
        let name = spec["serviceAccountName"].as_str().unwrap_or_default();
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}");
        ensure!(
            self.object(&path).is_some(),
            "error looking up service account {namespace}/{name}: not found"
        );
        let volume = json!({ "name": "kube-api-access-q9zvd", "projected": { "sources": [
            { "serviceAccountToken": { "path": "token", "expirationSeconds": 3607 } },
        ] } });
        push(spec, "volumes", volume);
        let mount = json!({
            "name": "kube-api-access-q9zvd", "readOnly": true,
            "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
        });
        for list in ["containers", "initContainers"] {
            for container in spec[list].as_array_mut().into_iter().flatten() {
                push(container, "volumeMounts", mount.clone());
            }
        }
        Ok(())
    }

    /// All of one kind, in the order of their configurations' names.
    fn webhooks(&self, kind: &str) -> Vec<Value> {
        let prefix = format!("/apis/admissionregistration.k8s.io/v1/{kind}/");
        let stored = self.stored();
        let configurations = stored.objects.iter().filter(|(path, _)| path.starts_with(&prefix));
        let webhooks = configurations.filter_map(|(_, object)| object["webhooks"].as_array());
        webhooks.flatten().cloned().collect()
    }

    fn mutated(
        &self,
        webhook: &Value,
        namespace: &str,
        pod: Value,
        dry_run: DryRun,
    ) -> Result<Value> {
        let Some(answer) = self.ask(webhook, namespace, &pod, dry_run)? else { return Ok(pod) };
        allowed(webhook, &answer)?;
        let Some(encoded) = answer["response"]["patch"].as_str() else { return Ok(pod) };
        ensure!(answer["response"]["patchType"] == "JSONPatch", "the patch is of no known type");
        let operations = serde_json::from_slice(&STANDARD.decode(encoded)?)?;
        patch::apply(&pod, &operations)
    }

    /// The webhook's answer; nothing where it is not concerned, or is away and may be.
    fn ask(
        &self,
        webhook: &Value,
        namespace: &str,
        pod: &Value,
        dry_run: DryRun,
    ) -> Result<Option<Value>> {
        let home =
            self.object(&format!("/api/v1/namespaces/{namespace}")).context("no such namespace")?;
        let concerned = concerns(&webhook["rules"])
            && selects(&webhook["namespaceSelector"], &home["metadata"]["labels"])
            && selects(&webhook["objectSelector"], &pod["metadata"]["labels"]);
        if !concerned {
            return Ok(None);
        }
        match self.call(webhook, namespace, pod, dry_run) {
            Ok(answer) => Ok(Some(answer)),
            Err(_) if webhook["failurePolicy"] == "Ignore" => Ok(None),
            Err(error) => Err(error.context(format!("failed calling webhook {}", webhook["name"]))),
        }
    }

    /// Whether the pods of each webhook's service say that they are ready.
    pub fn is_ready(&self) -> bool {
        let ready = |webhook: &Value| -> Result<bool> {
            let (endpoint, host, authority) = self.endpoint_of(&webhook["clientConfig"])?;
            let (status, _) = http::send((endpoint, &host), ("GET", "/readyz"), &authority, "")?;
            Ok(status.contains(" 200 "))
        };
        let webhooks = self.webhooks("mutatingwebhookconfigurations");
        !webhooks.is_empty() && webhooks.iter().all(|webhook| ready(webhook).unwrap_or(false))
    }

    /// Address, name and authority.
    fn endpoint_of(&self, client: &Value) -> Result<(SocketAddr, String, Vec<u8>)> {
        let text = |name: &str| client["service"][name].as_str().unwrap_or_default();
        let (service, of) = (text("name"), text("namespace"));
        let endpoint = self.stored().endpoints.get(&format!("{of}/{service}")).copied();
        let endpoint = endpoint.context("no endpoints available for service")?;
        let authority = STANDARD.decode(client["caBundle"].as_str().unwrap_or_default())?;
        Ok((endpoint, format!("{service}.{of}.svc"), authority))
    }

    fn call(
        &self,
        webhook: &Value,
        namespace: &str,
        pod: &Value,
        dry_run: DryRun,
    ) -> Result<Value> {
        ensure!(dry_run == DryRun::No || webhook["sideEffects"] == "None", "it has side effects");
        let client = &webhook["clientConfig"];
        let (endpoint, host, authority) = self.endpoint_of(client)?;
        let review = json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {
                "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
                "kind": { "group": "", "version": "v1", "kind": "Pod" },
                "resource": { "group": "", "version": "v1", "resource": "pods" },
                "requestKind": { "group": "", "version": "v1", "kind": "Pod" },
                "requestResource": { "group": "", "version": "v1", "resource": "pods" },
                "namespace": namespace,
                "operation": "CREATE",
                "userInfo": { "username": "kubernetes-admin", "groups": ["system:authenticated"] },
                "object": pod,
                "oldObject": null,
                "dryRun": dry_run == DryRun::Yes,
                "options": { "kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1" },
            },
        });
        let path = client["service"]["path"].as_str().unwrap_or_default();
        let path = format!("{path}?timeout=10s");
        let answer = http::post((endpoint, &host), &path, &authority, &review)?;
        ensure!(
            answer["response"]["uid"] == review["request"]["uid"],
            "it answers another request"
        );
        ensure!(answer["apiVersion"] == review["apiVersion"], "it answers in another version");
        Ok(answer)
    }
}

fn allowed(webhook: &Value, answer: &Value) -> Result<()> {
    if answer["response"]["allowed"] == true {
        return Ok(());
    }
    let message = answer["response"]["status"]["message"].as_str().unwrap_or("without explanation");
    bail!("admission webhook {} denied the request: {message}", webhook["name"])
}

fn concerns(rules: &Value) -> bool {
    let has = |rule: &Value, member: &str, wanted: &str| {
        let list = rule[member].as_array();
        list.into_iter().flatten().any(|item| item == wanted || item == "*")
    };
    rules.as_array().into_iter().flatten().any(|rule| {
        has(rule, "operations", "CREATE")
            && has(rule, "resources", "pods")
            && has(rule, "apiGroups", "")
            && has(rule, "apiVersions", "v1")
    })
}

/// `matchLabels`; what is not there selects everything.
fn selects(selector: &Value, labels: &Value) -> bool {
    let wanted = selector["matchLabels"].as_object();
    wanted.into_iter().flatten().all(|(key, value)| labels.get(key) == Some(value))
}

/// What the API server fills in.
fn defaults(pod: &mut Value) {
    for volume in pod["spec"]["volumes"].as_array_mut().into_iter().flatten() {
        if let Some(projected) = volume.get_mut("projected").and_then(Value::as_object_mut) {
            projected.entry("defaultMode").or_insert(420.into());
        }
    }
    for container in pod["spec"]["containers"].as_array_mut().into_iter().flatten() {
        if let Some(container) = container.as_object_mut() {
            container.entry("terminationMessagePath").or_insert("/dev/termination-log".into());
        }
    }
}

fn push(object: &mut Value, list: &str, item: Value) {
    match object[list].as_array_mut() {
        Some(items) => items.push(item),
        None => object[list] = json!([item]),
    }
}
