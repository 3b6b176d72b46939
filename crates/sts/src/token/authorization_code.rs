//! Authorization code (RFC 6749 §4.1.3, RFC 7636 §4.5): a program redeems what a person's browser brought it.

use control::Writing;
use model::event::Actor;

use super::{Exchange, Refused};
use crate::authorize::{self, Redeemed};
use crate::claims::SignedIn;
use crate::issue::{self, Extras, Issued, Order};
use crate::refresh::{self, Holder, RefreshToken};
use crate::scope::{self, Asking};

pub(super) async fn grant(exchange: &Exchange<'_>) -> Result<Issued, Refused> {
    let (client, one_time) = exchange.client().await?;
    let form = exchange.form;
    let refused = |failure| exchange.refused(&client, failure);
    let redeemed = Redeemed::read(form, client.id(), exchange.asker).map_err(refused)?;
    let found = authorize::peek(exchange.service, &redeemed).await.map_err(refused)?;
    let asked = match form.get("scope") {
        Some(_) => exchange.asked(Asking::Person).map_err(refused)?,
        None => scope::of_scope(Some(&found.scope), Asking::Person)?,
    };
    let person = exchange.snapshot.principal(found.principal);
    let of_person = |failure| Refused::of(person.as_ref().map(Actor::from), failure);
    let signed_in =
        SignedIn { at: found.signed_in_at, methods: found.methods.clone(), session: found.sign_in };
    let now = exchange.service.now();
    let subject = issue::person(found.principal, signed_in.clone(), exchange.snapshot, now)
        .map_err(of_person)?;
    // Only what was asked for at the start can be kept alive afterwards.
    let offline = asked.offline && scope::is_offline(&found.scope);
    let first = if offline { Some(RefreshToken::first()?) } else { None };
    let order = Order {
        tenant: exchange.tenant,
        client: client.id(),
        proof: client.proof(),
        subject,
        asked,
        grant: "authorization_code",
        refresh_token: first.clone().map(RefreshToken::into_text),
        extras: Extras {
            nonce: found.nonce.clone(),
            contexts: found.contexts.clone(),
            revocable: found.revocable,
        },
    };
    let holder = Holder {
        principal: found.principal,
        client: client.id(),
        scope: Some(found.scope.clone()),
        expires_at: signed_in
            .at
            .plus(exchange.service.state.lifetimes.refresh_token_lifetime.duration()),
        signed_in,
    };
    let claim = move |writing: &mut Writing<'_, '_>| {
        if let Some(one_time) = &one_time
            && let Err(failure) = one_time.spend(writing)?
        {
            return Ok(Err(failure));
        }
        if let Err(failure) = authorize::redeem(writing, &redeemed)? {
            return Ok(Err(failure));
        }
        if let Some(first) = &first {
            refresh::begin(writing, first, holder)?;
        }
        Ok(Ok(()))
    };
    issue::issue_for(exchange.service, order, exchange.asker, claim).await
}
