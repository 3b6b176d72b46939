//! What a pod's annotations, its service account and the settings come to.

use std::collections::BTreeSet;

use model::{Refusal, code};
use serde_json::Value;

use crate::{IdentityBinding, ServiceAccount, Settings};

const CLIENT_ID: &str = "azure.workload.identity/client-id";
const TENANT_ID: &str = "azure.workload.identity/tenant-id";
const TOKEN_EXPIRATION: &str = "azure.workload.identity/service-account-token-expiration";
const SKIP_CONTAINERS: &str = "azure.workload.identity/skip-containers";
const INJECT_PROXY: &str = "azure.workload.identity/inject-proxy-sidecar";
const PROXY_PORT: &str = "azure.workload.identity/proxy-sidecar-port";

/// What Kubernetes itself takes when nothing is said.
const EXPIRATION_DEFAULT: i64 = 3_600;
const EXPIRATION_MIN: i64 = 3_600;
const EXPIRATION_MAX: i64 = 86_400;
const PROXY_PORT_DEFAULT: u16 = 8_000;
/// An id is a GUID; the patch repeats it for every container.
const ID_CHARACTERS_MAX: usize = 128;

/// Read from a pod and its service account.
#[derive(Debug)]
pub(crate) struct Wishes<'a> {
    /// Empty where the service account names none: the application says it itself.
    pub(crate) client_id: &'a str,
    pub(crate) tenant_id: &'a str,
    pub(crate) expiration_seconds: i64,
    skipped: BTreeSet<&'a str>,
    /// The port of the proxy, where one is asked for.
    pub(crate) proxy_port: Option<u16>,
    /// Where the pod gets its tokens through the cluster's proxy.
    pub(crate) binding: Option<&'a IdentityBinding>,
}

impl<'a> Wishes<'a> {
    pub(crate) fn of(
        pod: &'a Value,
        account: &'a ServiceAccount,
        settings: &'a Settings,
    ) -> Result<Self, Refusal> {
        let annotation = |key: &str| annotation(pod, key);
        let skipped = annotation(SKIP_CONTAINERS).unwrap_or_default();
        let bound = |binding: &&IdentityBinding| {
            let key = format!("azure.workload.identity/use-{}", binding.annotation_suffix);
            annotation(&key).is_some_and(|value| value.eq_ignore_ascii_case("true"))
        };
        Ok(Self {
            // Before the others: a pod with several mistakes hears of this one first, as upstream.
            proxy_port: proxy_port(pod)?,
            expiration_seconds: expiration(annotation(TOKEN_EXPIRATION), account)?,
            client_id: id(CLIENT_ID, account.annotation(CLIENT_ID).unwrap_or_default())?,
            tenant_id: id(TENANT_ID, account.annotation(TENANT_ID).unwrap_or(&settings.tenant_id))?,
            skipped: skipped.split(';').map(str::trim).collect(),
            binding: settings.identity_binding.as_ref().filter(bound),
        })
    }

    pub(crate) fn skips(&self, container: &str) -> bool {
        self.skipped.contains(container)
    }
}

fn annotation<'a>(pod: &'a Value, key: &str) -> Option<&'a str> {
    pod.pointer("/metadata/annotations")?.get(key)?.as_str()
}

/// The pod's word counts before the service account's; an empty one is none.
fn expiration(of_pod: Option<&str>, account: &ServiceAccount) -> Result<i64, Refusal> {
    let said = |value: &&str| !value.is_empty();
    let written = of_pod.filter(said).or_else(|| account.annotation(TOKEN_EXPIRATION).filter(said));
    let Some(written) = written else { return Ok(EXPIRATION_DEFAULT) };
    let invalid = |shown: &str| {
        let message = format!(
            "token expiration {shown} not valid. Expected value to be between {EXPIRATION_MIN} and {EXPIRATION_MAX}"
        );
        Refusal::new(&code::POD_ANNOTATION_INVALID, message)
            .hint(format!("write whole seconds into `{TOKEN_EXPIRATION}`"))
    };
    let seconds: i64 = written.parse().map_err(|_| invalid(&shown(written)))?;
    if !(EXPIRATION_MIN..=EXPIRATION_MAX).contains(&seconds) {
        return Err(invalid(&seconds.to_string()));
    }
    Ok(seconds)
}

/// The annotation's presence asks for the proxy, whatever its value.
fn proxy_port(pod: &Value) -> Result<Option<u16>, Refusal> {
    if annotations_have_not(pod, INJECT_PROXY) {
        return Ok(None);
    }
    if pod.pointer("/spec/hostNetwork").and_then(Value::as_bool) == Some(true) {
        let message = "hostNetwork is set to true, cannot inject proxy sidecar";
        let hint = "the proxy redirects what its network namespace sends, here the host's; use \
                    environment variables instead";
        return Err(Refusal::new(&code::PROXY_SIDECAR, message).hint(hint));
    }
    let Some(written) = annotation(pod, PROXY_PORT) else { return Ok(Some(PROXY_PORT_DEFAULT)) };
    match written.parse::<u16>() {
        Ok(port) if port != 0 => Ok(Some(port)),
        _ => {
            let message = format!("failed to parse proxy sidecar port: `{}`", shown(written));
            let hint = format!("write a port between 1 and 65535 into `{PROXY_PORT}`");
            Err(Refusal::new(&code::POD_ANNOTATION_INVALID, message).hint(hint))
        }
    }
}

fn annotations_have_not(pod: &Value, key: &str) -> bool {
    pod.pointer("/metadata/annotations").and_then(|all| all.get(key)).is_none()
}

fn id<'a>(key: &str, value: &'a str) -> Result<&'a str, Refusal> {
    if value.chars().count() > ID_CHARACTERS_MAX {
        let message =
            format!("the service account's `{key}` has more than {ID_CHARACTERS_MAX} characters");
        return Err(Refusal::new(&code::POD_ANNOTATION_INVALID, message));
    }
    Ok(value)
}

/// A stranger's text in a message: its beginning.
fn shown(text: &str) -> String {
    const SHOWN_MAX: usize = 40;
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
