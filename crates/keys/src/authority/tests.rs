use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use std::time::Duration;

use x509_parser::extensions::{GeneralName, ParsedExtension};

use super::*;

fn now() -> Timestamp {
    "2026-11-24T10:00:00Z".parse().unwrap()
}

fn authority() -> Authority {
    Authority::create("Portcullis client authority orders", AUTHORITY_LIFETIME, now()).unwrap()
}

fn parsed(certificate: &CertificateDer<'static>) -> X509Certificate<'static> {
    let leaked: &'static [u8] = Box::leak(certificate.to_vec().into_boxed_slice());
    X509Certificate::from_der(leaked).unwrap().1
}

fn leaf(user: &str) -> ClientLeaf<'_> {
    ClientLeaf { user, session: SessionId::random() }
}

#[test]
fn an_authority_signs_leaves_only_and_lives_as_long_as_asked() {
    let authority = authority();
    let certificate = parsed(&authority.certificate);
    let constraints = certificate.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && constraints.value.ca);
    assert_eq!(constraints.value.path_len_constraint, Some(0));
    let usage = certificate.key_usage().unwrap().unwrap().value;
    assert!(usage.key_cert_sign() && usage.crl_sign() && !usage.digital_signature());
    assert!(certificate.name_constraints().unwrap().is_none());
    assert_eq!(authority.not_after(), now().plus(AUTHORITY_LIFETIME.duration()));
}

#[test]
fn a_client_certificate_has_the_profile_that_is_documented() {
    let authority = authority();
    let leaf = leaf("ada@example.com");
    let identity = authority.issue_client(&leaf, now()).unwrap();
    assert_eq!(identity.chain.len(), 1);
    let certificate = parsed(&identity.chain[0]);

    let names: Vec<_> = certificate
        .subject()
        .iter_common_name()
        .map(|name| name.as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["ada@example.com"]);
    let five_minutes = 300;
    assert_eq!(certificate.validity().not_before.timestamp(), now().seconds() - five_minutes);
    assert_eq!(certificate.validity().not_after.timestamp(), now().seconds() + five_minutes);

    let san = certificate.subject_alternative_name().unwrap().unwrap().value;
    let uri = format!("urn:portcullis:session:{}", leaf.session);
    assert_eq!(san.general_names, [GeneralName::URI(&uri)]);
    let extended = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.client_auth && !extended.server_auth && !extended.any);
    assert!(extended.other.is_empty());
    let usage = certificate.key_usage().unwrap().unwrap();
    assert_eq!(usage.value.flags, 1, "digitalSignature and nothing else");
    assert!(!certificate.is_ca());
    let has_authority_key = certificate
        .extensions()
        .iter()
        .any(|e| matches!(e.parsed_extension(), ParsedExtension::AuthorityKeyIdentifier(_)));
    assert!(has_authority_key);
    let algorithm = certificate.public_key().parsed().unwrap();
    assert_eq!(algorithm.key_size(), 256);
}

#[test]
fn every_leaf_has_its_own_key_and_serial_number() {
    let authority = authority();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let identity = authority.issue_client(&leaf("ada"), now()).unwrap();
        let certificate = parsed(&identity.chain[0]);
        assert!(seen.insert(certificate.raw_serial().to_vec()));
        assert!(seen.insert(certificate.public_key().subject_public_key.data.to_vec()));
        assert_eq!(certificate.raw_serial().len(), SERIAL_BYTES);
    }
}

#[test]
fn names_of_63_bytes_are_minted_whole_and_longer_ones_are_refused() {
    let authority = authority();
    let longest = "é".repeat(31) + "x";
    let identity = authority.issue_client(&leaf(&longest), now()).unwrap();
    let certificate = parsed(&identity.chain[0]);
    let name = certificate.subject().iter_common_name().next().unwrap();
    assert_eq!(name.as_str().unwrap(), longest);

    for (user, reason) in [
        ("x".repeat(64), "PostgreSQL's names have at most 63 bytes"),
        (String::new(), "it is empty"),
        ("ada\0root".to_owned(), "it has a zero byte in it"),
    ] {
        let refused = authority.issue_client(&leaf(&user), now()).unwrap_err();
        assert_eq!(refused, KeyError::Name { name: user, reason });
    }
}

