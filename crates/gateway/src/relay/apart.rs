//! A future that is polled only when something woke *it*, although it shares its task with another: what watches over a
//! session costs nothing for each message that passes.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};

/// Wakes the task, and remembers for whom.
#[derive(Debug)]
struct Flag {
    woken: AtomicBool,
    task: OnceLock<Waker>,
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        if let Some(task) = self.task.get() {
            task.wake_by_ref();
        }
    }
}

/// A future beside another. Invariant: it is polled by one task only.
#[derive(Debug)]
pub(super) struct Apart<F> {
    future: Pin<Box<F>>,
    flag: Arc<Flag>,
    waker: Waker,
}

impl<F: Future> Apart<F> {
    /// Is polled at the first look, and then whenever it was woken.
    pub(super) fn new(future: F) -> Self {
        let flag = Arc::new(Flag { woken: AtomicBool::new(true), task: OnceLock::new() });
        let waker = Waker::from(Arc::clone(&flag));
        Self { future: Box::pin(future), flag, waker }
    }

    /// Is polled at the next look, whether or not something woke it.
    pub(super) fn demand(&self) {
        self.flag.woken.store(true, Ordering::Release);
    }

    /// Whether it is done.
    pub(super) fn poll(&mut self, context: &Context<'_>) -> Poll<F::Output> {
        if !self.flag.woken.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        // Before it is cleared: a wake-up from now on finds the task.
        self.flag.task.get_or_init(|| context.waker().clone());
        if !self.flag.woken.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        self.future.as_mut().poll(&mut Context::from_waker(&self.waker))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn it_is_polled_when_it_is_demanded() {
        let mut polled = 0;
        let mut apart = Apart::new(poll_fn(|_| {
            polled += 1;
            Poll::<()>::Pending
        }));
        poll_fn(|context| {
            for demanded in [false, false, true, false] {
                if demanded {
                    apart.demand();
                }
                assert!(apart.poll(context).is_pending());
            }
            Poll::Ready(())
        })
        .await;
        drop(apart);
        // At the first look, and when it was demanded.
        assert_eq!(polled, 2);
    }

    #[tokio::test]
    async fn it_is_polled_when_it_is_woken_and_not_with_its_neighbour() {
        let (send, receive) = tokio::sync::oneshot::channel();
        let mut polled = 0;
        let mut receive = Box::pin(receive);
        let mut apart = Apart::new(poll_fn(|context| {
            polled += 1;
            receive.as_mut().poll(context)
        }));
        let mut looks = 0;
        let mut send = Some(send);
        let value = poll_fn(|context| {
            looks += 1;
            if looks == 5
                && let Some(send) = send.take()
            {
                send.send(7).unwrap();
                return Poll::Pending;
            }
            if let Poll::Ready(value) = apart.poll(context) {
                return Poll::Ready(value);
            }
            if looks < 5 {
                context.waker().wake_by_ref();
            }
            Poll::Pending
        })
        .await;
        assert_eq!(value, Ok(7));
        drop(apart);
        assert_eq!(polled, 2);
    }
}
