//! A stand-in of what cannot run here: a machine of Azure's with its instance metadata service, and Azure Database for
//! MySQL with Entra authentication. Both check what Azure's documentation says that Azure checks.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    KeyPair, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use wire::mysql::authentication::{CLEAR_PASSWORD, clear_password, switch_request};
use wire::mysql::error::{Report, ok};
use wire::mysql::handshake::{First, first};

use crate::mysql::{packet, read_packet};

/// For whom Azure Database's tokens are.
const AUDIENCE: &str = "https://ossrdbms-aad.database.windows.net";
const LIVES: Duration = Duration::from_hours(24);
const QUIET_MAX: Duration = Duration::from_secs(20);

/// A managed identity, a machine that has it and a database server that knows it. It runs until the test's process ends.
pub struct Azure {
    /// Port of the instance metadata service.
    pub metadata_port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    key: RsaKeyPair,
    client_id: &'static str,
    /// `CREATE AADUSER`: who may log in as this user.
    user: &'static str,
    issued: AtomicUsize,
    refused: Mutex<Vec<String>>,
    database: OnceLock<Database>,
}

struct Database {
    greeting: Vec<u8>,
    tls: Arc<ServerConfig>,
}

impl Azure {
    /// The machine with its identity.
    pub fn start(client_id: &'static str, user: &'static str) -> Result<Self> {
        let shared = Arc::new(Shared {
            key: RsaKeyPair::generate(KeySize::Rsa2048)?,
            client_id,
            user,
            issued: AtomicUsize::new(0),
            refused: Mutex::new(Vec::new()),
            database: OnceLock::new(),
        });
        Ok(Self { metadata_port: listen(&shared, Shared::metadata)?, shared })
    }

    /// A database server that greets as the one behind `mariadb_port` does and has its certificate; its port.
    pub fn database(&self, mariadb_port: u16, (chain, key): (&Path, &Path)) -> Result<u16> {
        let mut real = TcpStream::connect((Ipv4Addr::LOCALHOST, mariadb_port))?;
        real.set_read_timeout(Some(QUIET_MAX))?;
        let greeting = read_packet(&mut real)?;
        let chain =
            CertificateDer::pem_file_iter(chain)?.collect::<std::result::Result<Vec<_>, _>>()?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
        let database = Database { greeting, tls: Arc::new(tls) };
        ensure!(self.shared.database.set(database).is_ok(), "it has a database server already");
        listen(&self.shared, Shared::serve)
    }

    /// Tokens that were asked for.
    pub fn issued(&self) -> usize {
        self.shared.issued.load(Ordering::SeqCst)
    }

    /// Why it refused what it refused.
    pub fn refused(&self) -> Vec<String> {
        self.shared.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl std::fmt::Debug for Azure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Azure").field("metadata_port", &self.metadata_port).finish_non_exhaustive()
    }
}

fn listen(shared: &Arc<Shared>, serve: fn(&Shared, TcpStream) -> Result<()>) -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    let shared = Arc::clone(shared);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                if let Err(error) = serve(&shared, stream) {
                    let mut refused = shared.refused.lock().unwrap_or_else(PoisonError::into_inner);
                    refused.push(format!("{error:#}"));
                }
            });
        }
    });
    Ok(port)
}

