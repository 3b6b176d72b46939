//! What must hold for any bytes. The fuzz targets call these functions, and so do the tests below, over the corpus and
//! over random inputs.

use std::fmt::Write as _;

use crate::mysql::sql::{self as mysql_sql, Conditional};
use crate::pg::limits::{HOLD_BYTES_MAX, STARTUP_BYTES_MAX};
use crate::pg::statement::{Encoding, Statement, Tracker};
use crate::pg::{Malformed, backend, error, frontend, sasl, startup};
use crate::{proxy_protocol, sql};

pub mod mysql;

/// Any bytes as the first packet: never a panic, never a need beyond the limit, the same whether they come at once or
/// one by one; what is understood is understood again when it is sent on.
pub fn pg_startup(data: &[u8]) {
    let whole = startup::first(data);
    for end in 0..data.len().min(64) {
        match startup::first(data.get(..end).unwrap_or_default()) {
            Ok(startup::Step::Need(bytes)) => {
                assert!(bytes > end && bytes <= STARTUP_BYTES_MAX, "{bytes} needed after {end}");
            }
            early => assert_eq!(early, whole, "decided after {end} bytes"),
        }
    }
    if let Ok(startup::Step::Packet { length, packet: startup::Packet::Startup(startup) }) = whole {
        assert!(length <= data.len());
        let known =
            (startup.denied(), startup.replication(), startup.database().map(str::to_owned));
        let negotiation = startup.negotiation(startup::Version::V3_2).map(|n| n.encode());
        assert!(negotiation.is_none_or(|message| message.len() <= 2 * STARTUP_BYTES_MAX));
        if let Ok(sent) = startup.upstream(("someone", "orders"), startup::Version::V3_0) {
            match startup::first(&sent) {
                Ok(startup::Step::Packet { packet: startup::Packet::Startup(again), .. }) => {
                    assert_eq!((again.user(), again.database()), (Ok("someone"), Ok("orders")));
                    assert_eq!((again.denied(), again.replication()), (known.0, known.1));
                }
                other => assert!(matches!(other, Ok(startup::Step::Packet { .. })), "{other:?}"),
            }
        }
    }
}

/// Any bytes as a cancel request: what is understood is exactly what was sent.
pub fn pg_cancel(data: &[u8]) {
    let length = u32::try_from(data.len().saturating_add(8)).unwrap_or(u32::MAX);
    let packet = [&length.to_be_bytes()[..], &80_877_102_u32.to_be_bytes(), data].concat();
    match startup::first(&packet) {
        Ok(startup::Step::Packet { length, packet: startup::Packet::CancelRequest(request) }) => {
            assert_eq!(length, packet.len());
            assert_eq!(error::cancel_request(request.pid, &request.key), packet);
        }
        other => assert!(other.is_err(), "{other:?}"),
    }
}

/// Any text as `options` at start-up: refused, or settings of which each has a name, and all of which are in the text.
pub fn pg_options(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(settings) = startup::setting::options(&text) else { return };
    let length: usize =
        settings.iter().map(|setting| setting.name.len().saturating_add(setting.value.len())).sum();
    assert!(length <= text.len(), "{settings:?}");
    for setting in settings {
        assert!(!setting.name.is_empty());
        let folded = startup::setting::class(&setting.name.to_ascii_uppercase());
        assert_eq!(startup::setting::class(&setting.name), folded, "{}", setting.name);
    }
}

/// Any bytes as a client's first OAUTHBEARER response: a token has only characters that a token has.
pub fn pg_sasl(data: &[u8]) {
    if let Ok(sasl::Response::Bearer(token)) = sasl::response(data) {
        assert!(!token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()));
        assert!(data.windows(token.len()).any(|window| window == token.as_bytes()));
    }
    let text = String::from_utf8_lossy(data);
    let json = sasl::Discovery { issuer: &text, scope: &text }.json();
    assert!(json.bytes().all(|byte| byte >= b' '), "{json:?}");
}

