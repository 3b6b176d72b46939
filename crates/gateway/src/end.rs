//! 9 Close: a protocol-correct word, the audit records, the numbers. Every connection ends in this file.

use std::sync::Arc;
use std::time::Duration;

use control::SessionState;
use model::event::{Actor, EventBody, SessionCut};
use model::{Refusal, Timestamp, code};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tracing::{error, info, warn};

use crate::claimed::Claimed;
use crate::dialect;
use crate::observe::{Observer, Subject, Unobservable};
use crate::outcome::{Denied, Refused};
use crate::record::Observed;
use crate::relay::{End, Ended, Socket, Why};
use crate::session::Connection;
use crate::tls::Stream;
use crate::upstream;
use crate::verify::{Cause, Kind};

mod farewell;
mod last_record;

pub(crate) use last_record::LastRecord;

/// A cut finishes the server's current message when that is no longer and takes no longer.
const FINISH_BYTES_MAX: usize = 64 * 1024;
const FINISH_WITHIN: Duration = Duration::from_millis(20);
/// How long a stopped session waits to see its backend gone.
const GONE_WITHIN: Duration = Duration::from_secs(1);

/// Refusals of one source that proved nothing, recorded in a minute.
pub(crate) const REFUSALS_RECORDED_MAX: u32 = 60;

/// Turns a connection away: told, recorded when someone was named, counted.
pub(crate) async fn refuse(refused: Refused) {
    let Refused { connection, client, denied } = refused;
    let Denied { refusal, cause, verbatim } = denied;
    let (gateway, known) = (&connection.gateway, &connection.known);
    gateway.metrics.refused(refusal.code);
    log_refusal(&connection, &refusal, cause.as_deref());
    // A client that asks what it must bring (an empty password, OAUTHBEARER's discovery) is not a failed login. Whoever proved nothing cannot fill the log either:
    // beyond their budget they are counted in the metrics and told, no more.
    let asking = *refusal.code == code::CREDENTIAL_MISSING;
    let recorded = |_: &Actor| {
        known.principal.is_some() || gateway.refusals.spend(connection.source, gateway.clock.now())
    };
    if let Some(actor) = known.actor().filter(|_| !asking).filter(recorded) {
        let event = EventBody::SessionRefused {
            session: connection.id,
            actor,
            source: connection.source,
            server: known.server.clone(),
            database: known.database.clone().map(String::from),
            code: refusal.code.id.to_owned(),
            message: refusal.message.clone(),
            cause,
        };
        if let Err(error) = gateway.log.append(&[event]) {
            error!(session = %connection.id, %error, "a refusal could not be recorded");
        }
    }
    let told = verbatim.unwrap_or_else(|| dialect::refusal(&refusal, &connection));
    client.tell_and_close(&told).await;
}

/// What is the client's own doing is a life event; what is ours or the server's, someone should look at.
fn log_refusal(connection: &Connection, refusal: &Refusal, cause: Option<&str>) {
    let (session, source) = (connection.id, connection.source);
    let user = connection.known.user.as_ref().map(Claimed::as_str);
    let (code, message) = (refusal.code.id, &refusal.message);
    if refusal.code.http < 500 {
        info!(%session, %source, user, code, message, cause, "session refused");
    } else {
        warn!(%session, %source, user, code, message, cause, "session refused");
    }
}

/// How a session ends.
#[derive(Debug)]
struct Ending {
    reason: &'static str,
    /// What the client is told, when there is something to tell.
    refusal: Option<Refusal>,
    backend: Backend,
}

/// What becomes of the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Backend {
    /// It ends as its connection closes, just as without a gateway.
    LeftToItself,
    /// What it runs is cancelled first.
    Stopped,
}

/// Whether a session's client was told, and the times of its end.
#[derive(Debug)]
struct Parted {
    told: bool,
    stopped_at: Timestamp,
    client_closed_at: Timestamp,
    backend_gone_at: Option<Timestamp>,
}

