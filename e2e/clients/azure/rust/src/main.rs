//! Gets a database token with the unmodified azure_identity crate and prints it. Everything comes from the environment, as
//! in an application; SSL_CERT_FILE has the authority's certificate.

use std::sync::Arc;

use azure_core::credentials::{Secret, TokenCredential};
use azure_identity::{ClientSecretCredential, WorkloadIdentityCredential};

const SCOPE: &str = "https://ossrdbms-aad.database.windows.net/.default";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let which = std::env::args().nth(1).unwrap_or_default();
    let credential: Arc<dyn TokenCredential> = match which.as_str() {
        "secret" => {
            let secret = Secret::new(std::env::var("AZURE_CLIENT_SECRET")?);
            let tenant = std::env::var("AZURE_TENANT_ID")?;
            let client = std::env::var("AZURE_CLIENT_ID")?;
            ClientSecretCredential::new(&tenant, client, secret, None)?
        }
        "workload-identity" => WorkloadIdentityCredential::new(None)?,
        other => return Err(format!("`{other}` is not a way to sign in here").into()),
    };
    println!("{}", credential.get_token(&[SCOPE], None).await?.token.secret());
    Ok(())
}
