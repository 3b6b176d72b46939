//! The data path: listeners in, sessions out. One file a step, in the order in which a connection lives:
//! accept → network rules → TLS → start-up → credential → identity → decision → open the database → relay → end.
//! [`session`] tells the story.

use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use audit::Log;
use control::{Keyring, LiveSessions};
use model::TenantId;
use runtime::metrics::Registry;
use runtime::{Clock, Shutdown, Tasks, config};
use store::Snapshots;
use tracing::info;

mod authorise;
mod cancel;
mod claimed;
mod dialect;
mod end;
pub mod enroll;
mod enrolment;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod identify;
mod listener;
mod metrics;
mod network;
mod observe;
mod outcome;
pub mod provision;
mod record;
mod relay;
mod session;
mod tls;
pub mod upstream;
mod verify;

pub use outcome::Denied;
pub use tls::Stream as TlsStream;

use listener::Door;
use listener::admission::{Admission, Bounds};
use listener::budget::Budgets;
use provision::Provisioner;
use relay::{Relays, Threads};
use verify::roll::Roll;

/// What a gateway is made of.
#[derive(Debug)]
pub struct Parts {
    /// Its configuration.
    pub config: config::Gateway,
    /// `iss` of the tokens that count here.
    pub issuer: String,
    /// `tid` of the tokens that count here.
    pub tenant: TenantId,
    /// What decisions read.
    pub snapshots: Snapshots,
    /// Where everything is recorded.
    pub log: Log,
    /// Where keys and certificates come from.
    pub keyring: Keyring,
    /// Prepares and withdraws database users.
    pub provisioner: Provisioner,
    /// Where sessions are listed, and cut.
    pub live: LiveSessions,
    /// The time.
    pub clock: Clock,
    /// The owner of its tasks.
    pub tasks: Tasks,
    /// The request to stop: sessions drain, and new logins are refused.
    pub shutdown: Shutdown,
    /// The end of that: no connection is accepted any more.
    pub closing: Shutdown,
    /// Where it counts.
    pub metrics: Registry,
}

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    addresses: Vec<(String, SocketAddr)>,
    relays: Threads,
}

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener's address cannot be bound.
    #[error("listener `{listener}` cannot listen on {address}: {cause}")]
    Bind {
        /// Its name.
        listener: String,
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// There is no usable certificate for clients.
    #[error("the listeners have no usable certificate: {0}")]
    Certificate(#[from] runtime::tls::TlsError),
    /// The system gives us no threads.
    #[error("the threads that relay cannot be started: {0}")]
    Threads(#[source] std::io::Error),
}

/// What all connections of a gateway share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub issuer: String,
    pub tenant: TenantId,
    pub snapshots: Snapshots,
    pub log: Log,
    pub keyring: Keyring,
    pub provisioner: Provisioner,
    pub live: LiveSessions,
    pub clock: Clock,
    pub tasks: Tasks,
    pub shutdown: Shutdown,
    pub closing: Shutdown,
    pub limits: Limits,
    pub admission: Arc<Admission>,
    pub seats: Arc<authorise::Seats>,
    pub cancel_keys: Arc<cancel::Keys>,
    pub threads: Arc<cancel::threads::Threads>,
    pub greetings: Arc<dialect::Greetings>,
    pub refusals: Budgets,
    pub roll: Arc<Roll>,
    pub relays: Relays,
    pub contexts: upstream::Contexts,
    pub session_keys: upstream::SessionKeys,
    pub credentials: upstream::Credentials,
    pub metrics: metrics::Metrics,
}

/// Bounds in time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub startup_timeout: Duration,
    pub drain: Duration,
    pub staleness_login_max: Duration,
    pub staleness_session_max: Duration,
}

