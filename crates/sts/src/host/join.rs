//! Joining: a token, once, for the certificate of a key that the machine made.

use control::credentials::{Hash, JoinToken};
use control::{Verb, Writing};
use keys::HostPublicKey;
use model::event::Outcome;
use model::kind::host::Host;
use model::{Document, HostName, Timestamp};
use runtime::Secret;
use rustls::pki_types::CertificateSigningRequestDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;

use super::{
    Arc, Asker, Bytes, BytesRejection, Call, Certified, Refusal, Refused, Response, Service, State,
    actor, answered, code, outcome, read,
};

const STEP: &str = "hostJoin";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ask {
    host: HostName,
    token: Secret<String>,
    /// PKCS#10, PEM.
    request: String,
}

/// `POST /host/v1/join`.
pub(crate) async fn join(
    State(service): State<Arc<Service>>,
    asker: Asker,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    answered(
        (&service, &asker),
        || read(body),
        async |call: &Call<'_>, ask: Ask| joined(call, ask).await,
    )
    .await
}

async fn joined(call: &Call<'_>, ask: Ask) -> Result<Certified, Refused> {
    let who = actor(ask.host.as_str());
    let invalid = |why: String| Refusal::new(&code::INVALID, why);
    let Some(address) = call.service.state.hosts.clone() else {
        let why = invalid("this installation takes no hosts: `hosts` is not configured".to_owned());
        return Err(call.refused(STEP, who, why));
    };
    let der = CertificateSigningRequestDer::from_pem_slice(ask.request.as_bytes());
    let key = match der.map(|der| HostPublicKey::of_request(&der)) {
        Ok(Ok(key)) => key,
        Ok(Err(error)) => {
            let why = invalid(format!("the certificate request is not usable: {error}"));
            return Err(call.refused(STEP, who, why));
        }
        Err(_) => {
            let why = invalid("the certificate request is not PEM".to_owned());
            return Err(call.refused(STEP, who, why));
        }
    };
    let joining = Joining {
        host: call.snapshot.hosts.get(&ask.host).cloned(),
        hash: Hash::of(ask.token.expose().trim().as_bytes()),
        key,
    };
    let name = ask.host.to_string();
    let keyring = call.service.state.keyring.clone();
    let succeeded = call.event(STEP, who.clone(), Outcome::Succeeded);
    let source = Some(call.asker.source);
    let written = call.service.state.control.system(Verb::SignIn, name.clone(), move |writing| {
        let joined = match joining.take(writing)? {
            Ok(host) => {
                let issued = keyring.issue_host_certificate(host.uid(), &joining.key)?;
                joining.bind(writing, &host, issued.1)?;
                Ok(issued)
            }
            Err(refusal) => Err(refusal),
        };
        writing.note(match &joined {
            Ok(_) => succeeded,
            Err(refusal) => model::event::EventBody::SignIn {
                actor: who,
                source,
                step: STEP.to_owned(),
                client: None,
                outcome: outcome(refusal),
            },
        });
        Ok(joined)
    });
    let issued = written.await.map_err(Refused::recorded)?.value.map_err(Refused::recorded)?;
    Ok(Certified { name, certificate: issued.0, not_after: issued.1, address })
}

/// A machine that says it is a host.
struct Joining {
    host: Option<Arc<Document<Host>>>,
    hash: Hash,
    key: HostPublicKey,
}

impl Joining {
    /// Uses the token up. Whether it was wrong, used, late or of another host, and whether there is such a host, is one
    /// answer.
    fn take(
        &self,
        writing: &mut Writing<'_, '_>,
    ) -> Result<Result<Document<Host>, Refusal>, Refusal> {
        let refused = || {
            let why = "the token is not the host's, was used, or is over";
            Ok(Err(Refusal::new(&code::HOST_JOIN_FAILED, why)))
        };
        let Some(host) = &self.host else { return refused() };
        // As this write sees it.
        let Some(host) = writing.state().hosts.by_uid(host.uid()).cloned() else {
            return refused();
        };
        let (key, now) = (host.uid().to_string(), writing.now());
        let token = writing.record::<JoinToken>(&key)?;
        let right = token.is_some_and(|token| token.hash == self.hash && now < token.expires_at);
        if !right || !host.spec.enabled {
            return refused();
        }
        // A key is one machine's, and one join's: so the certificates of a former join are told apart by it.
        let thumbprint = self.key.thumbprint();
        let known = |host: &Arc<Document<Host>>| {
            host.status.key_thumbprint.as_deref() == Some(thumbprint.as_str())
        };
        if writing.state().hosts.iter().any(known) {
            let why = "a host has joined with that key before";
            return Ok(Err(Refusal::new(&code::HOST_JOIN_FAILED, why)));
        }
        writing.delete_record::<JoinToken>(&key)?;
        Ok(Ok(Document::clone(&host)))
    }

    fn bind(
        &self,
        writing: &mut Writing<'_, '_>,
        host: &Document<Host>,
        not_after: Timestamp,
    ) -> Result<(), Refusal> {
        let mut bound = host.clone();
        bound.status.key_thumbprint = Some(self.key.thumbprint());
        bound.status.joined_at = Some(writing.now());
        bound.status.certificate_ends_at = Some(not_after);
        writing.put(bound)?;
        Ok(())
    }
}
