//! The role: prepared before it listens, looked after while it does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use model::Timestamp;
use runtime::tls::ServerCertificate;
use runtime::{Clock, Shutdown};
use tracing::{info, warn};

use crate::api_server::{ApiServer, ApiServerError};
use crate::certificate::{CertificateError, Keeper, Reached};
use crate::config::Config;
use crate::readiness::Readiness;
use crate::routes::{Served, router};
use crate::self_check::{Subject, check};

/// How often everything is looked at once it works, and until then.
const LOOK_EVERY: Duration = Duration::from_mins(1);
const LOOK_UNTIL_READY: Duration = Duration::from_secs(1);

/// The webhooks cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The cluster does not say what it is.
    #[error("the cluster's version is not known: {0}")]
    Version(#[source] ApiServerError),
    /// There is nothing to be reached under.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The process is at its end.
    #[error("the work was ended: {0}")]
    Ended(String),
}

/// The webhooks of one cluster.
#[derive(Clone, Debug)]
pub struct Webhook {
    keeper: Arc<Keeper>,
    reached: Reached,
    served: Served,
    clock: Clock,
}

impl Webhook {
    /// Asks the API server for what is needed before anything is served; once.
    pub async fn prepare(config: &Config, clock: &Clock) -> Result<Self, WebhookError> {
        let api = ApiServer::new(&config.api_server);
        let keeper = Arc::new(Keeper::new(&config.certificate, &config.namespace, &api));
        let sidecars = {
            let api = api.clone();
            blocking(move || api.sidecars()).await?.map_err(WebhookError::Version)?
        };
        let reached = look(&keeper, clock.now()).await?;
        let settings = Arc::new(config.settings(sidecars));
        let served = Served { settings, api, readiness: Readiness::not_yet() };
        Ok(Self { keeper, reached, served, clock: clock.clone() })
    }

    /// What is shown to clients; it changes underneath.
    pub fn certificate(&self) -> ServerCertificate {
        self.reached.certificate.clone()
    }

    /// Both webhooks, `/healthz` and `/readyz`.
    pub fn router(&self) -> Router {
        router(self.served.clone())
    }

    /// Looks after certificate and readiness until the stop is requested.
    pub async fn look_after(mut self, config: Config, listener: SocketAddr, shutdown: Shutdown) {
        let Config { namespace, service_account, .. } = config;
        let subject = Subject { listener, namespace, service_account };
        while !shutdown.is_requested() {
            let seen = self.look(&subject).await;
            let pause = if seen.is_ok() { LOOK_EVERY } else { LOOK_UNTIL_READY };
            if self.served.readiness.set(seen.clone()) {
                match seen {
                    Ok(()) => info!(%listener, "the webhooks are ready"),
                    Err(reason) => warn!(reason, "the webhooks are not ready"),
                }
            }
            tokio::select! {
                () = self.clock.sleep(pause) => {}
                () = shutdown.requested() => {}
            }
        }
        self.served.readiness.set(Err("the process is stopping".to_owned()));
    }

    async fn look(&mut self, subject: &Subject) -> Result<(), String> {
        // What is shown stays good for weeks: pods need not wait for what can be mended meanwhile.
        match look(&self.keeper, self.clock.now()).await {
            Ok(reached) => self.reached = reached,
            Err(error) => warn!(%error, "the webhook's certificate could not be looked after"),
        }
        let (subject, reached) = (subject.clone(), self.reached.clone());
        let checked = blocking(move || check(&subject, &reached)).await;
        checked.map_err(|error| error.to_string())?
    }
}

async fn look(keeper: &Arc<Keeper>, now: Timestamp) -> Result<Reached, WebhookError> {
    let keeper = Arc::clone(keeper);
    Ok(blocking(move || keeper.look(now)).await??)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, WebhookError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| WebhookError::Ended(error.to_string()))
}
