//! A device's request on the command line: a person signs in, sees which client asks from where, then says yes or no.

use control::Verb;
use model::event::Actor;
use serde::Deserialize;
use serde_json::{Value, json};

use super::proof::{self, Proof};
use super::{Call, Refused, failed};
use crate::device::decision::{self, Ticket, Verdict};
use crate::{client, device};

/// First a sign-in that shows the request, then the decision.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Ask {
    Decide {
        ticket: String,
        approve: bool,
    },
    #[serde(rename_all = "camelCase")]
    Show {
        #[serde(flatten)]
        proof: Proof,
        user_code: String,
    },
}

pub(super) async fn device(call: &Call<'_>, ask: Ask) -> Result<Value, Refused> {
    match ask {
        Ask::Show { proof, user_code } => show(call, proof, &device::typed(&user_code)).await,
        Ask::Decide { ticket, approve } => {
            let verdict = if approve { Verdict::Approve } else { Verdict::Deny };
            decide(call, &ticket, verdict).await
        }
    }
}

async fn show(call: &Call<'_>, proof: Proof, user_code: &str) -> Result<Value, Refused> {
    const STEP: &str = "deviceCode";
    let service = call.service;
    let known = proof::key(call, proof, STEP)?;
    let principal = known.principal.id;
    let keyring = service.state.keyring.clone();
    let event = proof::event(call, &known, STEP);
    let subject = principal.to_string();
    let written = service.state.control.system(Verb::SignIn, subject, move |writing| {
        let signed_in = proof::code(writing, &known, &keyring)?;
        writing.note(event(&signed_in));
        Ok(signed_in)
    });
    let signed_in = written.await.map_err(Refused::recorded)?.value.map_err(Refused::recorded)?;
    let found = decision::asked(service, user_code).map_err(Refused::recorded)?;
    let ticket = Ticket::new(service, principal, user_code, signed_in);
    Ok(json!({
        "client": client::name(found.client, &call.snapshot),
        "clientId": found.client,
        "address": found.source,
        "askedAt": found.asked_at,
        "scope": found.scope,
        "ticket": ticket.sealed(service).map_err(Refused::recorded)?,
    }))
}

async fn decide(call: &Call<'_>, ticket: &str, verdict: Verdict) -> Result<Value, Refused> {
    let service = call.service;
    let ticket = Ticket::opened(service, ticket)
        .ok_or_else(|| Refused::new(verdict.step(), Actor::claimed("device ticket"), failed()))?;
    let decided = decision::decide(service, call.asker, ticket, verdict).await;
    decided.map_err(Refused::recorded)?;
    Ok(json!({ "outcome": verdict.outcome() }))
}
