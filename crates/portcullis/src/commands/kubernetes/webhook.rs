//! `portcullis kubernetes webhook`: prepares, listens, and goes on until it is told to stop.

use std::path::Path;
use std::time::Duration;

use axum::Router;
use kubernetes::{Config, Webhook};
use runtime::metrics::Registry;
use runtime::{Clock, Environment, Shutdown, Tasks, telemetry, tls};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

use crate::commands::signals::Signals;
use crate::failure::Failure;
use crate::installation;
use crate::server::figures::Answers;
use crate::server::https::{self, Https};

/// A replica that ends goes on answering so long: API servers learn late that it is no longer in the Service.
const LINGER: Duration = Duration::from_secs(5);
const STOP_GRACE: Duration = Duration::from_secs(5);
/// Between attempts to get ready.
const PAUSE: Duration = Duration::from_secs(2);

pub(crate) fn run(file: &Path) -> Result<(), Failure> {
    let config = Config::load(file).map_err(|error| failed(&error))?;
    telemetry::start(config.log.format, Environment::read().log.as_deref())
        .map_err(|error| failed(&error))?;
    installation::block_on(serve(config))
}

fn failed(error: &dyn std::fmt::Display) -> Failure {
    Failure::new("cannot run the webhooks", error)
}

async fn serve(config: Config) -> Result<(), Failure> {
    let mut signals = Signals::new().map_err(|error| failed(&error))?;
    let (looking, closing) = (Shutdown::new(), Shutdown::new());
    let (clock, tasks) = (Clock::system(), Tasks::new(closing.clone()));
    let prepared = tokio::select! {
        webhook = patiently(&config, &clock) => webhook,
        () = signals.stop() => return Ok(()),
    };
    let tls = tls::server_config(&prepared.certificate(), &[b"http/1.1"]);
    let tls = TlsAcceptor::from(tls.map_err(|error| failed(&error))?);
    let listener = TcpListener::bind(config.listen).await.map_err(|error| failed(&error))?;
    let address = listener.local_addr().map_err(|error| failed(&error))?;
    let server = https::serve(
        listener,
        Https {
            tls,
            router: Router::new().merge(prepared.router()).fallback(api::no_such_route),
            tasks: tasks.clone(),
            closing: closing.clone(),
            connections_max: https::CONNECTIONS_MAX,
            answers: Answers::new(&Registry::new()),
        },
    );
    drop(tasks.spawn("webhook-https", server));
    drop(tasks.spawn("webhook-upkeep", prepared.look_after(config, address, looking.clone())));
    info!(%address, "the webhooks listen");
    signals.stop().await;
    info!("asked to stop");
    looking.request();
    clock.sleep(LINGER).await;
    closing.request();
    let stuck = tasks.join_all(STOP_GRACE).await;
    if !stuck.is_empty() {
        warn!(tasks = ?stuck, "ended by force");
    }
    Ok(())
}

/// The API server may come later than this, and another replica may be writing the same Secret.
async fn patiently(config: &Config, clock: &Clock) -> Webhook {
    loop {
        match Webhook::prepare(config, clock).await {
            Ok(webhook) => return webhook,
            Err(error) => warn!(%error, "the webhooks cannot be served; it is tried again"),
        }
        clock.sleep(PAUSE).await;
    }
}
