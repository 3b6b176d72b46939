//! What a session shows its server: a certificate of its own, or the credential of a user that it shares.

use model::kind::server::{DatabaseServer, SharedCredential, SharedUser};
use model::{Document, SessionId, code};
use runtime::Secret;
use rustls::sign::CertifiedKey;

use super::certificate;
use super::entra::Tokens;
use super::secrets::Secrets;
use crate::Shared;
use crate::outcome::Denied;

/// What is said in answer to a server's demand, once TLS stands.
#[derive(Debug)]
pub(crate) enum Proof {
    /// Nothing: the certificate has been shown in the handshake.
    Certificate,
    /// A password, by whichever method the server asks for.
    Password(Secret<Vec<u8>>),
    /// An access token, in place of a password in clear text and of no other.
    Token(Secret<Vec<u8>>),
}

/// The credentials of shared users.
#[derive(Debug)]
pub(crate) struct Credentials {
    secrets: Secrets,
    tokens: Tokens,
}

/// As whom a session logs in, and how.
#[derive(Debug)]
pub(crate) struct Identity {
    /// The database user.
    pub user: String,
    /// Shown in the TLS handshake.
    pub certificate: Option<CertifiedKey>,
    /// Said after it.
    pub proof: Proof,
}

impl Credentials {
    pub(crate) fn new(config: &runtime::config::Gateway) -> Self {
        Self {
            secrets: Secrets::new(config.secrets.clone()),
            tokens: Tokens::new(&config.instance_metadata),
        }
    }

    async fn of(&self, shared: &SharedUser, gateway: &Shared) -> Result<Proof, Denied> {
        match &shared.credential {
            SharedCredential::Password { secret } => {
                self.secrets.read(secret).await.map(Proof::Password)
            }
            SharedCredential::EntraToken { client_id } => {
                let now = gateway.clock.now();
                self.tokens.get(client_id.as_deref(), now).await.map(Proof::Token)
            }
        }
    }
}

/// For a session of the database user that was granted.
pub(crate) async fn identity(
    gateway: &Shared,
    server: &Document<DatabaseServer>,
    grant: &access::Grant,
    session: SessionId,
) -> Result<Identity, Denied> {
    if server.spec.upstream_identity.is_certificate() {
        let user = gateway.provisioner.prepare(server, grant).await?;
        let certificate = certificate::mint(gateway, server, &user, session).await?;
        return Ok(Identity { user, certificate: Some(certificate), proof: Proof::Certificate });
    }
    shared(gateway, server, &grant.database_user).await
}

/// For a shared user.
pub(crate) async fn shared(
    gateway: &Shared,
    server: &Document<DatabaseServer>,
    user: &str,
) -> Result<Identity, Denied> {
    let Some(shared) = server.spec.upstream_identity.shared_user(user) else {
        let message = format!("`{}` has no shared user of that name any more", server.name());
        return Err(Denied::new(&code::NO_SHARED_USER, message));
    };
    let proof = gateway.credentials.of(shared, gateway).await?;
    Ok(Identity { user: shared.user.clone(), certificate: None, proof })
}
