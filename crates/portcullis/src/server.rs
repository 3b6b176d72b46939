//! `portcullis server`: builds every part, in order, by name; runs until it is told to stop; stops in order.

pub(crate) mod checkup;
mod database_servers;
pub(crate) mod figures;
pub(crate) mod https;
mod notify;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use control::{KeepKeys, Reconciler, reconcile};
use gateway::Gateway;
use gateway::provision::Provisioner;
use model::TenantId;
use model::event::EventBody;
use runtime::descriptors::{self, Shares};
use runtime::metrics::Registry;
use runtime::{Config, Environment, Shutdown, telemetry, tls};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

use crate::documents;
use crate::failure::Failure;
use crate::installation::{self, Installation};
use database_servers::FromGateway;
use figures::Answers;
use https::Https;

/// After sessions have had their time to drain, everything else ends within this.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// HTTP/1.1 only: every client speaks it, and its server is small.
const ALPN: &[&[u8]] = &[b"http/1.1"];

/// Runs until SIGTERM or SIGINT.
pub(crate) fn run(config: &Path) -> Result<(), Failure> {
    let config = installation::config(config)?;
    telemetry::start(config.log.format, Environment::read().log.as_deref())
        .map_err(|error| failed(&error))?;
    installation::block_on(serve(config))
}

async fn serve(config: Config) -> Result<(), Failure> {
    let (shutdown, closing) = (Shutdown::new(), Shutdown::new());
    let installation = Installation::open(config, shutdown.clone()).await?;
    let started = start(&installation, &closing).await;
    if started.is_ok() {
        notify::ready(&installation.tasks, &installation.clock, &closing);
        stop_requested(&shutdown).await?;
    }
    stop(installation, (&shutdown, &closing), started.as_ref().ok()).await?;
    started.map(drop)
}

async fn start(installation: &Installation, closing: &Shutdown) -> Result<Gateway, Failure> {
    let tenant = tenant(installation)?;
    begin(installation).await?;
    seed(installation).await?;
    installation.write_authority()?;
    reconcilers(installation).await;
    let metrics = Registry::new();
    figures::show(&metrics, installation);
    let provisioner = provisioner(installation);
    let shares = Shares::of(descriptors::raise_limit(), https::CONNECTIONS_MAX);
    let gateway = start_gateway(installation, tenant, (&provisioner, &metrics, shares), closing)?;
    let https = start_https(installation, tenant, (provisioner, metrics, shares), closing).await?;
    for (listener, address) in gateway.addresses() {
        info!(listener, %address, "answers");
    }
    info!(https = %https, origin = installation.config.origin, "portcullis is ready");
    Ok(gateway)
}

fn failed(error: &dyn std::fmt::Display) -> Failure {
    Failure::new("cannot start the server", error)
}

fn tenant(installation: &Installation) -> Result<TenantId, Failure> {
    let snapshot = installation.store.snapshots().load();
    let tenant = snapshot.tenant().map(|tenant| TenantId(tenant.uid()));
    tenant.ok_or_else(|| {
        failed(&"the installation has no tenant yet")
            .next("create it with `portcullis init --config FILE --tenant … --domain … --owner …`")
    })
}

/// The log's first words: what was done while nobody could record it, then that the process began.
async fn begin(installation: &Installation) -> Result<(), Failure> {
    let Installation { control, log, opened, begun_anew, .. } = installation;
    control.announce().await.map_err(|refusal| failed(&refusal))?;
    let started = EventBody::Started {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        unknown_outcomes: opened.unknown_outcomes,
    };
    let words: Vec<EventBody> = begun_anew.iter().cloned().chain([started]).collect();
    let receipt = log.append(&words).map_err(|error| failed(&error))?;
    log.durable(receipt).await.map_err(|error| failed(&error))
}

