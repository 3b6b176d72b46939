//! A person's decision about a device: first they see which program asks from where, then they say yes or no. The command
//! line and the browser take the same two steps.

use std::time::Duration;

use control::credentials::{DeviceGrant, DeviceGrantState};
use control::{Verb, Writing};
use model::event::{Actor, EventBody, Outcome};
use model::{PrincipalId, Refusal, Timestamp, code};
use serde::{Deserialize, Serialize};

use crate::claims::SignedIn;
use crate::request::Asker;
use crate::sealed::Validity;
use crate::service::{Service, store_failed};
use crate::sign_in::{failed, outcome, unavailable};
use crate::{client, device, refresh};

/// How long a person may look before they decide.
const LOOK: Duration = Duration::from_mins(2);
const PURPOSE: &str = "device ticket";

/// What the first step leaves with the person.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ticket {
    principal: PrincipalId,
    user_code: String,
    signed_in: SignedIn,
    #[serde(flatten)]
    validity: Validity,
}

impl Ticket {
    pub(crate) fn new(
        service: &Service,
        principal: PrincipalId,
        user_code: &str,
        signed_in: SignedIn,
    ) -> Self {
        let validity = Validity { expires_at: service.now().plus(LOOK) };
        Self { principal, user_code: user_code.to_owned(), signed_in, validity }
    }

    pub(crate) fn sealed(&self, service: &Service) -> Result<String, Refusal> {
        service.sealer.seal(PURPOSE, self).ok_or_else(unavailable)
    }

    pub(crate) fn opened(service: &Service, sealed: &str) -> Option<Self> {
        let ticket: Self = service.sealer.open(PURPOSE, sealed)?;
        ticket.validity.holds(service.now()).then_some(ticket)
    }

    pub(crate) fn principal(&self) -> PrincipalId {
        self.principal
    }
}

/// Yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Approve,
    Deny,
}

impl Verdict {
    pub(crate) fn step(self) -> &'static str {
        match self {
            Self::Approve => "deviceApprove",
            Self::Deny => "deviceDeny",
        }
    }

    pub(crate) fn outcome(self) -> &'static str {
        match self {
            Self::Approve => "approved",
            Self::Deny => "denied",
        }
    }
}

/// The request under a code, if a person can still decide on it.
pub(crate) fn asked(service: &Service, user_code: &str) -> Result<DeviceGrant, Refusal> {
    let found = service.store().read(|reader| reader.record::<DeviceGrant>(user_code));
    let found = found.map_err(|error| {
        let _failure = store_failed(error);
        Refusal::new(&code::STORE_UNAVAILABLE, "the store cannot be read")
    })?;
    waiting(found, service.now())
}

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

/// Writes the decision down. A refusal is on disk when this returns.
pub(crate) async fn decide(
    service: &Service,
    asker: &Asker,
    ticket: Ticket,
    verdict: Verdict,
) -> Result<(), Refusal> {
    let person = service.snapshot().principal(ticket.principal);
    let actor = person.as_ref().map_or_else(
        || Actor { id: Some(ticket.principal), name: ticket.principal.to_string(), kind: None },
        Actor::from,
    );
    let source = Some(asker.source);
    let subject = ticket.user_code.clone();
    let written = service.state.control.system(Verb::SignIn, subject, move |writing| {
        let found = writing.record::<DeviceGrant>(&ticket.user_code)?;
        let client = found.as_ref().map(|found| client::name(found.client, writing.state()));
        let decided = write(writing, found, &ticket, verdict)?;
        let step = verdict.step().to_owned();
        let outcome = decided.as_ref().map_or_else(outcome, |()| Outcome::Succeeded);
        writing.note(EventBody::SignIn { actor, source, step, client, outcome });
        Ok(decided)
    });
    written.await?.value
}

fn write(
    writing: &mut Writing<'_, '_>,
    found: Option<DeviceGrant>,
    ticket: &Ticket,
    verdict: Verdict,
) -> Result<Result<(), Refusal>, Refusal> {
    let found = match waiting(found, writing.now()) {
        Ok(found) => found,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if refresh::ended(writing, ticket.principal, ticket.signed_in.when_and_how())?.is_some() {
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
