//! `portcullis.yaml`: one typed structure, read once, safe by default.
//!
//! ```yaml
//! dataDirectory: data                  # relative paths count from this file's folder
//! origin: https://localhost:8443       # where clients reach the token service and the API
//! http: { listen: "127.0.0.1:8443" }
//! gateway:
//!   name: gateway-1
//!   addresses: [127.0.0.1]             # from which it dials databases; `server enroll` writes them to pg_hba.conf
//!   listeners:
//!     - { name: postgresql, listen: "127.0.0.1:6432" }
//!     - { name: postgresql-oauth, listen: "127.0.0.1:6433", authentication: oauthbearer }
//! hosts: { listen: "127.0.0.1:8444" }  # where agents on hosts get tokens; absent: no hosts
//! federation:
//!   issuers:
//!     - { issuer: "https://kubernetes.default.svc.cluster.local", keys: cluster-keys.json }
//! ```

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use model::Lifetime;
use model::kind::server::Engine;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::Environment;

mod federation;
mod problem;
mod value;

pub use federation::{Federation, TrustedIssuer};
pub use model::{InvalidNetwork, Network};
pub use value::{HostPort, InvalidHostPort};

/// Longer files are not configuration.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// The credential that systemd is asked for (`LoadCredentialEncrypted=portcullis.master-key:…`).
pub const MASTER_KEY_CREDENTIAL: &str = "portcullis.master-key";

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("`{file}` cannot be read: {cause}")]
    Unreadable {
        /// Which file.
        file: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// Something in it is wrong.
    #[error("{file}:{line}:{column}: {problem}")]
    Invalid {
        /// Which file.
        file: PathBuf,
        /// Counted from 1.
        line: u64,
        /// Counted from 1.
        column: u64,
        /// What, with the nearest known name where one was mistyped.
        problem: String,
    },
}

/// Everything that an operator decides about one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where store, audit log and master key lie.
    pub data_directory: PathBuf,
    /// `https://host[:port]`, without a slash at the end: issuer of tokens, address of the API.
    pub origin: String,
    /// The HTTPS server of token service and API.
    pub http: Http,
    /// Where agents on hosts get tokens; absent: there are none.
    pub hosts: Option<Hosts>,
    /// The data path.
    pub gateway: Gateway,
    /// Where the master key comes from.
    pub master_key: MasterKeySource,
    /// The audit log.
    pub audit: Audit,
    /// A folder of documents that is applied to an empty store, once.
    pub seed: Option<PathBuf>,
    /// How long tokens live.
    pub token: Token,
    /// How other issuers of workloads' tokens are reached.
    pub federation: Federation,
    /// The process's own log.
    pub log: Log,
}

/// The HTTPS server of token service and API.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Http {
    /// Where it listens.
    pub listen: SocketAddr,
}

/// The HTTPS server that demands the client certificates of hosts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hosts {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where agents reach it, when that is not the origin's host and the port that it listens on.
    #[serde(default)]
    pub reached_at: Option<HostPort>,
}

/// The data path.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gateway {
    /// Names this gateway's audit log; never changes.
    #[serde(default = "default_gateway_name", deserialize_with = "value::name")]
    pub name: String,
    /// Where clients connect.
    #[serde(deserialize_with = "value::listeners")]
    pub listeners: Vec<Listener>,
    /// Addresses from which it dials databases: what `server enroll` lets in.
    #[serde(default = "default_addresses")]
    pub addresses: Vec<IpAddr>,
    /// The folder with the secrets of shared database users, a file each (`upstreamIdentity` of a DatabaseServer);
    /// absent: systemd's folder of credentials.
    #[serde(default)]
    pub secrets: Option<PathBuf>,
    /// Where the gateway's own managed identity gets Entra tokens: the cloud's instance metadata service.
    #[serde(default = "default_instance_metadata")]
    pub instance_metadata: String,
    /// Bounds.
    #[serde(default)]
    pub limits: Limits,
    /// Without the store for so long: no new sessions.
    #[serde(default = "default_staleness_login")]
    pub staleness_login_max: Lifetime,
    /// Without the store for so long: live sessions are cut.
    #[serde(default = "default_staleness_session")]
    pub staleness_session_max: Lifetime,
}

fn default_gateway_name() -> String {
    "gateway".to_owned()
}

fn default_addresses() -> Vec<IpAddr> {
    vec![IpAddr::from([127, 0, 0, 1])]
}

fn default_instance_metadata() -> String {
    "http://169.254.169.254".to_owned()
}

const fn default_staleness_login() -> Lifetime {
    Lifetime::from_seconds(30)
}

const fn default_staleness_session() -> Lifetime {
    Lifetime::from_seconds(300)
}

