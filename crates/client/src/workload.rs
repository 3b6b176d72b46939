//! A workload's token, by the environment that Azure's SDKs follow.

use std::fs;
use std::path::Path;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PSS_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::Timestamp;
use runtime::{Environment, Secret};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;

use crate::ClientError;
use crate::home::file;
use crate::installation::{self, Installation};
use crate::tokens::{Answered, Token};

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// An assertion is used at once.
const ASSERTION_LIFETIME: Duration = Duration::from_mins(5);

/// A workload as the environment describes it.
#[derive(Debug)]
pub(crate) struct Workload<'a> {
    client: &'a str,
    tenant: &'a str,
    credential: Credential<'a>,
}

#[derive(Debug)]
enum Credential<'a> {
    Secret(&'a Secret<String>),
    Certificate(&'a Path),
    /// Another issuer's token, which the platform keeps fresh.
    Federated(&'a Path),
}

impl<'a> Workload<'a> {
    /// Nothing when `AZURE_CLIENT_ID` is not set: then a person is meant.
    pub(crate) fn of(environment: &'a Environment) -> Result<Option<Self>, ClientError> {
        let Some(client) = environment.azure_client_id.as_deref() else { return Ok(None) };
        let tenant = environment.azure_tenant_id.as_deref().ok_or(ClientError::Environment {
            variable: "AZURE_TENANT_ID",
            problem: "not set, but AZURE_CLIENT_ID is",
        })?;
        if tenant.is_empty()
            || !tenant.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c))
        {
            return Err(ClientError::Environment {
                variable: "AZURE_TENANT_ID",
                problem: "not a tenant's id or domain",
            });
        }
        // The order of azure-identity's EnvironmentCredential, which federation comes after.
        let secret = environment.azure_client_secret.as_ref().map(Credential::Secret);
        let certificate =
            || environment.azure_client_certificate_path.as_deref().map(Credential::Certificate);
        let federated =
            || environment.azure_federated_token_file.as_deref().map(Credential::Federated);
        let credential = secret.or_else(certificate).or_else(federated).ok_or(
            ClientError::Environment {
                variable: "AZURE_CLIENT_SECRET, AZURE_CLIENT_CERTIFICATE_PATH or AZURE_FEDERATED_TOKEN_FILE",
                problem: "not set, but AZURE_CLIENT_ID is",
            },
        )?;
        Ok(Some(Self { client, tenant, credential }))
    }

    /// Asks for a token.
    pub(crate) fn token(
        &self,
        installation: &Installation,
        audience: &str,
        now: Timestamp,
    ) -> Result<Token, ClientError> {
        let path = format!("/{}/oauth2/v2.0/token", self.tenant);
        let scope = format!("{audience}/.default");
        let common = [
            ("grant_type", "client_credentials"),
            ("client_id", self.client),
            ("scope", scope.as_str()),
        ];
        let assertion;
        let proof: &[(&str, &str)] = match &self.credential {
            Credential::Secret(secret) => &[("client_secret", secret.expose().as_str())],
            Credential::Certificate(file) => {
                let endpoint = format!("{}{path}", installation.origin());
                assertion = sign(file, self.client, &endpoint, now)?;
                &[
                    ("client_assertion_type", ASSERTION_TYPE),
                    ("client_assertion", assertion.expose()),
                ]
            }
            // Read each time: the platform replaces it.
            Credential::Federated(path) => {
                let text = fs::read_to_string(path).map_err(file("read", path))?;
                assertion = Secret::new(text.trim().to_owned());
                &[
                    ("client_assertion_type", ASSERTION_TYPE),
                    ("client_assertion", assertion.expose()),
                ]
            }
        };
        let answered: Answered = installation.form(&path, &[&common[..], proof].concat())?;
        Ok(Token {
            text: answered.access_token,
            expires_at: now.plus(Duration::from_secs(answered.expires_in)),
            owner: self.client.to_owned(),
        })
    }
}

/// Where the environment says that tokens are to be had.
pub(crate) fn authority(environment: &Environment) -> Result<Option<String>, ClientError> {
    let Some(host) = environment.azure_authority_host.as_deref() else { return Ok(None) };
    let address = if host.contains("://") { host.to_owned() } else { format!("https://{host}") };
    installation::origin(&address).map(Some).ok_or(ClientError::Environment {
        variable: "AZURE_AUTHORITY_HOST",
        problem: "not an address over HTTPS",
    })
}

