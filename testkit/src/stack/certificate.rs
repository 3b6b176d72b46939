//! A workload's certificate: self-signed, as `az ad sp create-for-rbac --create-cert` makes them.

use std::io::Write;
use std::path::Path;

use anyhow::Result;
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_RSA_SHA256, RsaKeySize};

use crate::process;

/// Writes certificate and key into one PEM file, as Azure's libraries want them; the certificate alone.
pub fn create(file: &Path) -> Result<String> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, "orders-api");
    // Azure's libraries sign with RSA only.
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?;
    let certificate = params.self_signed(&key)?.pem();
    let mut opened = process::private_file(file)?;
    opened.write_all(key.serialize_pem().as_bytes())?;
    opened.write_all(certificate.as_bytes())?;
    Ok(certificate)
}
