//! Hosts: the key that a machine makes and never gives away, the request that shows its public half, and the client
//! certificate that names the machine.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use aws_lc_rs::{hkdf, hmac};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{PKCS_ECDSA_P256_SHA256, SignatureAlgorithm};
use uuid::Uuid;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::GeneralName;

use super::{
    Authority, CertificateDer, CertificateParams, ExtendedKeyUsagePurpose, FromDer, Identity,
    KeyError, Lifetime, P256, PublicKeyData, SanType, Secret, Timestamp, X509Certificate, date,
    failed, parameters, private_key,
};
use super::{CLIENT_LIFETIME, pem_block};

/// How long the client certificate of a host lives.
pub const HOST_LIFETIME: Lifetime = Lifetime::from_seconds(24 * 3_600);

const URN: &str = "urn:portcullis:host:";
/// The algorithm of keys on elliptic curves (RFC 5480 §2.1.1).
const EC_PUBLIC_KEY: &str = "1.2.840.10045.2.1";
/// ECDSA with SHA-256 (RFC 5758 §3.2), DER.
const ECDSA_WITH_SHA256: [u8; 12] =
    [0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
/// An uncompressed point: a byte that says so, and two coordinates.
const POINT_BYTES: usize = 65;

/// The key of a machine.
pub struct HostKey(P256);

impl fmt::Debug for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HostKey")
    }
}

impl HostKey {
    /// A fresh one. It counts from when the machine joins.
    pub fn generate() -> Result<Self, KeyError> {
        Ok(Self(P256::generate()?))
    }

    /// From [`Self::to_pkcs8`].
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, KeyError> {
        Ok(Self(P256::from_pkcs8(pkcs8)?))
    }

    /// As the machine keeps it.
    pub fn to_pkcs8(&self) -> Result<Secret<Vec<u8>>, KeyError> {
        self.0.to_pkcs8()
    }

    /// A certificate request (PKCS#10, PEM): proof that whoever shows it has the key.
    pub fn request(&self) -> Result<String, KeyError> {
        // Serial numbers are the authority's to give.
        let mut params = parameters("host")?;
        params.serial_number = None;
        let request = params.serialize_request(&self.0).map_err(|_| failed())?;
        Ok(pem_block("CERTIFICATE REQUEST", request.der()))
    }

    /// The public half.
    pub fn public(&self) -> HostPublicKey {
        HostPublicKey(self.0.der_bytes().to_vec())
    }

    /// What a TLS client shows with this certificate.
    pub fn identity(&self, certificate: CertificateDer<'static>) -> Result<Identity, KeyError> {
        Ok(Identity { chain: vec![certificate], key: private_key(&self.0)? })
    }

    /// A key for one purpose, which is derived anew at each start and rests nowhere.
    pub fn derive(&self, purpose: &str) -> Result<hmac::Key, KeyError> {
        let failed = || KeyError::Failed { task: "derive a key" };
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"portcullis host key 1");
        let extracted = salt.extract(self.to_pkcs8()?.expose());
        let info = [purpose.as_bytes()];
        let expanded = extracted.expand(&info, hmac::HMAC_SHA256).map_err(|_| failed())?;
        Ok(expanded.into())
    }
}

/// The public half of a machine's key: P-256.
#[derive(Clone, PartialEq, Eq)]
pub struct HostPublicKey(Vec<u8>);

impl fmt::Debug for HostPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostPublicKey({})", self.thumbprint())
    }
}

impl HostPublicKey {
    /// Of a certificate request, DER, whose signature was made by that key.
    pub fn of_request(request: &[u8]) -> Result<Self, KeyError> {
        let malformed = || KeyError::Malformed { expected: "a certificate request of a P-256 key" };
        let (rest, parsed) =
            X509CertificationRequest::from_der(request).map_err(|_| malformed())?;
        let signed = is_as_we_write_it(request, &parsed.signature_value.data);
        let info = &parsed.certification_request_info;
        let key = Self::of(&info.subject_pki).filter(|_| rest.is_empty() && signed);
        let key = key.ok_or_else(malformed)?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &key.0)
            .verify(info.raw, &parsed.signature_value.data)
            .map_err(|_| KeyError::Malformed { expected: "signed by the key that it shows" })?;
        Ok(key)
    }

    fn of(key: &x509_parser::x509::SubjectPublicKeyInfo<'_>) -> Option<Self> {
        let point = key.subject_public_key.data.as_ref();
        let right = key.algorithm.algorithm.to_id_string() == EC_PUBLIC_KEY
            && point.len() == POINT_BYTES
            && point.first() == Some(&4);
        right.then(|| Self(point.to_vec()))
    }

    /// SHA-256 of the SubjectPublicKeyInfo, base64url without padding.
    pub fn thumbprint(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest(&SHA256, &self.subject_public_key_info()))
    }
}

impl PublicKeyData for HostPublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

/// What stands behind the signed part, byte for byte: a parser lets other tags pass there, which nobody signed.
fn is_as_we_write_it(request: &[u8], signature: &[u8]) -> bool {
    const BIT_STRING: u8 = 3;
    // With the number of unused bits, which is none.
    let Ok(length) = u8::try_from(signature.len() + 1) else { return false };
    let tail = [&ECDSA_WITH_SHA256, &[BIT_STRING, length, 0][..], signature].concat();
    request.ends_with(&tail)
}

/// What a host's client certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostCertificate {
    /// The host's object id.
    pub host: Uuid,
    /// Whose key it is for.
    pub key: HostPublicKey,
    /// When it begins.
    pub not_before: Timestamp,
    /// When it ends.
    pub not_after: Timestamp,
}

