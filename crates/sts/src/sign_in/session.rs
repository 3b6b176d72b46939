//! Signing in: both factors in one write, then a token and the first refresh token of a family.

use access::token::CONTROL_AUDIENCE;
use control::Verb;
use model::{Refusal, TenantId, code};
use serde::Deserialize;
use serde_json::Value;

use super::proof::{self, Proof};
use super::{Call, Refused, unavailable};
use crate::claims::ClientProof;
use crate::client::PUBLIC_CLIENT;
use crate::discovery::Version;
use crate::issue::{self, Extras, Order};
use crate::refresh::{self, Holder, RefreshToken};
use crate::scope::{self, Asked, Asking};

const STEP: &str = "signIn";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ask {
    #[serde(flatten)]
    proof: Proof,
    #[serde(default)]
    scope: Option<String>,
}

pub(super) async fn sign_in(call: &Call<'_>, ask: Ask) -> Result<Value, Refused> {
    let service = call.service;
    let asked = asked(ask.scope.as_deref()).map_err(Refused::unreadable)?;
    if issue::signer(service).is_err() {
        let message = "no key signs tokens now, so nobody can sign in";
        return Err(Refused::unreadable(Refusal::new(&code::SIGNING_KEY_MISSING, message)));
    }
    let known = proof::key(call, ask.proof, STEP)?;
    let principal = known.principal.clone();
    let first = RefreshToken::first().map_err(|_| Refused::unreadable(unavailable()))?;
    let (keyring, token) = (service.state.keyring.clone(), first.clone());
    let lifetime = service.state.lifetimes.refresh_token_lifetime.duration();
    let event = proof::event(call, &known, STEP);
    let id = principal.id;
    let written = service.state.control.system(Verb::SignIn, id.to_string(), move |writing| {
        let signed_in = proof::code(writing, &known, &keyring)?;
        if let Ok(signed_in) = &signed_in {
            let holder = Holder {
                principal: id,
                client: PUBLIC_CLIENT,
                scope: None,
                expires_at: signed_in.at.plus(lifetime),
                signed_in: signed_in.clone(),
            };
            refresh::begin(writing, &token, holder)?;
        }
        writing.note(event(&signed_in));
        Ok(signed_in)
    });
    let signed_in = written.await.map_err(Refused::recorded)?.value.map_err(Refused::recorded)?;
    let snapshot = service.snapshot();
    let tenant = snapshot.tenant().ok_or_else(|| Refused::recorded(unavailable()))?;
    let subject = issue::person(id, signed_in, &snapshot, service.now()).map_err(|_| {
        let message = format!("`{}` is disabled", principal.name);
        Refused::recorded(Refusal::new(&code::PRINCIPAL_DISABLED, message))
    })?;
    let order = Order {
        tenant: TenantId(tenant.uid()),
        client: PUBLIC_CLIENT,
        proof: ClientProof::None,
        subject,
        asked,
        grant: STEP,
        refresh_token: Some(first.into_text()),
        extras: Extras::default(),
    };
    let issued = issue::issue(service, order, call.asker, &snapshot).await;
    issued.map(|issued| issued.answer(Version::V2)).map_err(|_| Refused::recorded(unavailable()))
}

/// The control plane, when nothing else is asked for.
fn asked(scope: Option<&str>) -> Result<Asked, Refusal> {
    let Some(scope) = scope.filter(|scope| !scope.trim().is_empty()) else {
        return Ok(Asked { audience: CONTROL_AUDIENCE.to_owned(), offline: true });
    };
    scope::of_scope(Some(scope), Asking::Person)
        .map_err(|failure| Refusal::new(&code::INVALID, failure.message.trim_end_matches('.')))
}
