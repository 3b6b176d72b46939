//! What servers say of themselves before anything else. A client is greeted before it is known who it is and which
//! server it wants, so what the servers said last is remembered; one that was never asked is asked now.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use model::kind::server::Engine;
use model::{Refusal, code};
use wire::mysql::capabilities::LocalFiles;
use wire::mysql::greeting::Greeting;

use crate::Shared;
use crate::outcome::Denied;
use crate::upstream;

/// By the server's name; forgotten with the process.
#[derive(Debug, Default)]
pub(crate) struct Greetings(Mutex<HashMap<String, Greeting>>);

impl Greetings {
    /// A server was dialled, and said this.
    pub(crate) fn learn(&self, server: &str, greeting: &Greeting) {
        let mut known = self.lock();
        if known.get(server) != Some(greeting) {
            known.insert(server.to_owned(), greeting.clone());
        }
    }

    /// What a client of this listener is told: the version of its first server by name, and what all that can be
    /// reached offer. Whether it may be asked for files depends on the server that it turns out to want: it is offered
    /// where any of them allows that.
    pub(crate) async fn behind(
        &self,
        listener: &str,
        gateway: &Shared,
    ) -> Result<(Greeting, LocalFiles), Denied> {
        let snapshot = gateway.snapshots.load();
        let behind = snapshot.servers.iter().filter(|server| {
            server.spec.engine == Engine::MySql && server.spec.listeners.contains(listener)
        });
        let (mut common, mut last) = (None::<Greeting>, None);
        let mut local_files = LocalFiles::Refused;
        for server in behind {
            let known = self.lock().get(server.name()).cloned();
            let greeting = match known {
                Some(known) => known,
                None => match upstream::greeting(server).await {
                    Ok(greeting) => {
                        self.learn(server.name(), &greeting);
                        greeting
                    }
                    Err(denied) => {
                        last = Some(denied);
                        continue;
                    }
                },
            };
            if super::local_files(&server.spec) == LocalFiles::Allowed {
                local_files = LocalFiles::Allowed;
            }
            common = Some(match common {
                None => greeting,
                Some(first) => Greeting {
                    capabilities: first.capabilities.and(greeting.capabilities),
                    ..first
                },
            });
        }
        common.map(|greeting| (greeting, local_files)).ok_or_else(|| {
            last.unwrap_or_else(|| {
                let message = "no server is protected behind this listener";
                Refusal::new(&code::SERVER_UNKNOWN, message).into()
            })
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Greeting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
