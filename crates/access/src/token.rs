//! Tokens: signature, issuer, tenant, audience, time; assertions that applications sign; tokens of other issuers.

mod assertion;
mod chain;
mod expression;
mod federated;
mod jws;
mod key_set;
mod members;

use std::time::Duration;

use aws_lc_rs::signature;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::kind::revocation::RevokedTokens;
use model::{
    ApplicationId, PrincipalId, Refusal, ServerName, Snapshot, TenantId, Timestamp, TokenId, code,
};
use serde::Deserialize;

pub use assertion::{Assertion, AssertionError, Client, verify_assertion};
pub use expression::{Expression, ExpressionError};
pub use federated::{Foreign, ForeignError, Mismatch, Verified};
pub use key_set::{KEY_SET_BYTES_MAX, KeySet, KeySetError};

/// Audience of database tokens, as Azure's clients ask for it (without `/.default`).
pub const DATABASE_AUDIENCE: &str = "https://ossrdbms-aad.database.windows.net";

/// Audience of tokens for Portcullis' own API.
pub const CONTROL_AUDIENCE: &str = "api://portcullis";

/// A longer token is refused unread: PostgreSQL's own bound on a password message (`PG_MAX_AUTH_TOKEN_LENGTH`).
pub const TOKEN_BYTES_MAX: usize = 65_535;

/// How far the issuing host's clock may be ahead of ours.
const NOT_BEFORE_SKEW: Duration = Duration::from_mins(1);

/// A revocation is forgotten after this long: a longer token would outlive it.
const LIFETIME_MAX: Duration = Duration::from_hours(24);

/// What a verified token or handle says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// `jti`.
    pub token: TokenId,
    /// `oid`.
    pub principal: PrincipalId,
    /// `iat`.
    pub issued_at: Timestamp,
    /// `exp`: dead at this instant (RFC 7519 §4.1.4).
    pub expires_at: Timestamp,
    /// The only server that it is for; absent: any.
    pub server: Option<ServerName>,
    /// `amr`: how the person signed in. A handle does not say.
    pub methods: Vec<String>,
    /// `auth_time`: when the person signed in. A handle does not say.
    pub signed_in_at: Option<Timestamp>,
    /// `azp`: the program that got the token. A handle does not say.
    pub client: Option<ApplicationId>,
}

impl Credential {
    /// The fresh token that `explain` assumes: of a sign-in just now, with two factors.
    pub(crate) fn assumed(principal: PrincipalId) -> Self {
        Self {
            token: TokenId(uuid::Uuid::nil()),
            principal,
            issued_at: Timestamp::MAX,
            expires_at: Timestamp::MAX,
            server: None,
            methods: ["swk", "otp", "mfa"].map(str::to_owned).into(),
            signed_in_at: Some(Timestamp::MAX),
            client: None,
        }
    }
}

/// What a token must say to count here.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// `iss`, byte for byte.
    pub issuer: &'a str,
    /// `tid`.
    pub tenant: TenantId,
    /// `aud`, but for one trailing slash.
    pub audience: &'a str,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    tid: TenantId,
    aud: String,
    exp: i64,
    nbf: i64,
    iat: i64,
    oid: PrincipalId,
    jti: TokenId,
    #[serde(default)]
    amr: Vec<String>,
    #[serde(default)]
    auth_time: Option<i64>,
    #[serde(default)]
    azp: Option<ApplicationId>,
}

/// Verifies a token of this installation. The signature comes first: nothing else in it is looked at before.
pub fn verify(
    jwt: &str,
    expected: &Expected<'_>,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Result<Credential, Refusal> {
    if jwt.len() > TOKEN_BYTES_MAX {
        return Err(Refusal::new(
            &code::CREDENTIAL_MALFORMED,
            format!("the token has {} bytes", jwt.len()),
        ));
    }
    let parts = jws::split(jwt).map_err(|malformed| {
        Refusal::new(
            &code::CREDENTIAL_MALFORMED,
            format!("the password is not a token: {malformed}"),
        )
    })?;
    verify_signature(&parts, snapshot, now)?;
    let claims: Claims = serde_json::from_slice(&parts.payload).map_err(|error| {
        Refusal::new(
            &code::CREDENTIAL_MALFORMED,
            format!("the token's claims are not readable: {error}"),
        )
    })?;
    verify_claims(claims, expected, now)
}