impl Gateway {
    /// Binds the listeners and begins to accept. Ends, sessions drained, when `shutdown` is requested.
    pub fn start(parts: Parts) -> Result<Self, StartError> {
        let certificate = parts.keyring.listener_certificate();
        let tls = |protocols: &[&[u8]]| -> Result<_, runtime::tls::TlsError> {
            let config = runtime::tls::server_config(&certificate, protocols)?;
            let mut config = Arc::unwrap_or_clone(config);
            config.enable_secret_extraction = true;
            // Clients of databases do not resume TLS sessions: their connections are long.
            config.send_tls13_tickets = 0;
            Ok(Arc::new(config))
        };
        let (postgresql, mysql) = (tls(&[tls::ALPN])?, tls(&[])?);
        let configured = parts.config.listeners.clone();
        let name = parts.config.name.clone();
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        let relays =
            Threads::start(processors / relay::PROCESSORS_PER_THREAD, session::relay_and_close)
                .map_err(StartError::Threads)?;
        let shared = Arc::new(Shared::new(parts, relays.relays()));
        let mut bound = Vec::new();
        for config::Listener {
            name,
            protocol,
            listen,
            reached_at: _,
            authentication,
            proxy_protocol_from,
            cancel_from,
            connections_max,
        } in configured
        {
            let cannot =
                |cause| StartError::Bind { listener: name.clone(), address: listen, cause };
            let socket = listener::bind(listen).map_err(cannot)?;
            let address = socket.local_addr().map_err(cannot)?;
            let proxies = proxy_protocol_from;
            let tls = Arc::clone(match protocol {
                config::Protocol::PostgreSql => &postgresql,
                config::Protocol::MySql => &mysql,
            });
            let places = listener::places(connections_max);
            let door = Door { name, protocol, authentication, proxies, cancel_from, tls, places };
            bound.push((socket, address, Arc::new(door)));
        }
        let acknowledger = shared.snapshots.register(&name);
        let acknowledging = verify::roll::acknowledge(
            Arc::clone(&shared.roll),
            shared.snapshots.clone(),
            acknowledger,
        );
        let shutdown = shared.shutdown.clone();
        shared.tasks.spawn("acknowledge", async move {
            tokio::select! {
                () = acknowledging => {}
                () = shutdown.requested() => {}
            }
        });
        let mut addresses = Vec::new();
        for (socket, address, door) in bound {
            info!(listener = door.name, %address, "listening");
            addresses.push((door.name.clone(), address));
            shared.tasks.spawn("listener", listener::run(socket, door, Arc::clone(&shared)));
        }
        Ok(Self { addresses, relays })
    }

    /// Ends what still relays; its last records are written when this returns.
    pub fn stop(&self) {
        self.relays.stop();
    }

    /// Names of the listeners and where they listen: what port 0 became.
    pub fn addresses(&self) -> &[(String, SocketAddr)] {
        &self.addresses
    }
}

/// Registers what a gateway counts, for the page that describes it.
pub fn describe_metrics(registry: &Registry) {
    drop(metrics::Metrics::new(registry));
}

impl Shared {
    fn new(parts: Parts, relays: Relays) -> Self {
        let Parts {
            config,
            issuer,
            tenant,
            snapshots,
            log,
            keyring,
            provisioner,
            live,
            clock,
            tasks,
            shutdown,
            closing,
            metrics,
        } = parts;
        let limits = Limits {
            startup_timeout: config.limits.startup_timeout.duration(),
            drain: config.limits.drain.duration(),
            staleness_login_max: config.staleness_login_max.duration(),
            staleness_session_max: config.staleness_session_max.duration(),
        };
        let bounds = Bounds {
            connections_max: config.limits.connections_max,
            connections_per_source_max: config.limits.connections_per_source_max,
            unauthenticated_per_source_max: config.limits.unauthenticated_per_source_max,
        };
        Self {
            issuer,
            tenant,
            snapshots,
            log,
            keyring,
            provisioner,
            live,
            clock,
            tasks,
            shutdown,
            closing,
            limits,
            admission: Admission::new(bounds),
            seats: Arc::default(),
            cancel_keys: Arc::default(),
            threads: Arc::default(),
            greetings: Arc::default(),
            refusals: Budgets::new(end::REFUSALS_RECORDED_MAX),
            roll: Arc::default(),
            relays,
            contexts: upstream::Contexts::default(),
            session_keys: upstream::SessionKeys::default(),
            credentials: upstream::Credentials::new(&config),
            metrics: metrics::Metrics::new(&metrics),
        }
    }
}
