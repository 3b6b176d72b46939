//! The threads that relay. Each waits for its sessions' sockets with one epoll, and polls a session when one of its
//! sockets has something, or when something else woke it (a changed snapshot, a deadline, a record on disk).
//!
//! A thread drives many sessions, so that under load it finds the next one's bytes instead of going to sleep; a wake-up
//! costs more than a relayed message.

use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::JoinHandle;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tracing::error;

use super::Open;
use super::socket::{Readiness, Socket};

/// Events taken from the kernel at a time.
const EVENTS_MAX: usize = 256;
/// The wake-up's own number among those of sockets.
const WAKE_UP: u64 = u64::MAX;

/// A session as its thread sees it: polled until it is over.
pub(crate) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What becomes of an open session, up to its end.
pub(crate) type Story = fn(Open) -> Task;

/// The owner of the threads. Dropping it ends them, and whatever they still relay.
#[derive(Debug)]
pub(crate) struct Threads {
    relays: Relays,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Gives sessions to the threads in turn. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Relays {
    threads: Arc<[Arc<Mailbox>]>,
    next: Arc<AtomicUsize>,
}

/// What reaches a thread from outside.
struct Mailbox {
    letters: Mutex<Letters>,
    /// The thread waits for the kernel, so whoever leaves something must wake it.
    asleep: AtomicBool,
    wake_up: OwnedFd,
    stop: AtomicBool,
}

#[derive(Default)]
struct Letters {
    sessions: Vec<(Open, oneshot::Sender<()>)>,
    woken: Vec<usize>,
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").field("stop", &self.stop).finish_non_exhaustive()
    }
}

impl Mailbox {
    fn letters(&self) -> MutexGuard<'_, Letters> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something lies in the mailbox.
    fn rouse(&self) {
        // Either the thread is seen asleep here, or it sees the letter before it goes to sleep.
        if self.asleep.swap(false, Ordering::SeqCst)
            && let Err(error) = rustix::io::write(&self.wake_up, &1_u64.to_ne_bytes())
        {
            error!(%error, "a relay's thread could not be woken");
        }
    }
}

impl Threads {
    /// So many threads, at least one. What the sessions wait for besides their sockets is the current runtime's.
    pub(crate) fn start(count: usize, story: Story) -> io::Result<Self> {
        let (mut mailboxes, mut threads) = (Vec::new(), Vec::new());
        for _ in 0..count.max(1) {
            let epoll = epoll::create(CreateFlags::CLOEXEC)?;
            let wake_up = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
            let data = EventData::new_u64(WAKE_UP);
            epoll::add(&epoll, &wake_up, data, EventFlags::IN | EventFlags::ET)?;
            let mailbox = Arc::new(Mailbox {
                letters: Mutex::default(),
                asleep: AtomicBool::new(false),
                wake_up,
                stop: AtomicBool::new(false),
            });
            let thread = Thread {
                epoll,
                story,
                mailbox: Arc::clone(&mailbox),
                seats: Vec::new(),
                free: Vec::new(),
            };
            let runtime = Handle::current();
            let run = move || {
                let _entered = runtime.enter();
                thread.run();
            };
            mailboxes.push(mailbox);
            threads.push(std::thread::Builder::new().name("relay".to_owned()).spawn(run)?);
        }
        let relays = Relays { threads: mailboxes.into(), next: Arc::default() };
        Ok(Self { relays, threads: Mutex::new(threads) })
    }

    /// Whoever gives them sessions.
    pub(crate) fn relays(&self) -> Relays {
        self.relays.clone()
    }

