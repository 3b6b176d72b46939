//! Throw-away authorities and certificates.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// What a throw-away server shows its clients.
pub(crate) struct Identity {
    /// PEM of its certificate.
    pub(crate) chain: String,
    /// PEM of its key.
    pub(crate) key: String,
    /// PEM of the authority that signed it.
    pub(crate) authority: String,
}

impl Identity {
    pub(crate) fn create() -> Result<Self> {
        let (authority, issuer) = authority("throw-away server authority")?;
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let mut leaf = CertificateParams::new(names)?;
        leaf.distinguished_name.push(DnType::CommonName, "127.0.0.1");
        leaf.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        let key = KeyPair::generate()?;
        let chain = leaf.signed_by(&key, &issuer)?.pem();
        Ok(Self { chain, key: key.serialize_pem(), authority })
    }
}

/// The superuser's way around the gateway: files in the server's directory.
#[derive(Clone, Debug)]
pub struct Direct {
    /// PEM of the authority: belongs into the server's file of client authorities beside the gateway's.
    pub authority: String,
    /// PEM file with a client certificate whose CN is the superuser's name.
    pub certificate: PathBuf,
    /// PEM file with its key.
    pub key: PathBuf,
}

/// Whose authority it is.
pub(crate) const DIRECT_AUTHORITY: &str = "throw-away direct access";

impl Direct {
    /// Files in this directory, with a certificate for this user.
    pub(crate) fn create(directory: &Path, superuser: &str) -> Result<Self> {
        let params = authority_params(DIRECT_AUTHORITY)?;
        let key = KeyPair::generate()?;
        let direct = Self::at(directory, params.self_signed(&key)?.pem());
        fs::write(direct.authority_file(), &direct.authority)?;
        write_private(&directory.join("direct-ca.key"), &key.serialize_pem())?;
        direct.certify(superuser, &direct.certificate, &direct.key)?;
        Ok(direct)
    }

    pub(crate) fn open(directory: &Path) -> Result<Option<Self>> {
        match fs::read_to_string(directory.join("direct-ca.pem")) {
            Ok(authority) => Ok(Some(Self::at(directory, authority))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The file with its authority.
    pub fn authority_file(&self) -> PathBuf {
        self.key.with_file_name("direct-ca.pem")
    }

    /// The same way for another user of the server's, whose files do not exist.
    pub fn for_user(&self, user: &str) -> Result<Self> {
        let place = |ending: &str| self.key.with_file_name(format!("direct-{user}.{ending}"));
        let other = Self {
            authority: self.authority.clone(),
            certificate: place("crt"),
            key: place("key"),
        };
        self.certify(user, &other.certificate, &other.key)?;
        Ok(other)
    }

    fn certify(&self, user: &str, certificate: &Path, key_file: &Path) -> Result<()> {
        let key =
            KeyPair::from_pem(&fs::read_to_string(self.key.with_file_name("direct-ca.key"))?)?;
        let issuer = Issuer::new(authority_params(DIRECT_AUTHORITY)?, key);
        let mut leaf = CertificateParams::new(Vec::new())?;
        leaf.distinguished_name.push(DnType::CommonName, user);
        leaf.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        let key = KeyPair::generate()?;
        fs::write(certificate, leaf.signed_by(&key, &issuer)?.pem())?;
        write_private(key_file, &key.serialize_pem())
    }

    fn at(directory: &Path, authority: String) -> Self {
        Self {
            authority,
            certificate: directory.join("direct.crt"),
            key: directory.join("direct.key"),
        }
    }
}

fn authority(name: &str) -> Result<(String, Issuer<'static, KeyPair>)> {
    let params = authority_params(name)?;
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?.pem();
    Ok((certificate, Issuer::new(params, key)))
}

fn authority_params(name: &str) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages.push(KeyUsagePurpose::KeyCertSign);
    Ok(params)
}

/// libpq refuses a key that others can read.
fn write_private(path: &Path, text: &str) -> Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path)?.write_all(text.as_bytes())?;
    Ok(())
}
