//! What installs the webhooks in a cluster: every object, with the least that it needs.

mod workload;

use admission::{MUTATE_PATH, ProxyImages, USE_LABEL, VALIDATE_PATH};
use serde_json::{Value, json};

/// What differs between installations.
#[derive(Clone, Debug)]
pub struct Installation {
    /// The namespace of the webhooks.
    pub namespace: String,
    /// The image with the `portcullis` binary.
    pub image: String,
    /// How many run.
    pub replicas: u32,
    /// The installation's origin.
    pub origin: String,
    /// The installation's tenant.
    pub tenant_id: String,
    /// PEM of what pods are to trust.
    pub authority: String,
    /// Namespaces whose pods may have a workload identity.
    pub workload_namespaces: Vec<String>,
    /// Images of the proxy sidecar.
    pub proxy: Option<ProxyImages>,
}

const NAME: &str = "portcullis-webhook";
/// The ConfigMap with the installation's authority, in each namespace with such pods.
const TRUST: &str = "portcullis-ca";
/// The label on a namespace that lets its pods in.
const OPT_IN: (&str, &str) = ("portcullis.dev/workload-identity", "enabled");
const PORT: u16 = 9_443;
const RBAC: &str = "rbac.authorization.k8s.io/v1";

/// The objects, in the order in which they can be created. The webhook configurations come last: from then on labelled
/// pods wait for the webhooks.
pub fn manifests(installation: &Installation) -> Vec<Value> {
    let mut objects = vec![namespace(installation), service_account(installation)];
    objects.extend(access(installation));
    objects.extend([
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": named(installation, NAME), "type": "Opaque",
        }),
        configuration(installation),
        workload::deployment(installation),
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": named(installation, NAME),
            "spec": {
                "selector": selector(),
                "ports": [{ "name": "https", "port": 443, "targetPort": PORT, "protocol": "TCP" }],
            },
        }),
        json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": named(installation, NAME),
            "spec": { "minAvailable": 1, "selector": { "matchLabels": selector() } },
        }),
    ]);
    objects.extend(
        installation.workload_namespaces.iter().flat_map(|name| opted_in(installation, name)),
    );
    objects.extend([
        webhook(installation, "MutatingWebhookConfiguration", MUTATE_PATH),
        webhook(installation, "ValidatingWebhookConfiguration", VALIDATE_PATH),
    ]);
    objects
}

fn selector() -> Value {
    json!({ "app.kubernetes.io/name": NAME })
}

fn named(installation: &Installation, name: &str) -> Value {
    json!({ "name": name, "namespace": installation.namespace, "labels": selector() })
}

/// For objects of the whole cluster.
fn named_in_cluster() -> Value {
    json!({ "name": NAME, "labels": selector() })
}

fn namespace(installation: &Installation) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {
            "name": installation.namespace,
            "labels": { "pod-security.kubernetes.io/enforce": "restricted" },
        },
    })
}

fn service_account(installation: &Installation) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": named(installation, NAME),
        // The pod mounts what it needs itself.
        "automountServiceAccountToken": false,
    })
}

/// Reading any service account, by name only; its own Secret; its own two webhook configurations.
fn access(installation: &Installation) -> Vec<Value> {
    let subject = json!([{
        "kind": "ServiceAccount", "name": NAME, "namespace": installation.namespace,
    }]);
    let role =
        |kind: &str| json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": NAME });
    vec![
        json!({
            "apiVersion": RBAC, "kind": "Role", "metadata": named(installation, NAME),
            "rules": [{
                "apiGroups": [""], "resources": ["secrets"], "resourceNames": [NAME], "verbs": ["get", "update"],
            }],
        }),
        json!({
            "apiVersion": RBAC, "kind": "RoleBinding", "metadata": named(installation, NAME),
            "roleRef": role("Role"), "subjects": subject,
        }),
        json!({
            "apiVersion": RBAC, "kind": "ClusterRole", "metadata": named_in_cluster(),
            "rules": [
                { "apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["get"] },
                {
                    "apiGroups": ["admissionregistration.k8s.io"],
                    "resources": ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"],
                    "resourceNames": [NAME], "verbs": ["get", "patch"],
                },
            ],
        }),
        json!({
            "apiVersion": RBAC, "kind": "ClusterRoleBinding", "metadata": named_in_cluster(),
            "roleRef": role("ClusterRole"), "subjects": subject,
        }),
    ]
}

/// `webhook.yaml`, as JSON is YAML too.
fn configuration(installation: &Installation) -> Value {
    let Installation { namespace, origin, tenant_id, proxy, .. } = installation;
    let mut text = json!({
        "listen": format!("0.0.0.0:{PORT}"),
        "authorityHost": format!("{}/", origin.trim_end_matches('/')),
        "tenantId": tenant_id,
        "trust": { "configMap": { "name": TRUST } },
        "namespace": namespace,
        "serviceAccount": NAME,
        "certificate": { "managed": {
            "secret": NAME, "configuration": NAME, "host": format!("{NAME}.{namespace}.svc"),
        } },
        "log": { "format": "json" },
    });
    if let (Some(ProxyImages { image, init_image }), Some(members)) = (proxy, text.as_object_mut())
    {
        members.insert("proxy".to_owned(), json!({ "image": image, "initImage": init_image }));
    }
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": named(installation, NAME),
        "data": { "webhook.yaml": format!("{text:#}\n") },
    })
}

/// A namespace that takes part, and what its pods are to trust.
fn opted_in(installation: &Installation, name: &str) -> Vec<Value> {
    let (label, value) = OPT_IN;
    vec![
        json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": { "name": name, "labels": { label: value } },
        }),
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": TRUST, "namespace": name, "labels": selector() },
            "data": { "ca.crt": installation.authority },
        }),
    ]
}

/// Both configurations: labelled pods of namespaces that take part, and nothing goes on without an answer.
fn webhook(installation: &Installation, kind: &str, path: &str) -> Value {
    let (label, value) = OPT_IN;
    let mutating = kind == "MutatingWebhookConfiguration";
    let name = if mutating { "mutation" } else { "validation" };
    let mut webhook = json!({
        "name": format!("{name}.workload-identity.portcullis.dev"),
        "admissionReviewVersions": ["v1", "v1beta1"],
        // `caBundle` is filled in, and kept, by the webhooks themselves.
        "clientConfig": { "service": {
            "name": NAME, "namespace": installation.namespace, "path": path, "port": 443,
        } },
        "rules": [{
            "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"],
            "scope": "Namespaced",
        }],
        "failurePolicy": "Fail",
        "matchPolicy": "Equivalent",
        "sideEffects": "None",
        "timeoutSeconds": 10,
        "namespaceSelector": { "matchLabels": { label: value } },
        "objectSelector": { "matchLabels": { USE_LABEL: "true" } },
    });
    if let (true, Some(members)) = (mutating, webhook.as_object_mut()) {
        members.insert("reinvocationPolicy".to_owned(), "IfNeeded".into());
    }
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
        "metadata": named_in_cluster(), "webhooks": [webhook],
    })
}
