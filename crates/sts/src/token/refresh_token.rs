//! Refresh (RFC 6749 §6): a person's client asks again, for any resource.

use control::Writing;
use model::event::Actor;

use super::{Exchange, Refused};
use crate::claims::SignedIn;
use crate::issue::{self, Issued, Order};
use crate::refresh::{self, Dead, RefreshToken};
use crate::scope::Asking;
use crate::service::store_failed;

pub(super) async fn grant(exchange: &Exchange<'_>) -> Result<Issued, Refused> {
    let (client, one_time) = exchange.client()?;
    let asked =
        exchange.asked(Asking::Person).map_err(|failure| exchange.refused(&client, failure))?;
    let (presented, next) = RefreshToken::parse(exchange.form.required("refresh_token")?)?;
    let store = exchange.service.store();
    let family = store
        .read(|reader| refresh::family(reader, &presented))
        .map_err(store_failed)?
        .ok_or_else(|| Dead::Unknown.failure())?;
    let signed_in =
        SignedIn { at: family.signed_in_at, methods: family.methods, session: family.session };
    let person = exchange.snapshot.principal(family.principal);
    let now = exchange.service.now();
    let subject = issue::person(family.principal, signed_in, exchange.snapshot, now)
        .map_err(|failure| Refused::of(person.as_ref().map(Actor::from), failure))?;
    let id = client.id();
    let order = Order {
        tenant: exchange.tenant,
        client: id,
        proof: client.proof(),
        subject,
        asked,
        grant: "refresh_token",
        refresh_token: Some(next.clone().into_text()),
    };
    issue::issue_for(
        exchange.service,
        order,
        exchange.asker,
        move |writing: &mut Writing<'_, '_>| {
            if let Some(one_time) = &one_time
                && let Err(failure) = one_time.spend(writing)?
            {
                return Ok(Err(failure));
            }
            let rotated = refresh::rotate(writing, (&presented, &next), id)?;
            Ok(rotated.map_err(Dead::failure))
        },
    )
    .await
}