/// Any text as SQL, PostgreSQL's and MySQL's: its tokens are the text, and what is redacted has no text left.
pub fn sql(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for strings in [sql::Strings::Standard, sql::Strings::Backslash] {
        let joined: String = sql::tokens(&text, strings).map(|token| token.text).collect();
        assert_eq!(joined, text, "tokens are the text");
        let redacted = sql::redact(&text, strings);
        for token in sql::tokens(&redacted, strings) {
            let literal = matches!(token.kind, sql::Kind::Text | sql::Kind::DollarText);
            assert!(!literal, "{token:?} is left of {text:?} in {redacted:?}");
        }
    }
    drop(sql::deallocated(&text));
    for strings in [sql::Strings::Standard, sql::Strings::Backslash] {
        let redacted = mysql_sql::redact(&text, strings);
        for conditional in [Conditional::Runs, Conditional::Skipped] {
            let tokens = mysql_sql::tokens(&text, strings, conditional);
            assert_eq!(tokens.map(|token| token.text).collect::<String>(), text);
            for token in mysql_sql::tokens(&redacted, strings, conditional) {
                let literal = matches!(token.kind, sql::Kind::Text | sql::Kind::Number);
                assert!(!literal, "{token:?} is left of {text:?} in {redacted:?}");
            }
        }
    }
}

/// Any bytes as a balancer's header, and behind the signature of one: never longer than its bound, and no address that it does not hold.
pub fn proxy_header(data: &[u8]) {
    balancer(data);
    balancer(&[b"\r\n\r\n\0\r\nQUIT\n", data].concat());
}

fn balancer(data: &[u8]) {
    let Some((fixed, rest)) = data.split_first_chunk() else { return };
    let Ok(header) = proxy_protocol::header(*fixed) else { return };
    let body = rest.get(..usize::from(header.body_bytes)).unwrap_or(rest);
    if let Ok(Some(address)) = proxy_protocol::source(header, body) {
        assert_eq!(address, address.to_canonical());
        assert!(body.len() >= 12);
    }
}

/// Any bytes from a client: the same messages however they are split, whatever they are.
pub fn pg_frontend(data: &[u8]) {
    let (seed, data) = data.split_first().unwrap_or((&0, data));
    assert_eq!(client_messages(data, 0), client_messages(data, *seed));
    if let Ok(frontend::Credential::Message { length, .. }) = frontend::credential(data) {
        assert!(length <= data.len());
    }
}

/// Any bytes from a server: the same messages however they are split, whatever they are.
pub fn pg_backend(data: &[u8]) {
    let (seed, data) = data.split_first().unwrap_or((&0, data));
    assert_eq!(server_messages(data, 0), server_messages(data, *seed));
}

/// A recorded or invented session: every statement has an outcome at the end, and memory stays bounded.
pub fn pg_session(data: &[u8]) {
    replay(data).assert_complete();
}

/// As [`pg_session`], with whole messages only, so that what is tried is their order: each is a byte that chooses its
/// side and type, a byte for its length, and its body.
pub fn pg_tracker(mut data: &[u8]) {
    let mut session = Session { started: true, ..Session::default() };
    while let Some((&[choice, length], rest)) = data.split_first_chunk::<2>() {
        let (body, after) = rest.split_at_checked(usize::from(length % 64)).unwrap_or((rest, &[]));
        data = after;
        let (client, types) = match choice & 1 {
            0 => (true, CLIENT_TYPES),
            _ => (false, SERVER_TYPES),
        };
        let index = usize::from(choice >> 1).checked_rem(types.len()).unwrap_or_default();
        let tag = types.get(index).copied().unwrap_or_default();
        let length = u32::try_from(body.len().saturating_add(4)).unwrap_or(u32::MAX);
        let message = [&[tag], length.to_be_bytes().as_slice(), body].concat();
        let taken = if client { session.client(&message) } else { session.server(&message) };
        if taken.is_err() {
            break;
        }
    }
    session.finish().assert_complete();
}

const CLIENT_TYPES: &[u8] = b"QPBDECHSXFdcfp\0";
const SERVER_TYPES: &[u8] = b"RSKZCENtTDnsI123GHWdcAVv\0";

