//! Tokens verified, by the function that the gateway calls, on one processor.

use std::hint::black_box;
use std::time::Duration;

use access::token::{DATABASE_AUDIENCE, Expected, verify};
use anyhow::{Context, Result, anyhow, ensure};
use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use e2e::https;
use model::kind::signing_key::SigningKey;
use model::{Document, Revision, Snapshot, TenantId, Timestamp};
use serde_json::Value;
use testkit::stack::{Credential, Options, Stack};
use testkit::wait;

use crate::Extent;
use crate::machine;
use crate::statistics::{Spread, in_turns};

/// Between two looks at the clock.
const BATCH: u32 = 100;

#[derive(Clone, Copy, Debug)]
enum Way {
    /// The signature alone, with a key that was read before.
    Bare,
    Verified,
}

/// A token of a running installation, and what verifies it.
struct Matter {
    token: String,
    issuer: String,
    tenant: TenantId,
    snapshot: Snapshot,
    key: ParsedPublicKey,
    signed: Vec<u8>,
    signature: Vec<u8>,
}

pub(super) fn run(extent: Extent) -> Result<()> {
    let matter = Matter::of_a_stack()?;
    let [bare, verified] = in_turns(extent.rounds, &[Way::Bare, Way::Verified], |way| {
        matter.rate(*way, extent.seconds)
    })?;
    let said = |rates: &[f64]| Spread::of(rates.iter().copied()).in_units(" /s", 0);
    println!("bare RS256 verifications, one processor   {:>30}", said(&bare));
    println!("tokens verified as at the gateway         {:>30}", said(&verified));
    println!("tokens over signatures                    {:>30}", {
        Spread::of_ratios((&verified, &bare), |rate| *rate)
    });
    println!(
        "
`access::token::verify` on a token of {} bytes: signature, issuer, tenant, audience, time; no store, no allocation kept.",
        matter.token.len()
    );
    Ok(())
}

impl Matter {
    fn of_a_stack() -> Result<Self> {
        let stack = Stack::start(&Options::default())?;
        let reach = &stack.facts.reach;
        let token = stack.facts.api.token(Credential::Secret)?.trim().to_owned();
        let keys = https::get(reach, &format!("/{}/discovery/v2.0/keys", reach.tenant), None)?;
        let keys = keys.json()?;
        let keys = keys.get("keys").and_then(Value::as_array).context("no keys")?;
        let of = |key: &Value, name: &str| {
            key.get(name).and_then(Value::as_str).map(str::to_owned).context("a key without parts")
        };
        let kid = kid(&token)?;
        let mut documents = Vec::new();
        let mut signing = None;
        for key in keys {
            let (modulus, exponent) = (of(key, "n")?, of(key, "e")?);
            if of(key, "kid")? == kid {
                signing = Some((modulus.clone(), exponent.clone()));
            }
            let spec = SigningKey {
                modulus,
                exponent,
                signs_from: Timestamp::EPOCH,
                verifies_until: Timestamp::MAX,
            };
            documents.push(Document::new(of(key, "kid")?, spec).into());
        }
        let (n, e) = signing.context("the token's key is not published")?;
        let (n, e) = (URL_SAFE_NO_PAD.decode(n)?, URL_SAFE_NO_PAD.decode(e)?);
        let (signed, signature) = token.rsplit_once('.').context("no token")?;
        Ok(Self {
            key: ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public_key(&n, &e)?)
                .map_err(|_| anyhow!("no key"))?,
            signed: signed.as_bytes().to_vec(),
            signature: URL_SAFE_NO_PAD.decode(signature)?,
            issuer: format!("{}/{}/v2.0", reach.url, reach.tenant),
            tenant: reach.tenant.parse()?,
            snapshot: Snapshot::of(Revision(1), Timestamp::EPOCH, documents),
            token,
        })
    }

    fn rate(&self, way: Way, seconds: u32) -> Result<f64> {
        let expected =
            Expected { issuer: &self.issuer, tenant: self.tenant, audience: DATABASE_AUDIENCE };
        let now = machine::wall_clock();
        let (begun, within) = (wait::now(), Duration::from_secs(seconds.into()));
        let mut count = 0;
        while begun.elapsed() < within {
            for _ in 0..BATCH {
                let holds = match way {
                    Way::Bare => {
                        self.key.verify_sig(black_box(&self.signed), &self.signature).is_ok()
                    }
                    Way::Verified => {
                        verify(black_box(&self.token), &expected, &self.snapshot, now).is_ok()
                    }
                };
                ensure!(black_box(holds), "the token does not hold");
            }
            count += BATCH;
        }
        Ok(f64::from(count) / begun.elapsed().as_secs_f64())
    }
}

/// RFC 8017 §A.1.1, in DER.
fn public_key(modulus: &[u8], exponent: &[u8]) -> Result<Vec<u8>> {
    let element = |tag: u8, content: &[u8]| -> Result<Vec<u8>> {
        let length = u16::try_from(content.len())?.to_be_bytes();
        Ok([&[tag, 0x82], &length[..], content].concat())
    };
    // A zero in front of the first bit, which would be a sign.
    let number = |bytes: &[u8]| element(0x02, &[&[0], bytes].concat());
    let exponent = [&[0x02, u8::try_from(exponent.len())?], exponent].concat();
    element(0x30, &[number(modulus)?, exponent].concat())
}

fn kid(token: &str) -> Result<String> {
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap_or_default())?;
    let header: Value = serde_json::from_slice(&header)?;
    Ok(header.get("kid").and_then(Value::as_str).context("no key id")?.to_owned())
}
