//! Waiting for a condition, with a deadline. The only place that sleeps.

use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(20);

/// Asks until the answer is there. Panics, naming what was waited for, when it does not come in time.
#[track_caller]
#[expect(clippy::panic, reason = "a test that waits in vain fails")]
pub fn until<T>(within: Duration, what: &str, ask: impl FnMut() -> Option<T>) -> T {
    match try_until(within, ask) {
        Some(answer) => answer,
        None => panic!("waited {within:?} in vain for {what}"),
    }
}

/// Asks until the answer is there; `None` when it does not come in time.
pub fn try_until<T>(within: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = now() + within;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if now() >= deadline {
            return None;
        }
        pause(PAUSE);
    }
}

#[expect(clippy::disallowed_methods, reason = "this is what `wait` is for")]
pub fn pause(length: Duration) {
    std::thread::sleep(length);
}

#[expect(clippy::disallowed_methods, reason = "tests measure real time")]
pub fn now() -> Instant {
    Instant::now()
}
