//! Client secrets: compared by their hashes, dead at their end, and none at all where the tenant forbids them.

use control::credentials::{ClientSecrets, Hash};
use model::kind::tenant::ClientSecretPolicy;
use model::{Snapshot, Workload};
use runtime::Secret;

use crate::claims::ClientProof;
use crate::failure::{Failure, SECRET_EXPIRED, SECRET_FORBIDDEN, SECRET_WRONG};
use crate::service::{Service, store_failed};

pub(super) fn check(
    service: &Service,
    workload: &Workload,
    secret: &Secret<String>,
    snapshot: &Snapshot,
) -> Result<ClientProof, Failure> {
    let now = service.now();
    let key = workload.id().to_string();
    let known = service
        .store()
        .read(|reader| reader.record::<ClientSecrets>(&key))
        .map_err(store_failed)?
        .unwrap_or_default();
    let hash = Hash::of(secret.expose().as_bytes());
    // Every secret is compared, so that time does not tell which one was close.
    let matching = known.secrets.iter().filter(|known| known.hash == hash);
    let Some(found) = matching.max_by_key(|known| known.expires_at) else {
        return Err(Failure::new(
            &SECRET_WRONG,
            "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID.",
        ));
    };
    if found.expires_at <= now {
        return Err(Failure::new(
            &SECRET_EXPIRED,
            format!(
                "The provided client secret keys are expired. It expired at {}.",
                found.expires_at
            ),
        ));
    }
    // Said to those only who know a secret.
    let forbidden = snapshot.tenant().is_some_and(|tenant| match tenant.spec.client_secrets {
        ClientSecretPolicy::Forbidden => true,
        ClientSecretPolicy::Allowed => false,
    });
    if forbidden {
        return Err(Failure::new(
            &SECRET_FORBIDDEN,
            "This tenant does not accept client secrets. Use a certificate, a federated credential or a managed identity.",
        ));
    }
    Ok(ClientProof::Secret { id: found.id })
}
