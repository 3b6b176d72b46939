//! An OIDC issuer on loopback, as a Kubernetes cluster or a forge is one: discovery and keys over HTTPS under an authority
//! of its own, tokens signed on demand, and everything that can go wrong with one.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{
    BasicConstraints, CertificateParams, IsCa, Issuer as Authority, KeyPair, PKCS_RSA_SHA256,
    RsaKeySize,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::process;

const QUIET_MAX: Duration = Duration::from_secs(10);
const DISCOVERY: &str = "/.well-known/openid-configuration";
const KEYS: &str = "/keys";

/// A running issuer. Dropping it ends it.
#[derive(Debug)]
pub struct Issuer {
    /// `iss` of its tokens.
    pub url: String,
    folder: PathBuf,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

/// How it answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Behaviour {
    /// As it should.
    #[default]
    Honest,
    /// Closes connections unanswered.
    Away,
    /// Sends clients elsewhere.
    Redirects(String),
    /// Says that it is someone else.
    Claims(String),
    /// Says that its keys are elsewhere.
    KeysAt(String),
    /// With documents that have no end.
    Endless,
    /// With a page for people.
    Page,
    /// With a set in which nothing verifies signatures.
    NoKeys,
}

struct Shared {
    url: String,
    tls: Arc<ServerConfig>,
    state: Mutex<State>,
    ended: AtomicBool,
    keys_asked: AtomicUsize,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("url", &self.url).finish_non_exhaustive()
    }
}

struct State {
    keys: Keys,
    behaviour: Behaviour,
}

/// What an issuer signs with.
struct Keys {
    kid: String,
    key: RsaKeyPair,
}

impl Issuer {
    /// Keys and an authority in this folder, and an issuer with them on a port that was free.
    pub fn start(folder: &Path) -> Result<Self> {
        make(folder)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        Self::serve(folder, listener)
    }

    /// The issuer of this folder again, on the port that it had.
    pub fn again(folder: &Path, port: u16) -> Result<Self> {
        Self::serve(folder, TcpListener::bind((Ipv4Addr::LOCALHOST, port))?)
    }

    fn serve(folder: &Path, listener: TcpListener) -> Result<Self> {
        let url = format!("https://localhost:{}", listener.local_addr()?.port());
        let chain = CertificateDer::pem_file_iter(folder.join("tls.pem"))?
            .collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_file(folder.join("tls-key.pem"))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        let state = State { keys: Keys::read(folder)?, behaviour: Behaviour::Honest };
        let shared = Arc::new(Shared {
            url: url.clone(),
            tls: Arc::new(tls),
            state: Mutex::new(state),
            ended: AtomicBool::new(false),
            keys_asked: AtomicUsize::new(0),
        });
        let serving = Arc::clone(&shared);
        let accepting = std::thread::spawn(move || serving.accept(&listener));
        Ok(Self { url, folder: folder.to_owned(), shared, accepting: Some(accepting) })
    }

    pub fn port(&self) -> Result<u16> {
        let port = self.url.rsplit(':').next().and_then(|port| port.parse().ok());
        port.with_context(|| format!("no port in {}", self.url))
    }

