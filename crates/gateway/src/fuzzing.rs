//! What must hold for whatever a database server says while it lets a session in, and for whatever comes as TLS records.
//! The fuzz targets call these functions, and so do the tests below.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, CHACHA20_POLY1305};
use rustls::ProtocolVersion;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wire::pg::backend::{Authentication, Message, Scanner, Step};

use crate::dialect::{self, CancelKey};
use crate::tls::record::{Content, Opener, RecordError, Sealer, Step as Record};
use crate::tls::schedule::Keys;

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
    let proof = crate::upstream::Proof::Certificate;
    let ours = dialect::PgOurs { user: "ada", proof: &proof, certificate: None };
    let login = pin!(dialect::pg_log_in(&mut server, b"start-up", ours));
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

type Carried = (Content, Vec<u8>);

/// Any bytes where TLS records are expected: never taken for a record that nobody sealed. Records that were sealed, of
/// any kind and length: opened as they were; with one byte of them changed, opened as far as that record and no further.
pub fn tls_record(data: &[u8]) {
    let Some((&[suite, high, low, change], rest)) = data.split_first_chunk() else { return };
    let Ok((mut sealer, mut opener)) = pair(suite) else { return };
    let mut bytes = rest.to_vec();
    match opener.open(&mut bytes) {
        Ok(Record::Need(bytes)) => assert!(bytes > rest.len(), "it has as much already"),
        opened => assert!(opened.is_err(), "it was sealed by nobody"),
    }
    let Ok((_, mut opener)) = pair(suite) else { return };
    let (mut sealed, mut carried) = (Vec::new(), Vec::new());
    for piece in rest.chunks(usize::from(suite).saturating_add(2)) {
        let (kind, plaintext) = piece.split_first().unwrap_or((&0, piece));
        let kinds = [Content::Alert, Content::Handshake, Content::Application];
        let content = kinds.get(usize::from(kind % 3)).copied().unwrap_or(Content::Application);
        assert_eq!(sealer.seal(content, plaintext, &mut sealed), Ok(()));
        if !plaintext.is_empty() {
            carried.push((content, plaintext.to_vec()));
        }
    }
    let place = usize::from(u16::from_be_bytes([high, low])).checked_rem(sealed.len());
    if let Some(byte) = place.and_then(|place| sealed.get_mut(place)) {
        *byte ^= change;
    }
    let opened = open_all(&mut opener, &mut sealed);
    if change == 0 || carried.is_empty() {
        assert_eq!(opened, carried);
    } else {
        assert!(opened.len() < carried.len() && carried.starts_with(&opened), "{opened:?}");
    }
}

/// Every suite and version that is offered and can be made here.
fn pair(suite: u8) -> Result<(Sealer, Opener), RecordError> {
    let version = if suite & 1 == 0 { ProtocolVersion::TLSv1_3 } else { ProtocolVersion::TLSv1_2 };
    let algorithm = match suite >> 1 & 3 {
        0 => &AES_256_GCM,
        1 => &CHACHA20_POLY1305,
        _ => &AES_128_GCM,
    };
    let keys = Keys::new(algorithm, &[9; 32], [7; 12])?;
    Ok((Sealer::new(&keys, version)?, Opener::new(&keys, version)?))
}

/// As far as they can be opened.
fn open_all(opener: &mut Opener, bytes: &mut [u8]) -> Vec<Carried> {
    let (mut done, mut opened) = (0_usize, Vec::new());
    loop {
        let rest = bytes.get_mut(done..).unwrap_or_default();
        let Ok(Record::Record { content, plaintext, length }) = opener.open(rest) else {
            return opened;
        };
        opened.push((content, rest.get(plaintext).unwrap_or_default().to_vec()));
        done = done.saturating_add(length);
    }
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
        for (name, target) in [("pg_login", pg_login as fn(&[u8])), ("tls_record", tls_record)] {
            let kept = std::fs::read(format!("{folder}/{name}.inputs")).unwrap();
            let mut rest = kept.as_slice();
            while let Some((length, after)) = rest.split_first_chunk() {
                let (input, next) = after.split_at(u32::from_be_bytes(*length) as usize);
                target(input);
                rest = next;
            }
        }
    }

    proptest! {
        #[test]
        fn a_record_is_opened_as_it_was_sealed_or_not_at_all(
            data in proptest::collection::vec(any::<u8>(), 0..600),
        ) {
            tls_record(&data);
        }

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