/// Closes a session that is no longer relayed. The client's side never waits for the server's.
pub(crate) async fn close(mut ended: Ended) {
    let gateway = Arc::clone(&ended.connection.gateway);
    let stopped_at = gateway.clock.now();
    let ending = ending(&ended.why, &ended.pump.observer);
    ended.live.state(SessionState::Ending);
    if ending.backend == Backend::Stopped {
        stop_backend(&ended);
    }
    let told = tell(&mut ended, ending.refusal.as_ref()).await;
    let Ended { mut pump, why, connection, last_record, live: _live, held: _held, .. } = ended;
    let mut client = Some(pump.client.into_socket());
    if !told && let Some(client) = client.take() {
        farewell::reset(&client);
    }
    let client_closed_at = gateway.clock.now();
    let seen_gone = async {
        let gone = gone(pump.upstream, ending.backend).await;
        gone.then(|| gateway.clock.now())
    };
    let (backend_gone_at, ()) = tokio::join!(seen_gone, farewell::linger(client));
    let parted = Parted { told, stopped_at, client_closed_at, backend_gone_at };
    let mut observed = Observed::default();
    pump.observer.finish(gateway.clock.now(), &mut observed);
    if let Err(error) = pump.recorder.record(&mut observed) {
        error!(session = %connection.id, error, "outcomes could not be recorded");
    }
    if let Why::Ours(cause) = &why
        && matches!(cause.kind, Kind::Denied | Kind::Commanded)
    {
        let forwarded_at = pump.activity.forwarded_at();
        record_cut(&connection, (cause, &parted, forwarded_at), pump.observer.subject());
    }
    if pump.observer.mismatches() > 0 {
        let count = pump.observer.mismatches();
        warn!(session = %connection.id, count, "answers of the server fitted no question of the client");
    }
    let statements = pump.observer.statements();
    let code = ending.refusal.as_ref().map(|refusal| refusal.code.id);
    last_record.write(ending.reason, code, statements);
    gateway.metrics.ended(ending.reason);
    let who = &pump.observer.subject().actor.name;
    info!(session = %connection.id, principal = who, reason = ending.reason, code, statements, "session ended");
}

/// What an end means for either side.
fn ending(why: &Why, observer: &Observer) -> Ending {
    let stopped =
        |reason, refusal| Ending { reason, refusal: Some(refusal), backend: Backend::Stopped };
    match why {
        Why::Ours(cause) => {
            let reason = match cause.kind {
                Kind::Denied | Kind::Commanded => "cut",
                Kind::Drain => "drain",
                Kind::Idle => "idle",
                Kind::Overlong => "statement",
                Kind::Audit => "audit",
            };
            stopped(reason, cause.refusal.clone())
        }
        Why::Itself(End::Drained) => {
            stopped("drain", Refusal::new(&code::SHUTTING_DOWN, "the gateway is stopping"))
        }
        Why::Itself(End::Audit(cause)) => {
            error!(cause, "the audit log cannot be written");
            stopped(
                "audit",
                Refusal::new(
                    &code::AUDIT_FAILED,
                    "the audit log cannot be written; without it there is no access",
                ),
            )
        }
        Why::Itself(End::ClientUnobservable(error)) => {
            let code = match error {
                Unobservable::PostgreSql(_) | Unobservable::MySql(_) | Unobservable::Ahead(_) => {
                    &code::PROTOCOL_VIOLATION
                }
                Unobservable::PostgreSqlLimit(_) | Unobservable::MySqlLimit(_) => &code::TOO_LARGE,
            };
            stopped("malformed", Refusal::new(code, error.to_string()))
        }
        Why::Itself(End::ServerUnobservable(error)) => {
            warn!(%error, "the database server sent bytes that are not its protocol");
            stopped(
                "malformed",
                Refusal::new(
                    &code::UPSTREAM_MALFORMED,
                    "the database server sent bytes that are not its protocol",
                ),
            )
        }
        Why::Itself(End::Client) => {
            Ending { reason: "client", refusal: None, backend: Backend::LeftToItself }
        }
        Why::Itself(End::Server(_)) if observer.is_terminated() => {
            Ending { reason: "client", refusal: None, backend: Backend::LeftToItself }
        }
        Why::Itself(End::Server(_)) if observer.was_told() => {
            Ending { reason: "server", refusal: None, backend: Backend::LeftToItself }
        }
        Why::Itself(End::Server(cause)) => {
            warn!(%cause, "the database server closed the connection");
            let refusal =
                Refusal::new(&code::UPSTREAM_LOST, "the database server closed the connection");
            Ending { reason: "server", refusal: Some(refusal), backend: Backend::LeftToItself }
        }
    }
}

