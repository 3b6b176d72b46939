//! From a decision to an open session: database user, dial, login, audit record, and only then the client's
//! AuthenticationOk, as the first bytes that the relay delivers.

use std::sync::Arc;

use access::OpenedWith;
use audit::AuditError;
use control::{LiveSession, SessionInfo, SessionState};
use model::event::{Actor, EventBody, SessionOpened};
use model::kind::server::{AuditMode, DatabaseServer};
use model::verdict::{Outcome, Verdict};
use model::{Document, PrincipalKind, Timestamp, code};

use super::proof::{self, Identity};
use crate::authorise::{self, Authorised};
use crate::cancel::threads::Thread;
use crate::cancel::{Registered, Target};
use crate::dialect::{self, CancelKey, Greeted, Login, Wish};
use crate::end::LastRecord;
use crate::observe::{Observer, Subject};
use crate::outcome::{Denied, Stop};
use crate::record::Recorder;
use crate::relay::{Activity, Context, Held, Open, Socket};
use crate::session::Connection;
use crate::tls::{self, Stream};
use crate::verify::Watch;

/// Opens the database, records that it is open, and makes the session ready to be relayed.
pub(crate) async fn open(mut authorised: Authorised) -> Result<Open, Stop> {
    match Box::pin(opened(&mut authorised)).await {
        Ok(opened) => relayable(authorised, opened),
        Err(denied) => {
            let started = authorised.started;
            Err(Stop::refused(started.connection, started.client, denied))
        }
    }
}

/// What opening has made.
struct Opened {
    upstream: Box<Stream>,
    login: Login,
    live: Arc<LiveSession>,
    watch: Watch,
    key: Option<Registered>,
    at: Timestamp,
}

async fn opened(authorised: &mut Authorised) -> Result<Opened, Denied> {
    let (upstream, login) = log_in(authorised).await.map_err(|denied| now(authorised, denied))?;
    let live = Arc::new(list(authorised));
    let connection = &authorised.started.connection;
    // Joins those that are verified continuously and decides once more: the snapshot may have changed meanwhile.
    let at = connection.gateway.clock.now();
    let shared = !authorised.server.spec.upstream_identity.is_certificate();
    let shared_user = shared.then(|| authorised.grant.database_user.clone());
    let opened_with = OpenedWith { at, roles: authorised.grant.roles.clone(), shared_user };
    let request = authorised.request.clone();
    let watch = Watch::begin(connection, request, opened_with, live.orders())
        .map_err(|cause| cause.refusal)?;
    live.until(watch.until());
    let key = match &login {
        Login::PostgreSql(login) => Some(register(connection, &authorised.server, &login.key)?),
        // Its clients ask with a statement.
        Login::MySql(_) => None,
    };
    record(authorised, &login).await?;
    Ok(Opened { upstream, login, live, watch, key, at })
}

/// Why there is no session. When access ends meanwhile, the database user may be withdrawn before it has logged in; then
/// that is the reason, and not what the server makes of it.
fn now(authorised: &Authorised, denied: Denied) -> Denied {
    let gateway = &authorised.started.connection.gateway;
    authorise::grant(&authorised.request, gateway).err().unwrap_or(denied)
}

async fn log_in(authorised: &mut Authorised) -> Result<(Box<Stream>, Login), Denied> {
    let Authorised { started, server, grant, .. } = authorised;
    let gateway = Arc::clone(&started.connection.gateway);
    let (session, startup) = (started.connection.id, &started.startup);
    let sequence = started.connection.opening.sequence();
    let upstream = async {
        let Identity { user, certificate, proof } =
            proof::identity(&gateway, server, grant, session).await?;
        let mut dialled =
            gateway.contexts.dial(server, certificate, Wish::of(startup, &server.spec)).await?;
        if let Greeted::MySql(greeted) = &dialled.greeted {
            gateway.greetings.learn(server.name(), &greeted.greeting);
        }
        let login =
            dialect::log_in(&mut dialled, (startup, sequence), (server, &user, &proof)).await?;
        Ok((Box::new(dialled.stream), login))
    };
    started.connection.server(upstream).await?
}