    /// Ends them. When this returns, whatever they still relayed has been dropped.
    pub(crate) fn stop(&self) {
        for mailbox in self.relays.threads.iter() {
            mailbox.stop.store(true, Ordering::SeqCst);
            mailbox.rouse();
        }
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for thread in threads.drain(..) {
            if thread.join().is_err() {
                error!("a relay's thread panicked");
            }
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Relays {
    /// Gives a session to the next thread. The result is told when it is over; an error says that it panicked or that
    /// the thread has ended.
    pub(crate) fn take(&self, session: Open) -> oneshot::Receiver<()> {
        let (over, told) = oneshot::channel();
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let index = turn.checked_rem(self.threads.len()).unwrap_or_default();
        if let Some(mailbox) = self.threads.get(index) {
            mailbox.letters().sessions.push((session, over));
            mailbox.rouse();
        }
        told
    }
}

/// One thread's state.
struct Thread {
    epoll: OwnedFd,
    story: Story,
    mailbox: Arc<Mailbox>,
    seats: Vec<Seat>,
    /// Seats that nobody sits on.
    free: Vec<usize>,
}

/// One session's place.
struct Seat {
    sitting: Option<Sitting>,
    /// Wakes whoever sits here.
    bell: Arc<Bell>,
    waker: Waker,
}

struct Sitting {
    /// Owns the sockets. They are closed with it, and so leave the epoll.
    task: Task,
    /// The client's and the server's.
    readiness: [Arc<Readiness>; 2],
    over: oneshot::Sender<()>,
}

/// Wakes a seat from outside of its thread, or from within. A late ring for someone who has left wakes the next one,
/// who looks and finds nothing.
struct Bell {
    seat: usize,
    rung: AtomicBool,
    mailbox: Arc<Mailbox>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.rung.swap(true, Ordering::SeqCst) {
            self.mailbox.letters().woken.push(self.seat);
            self.mailbox.rouse();
        }
    }
}

impl Thread {
    fn run(mut self) {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        let mut due = Vec::new();
        while !self.mailbox.stop.load(Ordering::SeqCst) {
            let waiting = self.open_mail(&mut due);
            self.hear(waiting, &mut events, &mut due);
            due.dedup();
            for seat in due.drain(..) {
                self.poll(seat);
            }
        }
    }

    /// Seats newcomers and notes who was woken; says whether there is nothing to do until the kernel says so.
    fn open_mail(&mut self, due: &mut Vec<usize>) -> bool {
        let Letters { sessions, woken } = std::mem::take(&mut *self.mailbox.letters());
        for seat in woken {
            if let Some(place) = self.seats.get(seat) {
                place.bell.rung.store(false, Ordering::SeqCst);
                due.push(seat);
            }
        }
        for (open, over) in sessions {
            match self.seat(open, over) {
                Ok(seat) => due.push(seat),
                Err(error) => error!(%error, "a session's sockets cannot be waited for"),
            }
        }
        if !due.is_empty() {
            return false;
        }
        self.mailbox.asleep.store(true, Ordering::SeqCst);
        let letters = self.mailbox.letters();
        letters.sessions.is_empty()
            && letters.woken.is_empty()
            && !self.mailbox.stop.load(Ordering::SeqCst)
    }

    fn free_seat(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            let seat = self.seats.len();
            let bell = Arc::new(Bell {
                seat,
                rung: AtomicBool::new(false),
                mailbox: Arc::clone(&self.mailbox),
            });
            let waker = Waker::from(Arc::clone(&bell));
            self.seats.push(Seat { sitting: None, bell, waker });
            seat
        })
    }

    fn seat(&mut self, open: Open, over: oneshot::Sender<()>) -> io::Result<usize> {
        let seat = self.free_seat();
        let interest = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        let sockets = [open.client.socket(), open.upstream.socket()];
        for (side, socket) in (0_u64..).zip(sockets) {
            let data = EventData::new_u64((wide(seat) << 1) | side);
            if let Err(error) = epoll::add(&self.epoll, socket, data, interest) {
                self.free.push(seat);
                return Err(error.into());
            }
        }
        let readiness = sockets.map(Socket::readiness);
        if let Some(place) = self.seats.get_mut(seat) {
            place.sitting = Some(Sitting { task: (self.story)(open), readiness, over });
        }
        Ok(seat)
    }

    /// Takes what the kernel has to say, and waits for it only when there is nothing else to do.
    fn hear(&self, waiting: bool, events: &mut Vec<epoll::Event>, due: &mut Vec<usize>) {
        let at_once = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        let timeout = if waiting { None } else { Some(&at_once) };
        events.clear();
        let heard =
            epoll::wait(&self.epoll, rustix::buffer::spare_capacity(events), timeout).map(drop);
        self.mailbox.asleep.store(false, Ordering::SeqCst);
        match heard {
            Ok(()) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => error!(%error, "a relay's thread cannot wait for its sockets"),
        }
        for event in events.iter() {
            let (data, flags) = (event.data.u64(), event.flags);
            // The wake-up is edge-triggered and counts: there is nothing to take from it.
            if data == WAKE_UP {
                continue;
            }
            let seat = usize::try_from(data >> 1).unwrap_or(usize::MAX);
            let side = usize::from(data & 1 == 1);
            let sitting = self.seats.get(seat).and_then(|place| place.sitting.as_ref());
            if let Some(readiness) = sitting.and_then(|sitting| sitting.readiness.get(side)) {
                readiness.heard(flags);
                due.push(seat);
            }
        }
    }

    /// A panic ends the session, and no other.
    fn poll(&mut self, seat: usize) {
        let Some(place) = self.seats.get_mut(seat) else { return };
        let Some(sitting) = &mut place.sitting else { return };
        let mut context = Context::from_waker(&place.waker);
        let task = sitting.task.as_mut();
        let polled = catch_unwind(AssertUnwindSafe(|| task.poll(&mut context)));
        if matches!(polled, Ok(Poll::Pending)) {
            return;
        }
        let Some(Sitting { task, readiness: _, over }) = place.sitting.take() else { return };
        // What is dropped with it may panic as well.
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(task)));
        self.free.push(seat);
        if polled.is_ok() && dropped.is_ok() {
            // Nobody may be left to be told: the gateway stops.
            let _told = over.send(());
        }
    }
}

/// Seats fit: each has a session with two sockets.
fn wide(seat: usize) -> u64 {
    u64::try_from(seat).unwrap_or(u64::MAX >> 1)
}

#[cfg(test)]
mod tests;
