//! What servers say of themselves before anything else. A client is greeted before it is known who it is and which
//! server it wants, so what the servers said last is remembered, and those that were never heard are asked in the
//! background: one that is away holds nobody up, and however many strangers come, it is dialled once in a while.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::kind::server::{DatabaseServer, Engine};
use model::{Document, Refusal, Timestamp, code};
use runtime::{Clock, Tasks};
use tokio::sync::Notify;
use wire::mysql::capabilities::LocalFiles;
use wire::mysql::greeting::Greeting;

use crate::Shared;
use crate::outcome::Denied;
use crate::upstream;

#[cfg(test)]
mod tests;

/// A question to a server is given up after less; then it may be asked anew.
const ASKED_FOR: Duration = Duration::from_secs(15);
/// A server that gave no greeting is not asked again for so long.
const LEFT_ALONE_FOR: Duration = Duration::from_secs(5);
/// When one server has answered, the others behind the listener have this much more: a client is to be offered what
/// all of them speak.
const OTHERS_WITHIN: Duration = Duration::from_millis(500);

/// By the server's name; forgotten with the process.
#[derive(Debug, Default)]
pub(crate) struct Greetings {
    heard: Mutex<HashMap<String, Heard>>,
    /// An answer has come.
    news: Notify,
}

/// What is known of one server.
#[derive(Debug)]
enum Heard {
    /// This it said last.
    Said(Greeting),
    /// It is being asked.
    Asked { until: Timestamp },
    /// It gave no greeting, for this reason.
    Failed { denied: Denied, until: Timestamp },
}

/// What is known of several.
struct Seen {
    answer: Option<(Greeting, LocalFiles)>,
    /// Some are being asked.
    pending: bool,
    failure: Option<Denied>,
}

type Server = Arc<Document<DatabaseServer>>;

impl Greetings {
    /// A server was dialled, and said this.
    pub(crate) fn learn(&self, server: &str, greeting: &Greeting) {
        let mut heard = self.lock();
        if !matches!(heard.get(server), Some(Heard::Said(known)) if known == greeting) {
            heard.insert(server.to_owned(), Heard::Said(greeting.clone()));
        }
    }

    /// What a client of this listener is told.
    pub(crate) async fn behind(
        self: &Arc<Self>,
        listener: &str,
        gateway: &Shared,
    ) -> Result<(Greeting, LocalFiles), Denied> {
        let snapshot = gateway.snapshots.load();
        let behind = snapshot.servers.iter().filter(|server| {
            server.spec.engine == Engine::MySql && server.spec.listeners.contains(listener)
        });
        let servers: Vec<Server> = behind.cloned().collect();
        self.of(&servers, &gateway.clock, &gateway.tasks).await
    }

    /// The version of the first of these servers, and what all that can be reached offer. Whether a client may be asked
    /// for files depends on the server that it turns out to want: it is offered where any of them allows that.
    async fn of(
        self: &Arc<Self>,
        servers: &[Server],
        clock: &Clock,
        tasks: &Tasks,
    ) -> Result<(Greeting, LocalFiles), Denied> {
        for server in servers {
            self.ask(server, clock, tasks);
        }
        if let Some(answer) = self.look(servers, clock.now()).answer {
            return Ok(answer);
        }
        self.until(|| {
            let seen = self.look(servers, clock.now());
            seen.answer.is_some() || !seen.pending
        })
        .await;
        let all = self.until(|| !self.look(servers, clock.now()).pending);
        // Those that have not answered by then are away, as far as this client is concerned.
        let _in_time = tokio::time::timeout(OTHERS_WITHIN, all).await;
        let Seen { answer, pending: _, failure } = self.look(servers, clock.now());
        answer.ok_or_else(|| {
            failure.unwrap_or_else(|| {
                let message = "no server is protected behind this listener";
                Refusal::new(&code::SERVER_UNKNOWN, message).into()
            })
        })
    }

    /// Asks a server that nothing is known of, unless it is being asked or was just now.
    fn ask(self: &Arc<Self>, server: &Server, clock: &Clock, tasks: &Tasks) {
        let now = clock.now();
        let mut heard = self.lock();
        match heard.get(server.name()) {
            Some(Heard::Said(_)) => return,
            Some(Heard::Asked { until } | Heard::Failed { until, .. }) if now < *until => return,
            Some(Heard::Asked { .. } | Heard::Failed { .. }) | None => {}
        }
        heard.insert(server.name().to_owned(), Heard::Asked { until: now.plus(ASKED_FOR) });
        drop(heard);
        let (greetings, server) = (Arc::clone(self), Arc::clone(server));
        let (clock, shutdown) = (clock.clone(), tasks.shutdown().clone());
        tasks.spawn("greeting", async move {
            tokio::select! {
                () = shutdown.requested() => {}
                answer = upstream::greeting(&server) => {
                    greetings.answered(server.name(), answer, clock.now());
                }
            }
        });
    }

    fn answered(&self, server: &str, answer: Result<Greeting, Denied>, now: Timestamp) {
        match answer {
            Ok(greeting) => self.learn(server, &greeting),
            Err(denied) => {
                tracing::warn!(server, %denied, "a database server gave no greeting");
                let mut heard = self.lock();
                // A session may have been opened on it meanwhile.
                if !matches!(heard.get(server), Some(Heard::Said(_))) {
                    let until = now.plus(LEFT_ALONE_FOR);
                    heard.insert(server.to_owned(), Heard::Failed { denied, until });
                }
            }
        }
        self.news.notify_waiters();
    }

    /// Waits until this holds, which is asked again whenever an answer has come.
    async fn until(&self, holds: impl Fn() -> bool) {
        loop {
            // Made before looking, so that no answer is missed in between.
            let news = self.news.notified();
            if holds() {
                return;
            }
            news.await;
        }
    }

    fn look(&self, servers: &[Server], now: Timestamp) -> Seen {
        let heard = self.lock();
        let mut seen = Seen { answer: None, pending: false, failure: None };
        for server in servers {
            match heard.get(server.name()) {
                Some(Heard::Said(greeting)) => {
                    let local_files = super::local_files(&server.spec);
                    seen.answer = Some(match seen.answer.take() {
                        None => (greeting.clone(), local_files),
                        Some((first, files)) => {
                            let capabilities = first.capabilities.and(greeting.capabilities);
                            let files = if local_files == LocalFiles::Allowed {
                                local_files
                            } else {
                                files
                            };
                            (Greeting { capabilities, ..first }, files)
                        }
                    });
                }
                Some(Heard::Asked { until }) => seen.pending |= now < *until,
                Some(Heard::Failed { denied, .. }) => seen.failure = Some(denied.clone()),
                None => {}
            }
        }
        seen
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Heard>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
