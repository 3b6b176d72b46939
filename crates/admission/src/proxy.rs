//! azure-workload-identity's proxy: for applications that only know the instance metadata service.

use model::Refusal;
use serde_json::{Value, json};

use crate::draft::Draft;
use crate::{ProxyImages, Sidecars};

const INIT: &str = "azwi-proxy-init";
const PROXY: &str = "azwi-proxy";

/// An init container that redirects the pod's metadata requests, and the proxy that answers them. Those that are there
/// already stay as they are.
pub(crate) fn inject(
    draft: &mut Draft,
    images: &ProxyImages,
    (port, sidecars): (u16, Sidecars),
) -> Result<(), Refusal> {
    const INIT_CONTAINERS: &str = "/spec/initContainers";
    if !draft.names(INIT_CONTAINERS, INIT)? {
        let container = redirection(&images.init_image, port);
        draft.append(INIT_CONTAINERS, vec![(format!("container `{INIT}`"), container)]);
    }
    let list = match sidecars {
        Sidecars::Native => INIT_CONTAINERS,
        Sidecars::Containers => "/spec/containers",
    };
    if !draft.names(list, PROXY)? {
        let container = sidecar(&images.image, (port, sidecars));
        draft.prepend(list, (format!("container `{PROXY}`"), container));
    }
    Ok(())
}

/// It writes rules into the pod's network namespace, which takes NET_ADMIN.
fn redirection(image: &str, port: u16) -> Value {
    json!({
        "name": INIT,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "securityContext": {
            "capabilities": { "add": ["NET_ADMIN"], "drop": ["ALL"] },
            "privileged": true,
            "runAsNonRoot": false,
            "runAsUser": 0,
        },
        "env": [{ "name": "PROXY_PORT", "value": port.to_string() }],
    })
}

fn sidecar(image: &str, (port, sidecars): (u16, Sidecars)) -> Value {
    let port_argument = format!("--proxy-port={port}");
    let level = "--log-level=info";
    let mut container = json!({
        "name": PROXY,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": [port_argument, level],
        "ports": [{ "containerPort": port }],
        // The others start once it answers.
        "lifecycle": { "postStart": { "exec": {
            "command": ["/proxy", port_argument, "--probe", level],
        } } },
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": { "drop": ["ALL"] },
            "privileged": false,
            "readOnlyRootFilesystem": true,
            "runAsNonRoot": true,
        },
    });
    if sidecars == Sidecars::Native
        && let Some(container) = container.as_object_mut()
    {
        container.insert("restartPolicy".to_owned(), "Always".into());
    }
    container
}
