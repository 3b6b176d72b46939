//! An answer of lines that are made while it is sent; the reader's pace is the writer's.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use http_body::Frame;
use serde::Serialize;
use tokio::sync::mpsc;

/// Chunks that wait for a slow reader.
const WAITING_MAX: usize = 16;
/// Lines are sent together up to so many bytes.
const CHUNK_BYTES: usize = 64 << 10;

/// The reader's end.
#[derive(Debug)]
pub(crate) struct Lines(mpsc::Receiver<Bytes>);

/// The writer's end. The answer ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Sink(mpsc::Sender<Bytes>);

impl Lines {
    pub(crate) fn channel() -> (Self, Sink) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        (Self(receiver), Sink(sender))
    }

    pub(crate) fn into_body(self) -> Body {
        Body::new(self)
    }
}

impl HttpBody for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}

impl Sink {
    /// Sends each value as a line of JSON; whether the reader is still there.
    pub(crate) async fn send_all<'a, T: Serialize + 'a>(
        &self,
        values: impl IntoIterator<Item = &'a T>,
    ) -> bool {
        let mut chunk = Vec::new();
        for value in values {
            if serde_json::to_writer(&mut chunk, value).is_err() {
                return false;
            }
            chunk.push(b'\n');
            if chunk.len() >= CHUNK_BYTES && !self.send(std::mem::take(&mut chunk)).await {
                return false;
            }
        }
        chunk.is_empty() || self.send(chunk).await
    }

    async fn send(&self, chunk: Vec<u8>) -> bool {
        self.0.send(Bytes::from(chunk)).await.is_ok()
    }

    /// Returns when the reader has gone.
    pub(crate) async fn closed(&self) {
        self.0.closed().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_arrive_whole_and_the_answer_ends_with_its_writer() {
        let (lines, sink) = Lines::channel();
        let values = ["x".repeat(CHUNK_BYTES), "y".to_owned()];
        assert!(sink.send_all(&values).await);
        drop(sink);
        let body = axum::body::to_bytes(lines.into_body(), usize::MAX).await.unwrap();
        let text = std::str::from_utf8(&body).unwrap();
        let read: Vec<String> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(read, values);
    }

    #[tokio::test]
    async fn a_reader_that_is_gone_is_noticed() {
        let (lines, sink) = Lines::channel();
        drop(lines);
        sink.closed().await;
        assert!(!sink.send_all(&["x"]).await);
    }
}
