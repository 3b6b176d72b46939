//! Client assertions, signed before they are presented: what signs here is not to be counted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use e2e::https;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use testkit::stack::Workload;
use testkit::wait;

use crate::machine;

const SCOPE: &str = "https://ossrdbms-aad.database.windows.net/.default";
const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// They wait for their turn.
const LIVES: Duration = Duration::from_hours(1);

/// An application that signs with the key of its certificate.
pub(super) struct Signer {
    key: RsaKeyPair,
    thumbprint: String,
    client: String,
    audience: String,
}

impl Signer {
    pub(super) fn of(workload: &Workload) -> Result<Self> {
        let file = workload.certificate.as_ref().context("it has no certificate")?;
        let key = PrivateKeyDer::from_pem_file(file)?;
        let certificate = CertificateDer::from_pem_file(file)?;
        let (reach, client) = (&workload.reach, workload.client_id.clone());
        Ok(Self {
            key: RsaKeyPair::from_pkcs8(key.secret_der())?,
            thumbprint: URL_SAFE_NO_PAD.encode(digest(&SHA256, &certificate)),
            client,
            audience: format!("{}/{}/oauth2/v2.0/token", reach.url, reach.tenant),
        })
    }

    /// The whole body of a request.
    pub(super) fn form(&self) -> Result<String> {
        let assertion = self.sign()?;
        Ok(https::form(&[
            ("grant_type", "client_credentials"),
            ("client_id", &self.client),
            ("scope", SCOPE),
            ("client_assertion_type", TYPE),
            ("client_assertion", &assertion),
        ]))
    }

    fn sign(&self) -> Result<String> {
        let now = machine::wall_clock();
        let header = json!({"alg": "PS256", "typ": "JWT", "x5t#S256": self.thumbprint});
        let claims = json!({
            "aud": self.audience, "iss": self.client, "sub": self.client, "nbf": now.seconds(),
            "iat": now.seconds(), "exp": now.plus(LIVES).seconds(), "jti": uuid::Uuid::new_v4(),
        });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        let random = SystemRandom::new();
        self.key.sign(&RSA_PSS_SHA256, &random, signed.as_bytes(), &mut signature)?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// So many bodies for each of so many clients, made on all processors.
    pub(super) fn forms(&self, clients: usize, each: usize) -> Result<Vec<Vec<String>>> {
        let processors = std::thread::available_parallelism()?.get();
        let mut piles: Vec<Vec<String>> = vec![Vec::new(); clients];
        std::thread::scope(|scope| {
            let threads: Vec<_> = piles
                .chunks_mut(clients.div_ceil(processors))
                .map(|mine| {
                    scope.spawn(move || {
                        for pile in mine {
                            *pile = (0..each).map(|_| self.form()).collect::<Result<_>>()?;
                        }
                        Ok(())
                    })
                })
                .collect();
            threads.into_iter().try_for_each(|thread| {
                thread.join().unwrap_or_else(|_| Err(anyhow!("a thread panicked")))
            })
        })?;
        Ok(piles)
    }

    /// RS256 signatures in a second, of a text as long as a token's, on all processors at once.
    pub(super) fn bare_rate(&self, seconds: u32) -> Result<f64> {
        let message = vec![b'a'; 900];
        let over = AtomicBool::new(false);
        let begun = wait::now();
        let count = std::thread::scope(|scope| -> Result<u32> {
            let threads: Vec<_> = (0..std::thread::available_parallelism()?.get())
                .map(|_| {
                    scope.spawn(|| -> Result<u32> {
                        let mut signature = vec![0; self.key.public_modulus_len()];
                        let (mut count, random) = (0, SystemRandom::new());
                        while !over.load(Ordering::Relaxed) {
                            self.key.sign(&RSA_PKCS1_SHA256, &random, &message, &mut signature)?;
                            count += 1;
                        }
                        Ok(count)
                    })
                })
                .collect();
            wait::pause(Duration::from_secs(seconds.into()));
            over.store(true, Ordering::Relaxed);
            let mut sum = 0;
            for thread in threads {
                sum += thread.join().map_err(|_| anyhow!("a thread panicked"))??;
            }
            Ok(sum)
        })?;
        Ok(f64::from(count) / begun.elapsed().as_secs_f64())
    }
}
