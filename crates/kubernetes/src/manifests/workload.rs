//! The Deployment: two replicas apart from one another, each with nothing that it does not need.

use serde_json::{Value, json};

use super::{Installation, NAME, PORT, named, selector};

/// Longer than the process waits for the API server to take it out of the Service.
const TERMINATION_GRACE_SECONDS: u32 = 30;

pub(super) fn deployment(installation: &Installation) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": named(installation, NAME),
        "spec": {
            "replicas": installation.replicas,
            // Never fewer than there are: pods wait for them.
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 0, "maxSurge": 1 } },
            "selector": { "matchLabels": selector() },
            "template": {
                "metadata": { "labels": selector() },
                "spec": pod(installation),
            },
        },
    })
}

fn pod(installation: &Installation) -> Value {
    json!({
        "serviceAccountName": NAME,
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": TERMINATION_GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": 65_532, "runAsGroup": 65_532, "fsGroup": 65_532,
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        "topologySpreadConstraints": [{
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": { "matchLabels": selector() },
        }],
        "containers": [container(installation)],
        "volumes": [
            { "name": "configuration", "configMap": { "name": NAME } },
            { "name": "api-server", "projected": { "sources": [
                { "serviceAccountToken": { "path": "token", "expirationSeconds": 3600 } },
                { "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
            ] } },
        ],
    })
}

fn container(installation: &Installation) -> Value {
    let probe = |path: &str| json!({ "path": path, "port": PORT, "scheme": "HTTPS" });
    json!({
        "name": "webhook",
        "image": installation.image,
        "args": ["kubernetes", "webhook", "--config", "/etc/portcullis/webhook.yaml"],
        "ports": [{ "name": "https", "containerPort": PORT, "protocol": "TCP" }],
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": { "drop": ["ALL"] },
            "privileged": false,
            "readOnlyRootFilesystem": true,
        },
        "resources": {
            "requests": { "cpu": "20m", "memory": "32Mi" },
            "limits": { "memory": "128Mi" },
        },
        // It listens once it has a certificate; it is ready once a pod that it sent itself came back mutated.
        "startupProbe": { "httpGet": probe("/healthz"), "periodSeconds": 2, "failureThreshold": 60 },
        "livenessProbe": { "httpGet": probe("/healthz"), "periodSeconds": 10, "failureThreshold": 3 },
        "readinessProbe": { "httpGet": probe("/readyz"), "periodSeconds": 2, "failureThreshold": 2 },
        "volumeMounts": [
            { "name": "configuration", "mountPath": "/etc/portcullis", "readOnly": true },
            {
                "name": "api-server", "readOnly": true,
                "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
            },
        ],
    })
}
