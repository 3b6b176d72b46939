//! The one place that reads the clock.
//!
//! **Invariant:** `now` never goes back. A wall clock that steps backward (by hand, by NTP, by a restored virtual
//! machine) would otherwise extend every deadline that was counted from it; so time goes on at the monotonic clock's
//! pace from the furthest instant ever seen. A forward step is followed at once: deadlines that it passes are due.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use model::Timestamp;
use tokio::sync::watch;

/// Whoever reads the clock and finds it so far ahead wakes every sleeper: the clock was set forward.
const STEP: Duration = Duration::from_millis(100);

/// A sleeper reads the clock again after at most so long, in case nobody else does. A server reads it every second, in
/// the store's feed; a thousand idle sessions need not.
const SLICE: Duration = Duration::from_secs(10);

/// Where `now` comes from. Cheap to clone; all clones show the same time.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Source>);

#[derive(Debug)]
enum Source {
    System(System),
    Manual(watch::Sender<Timestamp>),
}

/// `now = elapsed since start + offset`, and `offset` only grows.
#[derive(Debug)]
struct System {
    start: Instant,
    offset: AtomicI64,
    /// Changes when the clock was set forward.
    stepped: watch::Sender<()>,
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self::system_not_before(Timestamp::EPOCH)
    }

    /// The machine's clock, but never before `high_water`: the greatest instant that was ever committed. A wall clock
    /// that was set back while the process was down extends nothing either.
    pub fn system_not_before(high_water: Timestamp) -> Self {
        let offset = AtomicI64::new(wall().max(high_water).micros());
        Self(Arc::new(Source::System(System {
            start: monotonic(),
            offset,
            stepped: watch::Sender::new(()),
        })))
    }

    /// A clock that stands still until its [`ManualClock`] moves it: for tests.
    pub fn manual(at: Timestamp) -> (Self, ManualClock) {
        let clock = Self(Arc::new(Source::Manual(watch::Sender::new(at))));
        (clock.clone(), ManualClock(clock))
    }

    /// This instant.
    pub fn now(&self) -> Timestamp {
        match &*self.0 {
            // The wall is read before the monotonic clock: a pause between the two makes `ahead` too small, which the
            // maximum ignores. The other way round it would push time ahead for good.
            Source::System(system) => {
                let wall = wall();
                system.advance(wall, system.start.elapsed())
            }
            Source::Manual(now) => *now.borrow(),
        }
    }

    /// Returns when `now` has reached the deadline. Cancel-safe.
    pub async fn sleep_until(&self, deadline: Timestamp) {
        match &*self.0 {
            Source::System(system) => {
                let mut stepped = system.stepped.subscribe();
                loop {
                    let left = deadline.since(self.now());
                    if left.is_zero() {
                        return;
                    }
                    tokio::select! {
                        () = tokio::time::sleep(left.min(SLICE)) => {}
                        // The sender lives in `self`: this ends only with a step.
                        _ = stepped.changed() => {}
                    }
                }
            }
            Source::Manual(now) => {
                // The sender lives in `self`, so the channel cannot close while this waits.
                let mut seen = now.subscribe();
                while *seen.borrow_and_update() < deadline {
                    if seen.changed().await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Returns when so much time has passed, counted from the call. Cancel-safe.
    pub fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send + '_ {
        self.sleep_until(self.now().plus(duration))
    }
}

impl System {
    fn advance(&self, wall: Timestamp, elapsed: Duration) -> Timestamp {
        let elapsed = i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX);
        let ahead = wall.micros().saturating_sub(elapsed);
        let mut offset = self.offset.load(Ordering::Relaxed);
        if ahead > offset {
            let before = offset;
            offset = self.offset.fetch_max(ahead, Ordering::Relaxed).max(ahead);
            if Timestamp::from_micros(ahead).since(Timestamp::from_micros(before)) > STEP {
                self.stepped.send_replace(());
            }
        }
        Timestamp::from_micros(elapsed.saturating_add(offset))
    }
}

/// Moves a manual clock.
#[derive(Clone, Debug)]
pub struct ManualClock(Clock);

impl ManualClock {
    /// Forward by so much.
    pub fn advance(&self, duration: Duration) {
        self.modify(|now| now.plus(duration));
    }

    /// The wall clock is set: forward is followed, backward is ignored, as with the machine's clock.
    pub fn set(&self, to: Timestamp) {
        self.modify(|now| now.max(to));
    }

    fn modify(&self, change: impl FnOnce(Timestamp) -> Timestamp) {
        match &*self.0.0 {
            Source::Manual(now) => now.send_modify(|at| *at = change(*at)),
            Source::System(_) => {}
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the one reader of the wall clock")]
fn wall() -> Timestamp {
    // Before 1970 is as good as 1970: the high water and the monotonic clock carry on from there.
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::EPOCH.plus(since_epoch)
}

#[expect(clippy::disallowed_methods, reason = "the one reader of the monotonic clock")]
fn monotonic() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn system_at(start: Timestamp) -> System {
        let offset = AtomicI64::new(start.micros());
        System { start: monotonic(), offset, stepped: watch::Sender::new(()) }
    }

    #[test]
    fn a_backward_step_of_the_wall_clock_never_moves_now_back() {
        let start = at("2026-11-24T10:00:00Z");
        let system = system_at(start);
        assert_eq!(
            system.advance(start.minus(HOUR), Duration::from_secs(5)),
            start.plus(Duration::from_secs(5))
        );
    }

    #[test]
    fn a_forward_step_is_followed_and_not_taken_back() {
        let start = at("2026-11-24T10:00:00Z");
        let system = system_at(start);
        assert_eq!(system.advance(start.plus(HOUR), Duration::ZERO), start.plus(HOUR));
        let later = Duration::from_secs(1);
        assert_eq!(system.advance(start.plus(later), later), start.plus(HOUR + later));
    }

    #[test]
    fn a_process_started_with_the_clock_set_back_goes_on_from_the_high_water() {
        let future = Clock::system().now().plus(HOUR * 24);
        assert!(Clock::system_not_before(future).now() >= future);
    }

    proptest! {
        #[test]
        fn now_never_goes_back_and_never_lags_the_wall(steps in proptest::collection::vec((0_u64..5_000_000, -10_000_000_i64..10_000_000), 1..50)) {
            let start = at("2026-11-24T10:00:00Z");
            let system = system_at(start);
            let (mut elapsed, mut wall, mut last) = (Duration::ZERO, start, start);
            for (passed, step) in steps {
                elapsed += Duration::from_micros(passed);
                wall = Timestamp::from_micros(wall.micros() + i64::try_from(passed).unwrap() + step);
                let now = system.advance(wall, elapsed);
                prop_assert!(now >= last && now >= wall);
                prop_assert!(now.since(last) >= Duration::from_micros(passed));
                last = now;
            }
        }
    }

    #[tokio::test]
    async fn a_sleeper_wakes_when_the_manual_clock_reaches_its_deadline_and_not_before() {
        let start = at("2026-11-24T10:00:00Z");
        let (clock, hand) = Clock::manual(start);
        let mut sleeper = Box::pin(clock.sleep(HOUR));
        hand.advance(Duration::from_micros(3_599_999_999));
        let early = tokio::time::timeout(Duration::from_millis(20), &mut sleeper).await;
        assert!(early.is_err());
        hand.set(start.plus(HOUR));
        sleeper.await;
        hand.set(start);
        assert_eq!(clock.now(), start.plus(HOUR));
    }

    #[tokio::test]
    async fn a_forward_step_that_anyone_reads_wakes_every_sleeper() {
        let clock = Clock::system();
        let deadline = clock.now().plus(HOUR);
        let stepped = clock.clone();
        let sleeper = tokio::time::timeout(Duration::from_secs(2), clock.sleep_until(deadline));
        let step = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let Source::System(system) = &*stepped.0 else { panic!("a system clock") };
            system.advance(deadline, system.start.elapsed());
        };
        let (slept, ()) = tokio::join!(sleeper, step);
        assert!(slept.is_ok());
    }

    #[tokio::test]
    async fn a_deadline_that_has_passed_does_not_sleep() {
        let clock = Clock::system();
        clock.sleep_until(Timestamp::EPOCH).await;
        let before = clock.now();
        clock.sleep(Duration::from_millis(30)).await;
        assert!(clock.now().since(before) >= Duration::from_millis(30));
    }
}
