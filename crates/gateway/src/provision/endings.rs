//! Backends that are to end one by one, asked for together: a thousand sessions that are cut at once cost the server a few
//! looks at its list of backends, not a thousand.

use std::sync::Mutex;

use tokio::sync::oneshot;

use super::connection::{Connection, Trouble};
use super::server::lock;

/// Whoever has the turn asks for everyone who is waiting.
#[derive(Debug, Default)]
pub(crate) struct Endings {
    asked: Mutex<Vec<Asked>>,
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Asked {
    user: String,
    pid: u32,
    told: oneshot::Sender<bool>,
}

impl Endings {
    /// Ends a backend, if it is this user's; whether there was one.
    pub(crate) async fn end(
        &self,
        connection: &Connection,
        user: &str,
        pid: u32,
    ) -> Result<bool, Trouble> {
        let (told, heard) = oneshot::channel();
        lock(&self.asked).push(Asked { user: user.to_owned(), pid, told });
        let turn = self.turn.lock().await;
        let batch = std::mem::take(&mut *lock(&self.asked));
        if !batch.is_empty() {
            let backends: Vec<(&str, u32)> =
                batch.iter().map(|asked| (asked.user.as_str(), asked.pid)).collect();
            // Those who asked with us hear of an error by not being told.
            let ended = connection.terminate_each(&backends).await?;
            for asked in batch {
                // Whoever gave up waiting is not told.
                let _told = asked.told.send(ended.contains(&asked.pid));
            }
        }
        drop(turn);
        heard.await.map_err(|_| Trouble::Late("end a backend"))
    }
}
