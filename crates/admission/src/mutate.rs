//! The mutation: which pod becomes which.

use model::{Refusal, code};
use serde_json::Value;

use crate::draft::{Draft, LISTS};
use crate::volume::Reserved;
use crate::wishes::Wishes;
use crate::{Review, ServiceAccount, Settings, container, proxy};

/// Answers the mutating webhook's review: allowed, with the patch that gives the pod its identity, or refused. A pod that
/// has it all already gets no patch. A dry run is answered the same: nothing outside of the answer is changed.
pub fn mutate(
    review: &Review,
    account: Result<&ServiceAccount, Refusal>,
    settings: &Settings,
) -> Value {
    let drafted = match (review.creates_a_pod(), account) {
        (Err(refusal), _) | (Ok(true), Err(refusal)) => Err(refusal),
        // Only creations are sent here; a pod that exists keeps what it has.
        (Ok(false), _) => return review.allowed(),
        (Ok(true), Ok(account)) => draft(review.pod(), account, settings),
    };
    match drafted {
        Ok(draft) => review.patched(draft.operations()),
        Err(refusal) => review.denied(&refusal),
    }
}

/// The pod with all that it is to have.
pub(crate) fn draft(
    pod: &Value,
    account: &ServiceAccount,
    settings: &Settings,
) -> Result<Draft, Refusal> {
    let mut draft = Draft::of(pod.clone())?;
    let wishes = Wishes::of(pod, account, settings)?;
    if let Some(port) = wishes.proxy_port {
        let images = settings.proxy.as_ref().ok_or_else(|| {
            let message = "the pod asks for the proxy sidecar, and the webhook's configuration names no image for it";
            Refusal::new(&code::PROXY_SIDECAR, message)
                .hint("an operator can name both images under `proxy` in the webhook's configuration")
        })?;
        proxy::inject(&mut draft, images, (port, settings.sidecars))?;
    }
    let reserved = Reserved::of(pod, &wishes, settings);
    for list in LISTS {
        for (index, name) in names(&draft, list)?.into_iter().enumerate() {
            if !wishes.skips(&name) {
                let at = container::At { path: format!("{list}/{index}"), name };
                container::equip(&mut draft, &at, (&wishes, settings), &reserved)?;
            }
        }
    }
    draft.place("/spec/volumes", reserved.volume())?;
    Ok(draft)
}

fn names(draft: &Draft, list: &str) -> Result<Vec<String>, Refusal> {
    let name = |container: &serde_json::Map<String, Value>| {
        container.get("name").and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    Ok(draft.list(list)?.into_iter().map(name).collect())
}
