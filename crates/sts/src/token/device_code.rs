//! Device code (RFC 8628 §3.4): a client asks whether the person has said yes.

use control::Writing;
use control::credentials::{DeviceGrant, DeviceGrantState};
use model::PrincipalId;
use model::event::Actor;
use uuid::Uuid;

use super::{Exchange, Refused};
use crate::claims::SignedIn;
use crate::device::{self, DeviceCode};
use crate::failure::{
    DEVICE_DECLINED, DEVICE_EXPIRED, DEVICE_PENDING, DEVICE_REDEEMED, DEVICE_SLOW_DOWN,
    DEVICE_UNKNOWN, Failure,
};
use crate::issue::{self, Claimed, Extras, Issued, Order};
use crate::refresh::{self, Holder, RefreshToken};
use crate::scope::{self, Asking};
use crate::service::store_failed;

pub(super) async fn grant(exchange: &Exchange<'_>) -> Result<Issued, Refused> {
    let (client, one_time) = exchange.client().await?;
    let form = exchange.form;
    // Python sends the code under both names, Node under one.
    let code = form.get("device_code").or(form.get("code"));
    let code = DeviceCode::parse(code.map_or_else(|| form.required("device_code"), Ok)?)
        .ok_or_else(unknown)?;
    let found = peek(exchange, &code)?;
    if found.client != client.id() {
        return Err(unknown().into());
    }
    let (principal, signed_in) = approved(exchange, &code, &found)?;
    let asked = scope::of_scope(Some(&found.scope), Asking::Person)?;
    let person = exchange.snapshot.principal(principal);
    let now = exchange.service.now();
    let subject = issue::person(principal, signed_in.clone(), exchange.snapshot, now)
        .map_err(|failure| Refused::of(person.as_ref().map(Actor::from), failure))?;
    let first = if asked.offline { Some(RefreshToken::first()?) } else { None };
    let order = Order {
        tenant: exchange.tenant,
        client: client.id(),
        proof: client.proof(),
        subject,
        asked,
        grant: "urn:ietf:params:oauth:grant-type:device_code",
        refresh_token: first.clone().map(RefreshToken::into_text),
        extras: Extras::default(),
    };
    let holder = Holder {
        principal,
        client: client.id(),
        scope: Some(found.scope.clone()),
        expires_at: signed_in
            .at
            .plus(exchange.service.state.lifetimes.refresh_token_lifetime.duration()),
        signed_in,
    };
    let redeemed = code.clone();
    let claim = move |writing: &mut Writing<'_, '_>| {
        if let Some(one_time) = &one_time
            && let Err(failure) = one_time.spend(writing)?
        {
            return Ok(Err(failure));
        }
        redeem(writing, &redeemed, first.as_ref(), holder)
    };
    let issued = issue::issue_for(exchange.service, order, exchange.asker, claim).await?;
    exchange.service.polls.forget(code.user_code());
    Ok(issued)
}

/// The request as it stands, without a write: most polls find that nothing has happened.
fn peek(exchange: &Exchange<'_>, code: &DeviceCode) -> Result<DeviceGrant, Failure> {
    let found = exchange
        .service
        .store()
        .read(|reader| reader.record::<DeviceGrant>(code.user_code()))
        .map_err(store_failed)?;
    found.filter(|found| found.hash == code.hash()).ok_or_else(unknown)
}

/// Who said yes, if someone did; otherwise, how to go on.
fn approved(
    exchange: &Exchange<'_>,
    code: &DeviceCode,
    found: &DeviceGrant,
) -> Result<(PrincipalId, SignedIn), Refused> {
    let now = exchange.service.now();
    let too_soon = exchange.service.polls.too_soon(code.user_code(), now);
    if found.state == DeviceGrantState::Redeemed {
        return Err(redeemed().into());
    }
    if found.expires_at <= now {
        let message = "The device code has expired. Ask for a new one.";
        return Err(Failure::new(&DEVICE_EXPIRED, message).into());
    }
    match &found.state {
        DeviceGrantState::Approved { principal, signed_in_at, methods } => {
            let (at, methods) = (*signed_in_at, methods.clone());
            Ok((*principal, SignedIn { at, methods, session: Uuid::new_v4() }))
        }
        DeviceGrantState::Pending if too_soon => Err(Refused::waiting(Failure::new(
            &DEVICE_SLOW_DOWN,
            "Polling too often. Wait for the interval that was given.",
        ))),
        DeviceGrantState::Pending => Err(Refused::waiting(Failure::new(
            &DEVICE_PENDING,
            "OAuth 2.0 device flow error. Authorization is pending. Continue polling.",
        ))),
        DeviceGrantState::Denied => {
            Err(Failure::new(&DEVICE_DECLINED, "The person declined the request.").into())
        }
        DeviceGrantState::Redeemed => Err(redeemed().into()),
    }
}

fn unknown() -> Failure {
    Failure::new(&DEVICE_UNKNOWN, "The verification code is not valid.")
}

fn redeemed() -> Failure {
    Failure::new(&DEVICE_REDEEMED, "The device code was already redeemed.")
}

/// Uses the code up and begins the family of refresh tokens.
fn redeem(
    writing: &mut Writing<'_, '_>,
    code: &DeviceCode,
    first: Option<&RefreshToken>,
    holder: Holder,
) -> Claimed {
    let found = writing.record::<DeviceGrant>(code.user_code())?;
    let Some(found) = found.filter(|found| found.hash == code.hash()) else {
        return Ok(Err(unknown()));
    };
    if !matches!(found.state, DeviceGrantState::Approved { principal, .. } if principal == holder.principal)
    {
        return Ok(Err(redeemed()));
    }
    if let Some(dead) = refresh::ended(writing, holder.principal, holder.signed_in.when_and_how())?
    {
        return Ok(Err(dead.failure()));
    }
    let keep_until = device::forgotten_at(found.expires_at);
    let used = DeviceGrant { state: DeviceGrantState::Redeemed, ..found };
    writing.put_record(code.user_code(), &used, Some(keep_until))?;
    if let Some(first) = first {
        refresh::begin(writing, first, holder)?;
    }
    Ok(Ok(()))
}