/// Applies the configured folder once in the life of the installation.
async fn seed(installation: &Installation) -> Result<(), Failure> {
    let Some(folder) = &installation.config.seed else { return Ok(()) };
    let cannot = format!("cannot apply the folder `{}` for the first time", folder.display());
    let manifests = documents::read_all(std::slice::from_ref(folder))?
        .into_iter()
        .map(|document| control::Manifest::read(document.value))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Failure::new(&cannot, error))?;
    let seeded = installation.control.seed(manifests).await;
    // `None`: it was applied before, and only `portcullis apply` acts now.
    if let Some(applied) = seeded.map_err(|refusal| Failure::refused(&cannot, &refusal))? {
        info!(documents = applied.len(), folder = %folder.display(), "the folder was applied");
    }
    Ok(())
}

async fn reconcilers(installation: &Installation) {
    let Installation { control, keyring, store, .. } = installation;
    reconcile_forever(installation, reconcile::Expiry::new(control.clone()));
    reconcile_forever(installation, reconcile::Forget::new(control.clone()));
    let keep_keys = KeepKeys::new(control, keyring.clone());
    // Before anybody is served: what became due while the process was down, a key that signs tokens above all.
    if let Err(error) = keep_keys.reconcile(store.snapshots().load()).await {
        warn!(%error, "not every key could be renewed; it is tried again");
    }
    reconcile_forever(installation, keep_keys);
}

fn reconcile_forever(installation: &Installation, reconciler: impl Reconciler) {
    let Installation { tasks, store, clock, .. } = installation;
    let (snapshots, clock) = (store.snapshots(), clock.clone());
    let shutdown = tasks.shutdown().clone();
    let name = reconciler.name();
    drop(tasks.spawn(name, reconcile::run(reconciler, snapshots, clock, shutdown)));
}

/// Brings database users to what the directory says, from here on.
fn provisioner(installation: &Installation) -> Provisioner {
    let Installation { config, control, keyring, clock, tasks, .. } = installation;
    let time = (clock.clone(), tasks.clone());
    Provisioner::new(control.clone(), keyring.clone(), time, &config.gateway.addresses)
}

fn start_gateway(
    installation: &Installation,
    tenant: TenantId,
    (provisioner, metrics, shares): (&Provisioner, &Registry, Shares),
    closing: &Shutdown,
) -> Result<Gateway, Failure> {
    let Installation { config, clock, tasks, store, keyring, log, live, .. } = installation;
    Gateway::start(gateway::Parts {
        config: within(config.gateway.clone(), shares),
        issuer: issuer(installation, tenant),
        tenant,
        snapshots: store.snapshots(),
        log: log.clone(),
        keyring: keyring.clone(),
        provisioner: provisioner.clone(),
        live: live.clone(),
        clock: clock.clone(),
        tasks: tasks.clone(),
        shutdown: tasks.shutdown().clone(),
        closing: closing.clone(),
        metrics: metrics.clone(),
    })
    .map_err(|error| failed(&error))
}

/// Not more connections than there are descriptors for; said, because who set the bound expects another.
fn within(mut config: runtime::config::Gateway, shares: Shares) -> runtime::config::Gateway {
    let (wanted, possible) = (config.limits.connections_max, shares.sessions_max);
    if wanted > possible {
        warn!(
            wanted,
            possible,
            "`gateway.limits.connectionsMax` needs more file descriptors; raise LimitNOFILE"
        );
        config.limits.connections_max = possible;
    }
    config
}

