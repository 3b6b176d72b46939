//! Logging in to the server, as the person or as the user that they share, up to its first ReadyForQuery. The server is hostile input too: what it may
//! say is bounded, and what does not belong here is refused.

use std::io;

use model::code;
use runtime::Secret;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use wire::pg::backend::{Authentication, Fields, Message, Scanner, Step};
use wire::pg::error::{authentication_ok, backend_key_data};

use super::password::{Ours, Proving};
use crate::dialect::trouble::{lost, malformed, not_taken};
use crate::dialect::{CancelKey, notice};
use crate::outcome::Denied;
use crate::upstream::Proof;

/// PostgreSQL says about one kilobyte; login triggers may add notices.
const LOGIN_BYTES_MAX: usize = 256 * 1024;
const READ_BYTES: usize = 16 * 1024;

/// What the server said while it let us in.
#[derive(Debug)]
pub(crate) struct Login {
    /// How its backend is cancelled.
    pub key: CancelKey,
    /// Settings that it told.
    pub parameters: Vec<(String, String)>,
    /// Messages before and after BackendKeyData, up to ReadyForQuery, which `after` ends with.
    before: Vec<u8>,
    after: Vec<u8>,
    ready_at: usize,
    /// What came behind ReadyForQuery already.
    pub rest: Vec<u8>,
}

impl Login {
    /// The same for the client: its own cancel key, and something to read before the first ReadyForQuery.
    pub(crate) fn told(&self, key: &CancelKey, said: Option<&str>) -> Vec<u8> {
        let (after, ready) =
            self.after.split_at_checked(self.ready_at).unwrap_or((&self.after, &[]));
        let said = said.map(notice).unwrap_or_default();
        let key = backend_key_data(key.pid, &key.secret);
        [authentication_ok().as_slice(), &self.before, &key, after, &said, ready].concat()
    }
}

/// Sends the start-up message, proves who we are as the server asks, and reads until it is ready.
pub(crate) async fn log_in<S>(
    stream: &mut S,
    startup: &[u8],
    ours: Ours<'_>,
) -> Result<Login, Denied>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    write(stream, startup).await?;
    let mut reading = Reading::of(ours);
    let mut scanner = Scanner::new();
    let (mut bytes, mut done) = (Vec::new(), 0);
    loop {
        let rest: &[u8] = bytes.get(done..).unwrap_or_default();
        match scanner.step(rest).map_err(|error| malformed(&error))? {
            Step::Need(_) if bytes.len() > LOGIN_BYTES_MAX => {
                return Err(malformed(&"its login does not end"));
            }
            Step::Need(_) => read_more(stream, &mut bytes).await?,
            Step::Pass { .. } => {
                return Err(malformed(&"rows or a very long message during login"));
            }
            Step::Message { length, message, rows: _ } => {
                let raw = rest.get(..length).unwrap_or_default();
                let taken = reading.take(&message, raw)?;
                done += length;
                match taken {
                    Taken::Read => {}
                    Taken::Answer(answer) => write(stream, answer.expose()).await?,
                    Taken::Ready => return reading.finish(bytes.split_off(done)),
                }
            }
        }
    }
}

async fn write<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> Result<(), Denied> {
    stream.write_all(bytes).await.map_err(|error| lost(&error))?;
    stream.flush().await.map_err(|error| lost(&error))
}

async fn read_more<S: AsyncRead + Unpin>(
    stream: &mut S,
    bytes: &mut Vec<u8>,
) -> Result<(), Denied> {
    let filled = bytes.len();
    bytes.resize(filled + READ_BYTES, 0);
    let room = bytes.get_mut(filled..).unwrap_or_default();
    let read = stream.read(room).await.map_err(|error| lost(&error))?;
    bytes.truncate(filled + read);
    if read == 0 {
        return Err(lost(&io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(())
}

/// What a message asks of us.
enum Taken {
    Read,
    Answer(Secret<Vec<u8>>),
    Ready,
}

struct Reading<'a> {
    proving: Proving<'a>,
    authenticated: bool,
    key: Option<CancelKey>,
    parameters: Vec<(String, String)>,
    before: Vec<u8>,
    after: Vec<u8>,
    ready_at: usize,
}

impl<'a> Reading<'a> {
    fn of(ours: Ours<'a>) -> Self {
        Self {
            proving: Proving::of(ours),
            authenticated: false,
            key: None,
            parameters: Vec::new(),
            before: Vec::new(),
            after: Vec::new(),
            ready_at: 0,
        }
    }

    /// Takes one message.
    fn take(&mut self, message: &Message<'_>, raw: &[u8]) -> Result<Taken, Denied> {
        match message {
            Message::ErrorResponse(fields) => {
                return Err(refused(fields, self.proving.ours.proof, raw));
            }
            Message::Authentication(Authentication::Ok) if !self.authenticated => {
                self.proving.end()?;
                self.authenticated = true;
            }
            Message::Authentication(method) if !self.authenticated => {
                let answer = self.proving.answer(method)?;
                return Ok(answer.map_or(Taken::Read, Taken::Answer));
            }
            // Nothing that comes before we are let in is from someone whom we know.
            Message::NoticeResponse(_) if !self.authenticated => {}
            Message::NoticeResponse(_) => self.keep(raw),
            Message::ParameterStatus { name, value } if self.authenticated => {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                self.parameters.push((text(name), text(value)));
                self.keep(raw);
            }
            Message::BackendKeyData { pid, key } if self.authenticated && self.key.is_none() => {
                self.key = Some(CancelKey { pid: *pid, secret: key.to_vec() });
            }
            Message::ReadyForQuery(_) if self.authenticated => {
                self.ready_at = self.after.len();
                self.after.extend_from_slice(raw);
                return Ok(Taken::Ready);
            }
            other => return Err(malformed(&format_args!("{} during login", name(other)))),
        }
        Ok(Taken::Read)
    }

    fn keep(&mut self, raw: &[u8]) {
        let kept = if self.key.is_none() { &mut self.before } else { &mut self.after };
        kept.extend_from_slice(raw);
    }

    fn finish(self, rest: Vec<u8>) -> Result<Login, Denied> {
        let Self { proving: _, authenticated: _, key, parameters, before, after, ready_at } = self;
        let key = key.ok_or_else(|| malformed(&"no BackendKeyData during login"))?;
        Ok(Login { key, parameters, before, after, ready_at, rest })
    }
}

/// The message's type, without what it says.
fn name(message: &Message<'_>) -> String {
    let text = format!("{message:?}");
    text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

/// The server's own reasons go to the client as they are. What it says about our credential does not: it is our
/// affair, and it would name a user and a method that are none of the client's.
fn refused(fields: &Fields<'_>, proof: &Proof, raw: &[u8]) -> Denied {
    let (sqlstate, message) = (fields.sqlstate(), fields.message());
    let code = match sqlstate {
        _ if fields.field(b'C').is_none() || fields.field(b'M').is_none() => {
            return malformed(&"an error without a code or a message during login");
        }
        credential if credential.starts_with("28") => {
            return not_taken(proof).because(format_args!("{sqlstate}: {message}"));
        }
        "53300" => &code::TOO_MANY_CONNECTIONS,
        "3D000" => &code::DATABASE_UNKNOWN,
        _ => &code::UPSTREAM_REFUSED,
    };
    let mut denied = Denied::new(code, format!("the database server said: {message}"))
        .because(format_args!("{sqlstate}: {message}"));
    denied.verbatim = Some(raw.to_vec());
    denied
}
