//! What must hold for whatever a database server says while it lets a session in. The fuzz target calls this function,
//! and so does the test below.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wire::pg::backend::{Authentication, Message, Scanner, Step};

use crate::dialect::{self, CancelKey};

/// A server that says this and no more, a piece at a time.
struct Server<'a> {
    says: &'a [u8],
    piece: usize,
}

impl AsyncRead for Server<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let length = self.piece.min(buffer.remaining()).min(self.says.len());
        let (now, later) = self.says.split_at_checked(length).unwrap_or((self.says, &[]));
        buffer.put_slice(now);
        self.says = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Server<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Any bytes from a server during login: refused, or the client is told of one login with our key in it and nothing
/// that does not belong to one.
pub fn pg_login(data: &[u8]) {
    let (piece, says) = data.split_first().unwrap_or((&0, data));
    let mut server = Server { says, piece: usize::from(*piece).saturating_add(1) };
    let login = pin!(dialect::pg_log_in(&mut server, b"start-up"));
    let Poll::Ready(login) = login.poll(&mut Context::from_waker(Waker::noop())) else { return };
    let Ok(login) = login else { return };
    let key = CancelKey { pid: login.key.pid, secret: vec![7; 4] };
    let told = login.told(&key, Some("said"));
    let mut scanner = Scanner::new();
    let (mut done, mut keys, mut oks, mut readies) = (0_usize, 0_u32, 0_u32, 0_u32);
    while let Ok(Step::Message { length, message, .. }) =
        scanner.step(told.get(done..).unwrap_or_default())
    {
        assert_eq!(readies, 0, "nothing comes behind ReadyForQuery");
        done = done.saturating_add(length);
        match message {
            Message::Authentication(Authentication::Ok) => oks = oks.saturating_add(1),
            Message::BackendKeyData { pid, key } => {
                assert_eq!((pid, key), (login.key.pid, [7; 4].as_slice()));
                keys = keys.saturating_add(1);
            }
            Message::ReadyForQuery(_) => readies = readies.saturating_add(1),
            Message::ParameterStatus { .. } | Message::NoticeResponse(_) => {}
            other => assert_eq!(format!("{other:?}"), "", "it belongs to no login"),
        }
    }
    assert_eq!((done, oks, keys, readies), (told.len(), 1, 1, 1));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message() -> impl Strategy<Value = Vec<u8>> {
        let body =
            proptest::collection::vec(prop_oneof![Just(0_u8), Just(b'I'), any::<u8>()], 0..9);
        (proptest::sample::select(b"RKSNZEv".to_vec()), body).prop_map(|(tag, body)| {
            let length = u32::try_from(body.len() + 4).unwrap();
            [&[tag][..], &length.to_be_bytes(), &body].concat()
        })
    }

    #[test]
    fn what_fuzzing_kept_still_holds() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus");
        let kept = std::fs::read(format!("{folder}/pg_login.inputs")).unwrap();
        let mut rest = kept.as_slice();
        while let Some((length, after)) = rest.split_first_chunk() {
            let (input, next) = after.split_at(u32::from_be_bytes(*length) as usize);
            pg_login(input);
            rest = next;
        }
    }

    proptest! {
        #[test]
        fn whatever_a_server_says_is_refused_or_is_one_login(
            piece in any::<u8>(),
            messages in proptest::collection::vec(message(), 0..12),
        ) {
            pg_login(&[vec![piece], messages.concat()].concat());
            let known = [b"R\0\0\0\x08\0\0\0\0K\0\0\0\x0c\0\0\0\x01\0\0\0\x02".as_slice(), b"Z\0\0\0\x05I"];
            let [begun, ready] = known;
            pg_login(&[&[piece], begun, &messages.concat(), ready].concat());
        }
    }
}
