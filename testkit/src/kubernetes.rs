//! What stands in for Kubernetes, which cannot run here: the parts of an API server that an admission webhook meets. It
//! keeps objects, asks RBAC about every request, issues real signed service-account tokens under an issuer that can be
//! discovered, and creates pods the way an API server does: service-account admission, mutating webhooks with
//! reinvocation, defaults, validating webhooks, each called over TLS under the name and the authority that its
//! configuration says. `kubelet` then makes files and environment of a pod. It is written from Kubernetes' documentation
//! and knows nothing of the product.

mod access;
mod admit;
mod http;
mod issuer;
mod kubelet;
mod objects;
pub mod patch;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::server::tls::Identity;
use issuer::Issuer;

pub use kubelet::Container;
pub use objects::path;

/// The version that `/version` says.
const VERSION: &str = "v1.33.4";

/// A webhook that is not ours, and changes pods.
pub type Mutator = fn(&mut Value);

/// A cluster without nodes. It listens until the process ends.
#[derive(Clone, Debug)]
pub struct Cluster(Arc<State>);

struct State {
    address: SocketAddr,
    folder: PathBuf,
    authority: String,
    issuer: Issuer,
    stored: Mutex<Stored>,
}

#[derive(Default)]
struct Stored {
    revision: u64,
    /// By their path in the API.
    objects: BTreeMap<String, Value>,
    /// `namespace/service`: where its pods listen.
    endpoints: BTreeMap<String, SocketAddr>,
    requests: Vec<Asked>,
    others: Vec<Mutator>,
}

