//! Certificates that are known by who issued them and whom they name, not one by one: the chain comes with the assertion
//! (`x5c`), and a renewed certificate needs no registration.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::Timestamp;
use model::kind::application::SubjectNameIssuer;
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Longer chains are refused: a leaf, a few authorities, and a root that nobody needed to send.
const CERTIFICATES_MAX: usize = 6;

/// The chain's leaf, when an authority that the application names issued it for the name beside that authority.
pub(super) fn leaf(
    x5c: &[String],
    trusted: &[SubjectNameIssuer],
    now: Timestamp,
) -> Option<Vec<u8>> {
    if x5c.len() > CERTIFICATES_MAX {
        return None;
    }
    let chain: Vec<CertificateDer<'_>> = x5c
        .iter()
        .map(|text| STANDARD.decode(text).ok().map(CertificateDer::from))
        .collect::<Option<_>>()?;
    let (leaf, above) = chain.split_first()?;
    let seconds = u64::try_from(now.seconds()).ok()?;
    let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    let issued = trusted.iter().any(|trusted| {
        names(leaf, &trusted.subject_name) && issued_by(leaf, above, &trusted.authority, time)
    });
    issued.then(|| leaf.to_vec())
}

fn issued_by(
    leaf: &CertificateDer<'_>,
    above: &[CertificateDer<'_>],
    authority: &str,
    time: UnixTime,
) -> bool {
    let Some(authority) =
        Pem::iter_from_buffer(authority.as_bytes()).flatten().next().map(|pem| pem.contents)
    else {
        return false;
    };
    let authority = CertificateDer::from(authority);
    let Ok(anchor) = anchor_from_trusted_cert(&authority) else { return false };
    let Ok(entity) = EndEntityCert::try_from(leaf) else { return false };
    entity
        .verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &[anchor],
            above,
            time,
            KeyUsage::client_auth(),
            None,
            None,
        )
        .is_ok()
}

/// Whether the certificate names this subject: as its only common name, or as a DNS name. Host names know no case.
fn names(leaf: &CertificateDer<'_>, subject: &str) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(leaf) else { return false };
    let common: Vec<&str> =
        certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok()).collect();
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let mut dns = alternative.iter().flat_map(|names| &names.value.general_names);
    matches!(common.as_slice(), [name] if name.eq_ignore_ascii_case(subject))
        || dns.any(
            |name| matches!(name, GeneralName::DNSName(name) if name.eq_ignore_ascii_case(subject)),
        )
}
