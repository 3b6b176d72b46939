//! Refresh (RFC 6749 §6): a person's client asks again, for any resource.

use control::Writing;
use model::event::{Actor, EventBody};
use model::{ApplicationId, Principal};

use super::{Exchange, Refused};
use crate::claims::SignedIn;
use crate::issue::{self, Extras, Issued, Order};
use crate::refresh::{self, Dead, RefreshToken};
use crate::scope::{self, Asking};
use crate::service::store_failed;
use crate::{authorize, client, contexts};

pub(super) async fn grant(exchange: &Exchange<'_>) -> Result<Issued, Refused> {
    let (client, one_time) = exchange.client().await?;
    let (presented, next) = RefreshToken::parse(exchange.form.required("refresh_token")?)?;
    let store = exchange.service.store();
    let family = store
        .read(|reader| refresh::family(reader, &presented))
        .map_err(store_failed)?
        .ok_or_else(|| Dead::Unknown.failure())?;
    // RFC 6749 §6: without a scope, the one that was granted is meant.
    let asked = match (exchange.form.get("scope"), &family.scope) {
        (None, Some(scope)) if exchange.form.get("resource").is_none() => {
            scope::of_scope(Some(scope), Asking::Person)
        }
        _ => exchange.asked(Asking::Person),
    };
    let asked = asked.map_err(|failure| exchange.refused(&client, failure))?;
    let signed_in =
        SignedIn { at: family.signed_in_at, methods: family.methods, session: family.session };
    let person = exchange.snapshot.principal(family.principal);
    let of_person = |failure| Refused::of(person.as_ref().map(Actor::from), failure);
    let now = exchange.service.now();
    let claims = contexts::Asked::parse(exchange.form.get("claims"))?;
    // Only a person at a browser can step up: the client is told to send them there.
    claims.check(&signed_in, now).map_err(of_person)?;
    let subject =
        issue::person(family.principal, signed_in, exchange.snapshot, now).map_err(of_person)?;
    let id = client.id();
    let order = Order {
        tenant: exchange.tenant,
        client: id,
        proof: client.proof(),
        subject,
        asked,
        grant: "refresh_token",
        refresh_token: Some(next.clone().into_text()),
        extras: Extras { nonce: None, contexts: claims.essential, revocable: claims.revocable },
    };
    let reused = reused(exchange, person.as_ref(), id);
    let sign_in = family.session;
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
            if rotated == Err(Dead::Replaced) {
                let now = writing.now();
                writing.put(authorize::revocation(sign_in, now, "its refresh token was reused"))?;
                writing.note(reused);
            }
            Ok(rotated.map_err(Dead::failure))
        },
    )
    .await
}

/// A token that was replaced is presented by whoever copied it, or by whoever it was copied from.
fn reused(exchange: &Exchange<'_>, person: Option<&Principal>, client: ApplicationId) -> EventBody {
    EventBody::Alert {
        actor: person.map_or_else(|| Actor::claimed("unknown"), Actor::from),
        source: Some(exchange.asker.source),
        alert: "refreshTokenReused".to_owned(),
        message: format!(
            "a refresh token of `{}` was used twice, so it was copied; every token of its sign-in is revoked",
            client::name(client, exchange.snapshot)
        ),
    }
}
