//! A device's request: a person signs in, sees which client asks from where, then says yes or no.

use std::time::Duration;

use control::credentials::{DeviceGrant, DeviceGrantState};
use control::{Verb, Writing};
use model::event::{Actor, Outcome};
use model::{PrincipalId, Refusal, Timestamp, code};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::proof::{self, Proof};
use super::{Call, Refused, failed, outcome};
use crate::claims::SignedIn;
use crate::refresh;
use crate::sealed::Validity;
use crate::service::store_failed;
use crate::{client, device};

/// How long a person may look before they decide.
const LOOK: Duration = Duration::from_mins(2);
const PURPOSE: &str = "device ticket";

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

/// What the first step leaves with the person's client.
#[derive(Debug, Serialize, Deserialize)]
struct Ticket {
    principal: PrincipalId,
    user_code: String,
    signed_in: SignedIn,
    #[serde(flatten)]
    validity: Validity,
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
    let found = service
        .store()
        .read(|reader| reader.record::<DeviceGrant>(user_code))
        .map_err(|error| Refused::recorded(unreadable(error)))?;
    let found = waiting(found, service.now()).map_err(Refused::recorded)?;
    let ticket = Ticket {
        principal,
        user_code: user_code.to_owned(),
        signed_in,
        validity: Validity { expires_at: service.now().plus(LOOK) },
    };
    let ticket = service.sealer.seal(PURPOSE, &ticket);
    Ok(json!({
        "client": client::name(found.client, &call.snapshot),
        "clientId": found.client,
        "address": found.source,
        "askedAt": found.asked_at,
        "scope": found.scope,
        "ticket": ticket.ok_or_else(|| Refused::recorded(super::unavailable()))?,
    }))
}

fn unreadable(error: store::StoreError) -> Refusal {
    let _failure = store_failed(error);
    Refusal::new(&code::STORE_UNAVAILABLE, "the store cannot be read")
}

/// A request that a person can still decide on.
fn waiting(found: Option<DeviceGrant>, now: Timestamp) -> Result<DeviceGrant, Refusal> {
    let found = found.filter(|found| now < found.expires_at).ok_or_else(|| {
        Refusal::new(&code::NOT_FOUND, "no device asks under this code, or not any more")
            .hint("start again on the device; a code lives 15 minutes")
    })?;
    match found.state {
        DeviceGrantState::Pending => Ok(found),
        DeviceGrantState::Approved { .. }
        | DeviceGrantState::Denied
        | DeviceGrantState::Redeemed => {
            Err(Refusal::new(&code::ALREADY_DECIDED, "the device's request was decided before")
                .hint("start again on the device"))
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Approve,
    Deny,
}

impl Verdict {
    fn step(self) -> &'static str {
        match self {
            Self::Approve => "deviceApprove",
            Self::Deny => "deviceDeny",
        }
    }

    fn outcome(self) -> &'static str {
        match self {
            Self::Approve => "approved",
            Self::Deny => "denied",
        }
    }
}

async fn decide(call: &Call<'_>, ticket: &str, verdict: Verdict) -> Result<Value, Refused> {
    let service = call.service;
    let ticket = service
        .sealer
        .open::<Ticket>(PURPOSE, ticket)
        .filter(|ticket| ticket.validity.holds(service.now()))
        .ok_or_else(|| Refused::new(verdict.step(), Actor::claimed("device ticket"), failed()))?;
    let person = call.snapshot.principal(ticket.principal);
    let actor = person.as_ref().map_or_else(
        || Actor { id: Some(ticket.principal), name: ticket.principal.to_string(), kind: None },
        Actor::from,
    );
    let source = Some(call.asker.source);
    let subject = ticket.user_code.clone();
    let written = service.state.control.system(Verb::SignIn, subject, move |writing| {
        let decided = write(writing, &ticket, verdict)?;
        let step = verdict.step().to_owned();
        let outcome = decided.as_ref().map_or_else(outcome, |()| Outcome::Succeeded);
        writing.note(model::event::EventBody::SignIn { actor, source, step, outcome });
        Ok(decided)
    });
    written.await.map_err(Refused::recorded)?.value.map_err(Refused::recorded)?;
    Ok(json!({ "outcome": verdict.outcome() }))
}

fn write(
    writing: &mut Writing<'_, '_>,
    ticket: &Ticket,
    verdict: Verdict,
) -> Result<Result<(), Refusal>, Refusal> {
    let found = writing.record::<DeviceGrant>(&ticket.user_code)?;
    let found = match waiting(found, writing.now()) {
        Ok(found) => found,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if refresh::ended(writing, ticket.principal, ticket.signed_in.at)?.is_some() {
        return Ok(Err(failed()));
    }
    let state = match verdict {
        Verdict::Approve => DeviceGrantState::Approved {
            principal: ticket.principal,
            signed_in_at: ticket.signed_in.at,
            methods: ticket.signed_in.methods.clone(),
        },
        Verdict::Deny => DeviceGrantState::Denied,
    };
    let keep_until = device::forgotten_at(found.expires_at);
    let decided = DeviceGrant { state, ..found };
    writing.put_record(&ticket.user_code, &decided, Some(keep_until))?;
    Ok(Ok(()))
}