/// Where clients connect.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Listener {
    /// What servers refer to in `spec.listeners`.
    #[serde(deserialize_with = "value::name")]
    pub name: String,
    /// What it speaks.
    #[serde(default)]
    pub protocol: Protocol,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where clients reach it, when that is not the origin's host and the port that it listens on.
    #[serde(default)]
    pub reached_at: Option<HostPort>,
    /// What it asks for (one authentication request can offer only one).
    #[serde(default)]
    pub authentication: Authentication,
    /// Peers whose PROXY protocol v2 header is believed and demanded; nobody when empty.
    #[serde(default)]
    pub proxy_protocol_from: Vec<Network>,
    /// From where a session's cancel key may be used.
    #[serde(default)]
    pub cancel_from: CancelFrom,
    /// Connections through this listener at a time; the gateway's own bound when absent.
    #[serde(default)]
    pub connections_max: Option<u32>,
}

/// From where a cancel key may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CancelFrom {
    /// The address of the session.
    #[default]
    SameAddress,
    /// Any address that reaches the server: for clients behind address translation with several addresses.
    AnyAddress,
}

/// What a listener speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Protocol {
    /// PostgreSQL, frontend/backend protocol 3.
    #[default]
    #[serde(rename = "postgresql")]
    PostgreSql,
    /// MySQL and MariaDB, client/server protocol 10.
    #[serde(rename = "mysql")]
    MySql,
}

impl Protocol {
    /// What servers of this engine speak.
    pub const fn of(engine: Engine) -> Self {
        match engine {
            Engine::PostgreSql => Self::PostgreSql,
            Engine::MySql => Self::MySql,
        }
    }
}

/// What a listener asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Authentication {
    /// A token as the clear-text password, inside TLS.
    #[default]
    Password,
    /// SASL OAUTHBEARER.
    OauthBearer,
}

/// Bounds of the data path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// Client connections at a time.
    pub connections_max: u32,
    /// Of them, from one address.
    pub connections_per_source_max: u32,
    /// Of them, from one address and not authenticated yet.
    pub unauthenticated_per_source_max: u32,
    /// From accept to open.
    pub startup_timeout: Lifetime,
    /// How long a stop waits for sessions to end by themselves.
    pub drain: Lifetime,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            connections_per_source_max: 2_000,
            unauthenticated_per_source_max: 200,
            startup_timeout: Lifetime::from_seconds(60),
            drain: Lifetime::from_seconds(10),
        }
    }
}

/// Where the master key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MasterKeySource {
    /// A file that only its owner can read.
    File(PathBuf),
    /// The credential that systemd decrypted for this service; systemd keeps others out.
    SystemdCredential(PathBuf),
}

/// The audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// Its folder.
    pub directory: PathBuf,
    /// A file, best on another machine's storage, that holds the latest signed checkpoint.
    pub checkpoint_file: Option<PathBuf>,
}

/// How long tokens live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Token {
    /// For the database audience: at most 75 minutes.
    #[serde(deserialize_with = "value::database_token_lifetime")]
    pub database_token_lifetime: Lifetime,
    /// For the control plane: at most 24 hours.
    #[serde(deserialize_with = "value::token_lifetime")]
    pub access_token_lifetime: Lifetime,
    /// A person signs in again after so long: at most 24 hours.
    #[serde(deserialize_with = "value::token_lifetime")]
    pub refresh_token_lifetime: Lifetime,
}

impl Default for Token {
    fn default() -> Self {
        Self {
            database_token_lifetime: Lifetime::from_seconds(3_600),
            access_token_lifetime: Lifetime::from_seconds(3_600),
            refresh_token_lifetime: Lifetime::from_seconds(12 * 3_600),
        }
    }
}

/// The process's own log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Log {
    /// How its lines look.
    pub format: LogFormat,
}

/// How the log's lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LogFormat {
    /// Text on a terminal, JSON everywhere else.
    #[default]
    Auto,
    /// For people.
    Text,
    /// For machines, one object a line.
    Json,
}

impl Config {
    /// Reads the file. Relative paths count from its folder.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let (text, folder) = text_and_folder(file)?;
        Self::parse(&text, file, &folder, &Environment::read())
    }

    /// The origin's host.
    pub fn host(&self) -> &str {
        let authority = self.origin.strip_prefix("https://").unwrap_or(&self.origin);
        let bracketed = authority.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        match bracketed {
            Some((address, _)) => address,
            None => authority.split(':').next().unwrap_or(authority),
        }
    }

    /// Where agents reach the server of hosts, which listens on this port.
    pub fn hosts_origin(&self, port: u16) -> Option<String> {
        let hosts = self.hosts.as_ref()?;
        let host = || HostPort { host: self.host().to_owned(), port };
        let HostPort { host, port } = hosts.reached_at.clone().unwrap_or_else(host);
        let bracketed = if host.contains(':') { format!("[{host}]") } else { host };
        Some(format!("https://{bracketed}:{port}"))
    }

    /// Where clients reach a listener.
    pub fn reached_at(&self, listener: &Listener) -> HostPort {
        listener.reached_at.clone().unwrap_or_else(|| HostPort {
            host: self.host().to_owned(),
            port: listener.listen.port(),
        })
    }

    fn parse(
        text: &str,
        file: &Path,
        folder: &Path,
        environment: &Environment,
    ) -> Result<Self, ConfigError> {
        let written: Written = parsed(text, file)?;
        Ok(written.resolve(folder, environment))
    }
}

