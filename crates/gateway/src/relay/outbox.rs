//! Bytes on their way to one side. Empty, it holds no memory.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

/// Invariant: `sent <= bytes.len()`.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
    unflushed: bool,
}

impl Outbox {
    /// Adds bytes behind those that wait.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Bytes that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Writes what waits, then flushes; `sent` is told of every write. Ready when nothing is left.
    pub(crate) fn poll_send<W: AsyncWrite + Unpin>(
        &mut self,
        to: &mut W,
        context: &mut Context<'_>,
        sent: impl Fn(usize),
    ) -> Poll<io::Result<()>> {
        while let Some(rest) = self.bytes.get(self.sent..).filter(|rest| !rest.is_empty()) {
            let written = ready!(Pin::new(&mut *to).poll_write(context, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += written;
            self.unflushed = true;
            sent(written);
        }
        (self.bytes, self.sent) = (Vec::new(), 0);
        if self.unflushed {
            ready!(Pin::new(to).poll_flush(context))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes bytes at once, as far as the side takes them; only the rest is kept.
    pub(crate) fn poll_offer<W: AsyncWrite + Unpin>(
        &mut self,
        bytes: &[u8],
        to: &mut W,
        context: &mut Context<'_>,
        sent: impl Fn(usize),
    ) -> Poll<io::Result<()>> {
        let mut rest = bytes;
        while self.waiting() == 0 && !rest.is_empty() {
            match Pin::new(&mut *to).poll_write(context, rest)? {
                Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(written) => {
                    rest = rest.get(written..).unwrap_or_default();
                    self.unflushed = true;
                    sent(written);
                }
                Poll::Pending => break,
            }
        }
        self.push(rest);
        self.poll_send(to, context, sent)
    }
}
