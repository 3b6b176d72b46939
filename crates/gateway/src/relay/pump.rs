//! Moves bytes in both directions at once, in one task.
//!
//! Either direction reads only after everything that it read before has left, so a slow side slows the other down
//! (backpressure) and a session holds at most one buffer a direction. Neither waits for the other, so pipelines and
//! COPY cannot lock up. Reading happens into the thread's scratch buffer: an idle session holds none.

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use model::Timestamp;
use runtime::{Clock, Shutdown};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wire::pg::limits::HOLD_BYTES_MAX;

use super::activity::{Activity, State};
use super::outbox::Outbox;
use crate::dialect;
use crate::observe::{Instead, Observer, Understood, Unobservable, With};
use crate::record::{Observed, Recorder};

/// Read at a time.
const READ_BYTES: usize = 64 * 1024;
/// Bytes of a session's answers, after which its thread looks after the others.
const OUTBOUND_TURN_BYTES: usize = 1024 * 1024;
/// The same of what a client sends, which is less: the server may have said meanwhile that it is of no use, and whoever
/// looks for that between its writes is to find it as soon as without a gateway.
const INBOUND_TURN_BYTES: usize = 32 * 1024;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// What a thread needs for one look at one session, used again for the next.
struct Scratch {
    /// What is read, behind what was read before and is not understood yet.
    bytes: Vec<u8>,
    /// What was observed in it. Empty between looks.
    observed: Observed,
}

impl Default for Scratch {
    fn default() -> Self {
        Self { bytes: vec![0; HOLD_BYTES_MAX + READ_BYTES], observed: Observed::default() }
    }
}

/// Why the pump stopped by itself.
#[derive(Debug)]
pub(crate) enum End {
    /// The client closed or cannot be written to.
    Client,
    /// The server closed or cannot be written to.
    Server(io::Error),
    /// The client does not speak the protocol, or asked for more than a session may.
    ClientUnobservable(Unobservable),
    /// The server does not speak the protocol.
    ServerUnobservable(Unobservable),
    /// The audit log cannot be written.
    Audit(String),
    /// The gateway stops, and nothing is going on.
    Drained,
}

/// Bytes of one direction.
#[derive(Debug, Default)]
struct Way {
    /// Read, and not understood before more has come.
    carry: Vec<u8>,
    /// Understood and recorded, and not taken by the other side yet.
    out: Outbox,
}

/// Both directions of one session.
pub(crate) struct Pump<C, U> {
    /// The client.
    pub client: C,
    /// The server.
    pub upstream: U,
    /// Understands what passes.
    pub observer: Observer,
    /// Writes it down.
    pub recorder: Recorder,
    /// Shared with whoever watches over the session.
    pub activity: Arc<Activity>,
    clock: Clock,
    shutdown: Shutdown,
    inbound: Way,
    outbound: Way,
    /// A write to the server failed: it is gone, and what it said last is still to be read.
    unwritable: bool,
    /// What is left of this direction's turn.
    turn_left: usize,
}

impl<C, U> fmt::Debug for Pump<C, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pump")
            .field("inbound", &self.inbound)
            .field("outbound", &self.outbound)
            .finish_non_exhaustive()
    }
}

/// Where the time comes from and who may ask for the end.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    /// The time.
    pub clock: Clock,
    /// The request to stop.
    pub shutdown: Shutdown,
    /// Where to note what happens.
    pub activity: Arc<Activity>,
}

