//! A TCP socket of a relay's thread. Its thread hears from the kernel when there may be something to read, or room to
//! write; here that is remembered, so that no call to the kernel is made in vain.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use rustix::event::epoll::EventFlags;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What the kernel said last of one socket. Written and read by its thread alone; atomics only because a session's
/// parts may move between threads before and after.
#[derive(Debug)]
pub(crate) struct Readiness {
    readable: AtomicBool,
    writable: AtomicBool,
    /// Nothing will come any more but what is there: every read is worth its call.
    ended: AtomicBool,
}

impl Readiness {
    /// Both are tried before the kernel has said anything.
    pub(super) fn new() -> Self {
        let yes = || AtomicBool::new(true);
        Self { readable: yes(), writable: yes(), ended: AtomicBool::new(false) }
    }

    /// What the kernel says now. It says each thing once (edge-triggered).
    pub(super) fn heard(&self, flags: EventFlags) {
        if flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR) {
            self.ended.store(true, Ordering::Relaxed);
            self.readable.store(true, Ordering::Relaxed);
            self.writable.store(true, Ordering::Relaxed);
        }
        if flags.contains(EventFlags::IN) {
            self.readable.store(true, Ordering::Relaxed);
        }
        if flags.contains(EventFlags::OUT) {
            self.writable.store(true, Ordering::Relaxed);
        }
    }

    /// A read that did not fill its buffer has emptied the socket: what comes later is said again.
    fn emptied(&self) {
        if !self.ended.load(Ordering::Relaxed) {
            self.readable.store(false, Ordering::Relaxed);
        }
    }
}

/// A socket and its readiness. Whoever polls it is polled again when either changes.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    readiness: Arc<Readiness>,
}

impl Socket {
    /// Takes over from the async runtime. Invariant: the stream does not block.
    pub(super) fn take(stream: tokio::net::TcpStream) -> io::Result<Self> {
        Ok(Self { stream: stream.into_std()?, readiness: Arc::new(Readiness::new()) })
    }

    pub(super) fn readiness(&self) -> Arc<Readiness> {
        Arc::clone(&self.readiness)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.readiness.readable.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        let room = buffer.initialize_unfilled();
        let wanted = room.len();
        match retried(|| (&self.stream).read(room)) {
            Ok(read) => {
                if read < wanted {
                    self.readiness.emptied();
                }
                buffer.advance(read);
                Poll::Ready(Ok(()))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readiness.readable.store(false, Ordering::Relaxed);
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.readiness.writable.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        match retried(|| (&self.stream).write(bytes)) {
            Ok(written) => {
                // The kernel's buffer is full; it says so when there is room.
                if written < bytes.len() {
                    self.readiness.writable.store(false, Ordering::Relaxed);
                }
                Poll::Ready(Ok(written))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readiness.writable.store(false, Ordering::Relaxed);
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.shutdown(Shutdown::Write))
    }
}

fn retried(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}
