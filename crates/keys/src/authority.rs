//! Certificate authorities: one of the installation (HTTPS and gateway listeners), one of hosts (their client
//! certificates), one for each protected server (the client certificates that it accepts). They never sign for one
//! another: a server's `ssl_ca_file` holds its own only.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{self, SHA256, SHA384, SHA512};
use model::{Lifetime, SessionId, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use runtime::Secret;
use runtime::tls::Identity;
use rustls::crypto::aws_lc_rs::sign::any_ecdsa_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::KeyError;

pub mod host;
mod p256;

use p256::P256;

/// What a TLS server shows.
pub type ServerIdentity = Identity;
/// What we show to a database server.
pub type ClientIdentity = Identity;

/// How long an authority lives.
pub const AUTHORITY_LIFETIME: Lifetime = Lifetime::from_seconds(5 * 365 * 86_400);
/// How long the certificate of a TLS server lives.
pub const SERVER_LIFETIME: Lifetime = Lifetime::from_seconds(90 * 86_400);
/// A client certificate is good for so long before and after it is minted: the handshake, and clocks that differ.
pub const CLIENT_LIFETIME: Duration = Duration::from_mins(5);
/// Sessions share a key for so long.
const SESSION_KEY_LIFETIME: Duration = Duration::from_mins(10);

/// X.520 `ub-common-name`; counted in characters.
const COMMON_NAME_CHARACTERS_MAX: usize = 64;
/// PostgreSQL's `NAMEDATALEN` - 1; the CN is compared with a role's name.
const DATABASE_USER_BYTES_MAX: usize = 63;
const SERIAL_BYTES: usize = 16;

/// Signs certificates.
pub struct Authority {
    issuer: Issuer<'static, P256>,
    certificate: CertificateDer<'static>,
    common_name: String,
    not_after: Timestamp,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({})", self.common_name)
    }
}

/// A key that the certificates of several sessions may share: making one, and making it ready to sign, takes longer than
/// a certificate. It never leaves memory.
pub struct SessionKey {
    key: P256,
    signing: Arc<dyn SigningKey>,
    ends: Timestamp,
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionKey").field("ends", &self.ends).finish_non_exhaustive()
    }
}

impl SessionKey {
    /// A fresh one, for certificates of the next minutes.
    pub fn generate(now: Timestamp) -> Result<Self, KeyError> {
        let key = P256::generate()?;
        let der = private_key(&key)?;
        let signing = any_ecdsa_type(&der).map_err(|_| failed())?;
        Ok(Self { key, signing, ends: now.plus(SESSION_KEY_LIFETIME) })
    }

    /// Whether certificates of this moment may use it.
    pub fn is_good_at(&self, now: Timestamp) -> bool {
        now < self.ends
    }
}

/// Whom a client certificate names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientLeaf<'a> {
    /// The database user: becomes the CN, which the server compares.
    pub user: &'a str,
    /// The session: becomes the SAN URI `urn:portcullis:session:<id>`.
    pub session: SessionId,
}

impl Authority {
    /// A fresh authority: P-256, path length 0, signs certificates only.
    pub fn create(common_name: &str, lifetime: Lifetime, now: Timestamp) -> Result<Self, KeyError> {
        let mut params = parameters(common_name)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = date(now.minus(CLIENT_LIFETIME))?;
        params.not_after = date(now.plus(lifetime.duration()))?;
        let key = P256::generate()?;
        let certificate = params.self_signed(&key).map_err(|_| failed())?.der().clone();
        Self::of(certificate, key)
    }

    /// From [`Self::certificate_pem`] and [`Self::key_pkcs8`].
    pub fn from_pem(certificate_pem: &str, key_pkcs8: &[u8]) -> Result<Self, KeyError> {
        let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
            .map_err(|_| KeyError::Malformed { expected: "a certificate in PEM" })?;
        let key = P256::from_pkcs8(key_pkcs8)?;
        Self::of(certificate, key)
    }