/// Token service and API on one origin; the address where it listens.
async fn start_https(
    installation: &Installation,
    tenant: TenantId,
    (provisioner, metrics, shares): (Provisioner, Registry, Shares),
    closing: &Shutdown,
) -> Result<SocketAddr, Failure> {
    let Installation { config, clock, tasks, store, keyring, log, live, control, .. } =
        installation;
    let hosts = match &config.hosts {
        Some(hosts) => Some(bound(hosts.listen, "hosts.listen").await?),
        None => None,
    };
    let hosts_origin = match &hosts {
        Some((_, address)) => config.hosts_origin(address.port()),
        None => None,
    };
    let doors = sts::doors(sts::State {
        control: control.clone(),
        log: log.clone(),
        keyring: keyring.clone(),
        clock: clock.clone(),
        origin: config.origin.clone(),
        lifetimes: config.token,
        federation: config.federation.clone(),
        hosts: hosts_origin,
        tasks: tasks.clone(),
    })
    .map_err(|error| failed(&error))?;
    let api = api::router(api::Parts {
        control: control.clone(),
        keyring: keyring.clone(),
        snapshots: store.snapshots(),
        log: log.clone(),
        clock: clock.clone(),
        live: live.clone(),
        servers: Arc::new(FromGateway::new(installation, provisioner)),
        issuer: issuer(installation, tenant),
        tenant,
        metrics: metrics.clone(),
        tasks: tasks.clone(),
    });
    let router = Router::new().merge(doors.origin).merge(api).fallback(api::no_such_route);
    let certificate = keyring.https_certificate();
    let tls = tls::server_config(&certificate, ALPN).map_err(|error| failed(&error))?;
    let answers = Answers::new(&metrics);
    let (listener, address) = bound(config.http.listen, "http.listen").await?;
    let https = Https {
        tls: TlsAcceptor::from(tls),
        router,
        tasks: tasks.clone(),
        closing: closing.clone(),
        connections_max: shares.https_max,
        answers,
    };
    if let Some((listener, address)) = hosts {
        let authorities = keyring.clone();
        let pem = move || authorities.host_authorities_pem();
        let tls = tls::mutual_server_config(&certificate, ALPN, pem, clock.clone())
            .map_err(|error| failed(&error))?;
        let hosts = Https { tls: TlsAcceptor::from(tls), router: doors.hosts, ..https.clone() };
        info!(hosts = %address, "agents of hosts are answered");
        drop(tasks.spawn("hosts", https::serve(listener, hosts)));
    }
    drop(tasks.spawn("https", https::serve(listener, https)));
    Ok(address)
}

/// Listens there; `field` is what an operator would change.
async fn bound(listen: SocketAddr, field: &str) -> Result<(TcpListener, SocketAddr), Failure> {
    let listener = TcpListener::bind(listen).await.map_err(|error| {
        failed(&format!("it cannot listen on {listen}: {error}")).next(format!("change `{field}`"))
    })?;
    let address = listener.local_addr().map_err(|error| failed(&error))?;
    Ok((listener, address))
}

/// `iss` of our tokens, in the form of Entra's v2.0 tokens of one tenant.
fn issuer(installation: &Installation, tenant: TenantId) -> String {
    format!("{}/{tenant}/v2.0", installation.config.origin)
}

async fn stop_requested(shutdown: &Shutdown) -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| failed(&error))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| failed(&error))?;
    tokio::select! {
        _ = terminate.recv() => info!("asked to stop (SIGTERM)"),
        _ = interrupt.recv() => info!("asked to stop (SIGINT)"),
        () = shutdown.requested() => {}
    }
    Ok(())
}

/// Sessions drain first, then everything else ends, and the last word goes to the audit log.
async fn stop(
    installation: Installation,
    (shutdown, closing): (&Shutdown, &Shutdown),
    gateway: Option<&Gateway>,
) -> Result<(), Failure> {
    shutdown.request();
    let drain = installation.config.gateway.limits.drain.duration();
    // Until then new logins are told that they come at the wrong time, and the API answers. Sessions that are left end
    // by themselves at the same moment.
    let _over = tokio::time::timeout(drain, installation.live.emptied()).await;
    closing.request();
    let stuck = installation.tasks.join_all(STOP_GRACE).await;
    if !stuck.is_empty() {
        warn!(tasks = ?stuck, "ended by force");
    }
    // What was ended by force has written its last record before the log closes.
    if let Some(gateway) = gateway {
        gateway.stop();
    }
    installation.close().await?;
    info!("stopped");
    Ok(())
}
