//! `portcullis proxy`: a port on this machine that adds the token, until it is told to stop.

use client::proxy::{self, Endpoint, Parts};
use client::{ClientError, Connection, Token};
use model::ServerName;
use runtime::config::LogFormat;
use runtime::{Clock, Environment, Shutdown, Tasks, telemetry};
use serde::Serialize;
use tracing::info;

use crate::cli::{Common, Proxy};
use crate::commands::signals::Signals;
use crate::failure::Failure;
use crate::{installation, output, remote};

/// What is printed once it listens.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Listening<'a> {
    server: &'a ServerName,
    address: &'a str,
    user: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<&'a str>,
}

pub(crate) fn run(common: &Common, options: &Proxy) -> Result<(), Failure> {
    let what = format!("start a proxy to `{}`", options.server);
    let failed = |error: &dyn std::fmt::Display| Failure::new(format!("cannot {what}"), error);
    let environment = remote::environment(common);
    telemetry::start(LogFormat::Auto, environment.log.as_deref())
        .map_err(|error| failed(&error))?;
    installation::block_on(async {
        let mut signals = Signals::new().map_err(|error| failed(&error))?;
        let shutdown = Shutdown::new();
        let started = start(options, &environment, &shutdown);
        let (proxy, connection) = tokio::select! {
            started = started => started.map_err(|error| remote::failure(&what, &error))?,
            () = signals.stop() => return Ok(()),
        };
        let listening = Listening {
            server: &options.server,
            address: &proxy.address,
            user: &connection.user,
            database: connection.database.as_deref(),
        };
        output::show(common.output, &listening, || text(&listening))?;
        signals.stop().await;
        info!("asked to stop");
        proxy.drain(options.drain.duration(), signals.stop()).await;
        Ok(())
    })
}

async fn start(
    options: &Proxy,
    environment: &Environment,
    shutdown: &Shutdown,
) -> Result<(proxy::Proxy, Connection), ClientError> {
    let (clock, tasks) = (Clock::system(), Tasks::new(shutdown.clone()));
    let ca = environment.ca.clone().ok_or(ClientError::AuthorityMissing)?;
    let looked_up = {
        let (environment, clock) = (environment.clone(), clock.clone());
        let server = options.server.clone();
        move || {
            let (installation, token) = client::own_control_token(&environment, clock.now())?;
            client::connection(&installation, &token, &server, None)
        }
    };
    let connection = proxy::patiently((&clock, &tasks), "server", looked_up).await?;
    let fetch = {
        let (environment, clock) = (environment.clone(), clock.clone());
        move |refused: Option<&Token>| fetch(&environment, &clock, refused)
    };
    let usual = Endpoint::usual(connection.engine);
    let proxy = proxy::Proxy::start(Parts {
        connection: connection.clone(),
        ca,
        listen: options.listen.clone().unwrap_or(usual),
        fetch: Box::new(fetch),
        clock,
        tasks,
    })
    .await?;
    Ok((proxy, connection))
}

fn fetch(
    environment: &Environment,
    clock: &Clock,
    refused: Option<&Token>,
) -> Result<Token, ClientError> {
    let now = clock.now();
    let (_, token) = match refused {
        Some(refused) => client::database_token_instead_of(refused, environment, now)?,
        None => client::database_token(environment, now)?,
    };
    Ok(token)
}

fn text(listening: &Listening<'_>) -> String {
    let Listening { server, address, user, database } = listening;
    let database = database.map(|name| format!(", database {name}")).unwrap_or_default();
    format!(
        "{server} at {address} as {user}{database}; any password will do, and whoever can connect there acts as {user}\n"
    )
}