/// Whether the token was revoked: by its id, with its sign-in, or with all of its principal's.
pub fn revoked(credential: &Credential, snapshot: &Snapshot) -> bool {
    snapshot.revocations.iter().any(|revocation| match &revocation.spec.tokens {
        RevokedTokens::Token(token) => *token == credential.token,
        RevokedTokens::SignIn(sign_in) => credential.token.is_of_sign_in(*sign_in),
        RevokedTokens::IssuedBefore { principal, before } => {
            *principal == credential.principal && credential.issued_at < *before
        }
        RevokedTokens::EveryIssuedBefore { before } => credential.issued_at < *before,
    })
}

pub(crate) fn expired(at: Timestamp, now: Timestamp) -> Refusal {
    let age = model::Lifetime::from_seconds(now.since(at).as_secs());
    Refusal::new(&code::TOKEN_EXPIRED, format!("the token expired at {at}, {age} ago"))
}

fn verify_signature(
    parts: &jws::Parts<'_>,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Result<(), Refusal> {
    // Only the algorithm that we sign with: `none`, HS256 and every other confusion ends here.
    if parts.header.alg != "RS256" {
        let message =
            format!("the token is signed with `{}`, not with RS256", printable(&parts.header.alg));
        return Err(Refusal::new(&code::TOKEN_SIGNATURE, message));
    }
    let kid = parts.header.kid.as_deref().unwrap_or_default();
    let Some(key) = snapshot.signing_keys.get(kid).filter(|key| now < key.spec.verifies_until)
    else {
        return Err(Refusal::new(
            &code::TOKEN_SIGNATURE,
            format!("no signing key here has the id `{}`", printable(kid)),
        ));
    };
    let unreadable = |_| {
        Refusal::new(&code::TOKEN_SIGNATURE, format!("the signing key `{kid}` is not readable"))
    };
    let public = signature::RsaPublicKeyComponents {
        n: URL_SAFE_NO_PAD.decode(&key.spec.modulus).map_err(unreadable)?,
        e: URL_SAFE_NO_PAD.decode(&key.spec.exponent).map_err(unreadable)?,
    };
    public
        .verify(&signature::RSA_PKCS1_2048_8192_SHA256, parts.signed.as_bytes(), &parts.signature)
        .map_err(|_| Refusal::new(&code::TOKEN_SIGNATURE, "the token's signature does not hold"))
}

fn verify_claims(
    claims: Claims,
    expected: &Expected<'_>,
    now: Timestamp,
) -> Result<Credential, Refusal> {
    if claims.iss != expected.issuer || claims.tid != expected.tenant {
        let message = format!(
            "the token is of issuer `{}` and tenant {}",
            printable(&claims.iss),
            claims.tid
        );
        return Err(Refusal::new(&code::TOKEN_ISSUER, message));
    }
    if trim_slash(&claims.aud) != trim_slash(expected.audience) {
        let message = format!(
            "the token is for `{}`, not for `{}`",
            printable(&claims.aud),
            expected.audience
        );
        return Err(Refusal::new(&code::TOKEN_AUDIENCE, message));
    }
    let (not_before, issued_at, expires_at) = (
        Timestamp::from_seconds(claims.nbf),
        Timestamp::from_seconds(claims.iat),
        Timestamp::from_seconds(claims.exp),
    );
    // Revoking all tokens of a principal goes by the time of issue: none is issued in the future.
    let valid_from = not_before.max(issued_at);
    if now.plus(NOT_BEFORE_SKEW) < valid_from {
        return Err(Refusal::new(
            &code::TOKEN_NOT_YET_VALID,
            format!("the token is valid from {valid_from}"),
        ));
    }
    if now >= expires_at {
        return Err(expired(expires_at, now));
    }
    if expires_at > issued_at.plus(LIFETIME_MAX) {
        return Err(Refusal::new(
            &code::CREDENTIAL_MALFORMED,
            format!("the token lives from {issued_at} to {expires_at}: longer than 24 hours"),
        ));
    }
    Ok(Credential {
        token: claims.jti,
        principal: claims.oid,
        issued_at: issued_at.min(next_second(now)),
        expires_at,
        server: None,
        methods: claims.amr,
        signed_in_at: claims.auth_time.map(Timestamp::from_seconds),
        client: claims.azp,
    })
}

/// A token is at most as old as it says, and never younger than its first use: one that a thief dated ahead does not
/// outlive the revocation of all that were issued before.
fn next_second(now: Timestamp) -> Timestamp {
    Timestamp::from_seconds(now.seconds()).plus(Duration::from_secs(1))
}

fn trim_slash(audience: &str) -> &str {
    audience.strip_suffix('/').unwrap_or(audience)
}

/// At most 100 characters, none of them a control character: what strangers send may stand in a message.
fn printable(text: &str) -> String {
    text.chars().take(100).filter(|c| !c.is_control()).collect()
}
