//! The threads by themselves: wake-ups, panics and the end. Whole sessions run on them end to end.

use std::future::{pending, poll_fn};
use std::time::Duration;

use super::*;

/// One thread's state without the thread, so that a test sees each turn.
fn thread() -> Thread {
    let epoll = epoll::create(CreateFlags::CLOEXEC).unwrap();
    let wake_up = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap();
    epoll::add(&epoll, &wake_up, EventData::new_u64(WAKE_UP), EventFlags::IN | EventFlags::ET)
        .unwrap();
    let mailbox = Arc::new(Mailbox {
        letters: Mutex::default(),
        asleep: AtomicBool::new(false),
        wake_up,
        stop: AtomicBool::new(false),
    });
    Thread { epoll, story: |_| Box::pin(pending()), mailbox, seats: Vec::new(), free: Vec::new() }
}

/// A task without sockets takes a seat.
fn sit(thread: &mut Thread, task: Task) -> (usize, oneshot::Receiver<()>) {
    let (over, told) = oneshot::channel();
    let seat = thread.free_seat();
    let readiness = [Readiness::new(), Readiness::new()].map(Arc::new);
    thread.seats[seat].sitting = Some(Sitting { task, readiness, over });
    (seat, told)
}

#[test]
fn a_panic_ends_its_session_and_no_other() {
    let mut thread = thread();
    let (panics, mut panicked) = sit(&mut thread, Box::pin(async { panic!("one of them") }));
    let (lives, mut living) = sit(&mut thread, Box::pin(pending()));
    thread.poll(panics);
    thread.poll(lives);
    assert!(matches!(panicked.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
    assert!(matches!(living.try_recv(), Err(oneshot::error::TryRecvError::Empty)));
    assert_eq!(thread.free, [panics]);
    let (again, mut over) = sit(&mut thread, Box::pin(async {}));
    assert_eq!(again, panics);
    thread.poll(again);
    assert_eq!(over.try_recv(), Ok(()));
}

#[test]
fn a_thread_that_sleeps_is_woken_and_one_that_works_finds_its_mail() {
    let mut thread = thread();
    let (seat, _told) = sit(&mut thread, Box::pin(pending()));
    let waker = thread.seats[seat].waker.clone();
    let (mut due, mut events) = (Vec::new(), Vec::with_capacity(EVENTS_MAX));
    // Rung twice before it looks: one look.
    waker.wake_by_ref();
    waker.wake_by_ref();
    assert!(!thread.open_mail(&mut due));
    assert_eq!(std::mem::take(&mut due), [seat]);
    // Rung while it waits for the kernel: it comes back.
    assert!(thread.open_mail(&mut due));
    let from_outside = std::thread::spawn(move || waker.wake());
    thread.hear(true, &mut events, &mut due);
    from_outside.join().unwrap();
    assert!(due.is_empty() && !thread.open_mail(&mut due));
    assert_eq!(due, [seat]);
}

#[tokio::test]
async fn what_is_still_relayed_is_dropped_before_the_threads_have_ended() {
    let threads = Threads::start(2, |_| Box::pin(pending())).unwrap();
    let stopping = tokio::task::spawn_blocking(move || drop(threads));
    tokio::time::timeout(Duration::from_secs(20), stopping).await.unwrap().unwrap();
    let held = Arc::new(());
    let mut thread = thread();
    let holds = Arc::clone(&held);
    let (_seat, _told) = sit(
        &mut thread,
        Box::pin(poll_fn(move |_| {
            assert!(Arc::strong_count(&holds) > 0);
            Poll::Pending
        })),
    );
    assert_eq!(Arc::strong_count(&held), 2);
    thread.mailbox.stop.store(true, Ordering::SeqCst);
    thread.run();
    assert_eq!(Arc::strong_count(&held), 1);
}
