//! `portcullis request`, `approve`, `deny`, `cancel`, `deactivate`, `revoke`: the life of an activation.

use std::time::Duration;

use model::kind::activation::{Activation, ActivationState, Ticket};
use model::{Document, Refusal, code};
use serde_json::json;

use crate::address::Address;
use crate::cli::{Common, Decide, Request};
use crate::failure::Failure;
use crate::output;
use crate::remote::Remote;
use crate::views;

/// How often `--wait` looks.
const WAIT_INTERVAL: Duration = Duration::from_millis(500);

/// A step of an activation's life, as the API and the command line name it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Approve,
    Deny,
    Cancel,
    Deactivate,
    Revoke,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Deny => "deny",
            Self::Cancel => "cancel",
            Self::Deactivate => "deactivate",
            Self::Revoke => "revoke",
        }
    }
}

pub(crate) fn request(common: &Common, request: &Request) -> Result<(), Failure> {
    let remote = Remote::open(common, format!("request `{}`", request.group))?;
    let ticket = request
        .ticket
        .as_ref()
        .map(|number| Ticket { system: request.ticket_system.clone(), number: number.clone() });
    let body = json!({
        "group": request.group,
        "duration": request.duration,
        "justification": request.justification,
        "ticket": ticket,
        "startsAt": request.starts_at,
        "extend": request.extend,
    });
    let mut activation: Document<Activation> =
        remote.post(&Address::of(&["v1", "activations"]), &body)?;
    if request.wait {
        output::note(&sentence(&activation));
        activation = decided(&remote, activation)?;
    }
    show(common, &activation)?;
    match activation.status.state {
        ActivationState::Requested | ActivationState::Scheduled | ActivationState::Active => Ok(()),
        ended => {
            let why = Refusal::new(
                &code::NOT_A_MEMBER,
                format!("the request was {}", views::state(ended)),
            )
            .hint("ask whoever decided, or ask again with `portcullis request`");
            Err(Failure::refused(format!("cannot become a member of `{}`", request.group), &why))
        }
    }
}

fn decided(
    remote: &Remote,
    mut activation: Document<Activation>,
) -> Result<Document<Activation>, Failure> {
    let address = Address::of(&["v1", "activations", activation.name()]);
    while activation.status.state == ActivationState::Requested {
        pause(WAIT_INTERVAL);
        activation = remote.get(&address)?;
    }
    Ok(activation)
}

#[expect(clippy::disallowed_methods, reason = "a command that waits has nothing else to do")]
fn pause(interval: Duration) {
    std::thread::sleep(interval);
}

pub(crate) fn step(common: &Common, step: Step, decide: &Decide) -> Result<(), Failure> {
    let id = decide.activation.to_string();
    let remote = Remote::open(common, format!("{} activation {id}", step.name()))?;
    let address = Address::of(&["v1", "activations", &id, step.name()]);
    let activation = remote.post(&address, &json!({ "note": decide.note }))?;
    show(common, &activation)
}

fn show(common: &Common, activation: &Document<Activation>) -> Result<(), Failure> {
    output::show(common.output, activation, || format!("{}\n", sentence(activation)))
}

/// One line that says where it stands and what comes next.
fn sentence(activation: &Document<Activation>) -> String {
    let (spec, status, id) = (&activation.spec, &activation.status, activation.name());
    let (user, group) = (&spec.user, &spec.group);
    let by = |who: &Option<model::UserName>| {
        who.as_ref().map(|who| format!(" by {who}")).unwrap_or_default()
    };
    match status.state {
        ActivationState::Requested => {
            let so_far = match status.approvals.len() {
                0 => String::new(),
                count => format!(" ({count} approved so far)"),
            };
            let more = if spec.extends.is_some() { " longer" } else { "" };
            format!(
                "{user} asks for `{group}` for {}{more}{so_far}; an approver decides with: portcullis approve {id}",
                spec.duration
            )
        }
        ActivationState::Scheduled => {
            let time = |at: Option<model::Timestamp>| at.map(views::seconds).unwrap_or_default();
            format!(
                "{user} will be a member of `{group}` from {} until {}; activation {id}",
                time(status.active_from),
                time(status.active_until)
            )
        }
        ActivationState::Active => {
            let until = status.active_until.map(views::seconds).unwrap_or_default();
            format!(
                "{user} is a member of `{group}` until {until}{}; activation {id}",
                by(&status.decided_by).replacen(" by", ", approved by", 1)
            )
        }
        ActivationState::Denied => {
            format!("the request of {user} for `{group}` was denied{}", by(&status.decided_by))
        }
        ended => format!(
            "the activation of `{group}` for {user} is {}{}",
            views::state(ended),
            by(&status.ended_by)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_says_where_it_stands_and_what_comes_next() {
        let document = |status: serde_json::Value| {
            serde_json::from_value::<Document<Activation>>(json!({
                "apiVersion": "portcullis.dev/v1",
                "kind": "Activation",
                "metadata": {"name": "7c1d5a52-62a3-4b39-b39f-3f4a10e4d9c1"},
                "spec": {
                    "user": "dev@example.com", "group": "orders-readers", "duration": "30m",
                    "requestedAt": "2026-11-24T10:00:00Z",
                },
                "status": status,
            }))
            .unwrap()
        };
        let sentences: Vec<String> = [
            json!({"state": "requested"}),
            json!({"state": "active", "decidedBy": "approver@example.com", "activeUntil": "2026-11-24T10:30:00Z"}),
            json!({"state": "denied", "decidedBy": "approver@example.com"}),
            json!({"state": "revoked", "endedBy": "approver@example.com"}),
            json!({"state": "expired"}),
        ]
        .into_iter()
        .map(|status| sentence(&document(status)))
        .collect();
        insta::assert_snapshot!(sentences.join("\n"), @r"
        dev@example.com asks for `orders-readers` for 30m; an approver decides with: portcullis approve 7c1d5a52-62a3-4b39-b39f-3f4a10e4d9c1
        dev@example.com is a member of `orders-readers` until 2026-11-24T10:30:00Z, approved by approver@example.com; activation 7c1d5a52-62a3-4b39-b39f-3f4a10e4d9c1
        the request of dev@example.com for `orders-readers` was denied by approver@example.com
        the activation of `orders-readers` for dev@example.com is revoked by approver@example.com
        the activation of `orders-readers` for dev@example.com is expired
        ");
    }
}