impl HostCertificate {
    /// Reads what a certificate says; who signed it was looked at before.
    pub fn read(certificate: &CertificateDer<'_>) -> Result<Self, KeyError> {
        let malformed = || KeyError::Malformed { expected: "the client certificate of a host" };
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| malformed())?;
        let names = parsed.subject_alternative_name().map_err(|_| malformed())?;
        let host = names.and_then(|names| match names.value.general_names.as_slice() {
            [GeneralName::URI(uri)] => uri.strip_prefix(URN)?.parse().ok(),
            _ => None,
        });
        let key = HostPublicKey::of(parsed.public_key());
        let validity = parsed.validity();
        match (host, key) {
            (Some(host), Some(key)) => Ok(Self {
                host,
                key,
                not_before: Timestamp::from_seconds(validity.not_before.timestamp()),
                not_after: Timestamp::from_seconds(validity.not_after.timestamp()),
            }),
            _ => Err(malformed()),
        }
    }
}

impl Authority {
    /// The client certificate of a host, for [`HOST_LIFETIME`]; with it, when it ends.
    pub fn issue_host(
        &self,
        host: Uuid,
        key: &HostPublicKey,
        now: Timestamp,
    ) -> Result<(CertificateDer<'static>, Timestamp), KeyError> {
        let mut params: CertificateParams = parameters(&host.to_string())?;
        let uri = format!("{URN}{host}");
        params.subject_alt_names = vec![SanType::URI(uri.try_into().map_err(|_| failed())?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = date(now.minus(CLIENT_LIFETIME))?;
        let until = now.plus(HOST_LIFETIME.duration());
        let certificate = self.sign(params, key, (now, until))?;
        let not_after = super::not_after(&certificate)?;
        Ok((certificate, not_after))
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::CertificateSigningRequestDer;
    use rustls::pki_types::pem::PemObject;

    use super::*;

    fn now() -> Timestamp {
        "2026-11-24T10:00:00Z".parse().unwrap()
    }

    fn der(request: &str) -> Vec<u8> {
        CertificateSigningRequestDer::from_pem_slice(request.as_bytes()).unwrap().to_vec()
    }

    #[test]
    fn a_request_shows_the_key_that_signed_it() {
        let key = HostKey::generate().unwrap();
        let request = der(&key.request().unwrap());
        assert_eq!(HostPublicKey::of_request(&request).unwrap(), key.public());
        let kept = HostKey::from_pkcs8(key.to_pkcs8().unwrap().expose()).unwrap();
        assert_eq!(kept.public().thumbprint(), key.public().thumbprint());
    }

    #[test]
    fn a_request_that_another_key_signed_or_that_was_changed_is_refused() {
        let request = der(&HostKey::generate().unwrap().request().unwrap());
        let accepted: Vec<usize> = (0..request.len())
            .filter(|at| {
                let mut changed = request.clone();
                changed[*at] ^= 1;
                HostPublicKey::of_request(&changed).is_ok()
            })
            .collect();
        assert_eq!(accepted, [0; 0], "{request:02x?}");
        let longer = [request.as_slice(), b"x"].concat();
        assert!(HostPublicKey::of_request(&longer).is_err());
        assert!(HostPublicKey::of_request(b"").is_err());
    }

    #[test]
    fn a_hosts_certificate_names_it_and_lives_a_day_as_a_client() {
        let authority =
            Authority::create("Portcullis host authority", super::super::AUTHORITY_LIFETIME, now());
        let (key, host) = (HostKey::generate().unwrap(), Uuid::from_u128(7));
        let issued = authority.unwrap().issue_host(host, &key.public(), now());
        let (certificate, not_after) = issued.unwrap();
        let day_later = now().plus(HOST_LIFETIME.duration());
        assert_eq!(not_after, day_later);
        assert_eq!(
            HostCertificate::read(&certificate).unwrap(),
            HostCertificate {
                host,
                key: key.public(),
                not_before: now().minus(CLIENT_LIFETIME),
                not_after: day_later,
            }
        );
        let (_, parsed) = X509Certificate::from_der(&certificate).unwrap();
        let extended = parsed.extended_key_usage().unwrap().unwrap().value;
        assert!(extended.client_auth && !extended.server_auth && !extended.any);
        assert!(!parsed.is_ca());
    }

    #[test]
    fn a_certificate_of_a_session_is_none_of_a_host() {
        let authority = Authority::create("client", super::super::AUTHORITY_LIFETIME, now());
        let leaf = super::super::ClientLeaf { user: "ada", session: model::SessionId::random() };
        let identity = authority.unwrap().issue_client(&leaf, now()).unwrap();
        assert!(HostCertificate::read(&identity.chain[0]).is_err());
    }

    #[test]
    fn derived_keys_are_the_same_after_a_restart_and_differ_by_purpose_and_host() {
        let key = HostKey::generate().unwrap();
        let tag = |key: &HostKey, purpose| {
            hmac::sign(&key.derive(purpose).unwrap(), b"message").as_ref().to_vec()
        };
        let again = HostKey::from_pkcs8(key.to_pkcs8().unwrap().expose()).unwrap();
        assert_eq!(tag(&key, "a"), tag(&again, "a"));
        assert_ne!(tag(&key, "a"), tag(&key, "b"));
        assert_ne!(tag(&key, "a"), tag(&HostKey::generate().unwrap(), "a"));
    }
}