/// The configuration of another role than the server's, and the folder from which its relative paths count.
pub fn read<T: DeserializeOwned>(file: &Path) -> Result<(T, PathBuf), ConfigError> {
    let (text, folder) = text_and_folder(file)?;
    Ok((parsed(&text, file)?, folder))
}

fn text_and_folder(file: &Path) -> Result<(String, PathBuf), ConfigError> {
    let unreadable = |cause| ConfigError::Unreadable { file: file.to_owned(), cause };
    let bytes = std::fs::metadata(file).map_err(unreadable)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(unreadable(io::Error::new(io::ErrorKind::FileTooLarge, "it is not text")));
    }
    let text = std::fs::read_to_string(file).map_err(unreadable)?;
    let absolute = std::path::absolute(file).map_err(unreadable)?;
    Ok((text, absolute.parent().unwrap_or(Path::new("/")).to_owned()))
}

fn parsed<T: DeserializeOwned>(text: &str, file: &Path) -> Result<T, ConfigError> {
    serde_saphyr::from_str(text).map_err(|error| {
        let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
        let problem = problem::describe(error.without_snippet());
        ConfigError::Invalid { file: file.to_owned(), line, column, problem }
    })
}

/// As written in the file; what is left out depends on the rest.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    #[serde(default = "default_data_directory")]
    data_directory: PathBuf,
    #[serde(deserialize_with = "value::origin")]
    origin: String,
    http: Http,
    hosts: Option<Hosts>,
    gateway: Gateway,
    master_key: Option<WrittenMasterKey>,
    #[serde(default)]
    audit: WrittenAudit,
    seed: Option<PathBuf>,
    #[serde(default)]
    token: Token,
    #[serde(default)]
    federation: Federation,
    #[serde(default)]
    log: Log,
}

fn default_data_directory() -> PathBuf {
    PathBuf::from("data")
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum WrittenMasterKey {
    File(PathBuf),
    SystemdCredential,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenAudit {
    directory: Option<PathBuf>,
    checkpoint_file: Option<PathBuf>,
}

impl Written {
    fn resolve(self, folder: &Path, environment: &Environment) -> Config {
        let data_directory = folder.join(self.data_directory);
        let master_key = master_key(self.master_key, folder, &data_directory, environment);
        let audit = Audit {
            directory: match self.audit.directory {
                Some(directory) => folder.join(directory),
                None => data_directory.join("audit"),
            },
            checkpoint_file: self.audit.checkpoint_file.map(|file| folder.join(file)),
        };
        let mut gateway = self.gateway;
        gateway.secrets = match gateway.secrets {
            Some(secrets) => Some(folder.join(secrets)),
            None => environment.credentials_directory.clone(),
        };
        Config {
            data_directory,
            origin: self.origin,
            http: self.http,
            hosts: self.hosts,
            gateway,
            master_key,
            audit,
            seed: self.seed.map(|seed| folder.join(seed)),
            token: self.token,
            federation: self.federation.within(folder),
            log: self.log,
        }
    }
}

/// What the file says, else systemd's credential when there is one, else `master.key` in the data folder.
fn master_key(
    written: Option<WrittenMasterKey>,
    folder: &Path,
    data_directory: &Path,
    environment: &Environment,
) -> MasterKeySource {
    let credential = environment
        .credentials_directory
        .as_ref()
        .map(|directory| directory.join(MASTER_KEY_CREDENTIAL));
    match (written, credential) {
        (Some(WrittenMasterKey::File(file)), _) => MasterKeySource::File(folder.join(file)),
        (Some(WrittenMasterKey::SystemdCredential), credential) => {
            // Without systemd the path does not exist, and loading the key says so.
            let credential = credential
                .unwrap_or_else(|| Path::new("/run/credentials").join(MASTER_KEY_CREDENTIAL));
            MasterKeySource::SystemdCredential(credential)
        }
        (None, Some(credential)) if credential.is_file() => {
            MasterKeySource::SystemdCredential(credential)
        }
        (None, _) => MasterKeySource::File(data_directory.join("master.key")),
    }
}

#[cfg(test)]
mod tests;
