//! A token for a process on a host: which identity it is, is decided here and nowhere else.

use access::host::NoIdentity;
use model::event::EventBody;
use model::{ApplicationId, Caller, Selector, TenantId, Workload};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Arc, Asker, Bytes, BytesRejection, Call, Proven, Refusal, Refused, Response, Service, Shown,
    State, actor, answered, code, outcome, read, unrecorded,
};
use crate::claims::{ClientProof, Subject};
use crate::discovery::Version;
use crate::failure::{Failure, RESOURCE_UNKNOWN};
use crate::issue::{self, Extras, Order};
use crate::scope;

/// What the record calls it.
const GRANT: &str = "managed_identity";
/// Different processes that hold one connection; a server that hands it to its workers has as many.
const CALLERS_MAX: usize = 32;
/// Longer ids, resources and paths are nobody's.
const TEXT_BYTES_MAX: usize = 4_096;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Ask {
    #[serde(default)]
    selector: Option<Selector>,
    resource: String,
    callers: Vec<Caller>,
}

/// The token as Azure's instance metadata service words it, with whose it is.
#[derive(Serialize)]
struct Issued {
    #[serde(flatten)]
    token: Value,
    client_id: Option<ApplicationId>,
}

/// `POST /host/v1/token`.
pub(crate) async fn token(
    State(service): State<Arc<Service>>,
    asker: Asker,
    shown: Shown,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    answered(
        (&service, &asker),
        || read(body),
        async |call: &Call<'_>, ask: Ask| issued(call, &shown, ask).await,
    )
    .await
}

async fn issued(call: &Call<'_>, shown: &Shown, ask: Ask) -> Result<Issued, Refused> {
    let audience: String = ask.resource.chars().take(100).collect();
    let refused = |who, refusal: Refusal| {
        let event = EventBody::Token {
            actor: who,
            source: Some(call.asker.source),
            grant: GRANT.to_owned(),
            audience: audience.clone(),
            token: None,
            expires_at: None,
            credential: None,
            outcome: outcome(&refusal),
        };
        Refused { refusal: Box::new(refusal), event: Some(event) }
    };
    let Proven { document: host, .. } =
        call.proven(shown).map_err(|(who, refusal)| refused(who, refusal))?;
    let who = || actor(host.name());
    bounded(&ask).map_err(|refusal| refused(who(), refusal))?;
    let asked = scope::of_resource(&ask.resource)
        .map_err(|failure| refused(who(), refusal_of(&failure)))?;
    let chosen = access::host::identity(&host, ask.selector.as_ref(), &ask.callers, &call.snapshot);
    let identity =
        chosen.map_err(|why| refused(who(), none(why, &ask.callers, ask.selector.as_ref())))?;
    let workload = Workload::ManagedIdentity(identity);
    let tenant = call.snapshot.tenant().map(|tenant| TenantId(tenant.uid()));
    let (Some(client), Some(tenant)) = (workload.client_id(), tenant) else {
        let refusal = Refusal::new(&code::INTERNAL, "the identity has no client id");
        return Err(refused(who(), refusal));
    };
    let order = Order {
        tenant,
        client,
        proof: ClientProof::Host { host: host.name().to_owned(), caller: described(&ask.callers) },
        subject: Subject::workload(&workload),
        asked,
        grant: GRANT,
        refresh_token: None,
        extras: Extras::default(),
    };
    let issued = issue::issue(call.service, order, call.asker, &call.snapshot)
        .await
        .map_err(|failure| Refused::recorded(refusal_of(&failure)))?;
    Ok(Issued { token: issued.answer(Version::V1), client_id: workload.client_id() })
}

fn bounded(ask: &Ask) -> Result<(), Refusal> {
    let selected = ask.selector.as_ref().map(|selector| match selector {
        Selector::ClientId(id)
        | Selector::ObjectId(id)
        | Selector::ResourceId(id)
        | Selector::Name(id) => id,
    });
    let paths = ask.callers.iter().map(|caller| &caller.cgroup);
    let texts = paths.chain(selected).chain([&ask.resource]);
    if ask.callers.len() > CALLERS_MAX || texts.into_iter().any(|it| it.len() > TEXT_BYTES_MAX) {
        return Err(Refusal::new(&code::TOO_LARGE, "the request names too much"));
    }
    Ok(())
}

fn none(why: NoIdentity, callers: &[Caller], selector: Option<&Selector>) -> Refusal {
    let code = match why {
        NoIdentity::Ambiguous => &code::IDENTITY_AMBIGUOUS,
        NoIdentity::NotAssigned
        | NoIdentity::CallerRefused
        | NoIdentity::Disabled
        | NoIdentity::Nothing => &code::IDENTITY_NOT_FOUND,
    };
    let wanted = match selector {
        None => String::new(),
        Some(Selector::ClientId(id)) => format!(", client id {id}"),
        Some(Selector::ObjectId(id)) => format!(", object id {id}"),
        Some(Selector::ResourceId(id)) => format!(", resource id {id}"),
        Some(Selector::Name(name)) => format!(", `{name}`"),
    };
    Refusal::new(code, format!("{why} ({}{wanted})", described(callers)))
}

/// As the record names processes.
fn described(callers: &[Caller]) -> String {
    let one = |caller: &Caller| {
        let space = caller.network_namespace.as_deref().unwrap_or("unnamed");
        format!("uid {} in {} of network {space}", caller.uid, caller.cgroup)
    };
    callers.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn refusal_of(failure: &Failure) -> Refusal {
    if *failure.kind == RESOURCE_UNKNOWN {
        return Refusal::new(&code::RESOURCE_UNKNOWN, failure.message.clone());
    }
    unrecorded()
}
