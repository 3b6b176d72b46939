//! The numbers under which MySQL's clients know their connections, so that they can ask to kill one. A greeting says a
//! number before it is known which server the connection is for, so it is one of ours.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{PrincipalId, ServerName};

/// Servers count from 1; ours begin where theirs seldom get.
const FIRST: u32 = 0x4000_0000;

/// All connections that have a number.
#[derive(Debug)]
pub(crate) struct Threads {
    next: AtomicU32,
    open: Mutex<HashMap<u32, Thread>>,
}

/// A session as its server knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Thread {
    /// Whose.
    pub principal: PrincipalId,
    /// Where.
    pub server: ServerName,
    /// Its number there.
    pub number: u32,
}

/// A session in the table; it leaves it when this is dropped.
#[derive(Debug)]
pub(crate) struct Registered {
    threads: Arc<Threads>,
    shown: u32,
    thread: Thread,
}

impl Default for Threads {
    fn default() -> Self {
        Self { next: AtomicU32::new(FIRST), open: Mutex::default() }
    }
}

impl Threads {
    /// A number for a greeting.
    pub(crate) fn number(&self) -> u32 {
        self.next.fetch_add(1, Ordering::Relaxed) | FIRST
    }

    /// The session that was greeted with this number is open.
    pub(crate) fn register(self: &Arc<Self>, shown: u32, thread: Thread) -> Registered {
        self.lock().insert(shown, thread.clone());
        Registered { threads: Arc::clone(self), shown, thread }
    }

    /// The server's number of a session of the same principal on the same server.
    pub(crate) fn find(&self, shown: u32, asking: &Registered) -> Option<u32> {
        let open = self.lock();
        let found = open.get(&shown)?;
        let own = (&asking.thread.principal, &asking.thread.server);
        ((&found.principal, &found.server) == own).then_some(found.number)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Thread>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.threads.lock().remove(&self.shown);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thread(principal: PrincipalId, number: u32) -> Thread {
        Thread { principal, server: ServerName::new("orders").unwrap(), number }
    }

    #[test]
    fn only_sessions_of_the_same_principal_are_found_and_only_while_they_are_open() {
        let threads = Arc::new(Threads::default());
        let (ada, eve) = (PrincipalId::random(), PrincipalId::random());
        let (one, two, other) = (threads.number(), threads.number(), threads.number());
        let first = threads.register(one, thread(ada, 11));
        let second = threads.register(two, thread(ada, 12));
        let stranger = threads.register(other, thread(eve, 13));
        assert_eq!(threads.find(one, &second), Some(11));
        assert_eq!(threads.find(two, &second), Some(12));
        assert_eq!(threads.find(one, &stranger), None);
        drop(first);
        assert_eq!(threads.find(one, &second), None);
    }
}