    fn of(certificate: CertificateDer<'static>, key: P256) -> Result<Self, KeyError> {
        let malformed = || KeyError::Malformed { expected: "an authority's certificate" };
        let (_, parsed) = X509Certificate::from_der(&certificate).map_err(|_| malformed())?;
        let own = parsed.public_key().subject_public_key.data.as_ref() == key.der_bytes();
        if !own || !parsed.is_ca() {
            return Err(malformed());
        }
        let name = parsed.subject().iter_common_name().next().ok_or_else(malformed)?;
        let common_name = name.as_str().map_err(|_| malformed())?.to_owned();
        let not_after = Timestamp::from_seconds(parsed.validity().not_after.timestamp());
        let issuer = Issuer::new(parameters(&common_name)?, key);
        Ok(Self { issuer, certificate, common_name, not_after })
    }

    /// The authority's certificate.
    pub fn certificate_pem(&self) -> String {
        pem(&self.certificate)
    }

    /// The authority's private key.
    pub fn key_pkcs8(&self) -> Result<Secret<Vec<u8>>, KeyError> {
        self.issuer.key().to_pkcs8()
    }

    /// Its common name, which no other authority has.
    pub fn common_name(&self) -> &str {
        &self.common_name
    }

    /// It signs nothing after this.
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// The identity of a TLS server with these host names and addresses.
    pub fn issue_server(
        &self,
        names: &[String],
        lifetime: Lifetime,
        now: Timestamp,
    ) -> Result<ServerIdentity, KeyError> {
        let first = names.first().ok_or_else(|| KeyError::Name {
            name: String::new(),
            reason: "a server's certificate names at least one host",
        })?;
        let common_name: String = first.chars().take(COMMON_NAME_CHARACTERS_MAX).collect();
        let mut params = parameters(&common_name)?;
        params.subject_alt_names = names.iter().map(|name| host(name)).collect::<Result<_, _>>()?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.not_before = date(now.minus(CLIENT_LIFETIME))?;
        let key = P256::generate()?;
        let certificate = self.sign(params, &key, (now, now.plus(lifetime.duration())))?;
        Ok(Identity { chain: vec![certificate], key: private_key(&key)? })
    }

    /// The identity with which one session is opened on the database server, with a key of its own.
    pub fn issue_client(
        &self,
        leaf: &ClientLeaf<'_>,
        now: Timestamp,
    ) -> Result<ClientIdentity, KeyError> {
        let key = P256::generate()?;
        let certificate = self.sign_client(leaf, &key, now)?;
        Ok(Identity { chain: vec![certificate], key: private_key(&key)? })
    }

    /// The same, with a key that others may have.
    pub fn issue_session(
        &self,
        leaf: &ClientLeaf<'_>,
        key: &SessionKey,
        now: Timestamp,
    ) -> Result<CertifiedKey, KeyError> {
        let certificate = self.sign_client(leaf, &key.key, now)?;
        Ok(CertifiedKey::new(vec![certificate], Arc::clone(&key.signing)))
    }

    fn sign_client(
        &self,
        leaf: &ClientLeaf<'_>,
        key: &P256,
        now: Timestamp,
    ) -> Result<CertificateDer<'static>, KeyError> {
        check_database_user(leaf.user)?;
        let mut params = parameters(leaf.user)?;
        let uri = format!("urn:portcullis:session:{}", leaf.session);
        params.subject_alt_names = vec![SanType::URI(uri.try_into().map_err(|_| failed())?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = date(now.minus(CLIENT_LIFETIME))?;
        self.sign(params, key, (now, now.plus(CLIENT_LIFETIME)))
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        key: &impl PublicKeyData,
        (now, not_after): (Timestamp, Timestamp),
    ) -> Result<CertificateDer<'static>, KeyError> {
        if now >= self.not_after {
            let name = self.common_name.clone();
            return Err(KeyError::AuthorityEnded { name, at: self.not_after });
        }
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        params.not_after = date(not_after.min(self.not_after))?;
        Ok(params.signed_by(key, &self.issuer).map_err(|_| failed())?.into())
    }
}

/// Whoever takes it zeroises it; the other copy is zeroised with the secret.
fn private_key(key: &P256) -> Result<PrivateKeyDer<'static>, KeyError> {
    let der = PrivatePkcs8KeyDer::from(key.to_pkcs8()?.expose().clone());
    Ok(PrivateKeyDer::Pkcs8(der))
}