/// One request to the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// `system:serviceaccount:…`; empty when the token was not valid.
    pub by: String,
    /// `get`, `update` or `patch`.
    pub verb: &'static str,
    pub path: String,
    pub status: u16,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Cluster {
    /// One that listens on a free port and keeps its files in this folder.
    pub fn start(folder: &Path) -> Result<Self> {
        Self::start_with(folder, None)
    }

    /// One whose tokens for others are those of this issuer, which runs elsewhere: its address, and the folder of its keys.
    pub fn under(folder: &Path, issuer: &str, keys: &Path) -> Result<Self> {
        Self::start_with(folder, Some((issuer.to_owned(), keys.to_owned())))
    }

    fn start_with(folder: &Path, elsewhere: Option<(String, PathBuf)>) -> Result<Self> {
        let identity = Identity::create()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
        let address = listener.local_addr()?;
        std::fs::create_dir_all(folder)?;
        let cluster = Self(Arc::new(State {
            address,
            folder: folder.to_owned(),
            authority: identity.authority.clone(),
            issuer: Issuer::new(format!("https://localhost:{}", address.port()), elsewhere)?,
            stored: Mutex::default(),
        }));
        std::fs::write(cluster.authority_file(), &identity.authority)?;
        cluster.apply(
            &json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "default" } }),
        )?;
        let served = cluster.clone();
        http::serve(listener, &identity, move |request| served.answer(request))?;
        Ok(cluster)
    }

    /// Where it listens, and the issuer of its tokens.
    pub fn url(&self) -> &str {
        &self.0.issuer.url
    }

    /// PEM of the authority of its certificate.
    pub fn authority(&self) -> &str {
        &self.0.authority
    }

    /// A file with it.
    pub fn authority_file(&self) -> PathBuf {
        self.0.folder.join("cluster-ca.crt")
    }

    /// The public keys of its tokens.
    pub fn keys(&self) -> Value {
        self.0.issuer.keys()
    }

    /// As `kubectl apply` of a cluster's administrator: what is not said stays.
    pub fn apply(&self, object: &Value) -> Result<()> {
        let path = path(object)?;
        let mut stored = self.stored();
        let mut merged = stored.objects.get(&path).cloned().unwrap_or_else(|| json!({}));
        objects::merge(&mut merged, object);
        let namespace = merged.pointer("/metadata/namespace").and_then(Value::as_str);
        if let Some(namespace) = namespace {
            let home = format!("/api/v1/namespaces/{namespace}");
            anyhow::ensure!(
                stored.objects.contains_key(&home),
                "there is no namespace `{namespace}`"
            );
        }
        stored.keep(path, merged);
        drop(stored);
        self.every_namespace_has_a_default_account(object)
    }

    fn every_namespace_has_a_default_account(&self, object: &Value) -> Result<()> {
        if object.get("kind").and_then(Value::as_str) != Some("Namespace") {
            return Ok(());
        }
        let namespace = object.pointer("/metadata/name").cloned();
        self.apply(&json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": { "name": "default", "namespace": namespace },
        }))
    }

    /// An object by its path in the API.
    pub fn object(&self, path: &str) -> Option<Value> {
        self.stored().objects.get(path).cloned()
    }

    /// Takes an object away.
    pub fn delete(&self, path: &str) -> Option<Value> {
        self.stored().objects.remove(path)
    }

    /// Where the pods of a service listen.
    pub fn endpoint(&self, namespace: &str, service: &str, address: SocketAddr) {
        self.stored().endpoints.insert(format!("{namespace}/{service}"), address);
    }

    /// One more mutating webhook, called after all others.
    pub fn also_mutates(&self, mutator: Mutator) {
        self.stored().others.push(mutator);
    }

    /// TokenRequest: a token of a service account for an audience.
    pub fn token(
        &self,
        namespace: &str,
        account: &str,
        audience: &str,
        seconds: u64,
    ) -> Result<String> {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}");
        let object = self.object(&path).with_context(|| format!("there is no `{path}`"))?;
        self.0.issuer.token((namespace, account), &object, audience, seconds)
    }

    /// A file with a token for the API server itself: what a kubelet mounts.
    pub fn token_file(&self, namespace: &str, account: &str) -> Result<PathBuf> {
        let file = self.0.folder.join(format!("{namespace}-{account}.token"));
        std::fs::write(&file, self.token(namespace, account, self.url(), 3_600)?)?;
        Ok(file)
    }

    /// What it was asked.
    pub fn requests(&self) -> Vec<Asked> {
        self.stored().requests.clone()
    }

    fn stored(&self) -> MutexGuard<'_, Stored> {
        self.0.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Discovery of the issuer, the version, and objects, for those who may.
    fn answer(&self, request: &http::Request) -> (u16, Value) {
        let issuer = &self.0.issuer;
        match request.path.as_str() {
            "/.well-known/openid-configuration" => return (200, issuer.configuration()),
            "/openid/v1/jwks" => return (200, issuer.keys()),
            "/version" => {
                return (200, json!({ "major": "1", "minor": "33", "gitVersion": VERSION }));
            }
            _ => {}
        }
        let verb = match request.method.as_str() {
            "GET" => "get",
            "PUT" => "update",
            "PATCH" => "patch",
            _ => return failure(405, "this method is not known here"),
        };
        let by = issuer.subject(request.bearer.as_deref().unwrap_or_default());
        let (status, body) = match &by {
            None => failure(401, "Unauthorized"),
            Some(by) if !access::allows(&self.stored().objects, by, verb, &request.path) => {
                failure(403, &format!("{by} cannot {verb} {}", request.path))
            }
            Some(_) => self.stored().act(verb, request),
        };
        let by = by.unwrap_or_default();
        self.stored().requests.push(Asked { by, verb, path: request.path.clone(), status });
        (status, body)
    }
}

impl Stored {
    fn keep(&mut self, path: String, mut object: Value) -> Value {
        self.revision += 1;
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("resourceVersion".to_owned(), self.revision.to_string().into());
        }
        self.objects.insert(path, object.clone());
        object
    }

    fn act(&mut self, verb: &str, request: &http::Request) -> (u16, Value) {
        let Some(known) = self.objects.get(&request.path).cloned() else {
            let (kind, name) = objects::kind_and_name(&request.path);
            return failure(404, &format!("{kind} \"{name}\" not found"));
        };
        if verb == "get" {
            return (200, known);
        }
        let Ok(body) = serde_json::from_slice::<Value>(&request.body) else {
            return failure(400, "the body is not JSON");
        };
        let changed = match verb {
            "patch" if request.kind == "application/json-patch+json" => {
                match patch::apply(&known, &body) {
                    Ok(changed) => changed,
                    Err(error) => return failure(422, &format!("{error:#}")),
                }
            }
            "update"
                if body.pointer("/metadata/resourceVersion")
                    == known.pointer("/metadata/resourceVersion") =>
            {
                body
            }
            "update" => return failure(409, "the object has been modified"),
            _ => return failure(415, "this kind of body is not known here"),
        };
        (200, self.keep(request.path.clone(), changed))
    }
}

/// `Status` of the API machinery.
fn failure(code: u16, message: &str) -> (u16, Value) {
    (
        code,
        json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code }),
    )
}