/// Cancels what the backend runs and, after a changed decision, has the database user withdrawn. Nobody waits for it.
fn stop_backend(ended: &Ended) {
    let gateway = &ended.connection.gateway;
    let name = ended.pump.observer.subject().server.clone();
    if let Why::Ours(Cause { kind: Kind::Denied, .. }) = &ended.why {
        gateway.provisioner.withdraw(&name, ended.principal);
    }
    let (provisioner, session) = (gateway.provisioner.clone(), ended.connection.id);
    let (server, key, user) =
        (Arc::clone(&ended.server), ended.upstream_key.clone(), ended.database_user.clone());
    if !server.spec.upstream_identity.is_certificate() {
        let gateway = Arc::clone(gateway);
        let tasks = gateway.tasks.clone();
        tasks.spawn("stop-backend", async move {
            if let Err(error) = upstream::stop_shared(&gateway, &server, (&user, &key)).await {
                warn!(%session, %error, "a backend could not be ended as its shared user");
            }
        });
        return;
    }
    gateway.tasks.spawn("stop-backend", async move {
        // On the provisioner's standing connection; without it, what runs can at least be cancelled from outside.
        let Err(error) = provisioner.terminate(&name, &user, key.pid).await else { return };
        warn!(%session, %error, "a backend could not be ended by the provisioner");
        if let Err(error) = dialect::cancel_upstream(&server, &key).await {
            warn!(%session, %error, "a statement could not be cancelled");
        }
    });
}

/// Finishes the message that was begun, says why, closes. Not beyond a bound: a cut must not depend on the client's
/// reading.
async fn tell(ended: &mut Ended, refusal: Option<&Refusal>) -> bool {
    let pump = &mut ended.pump;
    farewell::within(FINISH_WITHIN, async {
        let at_boundary = refusal.is_none() || pump.finish_message(FINISH_BYTES_MAX).await;
        let message = refusal.map(|refusal| pump.observer.refusal(refusal)).unwrap_or_default();
        at_boundary && farewell::say(&mut pump.client, &message).await
    })
    .await
}

/// Closes the server's side; says whether the backend was seen gone: its kernel closes the connection as it exits.
async fn gone(mut upstream: Box<Stream<Socket>>, backend: Backend) -> bool {
    // After a stop not one byte is forwarded, of those that the kernel had not taken neither.
    if backend == Backend::Stopped {
        upstream.abandon();
    }
    let closing = async {
        // A server that is away cannot be told; the reads below find out.
        let _told = upstream.shutdown().await;
        let mut sink = [0; 4096];
        while matches!(upstream.read(&mut sink).await, Ok(1..)) {}
    };
    match backend {
        Backend::LeftToItself => tokio::time::timeout(FINISH_WITHIN, closing).await.is_ok(),
        Backend::Stopped => tokio::time::timeout(GONE_WITHIN, closing).await.is_ok(),
    }
}

fn record_cut(
    connection: &Connection,
    (cause, parted, last_forwarded_at): (&Cause, &Parted, Timestamp),
    subject: &Subject,
) {
    let gateway = &connection.gateway;
    gateway.metrics.cut(parted.stopped_at.since(cause.at));
    let cut = SessionCut {
        session: connection.id,
        actor: subject.actor.clone(),
        server: subject.server.clone(),
        code: cause.refusal.code.id.to_owned(),
        message: cause.refusal.message.clone(),
        cause_at: cause.at,
        revision: cause.revision,
        last_forwarded_at,
        stopped_at: parted.stopped_at,
        client_closed_at: parted.client_closed_at,
        backend_gone_at: parted.backend_gone_at,
        told: parted.told,
    };
    if let Err(error) = gateway.log.append(&[EventBody::SessionCut(Box::new(cut))]) {
        error!(session = %connection.id, %error, "a cut could not be recorded");
    }
}