/// The lengths in which bytes are handed over: all at once for 0, else pseudo-random and mostly small.
fn pieces(seed: u8) -> impl FnMut() -> usize {
    let mut state = u32::from(seed);
    move || {
        if seed == 0 {
            return usize::MAX;
        }
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let length = usize::try_from(state >> 20).unwrap_or_default();
        if length % 5 == 0 { length.saturating_mul(64) } else { length % 23 }.max(1)
    }
}

/// Hands bytes to a scanner as a relay does: what is not dealt with stays, what arrives is appended.
fn feed<E>(data: &[u8], seed: u8, mut step: impl FnMut(&[u8]) -> Result<Fed, E>) -> Option<E> {
    let mut next = pieces(seed);
    let (mut done, mut filled) = (0_usize, 0_usize);
    while filled < data.len() {
        filled = filled.saturating_add(next()).min(data.len());
        loop {
            let input = data.get(done..filled).unwrap_or_default();
            match step(input) {
                Err(malformed) => return Some(malformed),
                Ok(Fed::Need(bytes)) => {
                    assert!(bytes > input.len() && bytes <= HOLD_BYTES_MAX, "{bytes} needed");
                    break;
                }
                Ok(Fed::Took(length)) => {
                    assert!(length > 0 && length <= input.len(), "{length} of {}", input.len());
                    done = done.saturating_add(length);
                }
            }
        }
    }
    None
}

enum Fed {
    Need(usize),
    Took(usize),
}

fn client_messages(data: &[u8], seed: u8) -> (Vec<String>, u64, Option<Malformed>) {
    let mut scanner = frontend::Scanner::new();
    let mut messages = Vec::new();
    let malformed = feed(data, seed, |input| {
        Ok(match scanner.step(input)? {
            frontend::Step::Need(bytes) => Fed::Need(bytes),
            frontend::Step::Pass { length } => Fed::Took(length),
            frontend::Step::Message { length, message } => {
                messages.push(format!("{message:?}"));
                if let frontend::Message::Bind(bind) = &message {
                    messages.push(format!("{:?}", bind.values.iter().collect::<Vec<_>>()));
                }
                Fed::Took(length)
            }
        })
    });
    // How much of a broken message's CopyData was seen before depends on the split; nothing else does.
    let copied = if malformed.is_some() { 0 } else { scanner.copy_bytes() };
    (messages, copied, malformed)
}

fn server_messages(data: &[u8], seed: u8) -> (Vec<String>, u64, Option<Malformed>) {
    let mut scanner = backend::Scanner::new();
    let mut messages = Vec::new();
    let malformed = feed(data, seed, |input| {
        Ok(match scanner.step(input)? {
            backend::Step::Need(bytes) => Fed::Need(bytes),
            backend::Step::Pass { length } => Fed::Took(length),
            backend::Step::Message { length, message, .. } => {
                let text = format!("{message:?}");
                messages.push(text);
                if let backend::Message::RowDescription(row) = &message {
                    messages.push(format!("{:?}", row.iter().collect::<Vec<_>>()));
                }
                Fed::Took(length)
            }
        })
    });
    (messages, scanner.rows(), malformed)
}

/// What a replay saw.
#[derive(Debug, Default)]
pub struct Transcript {
    /// Statements and outcomes in order, for people.
    pub text: String,
    /// How many statements ran.
    pub statements: u64,
    /// What became of them.
    pub outcomes: Vec<crate::pg::statement::Outcome>,
    /// Server messages that the tracker could not place.
    pub mismatches: u64,
    /// Bytes that are not the protocol, or a limit.
    pub error: Option<String>,
}