#[test]
fn a_server_certificate_names_hosts_and_addresses_and_serves_only() {
    let authority = authority();
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let identity = authority.issue_server(&names, SERVER_LIFETIME, now()).unwrap();
    let certificate = parsed(&identity.chain[0]);
    let san = certificate.subject_alternative_name().unwrap().unwrap().value;
    let mut loopback = [0; 16];
    loopback[15] = 1;
    assert_eq!(
        san.general_names,
        [
            GeneralName::DNSName("localhost"),
            GeneralName::IPAddress(&[127, 0, 0, 1]),
            GeneralName::IPAddress(&loopback)
        ]
    );
    let extended = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.server_auth && !extended.client_auth);
    assert_eq!(not_after(&identity.chain[0]).unwrap(), now().plus(SERVER_LIFETIME.duration()));

    assert!(authority.issue_server(&[], SERVER_LIFETIME, now()).is_err());
    assert!(authority.issue_server(&["a b".to_owned()], SERVER_LIFETIME, now()).is_err());
}

#[test]
fn an_authority_survives_being_written_and_read() {
    let authority = authority();
    let pem = authority.certificate_pem();
    let read = Authority::from_pem(&pem, authority.key_pkcs8().unwrap().expose()).unwrap();
    assert_eq!(read.certificate_pem(), pem);
    assert_eq!(read.common_name(), "Portcullis client authority orders");
    let identity = read.issue_client(&leaf("ada"), now()).unwrap();
    let issuer = parsed(&authority.certificate);
    let certificate = parsed(&identity.chain[0]);
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &issuer.public_key().subject_public_key.data)
        .verify(certificate.tbs_certificate.as_ref(), &certificate.signature_value.data)
        .unwrap();
}

#[test]
fn a_key_that_is_not_the_certificates_is_refused() {
    let (one, two) = (authority(), authority());
    let refused = Authority::from_pem(&one.certificate_pem(), two.key_pkcs8().unwrap().expose());
    let expected = "an authority's certificate";
    assert_eq!(refused.unwrap_err(), KeyError::Malformed { expected });
    let leaf = one.issue_client(&leaf("ada"), now()).unwrap();
    let refused = Authority::from_pem(&pem(&leaf.chain[0]), leaf.key.secret_der());
    assert_eq!(refused.unwrap_err(), KeyError::Malformed { expected });
}

#[test]
fn no_leaf_outlives_its_authority_and_an_ended_one_signs_nothing() {
    let authority = authority();
    let nearly = authority.not_after().minus(Duration::from_mins(1));
    let identity = authority.issue_client(&leaf("ada"), nearly).unwrap();
    assert_eq!(not_after(&identity.chain[0]).unwrap(), authority.not_after());
    let refused = authority.issue_client(&leaf("ada"), authority.not_after()).unwrap_err();
    let name = authority.common_name().to_owned();
    assert_eq!(refused, KeyError::AuthorityEnded { name, at: authority.not_after() });
}

#[test]
fn sessions_share_a_key_for_ten_minutes_and_never_a_name() {
    let (authority, key) = (authority(), SessionKey::generate(now()).unwrap());
    let users = ["ada@example.com", "orders-app"];
    let minted = users.map(|user| authority.issue_session(&leaf(user), &key, now()).unwrap());
    for (user, certified) in users.into_iter().zip(&minted) {
        certified.keys_match().unwrap();
        let certificate = parsed(&certified.cert[0]);
        assert_eq!(certificate.subject().iter_common_name().next().unwrap().as_str(), Ok(user));
        assert_eq!(certificate.public_key().subject_public_key.data, key.key.der_bytes());
        let signer =
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, authority.issuer.key().der_bytes());
        let signature = certificate.signature_value.data.as_ref();
        signer.verify(certificate.tbs_certificate.as_ref(), signature).unwrap();
    }
    assert!(Arc::ptr_eq(&minted[0].key, &minted[1].key));
    let ten_minutes = Duration::from_mins(10);
    assert!(key.is_good_at(now().plus(ten_minutes.saturating_sub(Duration::from_secs(1)))));
    assert!(!key.is_good_at(now().plus(ten_minutes)));
    assert!(!format!("{key:?}").contains("signing"), "{key:?}");
}
