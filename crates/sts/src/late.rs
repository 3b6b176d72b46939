//! Request bodies have a deadline: one that trickles in holds a connection of its source, and nothing else.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use http_body::{Frame, SizeHint};
use tokio::time::Sleep;

/// As long as the API gives its own.
const BODY_WITHIN: Duration = Duration::from_secs(30);

/// A body that breaks off at its deadline.
struct InTime {
    body: Body,
    deadline: Pin<Box<Sleep>>,
}

/// Gives the request's body its deadline.
pub(crate) async fn in_time(request: Request) -> Request {
    request.map(|body| within(BODY_WITHIN, body))
}

fn within(time: Duration, body: Body) -> Body {
    Body::new(InTime { body, deadline: Box::pin(tokio::time::sleep(time)) })
}

impl HttpBody for InTime {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if frame.is_pending() && self.deadline.as_mut().poll(context).is_ready() {
            let late = std::io::Error::from(std::io::ErrorKind::TimedOut);
            return Poll::Ready(Some(Err(axum::Error::new(late))));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body of which nothing arrives.
    struct Silent;

    impl HttpBody for Silent {
        type Data = Bytes;
        type Error = axum::Error;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
            Poll::Pending
        }
    }

    #[tokio::test]
    async fn a_body_of_which_nothing_arrives_breaks_off_and_another_does_not() {
        let read = |body| axum::body::to_bytes(within(Duration::from_millis(20), body), 100);
        let silent = tokio::time::timeout(Duration::from_secs(10), read(Body::new(Silent))).await;
        silent.unwrap().unwrap_err();
        assert_eq!(read(Body::from("grant_type=x")).await.unwrap(), "grant_type=x");
    }
}