impl Transcript {
    fn assert_complete(&self) {
        let mut numbers: Vec<u64> = self.outcomes.iter().map(|outcome| outcome.number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let all: Vec<u64> = (1..=self.statements).collect();
        assert_eq!(numbers, all, "each statement has at least one outcome");
    }
}

/// Replays a recording: records of one byte `F` (client) or `B` (server), a length of four bytes, and bytes.
pub fn replay(mut recording: &[u8]) -> Transcript {
    let mut session = Session::default();
    while let Some((&[direction, a, b, c, d], rest)) = recording.split_first_chunk::<5>() {
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        let (bytes, after) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        recording = after;
        let result = if direction == b'F' { session.client(bytes) } else { session.server(bytes) };
        if let Err(error) = result {
            session.transcript.error = Some(error);
            break;
        }
    }
    session.finish()
}

/// A session as a relay has it, without sockets.
#[derive(Default)]
struct Session {
    started: bool,
    from_client: Vec<u8>,
    /// Of which so many are dealt with.
    client_done: usize,
    from_server: Vec<u8>,
    frontend: frontend::Scanner,
    backend: backend::Scanner,
    tracker: Tracker,
    transcript: Transcript,
}

impl Session {
    fn client(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.from_client.drain(..std::mem::take(&mut self.client_done));
        self.from_client.extend_from_slice(bytes);
        if !self.started {
            let length =
                match startup::first(&self.from_client).map_err(|error| error.to_string())? {
                    startup::Step::Packet { length, packet: startup::Packet::Startup(startup) } => {
                        self.tracker =
                            Tracker::new(startup.replication().map_err(|error| error.to_string())?);
                        self.started = true;
                        length
                    }
                    startup::Step::Packet { length, .. } => length,
                    startup::Step::Need(_) | startup::Step::DirectTls => 0,
                };
            self.from_client.drain(..length);
        }
        self.read_client()
    }

    /// As much as there is room for.
    fn read_client(&mut self) -> Result<(), String> {
        while self.started && self.tracker.has_room() {
            let input = self.from_client.get(self.client_done..).unwrap_or_default();
            let length = match self.frontend.step(input).map_err(|error| error.to_string())? {
                frontend::Step::Need(_) => break,
                frontend::Step::Pass { length } => length,
                frontend::Step::Message { length, message } => {
                    let statement = self.tracker.client(&message, 7);
                    if let Some(statement) = statement.map_err(|error| error.to_string())? {
                        describe(&statement, self.tracker.encoding(), &mut self.transcript.text);
                    }
                    length
                }
            };
            self.client_done = self.client_done.saturating_add(length);
        }
        Ok(())
    }

    fn server(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.from_server.extend_from_slice(bytes);
        let mut buffer = std::mem::take(&mut self.from_server);
        let mut done = 0_usize;
        loop {
            let input = buffer.get(done..).unwrap_or_default();
            let crowded = !self.tracker.has_room();
            match self.backend.step(input).map_err(|error| error.to_string())? {
                backend::Step::Need(_) => break,
                backend::Step::Pass { length } => done = done.saturating_add(length),
                backend::Step::Message { length, rows, message } => {
                    done = done.saturating_add(length);
                    self.tracker.server(&message, rows);
                }
            }
            self.outcomes();
            if crowded && self.tracker.has_room() {
                self.read_client()?;
            }
        }
        buffer.drain(..done);
        self.from_server = buffer;
        Ok(())
    }

    fn finish(mut self) -> Transcript {
        self.tracker.finish();
        self.outcomes();
        self.transcript.statements = self.tracker.statements();
        self.transcript.mismatches = self.tracker.mismatches();
        self.transcript
    }

    fn outcomes(&mut self) {
        while let Some(outcome) = self.tracker.next_outcome() {
            let text = &mut self.transcript.text;
            line(text, format_args!("  {outcome:?}"));
            self.transcript.outcomes.push(outcome);
        }
    }
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    if text.write_fmt(arguments).is_ok() {
        text.push('\n');
    }
}

/// One line a statement; long texts and values by their beginning.
fn describe(statement: &Statement<'_>, encoding: &Encoding, text: &mut String) {
    let sql = statement.sql(encoding, 200);
    line(text, format_args!("{} {:?} {:?}", statement.number, statement.protocol, sql.text));
    if let Some(bytes) = sql.bytes {
        line(text, format_args!("  of {bytes} bytes, {:?}", sql.sha256.map(|_| "SHA-256")));
    }
    statement.for_each_value(|value| {
        let parameter = value.parameter(encoding, 64);
        line(text, format_args!("  ${} {parameter:?}", value.type_oid));
    });
}

#[cfg(test)]
mod tests;
