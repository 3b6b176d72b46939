//! The agent's Unix socket: a process asks for what App Service's clients need in their environment.
//!
//! One line of JSON each way. The kernel says who asks (SO_PEERCRED), and nobody gets a header for an identity that they
//! may not be.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use model::Selector;
use model::caller::HOST_NETWORK;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tracing::{debug, info, warn};

use super::header::Said;
use super::question::APP_SERVICE_PATH;
use super::tokens::Wanted;
use super::{Shared, caller};
use crate::home::file;
use crate::{ClientError, DATABASE_AUDIENCE};

/// Longer lines are nobody's.
const LINE_BYTES_MAX: u64 = 4_096;
/// From connecting to the whole answer.
const WITHIN: Duration = Duration::from_secs(30);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    #[serde(default)]
    identity: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Answer {
    Environment(Environment),
    Refused(String),
}

/// What App Service's clients find in their environment.
#[derive(Debug, Serialize, Deserialize)]
pub struct Environment {
    /// `IDENTITY_ENDPOINT`.
    pub endpoint: String,
    /// `IDENTITY_HEADER`.
    pub header: String,
}

/// Asks the agent of this machine.
pub fn environment(socket: &Path, identity: Option<&str>) -> Result<Environment, ClientError> {
    let failed = |task| file(task, socket);
    let mut stream = UnixStream::connect(socket)
        .map_err(|cause| ClientError::AgentAway { socket: socket.to_owned(), cause })?;
    stream.set_read_timeout(Some(WITHIN)).map_err(failed("wait for the agent at"))?;
    let ask = Ask { identity: identity.map(str::to_owned) };
    let unwritten = |_| ClientError::Cryptography { task: "write a question" };
    let mut line = serde_json::to_vec(&ask).map_err(unwritten)?;
    line.push(b'\n');
    stream.write_all(&line).map_err(failed("ask the agent at"))?;
    let mut answer = String::new();
    let mut reader = BufReader::new(stream.take(LINE_BYTES_MAX));
    reader.read_line(&mut answer).map_err(failed("read the answer of the agent at"))?;
    match serde_json::from_str(&answer) {
        Ok(Answer::Environment(environment)) => Ok(environment),
        Ok(Answer::Refused(reason)) => Err(ClientError::AgentRefused { reason }),
        Err(_) => Err(ClientError::Malformed {
            path: socket.to_owned(),
            expected: "the socket of an agent that answers",
        }),
    }
}

/// Listens, for every account of the machine: who asks is looked at for each.
pub(super) async fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    }
    crate::proxy::remove_stale(path).await?;
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o666))?;
    Ok(listener)
}

pub(super) async fn serve(listener: UnixListener, shared: Arc<Shared>) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = shared.tasks.shutdown().requested() => return,
            // Cancel-safe: a connection that was not returned stays in the kernel's queue.
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(%error, "a connection to the socket could not be accepted");
                shared.clock.sleep(super::ACCEPT_RETRY).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&shared.places).try_acquire_owned() else { continue };
        let served = Arc::clone(&shared);
        drop(shared.tasks.spawn("socket", async move {
            let _place = place;
            match tokio::time::timeout(WITHIN, one(stream, &served)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => debug!(%error, "a process went away"),
                Err(_) => debug!("a process was too slow"),
            }
        }));
    }
}

async fn one(mut stream: tokio::net::UnixStream, shared: &Shared) -> io::Result<()> {
    let peer = stream.peer_cred()?;
    let mut line = String::new();
    let mut reader = tokio::io::BufReader::new((&mut stream).take(LINE_BYTES_MAX));
    reader.read_line(&mut line).await?;
    let answered = match serde_json::from_str::<Ask>(&line) {
        Ok(ask) => answer((peer.pid(), peer.uid()), ask, shared).await,
        Err(_) => Err("the question is not understood".to_owned()),
    };
    let answer = match answered {
        Ok(environment) => Answer::Environment(environment),
        Err(reason) => {
            info!(uid = peer.uid(), reason, "a process got no header");
            Answer::Refused(reason)
        }
    };
    let mut line = serde_json::to_vec(&answer).map_err(io::Error::other)?;
    line.push(b'\n');
    stream.write_all(&line).await
}

async fn answer(
    (pid, uid): (Option<i32>, u32),
    ask: Ask,
    shared: &Shared,
) -> Result<Environment, String> {
    let pid = pid.and_then(|pid| u32::try_from(pid).ok());
    let pid = pid.ok_or("the kernel does not say which process asks")?;
    let looked = shared.tasks.spawn_blocking("caller", move || caller::of_peer(pid, uid));
    let callers = looked.await.map_err(|error| error.to_string())?;
    let callers = callers.map_err(|error| error.to_string())?;
    let network = callers.first().and_then(|caller| caller.network_namespace.clone());
    let own = |name: Option<&str>| name == Some(network.as_deref().unwrap_or(HOST_NETWORK));
    let listening = shared
        .addresses
        .iter()
        .find(|place| own(Some(place.network.as_deref().unwrap_or(HOST_NETWORK))));
    let address =
        listening.ok_or("the agent does not listen in the network of this process")?.address;
    let selector = ask.identity.clone().map(Selector::Name);
    let resource = DATABASE_AUDIENCE.to_owned();
    shared
        .tokens
        .token(Wanted { callers, selector, resource })
        .await
        .map_err(|it| it.description)?;
    let said = Said { uid, identity: ask.identity };
    let header = shared.tokens.standing().headers.make(&said).map_err(|error| error.to_string())?;
    Ok(Environment { endpoint: format!("http://{address}{APP_SERVICE_PATH}"), header })
}