    /// PEM file of the authority under which it is trusted.
    pub fn ca(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// PKCS #8 in PEM: what it signs with.
    pub fn key_file(&self) -> PathBuf {
        self.folder.join("key.pem")
    }

    pub fn kid(&self) -> String {
        self.shared.state().keys.kid.clone()
    }

    pub fn behave(&self, behaviour: Behaviour) {
        self.shared.state().behaviour = behaviour;
    }

    /// How often its keys were fetched.
    pub fn keys_asked(&self) -> usize {
        self.shared.keys_asked.load(Ordering::SeqCst)
    }

    /// A new key in place of the former one.
    pub fn rotate(&self) -> Result<()> {
        make_key(&self.folder)?;
        self.shared.state().keys = Keys::read(&self.folder)?;
        Ok(())
    }

    /// A token with these claims and the usual header.
    pub fn sign(&self, claims: &Value) -> Result<String> {
        self.shared.state().keys.sign(claims)
    }

    /// A token with this header and this text as claims.
    pub fn sign_as(&self, header: &Value, claims: &str) -> Result<String> {
        self.shared.state().keys.sign_as(header, claims)
    }

    /// Its keys as it publishes them.
    pub fn key_set(&self) -> Value {
        self.shared.state().keys.set()
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // So that accepting notices.
        let woken =
            self.port().is_ok_and(|port| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
        if let Some(accepting) = self.accepting.take().filter(|_| woken) {
            drop(accepting.join());
        }
    }
}

/// A token of the issuer in this folder, wherever it runs.
pub fn sign(folder: &Path, claims: &Value) -> Result<String> {
    Keys::read(folder)?.sign(claims)
}

impl Keys {
    fn read(folder: &Path) -> Result<Self> {
        let key = PrivateKeyDer::from_pem_file(folder.join("key.pem"))?;
        let key = RsaKeyPair::from_pkcs8(key.secret_der())?;
        Ok(Self { kid: fs::read_to_string(folder.join("kid"))?, key })
    }

    fn sign(&self, claims: &Value) -> Result<String> {
        let header = json!({"typ": "JWT", "alg": "RS256", "kid": self.kid});
        self.sign_as(&header, &claims.to_string())
    }

    fn sign_as(&self, header: &Value, claims: &str) -> Result<String> {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let signed = format!("{}.{}", part(&header.to_string()), part(claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        let random = SystemRandom::new();
        self.key.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature)?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    fn set(&self) -> Value {
        // PKCS #1 of RSA-2048 has a fixed shape: 9 bytes, the modulus (256), 2 bytes, the exponent.
        let public = self.key.public_key().as_ref();
        let part = |from, to| URL_SAFE_NO_PAD.encode(public.get(from..to).unwrap_or_default());
        json!({"keys": [{
            "kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.kid,
            "n": part(9, 265), "e": part(267, public.len()),
        }]})
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming().flatten() {
            if self.ended.load(Ordering::SeqCst) {
                return;
            }
            let shared = Arc::clone(self);
            // What a client does with its connection is its own affair.
            std::thread::spawn(move || drop(shared.answer(stream)));
        }
    }

    fn answer(&self, stream: TcpStream) -> Result<()> {
        stream.set_read_timeout(Some(QUIET_MAX))?;
        stream.set_write_timeout(Some(QUIET_MAX))?;
        let behaviour = self.state().behaviour.clone();
        if behaviour == Behaviour::Away {
            return Ok(());
        }
        let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(&self.tls))?, stream);
        let path = request(&mut stream)?;
        if path == KEYS {
            self.keys_asked.fetch_add(1, Ordering::SeqCst);
        }
        let (status, kind, body) = match &behaviour {
            Behaviour::Redirects(to) => {
                write!(
                    stream,
                    "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\
                     Connection: close\r\n\r\n"
                )?;
                return close(stream);
            }
            Behaviour::Endless => return endless(stream),
            Behaviour::Page => ("200 OK", "text/html", "<p>Sign in".to_owned()),
            Behaviour::Honest
            | Behaviour::Claims(_)
            | Behaviour::KeysAt(_)
            | Behaviour::NoKeys
            | Behaviour::Away => self.document(&path, &behaviour),
        };
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        )?;
        close(stream)
    }

    fn document(&self, path: &str, behaviour: &Behaviour) -> (&'static str, &'static str, String) {
        let issuer = match behaviour {
            Behaviour::Claims(other) => other.as_str(),
            _ => self.url.as_str(),
        };
        let keys_at = match behaviour {
            Behaviour::KeysAt(address) => address.clone(),
            _ => format!("{}{KEYS}", self.url),
        };
        match (path, behaviour) {
            (DISCOVERY, _) => {
                let document = json!({
                    "issuer": issuer, "jwks_uri": keys_at, "response_types_supported": ["id_token"],
                    "subject_types_supported": ["public"],
                    "id_token_signing_alg_values_supported": ["RS256"],
                });
                ("200 OK", "application/json", document.to_string())
            }
            (KEYS, Behaviour::NoKeys) => {
                let keys = json!({"keys": [{"kty": "oct", "k": "c2VjcmV0"}]});
                ("200 OK", "application/json", keys.to_string())
            }
            // As Kubernetes says it.
            (KEYS, _) => {
                ("200 OK", "application/jwk-set+json", self.state().keys.set().to_string())
            }
            _ => ("404 Not Found", "application/json", "{}".to_owned()),
        }
    }
}

/// The path of one request.
fn request(stream: &mut impl Read) -> Result<String> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().context("no request")??;
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    Ok(first.split(' ').nth(1).context("no path")?.to_owned())
}

fn endless(mut stream: StreamOwned<ServerConnection, TcpStream>) -> Result<()> {
    stream.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{\"issuer\":\"",
    )?;
    loop {
        stream.write_all(&[b'x'; 8192])?;
    }
}

fn close(mut stream: StreamOwned<ServerConnection, TcpStream>) -> Result<()> {
    stream.conn.send_close_notify();
    Ok(stream.flush()?)
}

/// An authority, a certificate for `localhost`, and a first key.
fn make(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let ca_key = KeyPair::generate()?;
    let mut ca = CertificateParams::new(Vec::new())?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = ca.self_signed(&ca_key)?;
    let key = KeyPair::generate()?;
    let leaf = CertificateParams::new(vec!["localhost".to_owned()])?
        .signed_by(&key, &Authority::from_params(&ca, &ca_key))?;
    fs::write(folder.join("ca.pem"), authority.pem())?;
    fs::write(folder.join("tls.pem"), leaf.pem())?;
    secret_file(&folder.join("tls-key.pem"), &key.serialize_pem())?;
    make_key(folder)
}

/// A signing key in place of the one that is there.
fn make_key(folder: &Path) -> Result<()> {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?;
    let mut random = [0; 8];
    aws_lc_rs::rand::fill(&mut random)?;
    let kid = URL_SAFE_NO_PAD.encode(random);
    let file = folder.join("key.pem");
    if file.try_exists()? {
        fs::remove_file(&file)?;
    }
    secret_file(&file, &key.serialize_pem())?;
    Ok(fs::write(folder.join("kid"), kid)?)
}

fn secret_file(file: &Path, text: &str) -> Result<()> {
    Ok(process::private_file(file)?.write_all(text.as_bytes())?)
}
