//! The webhooks' look at themselves: a pod that names their own service account is sent to them as an API server would
//! send it. It shows that they listen, that their certificate is the one that the configurations name, that they can read
//! service accounts, and that a pod comes out changed. A cluster is not sent to a replica before.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use admission::{MUTATE_PATH, VALIDATE_PATH};
use serde_json::{Value, json};
use ureq::Agent;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

use crate::api_server::{authorities, trusting};
use crate::certificate::Reached;

const ANSWER_MAX: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: u64 = 256 * 1_024;
const UID: &str = "portcullis-self-check";

/// Who is looked at, and as whom.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) listener: SocketAddr,
    pub(crate) namespace: String,
    pub(crate) service_account: String,
}

/// Sends a pod to both webhooks. Blocks.
pub(crate) fn check(subject: &Subject, reached: &Reached) -> Result<(), String> {
    let agent = agent(subject, reached);
    let ask = |path: &str| ask(&agent, &format!("https://{}{path}", reached.host), subject);
    let mutated = ask(MUTATE_PATH)?;
    let said = |answer: &Value| {
        let message = answer.pointer("/response/status/message").and_then(Value::as_str);
        message.unwrap_or("the answer is not as it should be").to_owned()
    };
    if mutated.pointer("/response/patchType").and_then(Value::as_str) != Some("JSONPatch") {
        return Err(format!("a pod was not mutated: {}", said(&mutated)));
    }
    let validated = ask(VALIDATE_PATH)?;
    let reason = validated.pointer("/response/status/reason").and_then(Value::as_str);
    if reason != Some(model::code::POD_NOT_MUTATED.id) {
        return Err(format!("a pod that was not mutated was not refused: {}", said(&validated)));
    }
    Ok(())
}

fn ask(agent: &Agent, address: &str, subject: &Subject) -> Result<Value, String> {
    let review = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": UID,
            "namespace": subject.namespace,
            "operation": "CREATE",
            "dryRun": true,
            "object": {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": { "name": UID },
                "spec": {
                    "serviceAccountName": subject.service_account,
                    "containers": [{ "name": "check" }],
                },
            },
        },
    });
    let request = agent.post(address).header("Content-Type", "application/json");
    let failed = |error: ureq::Error| format!("the webhook does not answer itself: {error}");
    let mut answer = request.send(review.to_string()).map_err(failed)?;
    let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
    serde_json::from_slice(&body.map_err(failed)?)
        .map_err(|error| format!("the webhook's answer is no JSON: {error}"))
}

/// It knows one address, whatever name is asked for.
#[derive(Debug)]
struct Always(SocketAddr);

impl Resolver for Always {
    fn resolve(
        &self,
        _: &Uri,
        _: &Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addresses = self.empty();
        addresses.push(self.0);
        Ok(addresses)
    }
}

fn agent(subject: &Subject, reached: &Reached) -> Agent {
    let config = Agent::config_builder()
        .tls_config(trusting(authorities(reached.authorities.as_bytes())))
        .https_only(true)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .timeout_global(Some(ANSWER_MAX))
        .build();
    let address = SocketAddr::new(own_address(subject.listener.ip()), subject.listener.port());
    Agent::with_parts(config, DefaultConnector::default(), Always(address))
}

/// Who listens on every address is reached on loopback.
fn own_address(listener: IpAddr) -> IpAddr {
    match listener {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        given => given,
    }
}
