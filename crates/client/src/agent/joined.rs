//! What a machine keeps of having joined: its key, its certificate, and where it gets tokens. Only its owner can read
//! it. Nothing else of the agent's rests on a disk.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keys::{HostCertificate, HostKey};
use model::{HostName, Timestamp};
use runtime::Secret;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use serde_json::json;
use ureq::http::Method;

use crate::home::{self, file};
use crate::{ClientError, Installation, Sent};

/// The folder of a machine that has joined, or is about to.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

/// A machine that has joined.
#[derive(Debug)]
pub struct Joined {
    /// As the directory calls it.
    pub name: String,
    /// When its certificate ends.
    pub not_after: Timestamp,
    not_before: Timestamp,
    pub(crate) key: HostKey,
    key_pem: Secret<String>,
    certificate: String,
    address: String,
}

/// What the installation answers.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Certified {
    name: String,
    certificate: String,
    address: String,
}

#[derive(Serialize, Deserialize)]
struct Written {
    name: String,
    address: String,
    certificate: String,
}

const KEY: &str = "a P-256 key that `portcullis agent join` made";
const HOST: &str = "what `portcullis agent join` wrote";

impl Folder {
    /// The folder at this path, made 0700 when it is not there.
    pub fn open(path: &Path) -> Result<Self, ClientError> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(path).map_err(file("create", path))?;
        let about = fs::metadata(path).map_err(file("look at", path))?;
        let mode = about.permissions().mode();
        if mode & 0o077 != 0 || about.uid() != rustix::process::geteuid().as_raw() {
            return Err(ClientError::Exposed { path: path.to_owned(), mode: mode & 0o7777 });
        }
        Ok(Self(path.to_owned()))
    }

    fn key_file(&self) -> PathBuf {
        self.0.join("host.key")
    }

    fn host_file(&self) -> PathBuf {
        self.0.join("host.json")
    }

    /// Joins as this host with a fresh key. The key is written first: a token is never used up for a key that is lost.
    pub fn join(
        &self,
        installation: &Installation,
        host: &HostName,
        token: &Secret<String>,
    ) -> Result<Joined, ClientError> {
        let failed = |_| ClientError::Cryptography { task: "make the host's key" };
        let key = HostKey::generate().map_err(failed)?;
        let pem = pem(&key)?;
        let body = json!({
            "host": host, "token": token.expose(), "request": key.request().map_err(failed)?,
        });
        let waiting = self.0.join("host.key.new");
        home::write(&waiting, pem.expose())?;
        let sent = Sent { body: Some(&body), token: None };
        let certified: Certified = installation.call(&Method::POST, "/host/v1/join", sent)?;
        fs::rename(&waiting, self.key_file()).map_err(file("put in place", &waiting))?;
        self.keep(certified)?;
        self.load()
    }

    /// Reads what is kept.
    pub fn load(&self) -> Result<Joined, ClientError> {
        let (key_file, host_file) = (self.key_file(), self.host_file());
        let malformed =
            |path: &Path, expected| ClientError::Malformed { path: path.to_owned(), expected };
        let not_joined = || ClientError::NotJoined { path: key_file.clone() };
        let key_pem = home::read(&key_file)?.ok_or_else(not_joined)?;
        let der = PrivatePkcs8KeyDer::from_pem_slice(key_pem.expose().as_bytes())
            .map_err(|_| malformed(&key_file, KEY))?;
        let key =
            HostKey::from_pkcs8(der.secret_pkcs8_der()).map_err(|_| malformed(&key_file, KEY))?;
        let text = home::read(&host_file)?.ok_or_else(|| malformed(&host_file, HOST))?;
        let Written { name, address, certificate } =
            serde_json::from_str(text.expose()).map_err(|_| malformed(&host_file, HOST))?;
        let said = CertificateDer::from_pem_slice(certificate.as_bytes())
            .ok()
            .and_then(|der| HostCertificate::read(&der).ok())
            .filter(|said| said.key == key.public())
            .ok_or_else(|| malformed(&host_file, "the certificate of the key beside it"))?;
        Ok(Joined {
            name,
            not_before: said.not_before,
            not_after: said.not_after,
            key,
            key_pem,
            certificate,
            address,
        })
    }

    /// Another certificate for the same key.
    pub(crate) fn renew(&self, joined: &Joined, authority: &Path) -> Result<Joined, ClientError> {
        let sent = Sent { body: Some(&json!({})), token: None };
        let certified: Certified =
            joined.installation(authority)?.call(&Method::POST, "/host/v1/renew", sent)?;
        self.keep(certified)?;
        self.load()
    }

    fn keep(&self, certified: Certified) -> Result<(), ClientError> {
        let Certified { name, certificate, address } = certified;
        let failed = |_| ClientError::Cryptography { task: "write down the host" };
        let text =
            serde_json::to_string(&Written { name, address, certificate }).map_err(failed)?;
        home::write(&self.host_file(), &text)
    }
}

impl Joined {
    /// Where the agent renews and asks for tokens, showing its certificate.
    pub(crate) fn installation(&self, authority: &Path) -> Result<Installation, ClientError> {
        Installation::showing(&self.address, authority, (&self.certificate, &self.key_pem))
    }

    /// When half of the certificate's life is over.
    pub(crate) fn renew_at(&self) -> Timestamp {
        let life = self.not_after.since(self.not_before);
        self.not_before.plus(Duration::from_secs(life.as_secs() / 2))
    }
}

fn pem(key: &HostKey) -> Result<Secret<String>, ClientError> {
    let failed = |_| ClientError::Cryptography { task: "write the host's key" };
    let encoded = Secret::new(STANDARD.encode(key.to_pkcs8().map_err(failed)?.expose()));
    let mut pem = Secret::new("-----BEGIN PRIVATE KEY-----\n".to_owned());
    for line in encoded.expose().as_bytes().chunks(64) {
        pem.expose_mut().extend(line.iter().copied().map(char::from));
        pem.expose_mut().push('\n');
    }
    pem.expose_mut().push_str("-----END PRIVATE KEY-----\n");
    Ok(pem)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    #[test]
    fn a_folder_that_others_can_enter_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("agent");
        let folder = Folder::open(&path).unwrap();
        assert!(matches!(folder.load(), Err(ClientError::NotJoined { .. })));
        fs::set_permissions(&path, Permissions::from_mode(0o750)).unwrap();
        assert!(matches!(Folder::open(&path), Err(ClientError::Exposed { .. })));
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(&root.path().join("agent")).unwrap();
        let key = pem(&HostKey::generate().unwrap()).unwrap();
        home::write(&folder.key_file(), key.expose()).unwrap();
        fs::set_permissions(folder.key_file(), Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(folder.load(), Err(ClientError::Exposed { .. })));
    }
}