/// No audit, no access.
async fn record(authorised: &Authorised, login: &Login) -> Result<(), Denied> {
    let Authorised { started, server, request, grant, seat: _ } = authorised;
    let connection = &started.connection;
    let not_applied = |verdict: &&Verdict| !matches!(verdict.outcome, Outcome::NotApplied(_));
    let applied = grant.policies.iter().filter(not_applied);
    let opened = SessionOpened {
        session: connection.id,
        actor: Actor::from(&grant.principal),
        source: connection.source,
        server: request.server.clone(),
        database: request.database.clone(),
        database_user: grant.database_user.clone(),
        roles: grant.roles.clone(),
        activations: grant.activations.clone(),
        token: request.credential.token,
        until: grant.until,
        application_name: started.startup.application_name.clone().map(String::from),
        backend_pid: login.key().pid,
        tls: tls::describe(&started.client),
        methods: request.credential.methods.clone(),
        signed_in_at: request.credential.signed_in_at,
        client: request.credential.client,
        policies: applied.cloned().collect(),
    };
    let log = &connection.gateway.log;
    let failed = |error: AuditError| {
        let message = "the audit log cannot be written; without it there is no access";
        Denied::new(&code::AUDIT_FAILED, message).because(error)
    };
    let receipt = log.append(&[EventBody::SessionOpened(Box::new(opened))]).map_err(failed)?;
    match server.spec.audit.mode {
        AuditMode::Durable => log.durable(receipt).await.map_err(failed),
        AuditMode::Gated | AuditMode::Bounded => Ok(()),
    }
}

fn relayable(authorised: Authorised, opened: Opened) -> Result<Open, Stop> {
    let Opened { upstream, login, live, watch, key, at } = opened;
    let Some(observer) = observer(&authorised, &login, Arc::clone(&live)) else {
        let message = "the session's protocol is not its server's";
        return Err(Stop::refused(
            authorised.started.connection,
            authorised.started.client,
            Denied::new(&code::INTERNAL, message),
        ));
    };
    let Authorised { started, server, request: _, grant, seat } = authorised;
    let dialect::Started { connection, client, server_name: _, startup: _ } = started;
    let (gateway, session) = (Arc::clone(&connection.gateway), connection.id);
    let said = grant.notice.as_deref().filter(|_| grant.principal.kind == PrincipalKind::User);
    let activity = Arc::new(Activity::since(at, gateway.metrics.relayed()));
    let actor = Actor::from(&grant.principal);
    let latency = gateway.clock.now().since(connection.accepted_at);
    let context = Context {
        principal: grant.principal.id,
        database_user: grant.database_user.clone(),
        recorder: Recorder::new(gateway.log.clone(), server.spec.audit.mode),
        last_record: LastRecord::of(connection.id, actor, &activity, gateway.log.clone()),
        held: Held { _seat: seat, _gauge: gateway.metrics.opened(latency, connection.waited) },
        told: login.told(key.as_ref(), said),
        upstream_key: login.key().clone(),
        behind: login.rest(),
        connection,
        server,
        watch,
        live,
        activity,
        observer,
        key,
    };
    let rehomed = |stream: Box<Stream>| {
        Socket::rehome(*stream).map_err(|error| {
            tracing::error!(%session, %error, "a session's socket cannot be given to the relay");
            Stop::Silent("the relay could not be given the session")
        })
    };
    Ok(Open { client: rehomed(client)?, upstream: rehomed(upstream)?, context })
}

fn list(authorised: &Authorised) -> LiveSession {
    let Authorised { started, request, grant, .. } = authorised;
    let connection = &started.connection;
    connection.gateway.live.register(SessionInfo {
        id: connection.id,
        principal: grant.principal.clone(),
        source: connection.source,
        server: request.server.clone(),
        database: request.database.clone(),
        database_user: grant.database_user.clone(),
        roles: grant.roles.clone(),
        activations: grant.activations.clone(),
        since: connection.accepted_at,
        until: grant.until,
        statement: None,
        state: SessionState::Idle,
    })
}

fn observer(authorised: &Authorised, login: &Login, live: Arc<LiveSession>) -> Option<Observer> {
    let Authorised { started, server, request, grant, .. } = authorised;
    let subject = Subject {
        session: started.connection.id,
        actor: Actor::from(&grant.principal),
        server: request.server.clone(),
        database: request.database.clone(),
        audit: server.spec.audit.clone(),
    };
    let thread = Thread {
        principal: grant.principal.id,
        server: request.server.clone(),
        number: login.key().pid,
    };
    let protocol = login.protocol(&started.startup, &started.connection, thread)?;
    Some(Observer::new(subject, protocol, live))
}

/// The client's own cancel key, as long as the server's.
fn register(
    connection: &Connection,
    server: &Arc<Document<DatabaseServer>>,
    key: &CancelKey,
) -> Result<Registered, Denied> {
    let target = Target {
        session: connection.id,
        source: connection.source,
        cancel_from: connection.door.cancel_from,
        server: Arc::clone(server),
        upstream: key.clone(),
    };
    connection.gateway.cancel_keys.register(target).map_err(|error| {
        Denied::new(&code::INTERNAL, "no cancel key could be made for the session").because(error)
    })
}