impl<C, U> Pump<C, U>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    /// Nothing has moved yet.
    pub(crate) fn new(
        (client, upstream): (C, U),
        (observer, recorder): (Observer, Recorder),
        around: Surroundings,
    ) -> Self {
        let Surroundings { clock, shutdown, activity } = around;
        Self {
            client,
            upstream,
            observer,
            recorder,
            activity,
            clock,
            shutdown,
            inbound: Way::default(),
            outbound: Way::default(),
            unwritable: false,
            turn_left: 0,
        }
    }

    /// What the client is told first, and what the server sent behind it before the relay began.
    pub(crate) fn preload(&mut self, told: &[u8], behind: &[u8]) -> Result<(), End> {
        self.outbound.out.push(told);
        let mut observed = Observed::default();
        let understood = self.observer.outbound(behind, self.clock.now(), &mut observed);
        self.recorder.record(&mut observed).map_err(End::Audit)?;
        let done = understood.map_err(End::ServerUnobservable)?;
        let (ready, rest) = behind.split_at_checked(done).unwrap_or((behind, &[]));
        self.outbound.out.push(ready);
        self.outbound.carry = rest.to_vec();
        Ok(())
    }

    /// Moves bytes until one side ends.
    pub(crate) async fn run(&mut self) -> End {
        poll_fn(|context| SCRATCH.with_borrow_mut(|scratch| self.poll_both(context, scratch))).await
    }

    fn poll_both(&mut self, context: &mut Context<'_>, scratch: &mut Scratch) -> Poll<End> {
        loop {
            self.turn_left = INBOUND_TURN_BYTES;
            if let Poll::Ready(end) = self.poll_inbound(context, scratch) {
                return Poll::Ready(end);
            }
            let crowded = !self.observer.has_room();
            self.turn_left = OUTBOUND_TURN_BYTES;
            if let Poll::Ready(end) = self.poll_outbound(context, scratch) {
                return Poll::Ready(end);
            }
            // Answers made room: nobody else would wake the client's side for it.
            if !(crowded && self.observer.has_room()) {
                return Poll::Pending;
            }
        }
    }

    /// Whether this direction's turn goes on; else there will be another one.
    fn may_read(&self, context: &Context<'_>) -> bool {
        if self.turn_left == 0 {
            context.waker().wake_by_ref();
        }
        self.turn_left > 0
    }

    /// Client to server: recorded, then forwarded.
    fn poll_inbound(&mut self, context: &mut Context<'_>, scratch: &mut Scratch) -> Poll<End> {
        let Scratch { bytes: scratch, observed } = scratch;
        loop {
            if let Err(error) = ready!(self.recorder.poll_hold(context)) {
                return Poll::Ready(End::Audit(error));
            }
            let forwarded = |bytes| self.activity.forwarded(self.clock.now(), bytes);
            // The other direction ends the session, after it has delivered why.
            self.unwritable = self.unwritable
                || ready!(self.inbound.out.poll_send(&mut self.upstream, context, forwarded))
                    .is_err();
            if self.unwritable || !self.observer.has_room() || !self.may_read(context) {
                return Poll::Pending;
            }
            let read =
                ready!(poll_read(&mut self.client, context, &mut self.inbound.carry, scratch));
            let Some(bytes) =
                read.ok().filter(|read| *read > 0).and_then(|read| scratch.get(..read))
            else {
                return Poll::Ready(End::Client);
            };
            self.turn_left = self.turn_left.saturating_sub(bytes.len());
            if let Err(end) = self.take_inbound(bytes, observed, context) {
                return Poll::Ready(end);
            }
        }
    }

    fn take_inbound(
        &mut self,
        bytes: &[u8],
        observed: &mut Observed,
        context: &mut Context<'_>,
    ) -> Result<(), End> {
        let now = self.clock.now();
        let mut rest = bytes;
        loop {
            let before = self.observer.statements();
            let understood = self.observer.inbound(rest, now, observed);
            self.recorder.record(observed).map_err(End::Audit)?;
            self.activity.recorded(self.observer.statements() - before);
            let Understood { forward, instead } = understood.map_err(End::ClientUnobservable)?;
            let (ready, behind) = rest.split_at_checked(forward).unwrap_or((rest, &[]));
            self.forward(ready, now, context);
            let Some(Instead { skip, with }) = instead else {
                self.activity.heard(now, self.observer.state());
                self.inbound.carry = behind.to_vec();
                return Ok(());
            };
            match with {
                // Delivered by the other direction, which comes next.
                With::Answer(answer) => self.outbound.out.push(&answer),
                With::Request(request) => self.forward(&request, now, context),
            }
            rest = behind.get(skip..).unwrap_or_default();
        }
    }

    /// To the server, unless a record must be on disk first.
    fn forward(&mut self, bytes: &[u8], now: Timestamp, context: &mut Context<'_>) {
        if self.recorder.is_holding() {
            self.inbound.out.push(bytes);
            return;
        }
        let forwarded = |bytes| self.activity.forwarded(now, bytes);
        let offered = self.inbound.out.poll_offer(bytes, &mut self.upstream, context, forwarded);
        self.unwritable = matches!(offered, Poll::Ready(Err(_)));
    }

    /// Server to client: as it comes, unless a record must be on disk first.
    fn poll_outbound(&mut self, context: &mut Context<'_>, scratch: &mut Scratch) -> Poll<End> {
        let Scratch { bytes: scratch, observed } = scratch;
        loop {
            if let Err(error) = ready!(self.recorder.poll_gate(context)) {
                return Poll::Ready(End::Audit(error));
            }
            let answered = |bytes| self.activity.answered(bytes);
            if ready!(self.outbound.out.poll_send(&mut self.client, context, answered)).is_err() {
                return Poll::Ready(End::Client);
            }
            // Between two messages, and while no answer is under way.
            if let Some(end) = self.activity.due_warning() {
                self.outbound.out.push(&dialect::pg_ends_soon(end, self.clock.now()));
                continue;
            }
            if self.shutdown.is_requested() && self.observer.state() == State::Quiet {
                return Poll::Ready(End::Drained);
            }
            if !self.may_read(context) {
                return Poll::Pending;
            }
            let read =
                ready!(poll_read(&mut self.upstream, context, &mut self.outbound.carry, scratch));
            let bytes = match read {
                Ok(0) => return Poll::Ready(End::Server(io::ErrorKind::UnexpectedEof.into())),
                Ok(read) => scratch.get(..read).unwrap_or_default(),
                Err(error) => return Poll::Ready(End::Server(error)),
            };
            self.turn_left = self.turn_left.saturating_sub(bytes.len());
            if let Err(end) = self.take_outbound(bytes, observed, context) {
                return Poll::Ready(end);
            }
        }
    }

    fn take_outbound(
        &mut self,
        bytes: &[u8],
        observed: &mut Observed,
        context: &mut Context<'_>,
    ) -> Result<(), End> {
        let now = self.clock.now();
        let understood = self.observer.outbound(bytes, now, observed);
        if !observed.is_empty() {
            self.activity.one_ended(now);
        }
        self.recorder.record(observed).map_err(End::Audit)?;
        let done = understood.map_err(End::ServerUnobservable)?;
        self.activity.heard(now, self.observer.state());
        let (ready, rest) = bytes.split_at_checked(done).unwrap_or((bytes, &[]));
        self.outbound.carry = rest.to_vec();
        if self.recorder.is_gated() {
            self.outbound.out.push(ready);
            return Ok(());
        }
        let answered = |bytes| self.activity.answered(bytes);
        match self.outbound.out.poll_offer(ready, &mut self.client, context, answered) {
            Poll::Ready(Err(_)) => Err(End::Client),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    /// After the stop: delivers what was begun, up to the next message boundary, when that is at most `bytes_max` away.
    /// Says whether the client now stands at a boundary.
    pub(crate) async fn finish_message(&mut self, bytes_max: usize) -> bool {
        if self.outbound.out.waiting() + self.observer.outbound_left() > bytes_max {
            return false;
        }
        poll_fn(|context| SCRATCH.with_borrow_mut(|scratch| self.poll_finish(context, scratch)))
            .await
    }

    fn poll_finish(&mut self, context: &mut Context<'_>, scratch: &mut Scratch) -> Poll<bool> {
        let Scratch { bytes: scratch, observed } = scratch;
        loop {
            // Nor here does an answer pass before the record of its statement is on disk.
            if ready!(self.recorder.poll_gate(context)).is_err() {
                return Poll::Ready(false);
            }
            let answered = |bytes| self.activity.answered(bytes);
            if ready!(self.outbound.out.poll_send(&mut self.client, context, answered)).is_err() {
                return Poll::Ready(false);
            }
            let left = self.observer.outbound_left();
            let Some(room) =
                scratch.get_mut(..left.min(READ_BYTES)).filter(|room| !room.is_empty())
            else {
                return Poll::Ready(true);
            };
            let mut buffer = ReadBuf::new(room);
            if ready!(Pin::new(&mut self.upstream).poll_read(context, &mut buffer)).is_err()
                || buffer.filled().is_empty()
            {
                return Poll::Ready(false);
            }
            let understood = self.observer.outbound(buffer.filled(), self.clock.now(), observed);
            if self.recorder.record(observed).is_err() || understood.is_err() {
                return Poll::Ready(false);
            }
            self.outbound.out.push(buffer.filled());
        }
    }
}

/// Reads behind the carried bytes, which move into the scratch buffer; says how many there are in all, or 0 at the end.
/// While nothing comes, the carried bytes stay where they are.
fn poll_read<S: AsyncRead + Unpin>(
    from: &mut S,
    context: &mut Context<'_>,
    carry: &mut Vec<u8>,
    scratch: &mut [u8],
) -> Poll<io::Result<usize>> {
    let carried = carry.len();
    let (head, room) = scratch.split_at_mut_checked(carried).unwrap_or_default();
    let mut buffer = ReadBuf::new(room);
    ready!(Pin::new(from).poll_read(context, &mut buffer))?;
    let read = buffer.filled().len();
    if read == 0 {
        return Poll::Ready(Ok(0));
    }
    head.copy_from_slice(carry);
    *carry = Vec::new();
    Poll::Ready(Ok(carried + read))
}