/// An assertion signed by the certificate's key (RFC 7523 §2.2).
fn sign(
    path: &Path,
    client: &str,
    audience: &str,
    now: Timestamp,
) -> Result<Secret<String>, ClientError> {
    let (pair, thumbprint) = identity(path)?;
    let header = json!({ "typ": "JWT", "alg": "PS256", "x5t#S256": thumbprint });
    let claims = json!({
        "aud": audience, "iss": client, "sub": client, "jti": uuid::Uuid::new_v4(),
        "iat": now.seconds(), "nbf": now.seconds(),
        "exp": now.plus(ASSERTION_LIFETIME).seconds(),
    });
    let encode = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(header), encode(claims));
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(&RSA_PSS_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
        .map_err(|_| ClientError::Cryptography { task: "sign an assertion" })?;
    Ok(Secret::new(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))))
}

/// Key and certificate thumbprint of a PEM file that holds both, in any order.
fn identity(path: &Path) -> Result<(RsaKeyPair, String), ClientError> {
    let malformed = |expected| ClientError::Malformed { path: path.to_owned(), expected };
    let pem = Secret::new(fs::read(path).map_err(file("read", path))?);
    let certificate = CertificateDer::from_pem_slice(pem.expose())
        .map_err(|_| malformed("a PEM file with a certificate and its RSA key"))?;
    let key = PrivateKeyDer::from_pem_slice(pem.expose())
        .map_err(|_| malformed("a PEM file with a certificate and its RSA key"))?;
    let pair = match &key {
        PrivateKeyDer::Pkcs8(key) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()),
        _ => return Err(malformed("a PEM file with an RSA key in PKCS#8 or PKCS#1")),
    };
    let pair = pair.map_err(|_| malformed("a PEM file with an RSA key of 2048 bits or more"))?;
    Ok((pair, URL_SAFE_NO_PAD.encode(digest(&SHA256, &certificate))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::from_lookup(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_environment_is_read_as_azures_sdks_read_it() {
        let id = ("AZURE_CLIENT_ID", "00000000-0000-0000-0000-000000000001");
        let tenant = ("AZURE_TENANT_ID", "example.com");
        let secret = ("AZURE_CLIENT_SECRET", "s");
        let certificate = ("AZURE_CLIENT_CERTIFICATE_PATH", "/c.pem");
        let federated = ("AZURE_FEDERATED_TOKEN_FILE", "/t");
        let kind = |variables: &[(&str, &str)]| {
            let environment = environment(variables);
            let read = Workload::of(&environment).map(|workload| {
                workload.map(|workload| match workload.credential {
                    Credential::Secret(_) => "secret",
                    Credential::Certificate(_) => "certificate",
                    Credential::Federated(_) => "federated",
                })
            });
            read.map_err(|error| error.to_string())
        };
        assert_eq!(kind(&[tenant, secret]), Ok(None));
        assert_eq!(kind(&[id, tenant, secret, certificate]), Ok(Some("secret")));
        assert_eq!(kind(&[id, tenant, certificate, federated]), Ok(Some("certificate")));
        assert_eq!(kind(&[id, tenant, federated]), Ok(Some("federated")));
        assert_eq!(
            kind(&[id, secret]),
            Err("AZURE_TENANT_ID is not set, but AZURE_CLIENT_ID is".to_owned())
        );
        assert_eq!(
            kind(&[id, ("AZURE_TENANT_ID", "a/../b"), secret]),
            Err("AZURE_TENANT_ID is not a tenant's id or domain".to_owned())
        );
        assert!(kind(&[id, tenant]).unwrap_err().starts_with("AZURE_CLIENT_SECRET,"));
    }

    #[test]
    fn the_authority_host_may_leave_its_scheme_out_and_not_be_plain() {
        let read = |host| authority(&environment(&[("AZURE_AUTHORITY_HOST", host)]));
        assert_eq!(read("https://sts.test:8443/").unwrap().unwrap(), "https://sts.test:8443");
        assert_eq!(read("sts.test").unwrap().unwrap(), "https://sts.test");
        assert!(read("http://sts.test").is_err());
        assert!(authority(&environment(&[])).unwrap().is_none());
    }
}