/// A certificate as PEM (RFC 7468).
pub fn pem(certificate: &CertificateDer<'_>) -> String {
    pem_block("CERTIFICATE", certificate)
}

/// When a certificate ends.
pub fn not_after(certificate: &CertificateDer<'_>) -> Result<Timestamp, KeyError> {
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|_| KeyError::Malformed { expected: "a certificate" })?;
    Ok(Timestamp::from_seconds(parsed.validity().not_after.timestamp()))
}

/// The hash by which SCRAM binds itself to the TLS channel of a server with this certificate (RFC 5929 §4.1): that of its
/// signature, SHA-256 in place of MD5 and SHA-1. `None` where the signature has no hash of its own (Ed25519), and nothing
/// is bound.
pub fn end_point_hash(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let digest = match parsed.signature_algorithm.algorithm.to_id_string().as_str() {
        // RSA and ECDSA with SHA-384; RSA and ECDSA with SHA-512.
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => &SHA384,
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => &SHA512,
        // MD5, SHA-1 and SHA-256 with RSA; SHA-1 and SHA-256 with ECDSA.
        "1.2.840.113549.1.1.4"
        | "1.2.840.113549.1.1.5"
        | "1.2.840.113549.1.1.11"
        | "1.2.840.10045.4.1"
        | "1.2.840.10045.4.3.2" => &SHA256,
        _ => return None,
    };
    Some(digest::digest(digest, certificate).as_ref().to_vec())
}

fn pem_block(label: &str, bytes: &[u8]) -> String {
    use base64::Engine;

    let encoded = base64::engine::general_purpose::STANDARD.encode(bytes);
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = encoded.as_str();
    // RFC 7468 §2: 64 characters a line; base64 is ASCII, so every index is a character's.
    while let Some((line, more)) = rest.split_at_checked(64) {
        text.push_str(line);
        text.push('\n');
        rest = more;
    }
    if !rest.is_empty() {
        text.push_str(rest);
        text.push('\n');
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

fn parameters(common_name: &str) -> Result<CertificateParams, KeyError> {
    let refuse = |reason| Err(KeyError::Name { name: common_name.to_owned(), reason });
    if common_name.is_empty() {
        return refuse("it is empty");
    }
    if common_name.chars().count() > COMMON_NAME_CHARACTERS_MAX {
        return refuse("X.520 allows 64 characters");
    }
    if common_name.contains('\0') {
        return refuse("it has a zero byte in it");
    }
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    params.distinguished_name = name;
    let mut serial: [u8; SERIAL_BYTES] = crate::random()?;
    // RFC 5280 §4.1.2.2: positive, and without a leading zero byte.
    if let Some(first) = serial.first_mut() {
        *first = (*first & 0x7f) | 0x40;
    }
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

fn check_database_user(user: &str) -> Result<(), KeyError> {
    if user.len() > DATABASE_USER_BYTES_MAX {
        let reason = "PostgreSQL's names have at most 63 bytes";
        return Err(KeyError::Name { name: user.to_owned(), reason });
    }
    Ok(())
}

fn host(name: &str) -> Result<SanType, KeyError> {
    if let Ok(address) = name.parse() {
        return Ok(SanType::IpAddress(address));
    }
    let refused = || KeyError::Name {
        name: name.to_owned(),
        reason: "it is neither a host name nor an address",
    };
    let is_host = !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '*'));
    if !is_host {
        return Err(refused());
    }
    Ok(SanType::DnsName(name.try_into().map_err(|_| refused())?))
}

const fn failed() -> KeyError {
    KeyError::Failed { task: "sign a certificate" }
}

/// Certificates know whole seconds.
fn date(at: Timestamp) -> Result<OffsetDateTime, KeyError> {
    OffsetDateTime::from_unix_timestamp(at.seconds())
        .map_err(|_| KeyError::Malformed { expected: "an instant that a certificate can hold" })
}

#[cfg(test)]
mod handshakes;
#[cfg(test)]
mod tests;
