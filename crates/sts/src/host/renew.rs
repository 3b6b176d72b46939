//! Renewal: the same key, another day.

use control::Verb;
use model::Document;
use model::event::Outcome;
use model::kind::host::Host;

use super::{
    Arc, Asker, Bytes, BytesRejection, Call, Certified, Nothing, Refusal, Refused, Response,
    Service, Shown, State, actor, answered, code, read,
};

const STEP: &str = "hostRenew";

/// `POST /host/v1/renew`.
pub(crate) async fn renew(
    State(service): State<Arc<Service>>,
    asker: Asker,
    shown: Shown,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    answered(
        (&service, &asker),
        || read(body),
        async |call: &Call<'_>, _: Nothing| renewed(call, &shown).await,
    )
    .await
}

async fn renewed(call: &Call<'_>, shown: &Shown) -> Result<Certified, Refused> {
    let proven = call.proven(shown).map_err(|(who, why)| call.refused(STEP, who, why))?;
    let (name, uid) = (proven.document.name().to_owned(), proven.document.uid());
    let keyring = call.service.state.keyring.clone();
    let (key, thumbprint) = (proven.certificate.key.clone(), proven.certificate.key.thumbprint());
    let succeeded = call.event(STEP, actor(&name), Outcome::Succeeded);
    let written = call.service.state.control.system(Verb::SignIn, name.clone(), move |writing| {
        // As this write sees it: what ended in between has ended.
        let host = writing.state().hosts.by_uid(uid).cloned();
        let still = |host: &Arc<Document<Host>>| {
            host.spec.enabled && host.status.key_thumbprint.as_deref() == Some(thumbprint.as_str())
        };
        let host = host.filter(still).ok_or_else(|| {
            Refusal::new(&code::HOST_REFUSED, "the host has changed in this moment")
        })?;
        let issued = keyring.issue_host_certificate(uid, &key)?;
        let mut document = Document::clone(&host);
        document.status.certificate_ends_at = Some(issued.1);
        writing.put(document)?;
        writing.note(succeeded);
        Ok(issued)
    });
    let issued = written.await.map_err(|refusal| call.refused(STEP, actor(&name), refusal))?.value;
    let address = call.service.state.hosts.clone().unwrap_or_default();
    Ok(Certified { name, certificate: issued.0, not_after: issued.1, address })
}
