//! Tasks with a name, an owner and an end; and the request to end.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};
use tracing::error;

/// The request to stop, seen by all clones.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Sender<bool>);

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    /// Not requested yet.
    pub fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Asks everyone to stop. Asking twice is the same as once.
    pub fn request(&self) {
        self.0.send_replace(true);
    }

    /// Whether it was requested.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns once it was requested. Cancel-safe.
    pub async fn requested(&self) {
        let mut seen = self.0.subscribe();
        // `self` holds the sender, so the wait can only end by the request.
        while !*seen.borrow_and_update() {
            if seen.changed().await.is_err() {
                return;
            }
        }
    }
}

/// The owner of all tasks.
#[derive(Clone)]
pub struct Tasks(Arc<Owner>);

struct Owner {
    shutdown: Shutdown,
    /// Where they run, whoever starts them: threads of their own have runtimes of their own.
    home: OnceLock<Handle>,
    running: Mutex<Running>,
    count: watch::Sender<usize>,
}

#[derive(Default)]
struct Running {
    next: u64,
    tasks: HashMap<u64, (&'static str, Option<AbortHandle>)>,
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tasks").field(&self.names()).finish()
    }
}

impl Tasks {
    /// No tasks yet; they are expected to end when `shutdown` is requested.
    pub fn new(shutdown: Shutdown) -> Self {
        let owner = Owner {
            shutdown,
            home: OnceLock::new(),
            running: Mutex::default(),
            count: watch::Sender::new(0),
        };
        Self(Arc::new(owner))
    }

    /// The request that ends them.
    pub fn shutdown(&self) -> &Shutdown {
        &self.0.shutdown
    }

    /// Starts a task on the runtime that started the first one. A panic in it is logged under its name.
    pub fn spawn<F>(&self, name: &'static str, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let entry = self.enter(name);
        let id = entry.id;
        let handle = self.0.home.get_or_init(Handle::current).spawn(async move {
            let _entry = entry;
            future.await
        });
        if let Some((_, abort)) = self.0.running().tasks.get_mut(&id) {
            *abort = Some(handle.abort_handle());
        }
        handle
    }

    /// Starts blocking work on the runtime's pool of blocking threads. It cannot be aborted.
    pub fn spawn_blocking<F, T>(&self, name: &'static str, work: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let entry = self.enter(name);
        self.0.home.get_or_init(Handle::current).spawn_blocking(move || {
            let _entry = entry;
            work()
        })
    }

    /// Names of the tasks that run, in alphabetical order.
    pub fn names(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.0.running().tasks.values().map(|(name, _)| *name).collect();
        names.sort_unstable();
        names
    }

    /// Waits until all have ended, aborts those that have not within `deadline` and returns their names.
    pub async fn join_all(&self, deadline: Duration) -> Vec<&'static str> {
        let mut count = self.0.count.subscribe();
        let ended = tokio::time::timeout(deadline, count.wait_for(|running| *running == 0)).await;
        if ended.is_ok() {
            return Vec::new();
        }
        let names = self.names();
        // Aborting may drop a task right here, and its entry takes the lock.
        let aborts: Vec<AbortHandle> =
            self.0.running().tasks.values().filter_map(|(_, abort)| abort.clone()).collect();
        for abort in aborts {
            abort.abort();
        }
        names
    }

    fn enter(&self, name: &'static str) -> Entry {
        let id = {
            let mut running = self.0.running();
            running.next += 1;
            let id = running.next;
            running.tasks.insert(id, (name, None));
            id
        };
        self.0.count.send_modify(|count| *count += 1);
        Entry { owner: Arc::clone(&self.0), id, name }
    }
}

impl Owner {
    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running task's place in the list; leaves it however the task ends.
struct Entry {
    owner: Arc<Owner>,
    id: u64,
    name: &'static str,
}

impl Drop for Entry {
    fn drop(&mut self) {
        if std::thread::panicking() {
            error!(task = self.name, "a task panicked");
        }
        self.owner.running().tasks.remove(&self.id);
        self.owner.count.send_modify(|count| *count = count.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tasks_that_heed_the_request_are_all_joined() {
        let tasks = Tasks::new(Shutdown::new());
        let shutdown = tasks.shutdown().clone();
        for name in ["one", "two"] {
            let shutdown = shutdown.clone();
            tasks.spawn(name, async move { shutdown.requested().await });
        }
        assert_eq!(tasks.names(), ["one", "two"]);
        shutdown.request();
        assert!(shutdown.is_requested());
        assert_eq!(tasks.join_all(Duration::from_secs(5)).await, Vec::<&str>::new());
        assert_eq!(tasks.names(), Vec::<&str>::new());
    }

    #[tokio::test]
    async fn a_task_that_does_not_end_is_aborted_and_named() {
        let tasks = Tasks::new(Shutdown::new());
        let stuck = tasks.spawn("stuck", std::future::pending::<()>());
        assert_eq!(tasks.join_all(Duration::from_millis(10)).await, ["stuck"]);
        assert!(stuck.await.unwrap_err().is_cancelled());
        assert_eq!(tasks.names(), Vec::<&str>::new());
    }

    #[tokio::test]
    async fn a_panic_ends_one_task_and_leaves_the_list() {
        let tasks = Tasks::new(Shutdown::new());
        let panicked = tasks.spawn("panics", async { panic!("on purpose") });
        assert!(panicked.await.unwrap_err().is_panic());
        let value = tasks.spawn_blocking("works", || 7).await.unwrap();
        assert_eq!(value, 7);
        assert_eq!(tasks.join_all(Duration::from_secs(5)).await, Vec::<&str>::new());
    }
}