impl Shared {
    fn metadata(&self, mut stream: TcpStream) -> Result<()> {
        stream.set_read_timeout(Some(QUIET_MAX))?;
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let request = lines.next().context("no request")??;
        let mut headers = Vec::new();
        for line in lines {
            let line = line?;
            if line.is_empty() {
                break;
            }
            headers.push(line.to_ascii_lowercase());
        }
        let answer = self.answer(&request, &headers);
        let (status, body) = match &answer {
            Ok(body) => ("200 OK", body.clone()),
            Err(error) => (
                "400 Bad Request",
                json!({"error": "invalid_request", "error_description": error.to_string()}),
            ),
        };
        let body = body.to_string();
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        )?;
        answer.map(drop)
    }

    fn answer(&self, request: &str, headers: &[String]) -> Result<Value> {
        let path = request.strip_prefix("GET ").and_then(|rest| rest.strip_suffix(" HTTP/1.1"));
        let query = path.and_then(|path| path.strip_prefix("/metadata/identity/oauth2/token?"));
        let query = query.context("no such resource")?;
        let has = |parameter: &str| query.split('&').any(|each| each == parameter);
        ensure!(
            headers.iter().any(|it| it == "metadata: true"),
            "Required metadata header not specified"
        );
        ensure!(!headers.iter().any(|it| it.starts_with("x-forwarded-for")), "it was forwarded");
        ensure!(has("api-version=2018-02-01"), "api-version");
        ensure!(has("resource=https%3A%2F%2Fossrdbms-aad.database.windows.net"), "resource");
        ensure!(has(&format!("client_id={}", self.client_id)), "Identity not found");
        self.issued.fetch_add(1, Ordering::SeqCst);
        let expires = seconds() + LIVES.as_secs();
        Ok(json!({
            "access_token": self.token(expires)?,
            "client_id": self.client_id,
            "expires_in": LIVES.as_secs().to_string(),
            "expires_on": expires.to_string(),
            "resource": AUDIENCE,
            "token_type": "Bearer",
        }))
    }

    fn token(&self, expires: u64) -> Result<String> {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = part(&json!({"typ": "JWT", "alg": "RS256"}));
        // As long as Entra's are.
        let claims = part(&json!({
            "aud": AUDIENCE, "appid": self.client_id, "exp": expires, "xms_filler": "x".repeat(1_500),
        }));
        let signed = format!("{header}.{claims}");
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key.sign(
            &RSA_PKCS1_SHA256,
            &SystemRandom::new(),
            signed.as_bytes(),
            &mut signature,
        )?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    fn serve(&self, mut stream: TcpStream) -> Result<()> {
        let database = self.database.get().context("there is no database server")?;
        stream.set_read_timeout(Some(QUIET_MAX))?;
        stream.write_all(&packet(0, &database.greeting))?;
        // A look at the greeting is no login.
        let mut header = [0; 4];
        if stream.read_exact(&mut header).is_err() {
            return Ok(());
        }
        let mut request = [0; 32];
        ensure!(header[..3] == [32, 0, 0], "Connections using insecure transport are prohibited");
        stream.read_exact(&mut request)?;
        let mut stream =
            StreamOwned::new(ServerConnection::new(Arc::clone(&database.tls))?, stream);
        let response = read_packet(&mut stream)?;
        let First::Response(response) = first(&response)? else { bail!("no handshake response") };
        let user = String::from_utf8_lossy(response.user).into_owned();
        ensure!(response.authentication.is_empty(), "something was shown before it was asked for");
        write(&mut stream, 3, &switch_request(CLEAR_PASSWORD, &[]))?;
        let answer = read_packet(&mut stream)?;
        if let Err(error) = self.check(&user, clear_password(&answer)?) {
            let message = "Access denied for user; the Entra token is not valid";
            let report = Report { code: 1045, sqlstate: "28000", message };
            write(&mut stream, 5, &report.encode())?;
            return Err(error);
        }
        write(&mut stream, 5, &ok(2))?;
        loop {
            let command = read_packet(&mut stream)?;
            if command.first() == Some(&1) {
                return Ok(());
            }
            write(&mut stream, 1, &ok(2))?;
        }
    }

    /// Signature, audience, end, and that the user is the identity's.
    fn check(&self, user: &str, token: &[u8]) -> Result<()> {
        let token = std::str::from_utf8(token)?;
        let (signed, signature) = token.rsplit_once('.').context("the token is no JWT")?;
        let public = self.key.public_key().as_ref();
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public)
            .verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature)?)
            .map_err(|_| anyhow::anyhow!("the signature does not hold"))?;
        let claims = signed.split('.').nth(1).context("the token is no JWT")?;
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims)?)?;
        let says = |claim: &str, value: &str| claims.get(claim).is_some_and(|it| it == value);
        ensure!(says("aud", AUDIENCE), "the token is for another service");
        let end = claims.get("exp").and_then(Value::as_u64);
        ensure!(end.is_some_and(|end| end > seconds()), "the token has ended");
        if user != self.user || !says("appid", self.client_id) {
            bail!("`{user}` is not the identity's user");
        }
        Ok(())
    }
}

fn write(stream: &mut impl Write, sequence: u8, payload: &[u8]) -> Result<()> {
    stream.write_all(&packet(sequence, payload))?;
    Ok(stream.flush()?)
}

#[expect(clippy::disallowed_methods, reason = "a server of its own, with a clock of its own")]
fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
