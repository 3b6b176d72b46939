//! The validation: no pod that asks for an identity starts without one.

use model::{Refusal, code};
use serde_json::Value;

use crate::draft::Operation;
use crate::mutate::draft;
use crate::{Review, ServiceAccount, Settings};

/// What is said of what is missing.
const NAMED_MAX: usize = 3;

/// Answers the validating webhook's review: refused where the mutation would still change the pod. So a pod that was
/// created while the mutating webhook was away, switched off or set to be ignored when it fails, does not start and fail
/// with somebody else's identity, or with none.
pub fn validate(
    review: &Review,
    account: Result<&ServiceAccount, Refusal>,
    settings: &Settings,
) -> Value {
    let verdict = match (review.creates_a_pod(), account) {
        (Err(refusal), _) | (Ok(true), Err(refusal)) => Err(refusal),
        (Ok(false), _) => Ok(()),
        (Ok(true), Ok(account)) => complete(review.pod(), account, settings),
    };
    match verdict {
        Ok(()) => review.allowed(),
        Err(refusal) => review.denied(&refusal),
    }
}

fn complete(pod: &Value, account: &ServiceAccount, settings: &Settings) -> Result<(), Refusal> {
    let draft = draft(pod, account, settings)?;
    let missing: Vec<&str> =
        draft.operations().iter().map(|operation: &Operation| operation.brings.as_str()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let named = missing.get(..NAMED_MAX).unwrap_or(&missing).join(", ");
    let more = match missing.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let message = format!(
        "the pod asks for a workload identity and was not given it: it lacks {named}{more}"
    );
    Err(Refusal::new(&code::POD_NOT_MUTATED, message))
}
