//! What must hold for any bytes of MySQL's protocol.

use std::fmt::Write as _;

use super::{Fed, feed};
use crate::mysql::capture::{Capture, Long};
use crate::mysql::command::Treatment;
use crate::mysql::handshake::{First, first, response};
use crate::mysql::packet::{self, encode};
use crate::mysql::statement::{Encoding, Given, Outcome, Statement, Tracker};
use crate::mysql::statements::LAST;
use crate::mysql::{Capabilities, Malformed, authentication, backend, error, frontend, greeting};

/// Any bytes as a packet of a login, from either side: never a panic, the same whether they come at once or one by one,
/// and what is understood is understood again when it is sent on.
pub fn mysql_login(data: &[u8]) {
    let whole = packet::login(data, 1, 4_096);
    for end in 0..data.len().min(64) {
        match packet::login(data.get(..end).unwrap_or_default(), 1, 4_096) {
            Ok(packet::Step::Need(bytes)) => assert!(bytes > end && bytes <= 4_100),
            early => assert_eq!(early, whole, "decided after {end} bytes"),
        }
    }
    if let Ok(read) = greeting::Greeting::parse(data) {
        assert_eq!(greeting::Greeting::parse(&read.encode()), Ok(read));
    }
    if let Ok(First::Response(read)) = first(data) {
        assert_eq!(response(data), Ok(read.clone()));
        let sent = read.encode();
        assert_eq!(sent.as_deref().map(response), Some(Ok(read)));
    }
    if let Ok(token) = authentication::clear_password(data) {
        assert_eq!(authentication::clear_password(&authentication::clear_answer(token)), Ok(token));
    }
    if let Ok(token) = authentication::openid_token(data) {
        assert!(token.len() < data.len());
    }
    if let Ok(authentication::Reply::Switch { plugin, data }) = authentication::reply(data) {
        assert!(!plugin.contains(&0) && data.len() < 65_536);
    }
    let read = error::server_error(data);
    assert_eq!(read.sqlstate().len(), 5);
    let message = read.message();
    let report = error::Report { code: read.code, sqlstate: read.sqlstate(), message: &message };
    let again = report.encode();
    let again = error::server_error(&again);
    assert_eq!((again.code, again.sqlstate()), (read.code, read.sqlstate()));
}

/// A session's agreement by one byte: the flags that frame what follows.
fn agreed(bits: u8) -> Capabilities {
    [
        Capabilities::DEPRECATE_EOF,
        Capabilities::SESSION_TRACK,
        Capabilities::QUERY_ATTRIBUTES,
        Capabilities::CACHE_METADATA,
        Capabilities::PROGRESS,
        Capabilities::LOCAL_FILES,
        Capabilities::STMT_BULK_OPERATIONS,
        Capabilities::FOUND_ROWS,
    ]
    .iter()
    .enumerate()
    .filter(|(index, _)| bits & (1 << index) != 0)
    .fold(Capabilities::PROTOCOL_41, |all, (_, flag)| all.with(*flag))
}

/// Statements 1 (with so many parameters), 2 (with two) and one that is not answered yet.
fn prepared(parameters: u8) -> Tracker {
    let mut tracker = Tracker::new(45, None);
    for (number, parameters) in [(1, u16::from(parameters)), (2, 2)] {
        prepare(&mut tracker, b"select ?");
        let statement = backend::Prepared {
            statement: number,
            columns: 0,
            parameters,
            warnings: 0,
            descriptions: 0,
        };
        tracker.server(&backend::Message::Prepared(statement), 0);
    }
    prepare(&mut tracker, b"insert into t values (?, '?', ?) /* ? */");
    tracker
}

fn prepare(tracker: &mut Tracker, sql: &'static [u8]) {
    let command = crate::mysql::command::command(0x16);
    let body = frontend::Body::Prepare(crate::part::Part::whole(sql));
    let request = frontend::Request { command, sequence: 0, body };
    assert!(tracker.client(&frontend::Message::Command(request), 0).is_ok());
}

/// Any bytes from a client: the same messages however they are split, whatever they are.
pub fn mysql_frontend(data: &[u8]) {
    let (&[seed, bits, parameters, file], data) =
        data.split_first_chunk::<4>().unwrap_or((&[0; 4], data));
    let messages = |seed| {
        let mut tracker = prepared(parameters);
        let mut scanner = frontend::Scanner::new(agreed(bits));
        if file & 1 == 1 {
            scanner.expect_file(file);
        }
        let mut messages = Vec::new();
        let malformed = feed(data, seed, |input| {
            Ok::<_, Malformed>(match scanner.step(input, tracker.statements())? {
                frontend::Step::Need(bytes) => Fed::Need(bytes),
                frontend::Step::Pass { length } => Fed::Took(length),
                frontend::Step::Message { length, message } => {
                    messages.push(shown(&message));
                    drop(tracker.client(&message, 0));
                    Fed::Took(length)
                }
            })
        });
        (messages, malformed)
    };
    assert_eq!(messages(0), messages(seed));
}

/// Any bytes as the body of a command that may be long: what is understood of it when it streams, in pieces of any
/// length, is what is understood of it when it is held.
pub fn mysql_capture(data: &[u8]) {
    let (&[seed, bits, parameters, choice], body) =
        data.split_first_chunk::<4>().unwrap_or((&[0; 4], data));
    let codes = [0x03, 0x16, 0x17, 0x18, 0xfa];
    let code = codes.get(usize::from(choice) % codes.len()).copied().unwrap_or_default();
    let Some(long) = Long::of(code) else { return };
    let streamed = |seed| {
        let mut tracker = prepared(parameters);
        let mut capture = Capture::new(long, agreed(bits));
        let mut next = super::pieces(seed);
        let mut rest = body;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at_checked(next()).unwrap_or((rest, &[]));
            capture.push(piece, tracker.statements());
            rest = after;
        }
        let captured = capture.finish(tracker.statements());
        Seen::of(&captured.body())
    };
    let seen = streamed(seed);
    assert_eq!(seen, streamed(0));
    let mut tracker = prepared(parameters);
    let command = crate::mysql::command::command(code);
    if let Ok(held) = frontend::parse(command, body, agreed(bits), tracker.statements()) {
        assert_eq!(seen, Seen::of(&held));
    }
}

/// What a body says, up to the first value that is not understood: where that begins is for each to say.
#[derive(Debug, PartialEq)]
struct Seen {
    fixed: String,
    values: Vec<String>,
}

impl Seen {
    fn of(body: &frontend::Body<'_>) -> Self {
        let (fixed, values) = match body {
            frontend::Body::Query(query) => (format!("{:?}", query.text), &query.attributes),
            frontend::Body::Execute(execute) => {
                (format!("{} {}", execute.statement, execute.flags), &execute.values)
            }
            other => (format!("{other:?}"), &NOTHING),
        };
        let (mut all, mut understood) = (Vec::new(), true);
        values.for_each(|value| {
            understood &= !matches!(value.given, Given::NotUnderstood(_));
            if understood {
                all.push(format!("{value:?}"));
            }
        });
        Self { fixed, values: all }
    }
}

/// A message with its values.
fn shown(message: &frontend::Message<'_>) -> String {
    let mut text = format!("{message:?}");
    if let frontend::Message::Command(request) = message {
        let values = match &request.body {
            frontend::Body::Query(query) => &query.attributes,
            frontend::Body::Execute(execute) => &execute.values,
            _ => return text,
        };
        values.for_each(|value| line(&mut text, format_args!("{value:?}")));
        line(&mut text, format_args!("{} rows", values.rows()));
    }
    text
}

/// A command with this answer that goes to the server.
fn asking(choice: u8) -> frontend::Message<'static> {
    let codes: [u8; 10] = [0x03, 0x0e, 0x16, 0x04, 0x1c, 0x09, 0x1f, 0x17, 0x02, 0x1a];
    let code = codes.get(usize::from(choice) % codes.len()).copied().unwrap_or_default();
    let command = crate::mysql::command::command(code);
    let text = crate::part::Part::whole(b"set names latin1");
    let body = match code {
        0x03 => frontend::Body::Query(frontend::Query { text, attributes: NOTHING }),
        0x16 => frontend::Body::Prepare(text),
        0x17 => frontend::Body::Execute(frontend::Execute {
            statement: LAST,
            flags: u16::from(choice >> 7),
            values: NOTHING,
        }),
        0x02 => frontend::Body::Database(b"orders"),
        _ => frontend::Body::Other(b""),
    };
    frontend::Message::Command(frontend::Request { command, sequence: 0, body })
}

const NOTHING: crate::mysql::Values<'static> = crate::mysql::Values::NONE;

/// Any bytes from a server that owes some answers: the same messages however they are split, whatever they are.
pub fn mysql_backend(data: &[u8]) {
    let (&[seed, bits, commands], data) = data.split_first_chunk::<3>().unwrap_or((&[0; 3], data));
    let (commands, data) = data.split_at_checked(usize::from(commands % 8)).unwrap_or_default();
    let messages = |seed| {
        let (mut tracker, mut messages) = (Tracker::new(45, None), Vec::new());
        for command in commands {
            assert!(tracker.client(&asking(*command), 0).is_ok());
        }
        let mut scanner = backend::Scanner::new(agreed(bits));
        let malformed = feed(data, seed, |input| {
            Ok::<_, Malformed>(match scanner.step(input, tracker.expected())? {
                backend::Step::Need(bytes) => Fed::Need(bytes),
                backend::Step::Pass { length } => Fed::Took(length),
                backend::Step::Message { length, message, rows } => {
                    messages.push(format!("{message:?} {rows}"));
                    tracker.server(&message, rows);
                    Fed::Took(length)
                }
            })
        });
        tracker.finish();
        let outcomes: Vec<_> = std::iter::from_fn(|| tracker.next_outcome()).collect();
        // Rows behind the last message are counted as they come.
        (messages, malformed, outcomes, tracker.encoding().clone())
    };
    assert_eq!(messages(0), messages(seed));
}

/// A recorded or invented session: every statement has one outcome, and memory stays bounded.
pub fn mysql_session(data: &[u8]) {
    mysql_replay(data).assert_complete();
}

/// As [`mysql_session`], with whole packets of the right number only, so that what is tried is their order: each is a
/// byte that chooses its side and first byte, a byte for its length, and its body.
pub fn mysql_tracker(data: &[u8]) {
    let (bits, mut data) = data.split_first().unwrap_or((&0, data));
    let mut session = Session::new(agreed(*bits), 45);
    while let Some((&[choice, length], rest)) = data.split_first_chunk::<2>() {
        let (body, after) = rest.split_at_checked(usize::from(length % 64)).unwrap_or((rest, &[]));
        data = after;
        let taken = if choice & 1 == 0 {
            let code = CLIENT_CODES.get(usize::from(choice >> 1) % CLIENT_CODES.len());
            let code = code.copied().unwrap_or_default();
            session.client(&encode(0, &[&[code], body].concat()))
        } else {
            let first = SERVER_BYTES.get(usize::from(choice >> 1) % SERVER_BYTES.len());
            let number = session.backend.next_sequence(session.tracker.expected());
            let payload = match first {
                Some(Some(first)) => [&[*first], body].concat(),
                Some(None) | None => body.to_vec(),
            };
            session.server(&encode(number, &payload))
        };
        if taken.is_err() {
            break;
        }
    }
    session.finish().assert_complete();
}

const CLIENT_CODES: &[u8] = &[
    0x03, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1c, 0x1f, 0xfa, 0x02, 0x04, 0x09, 0x0e, 0x1b, 0x0a, 0x0c,
    0x11, 0x01,
];
const SERVER_BYTES: &[Option<u8>] =
    &[Some(0), Some(1), Some(2), Some(0xfb), Some(0xfe), Some(0xff), Some(3), None];

/// What a replay saw.
#[derive(Debug, Default)]
pub struct Transcript {
    /// Statements and outcomes in order, for people.
    pub text: String,
    /// How many statements ran.
    pub statements: u64,
    /// What became of them.
    pub outcomes: Vec<Outcome>,
    /// Server messages that the tracker could not place.
    pub mismatches: u64,
    /// Bytes that are not the protocol, or a limit.
    pub error: Option<String>,
}

impl Transcript {
    fn assert_complete(&self) {
        let numbers: Vec<u64> = self.outcomes.iter().map(|outcome| outcome.number).collect();
        let all: Vec<u64> = (1..=self.statements).collect();
        assert_eq!(numbers, all, "each statement has one outcome, in order");
    }
}

/// Replays a recording of what follows a login: records of one byte `C` (what was agreed: flags of eight bytes, then the
/// collation), `F` (client) or `B` (server), a length of four bytes, and bytes.
pub fn mysql_replay(mut recording: &[u8]) -> Transcript {
    let mut session = Session::new(Capabilities::PROTOCOL_41, 45);
    while let Some((&[kind, a, b, c, d], rest)) = recording.split_first_chunk::<5>() {
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        let (bytes, after) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        recording = after;
        let result = match (kind, bytes.split_first_chunk()) {
            (b'C', Some((flags, rest))) if session.transcript.statements == 0 => {
                let flags = Capabilities::from_bits(u64::from_le_bytes(*flags));
                let collation = rest.first().copied().unwrap_or_default();
                session =
                    Session { transcript: session.transcript, ..Session::new(flags, collation) };
                Ok(())
            }
            (b'F', _) => session.client(bytes),
            _ => session.server(bytes),
        };
        if let Err(error) = result {
            session.transcript.error = Some(error);
            break;
        }
    }
    session.finish()
}

/// A session as a relay has it, without sockets.
struct Session {
    from_client: Vec<u8>,
    from_server: Vec<u8>,
    frontend: frontend::Scanner,
    backend: backend::Scanner,
    tracker: Tracker,
    transcript: Transcript,
}

impl Session {
    fn new(capabilities: Capabilities, collation: u8) -> Self {
        Self {
            from_client: Vec::new(),
            from_server: Vec::new(),
            frontend: frontend::Scanner::new(capabilities),
            backend: backend::Scanner::new(capabilities),
            tracker: Tracker::new(collation, None),
            transcript: Transcript::default(),
        }
    }

    fn client(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.from_client.extend_from_slice(bytes);
        let buffer = std::mem::take(&mut self.from_client);
        let mut done = 0_usize;
        loop {
            let input = buffer.get(done..).unwrap_or_default();
            let step = self.frontend.step(input, self.tracker.statements());
            let length = match step.map_err(|error| error.to_string())? {
                frontend::Step::Need(_) => break,
                frontend::Step::Pass { length } => length,
                frontend::Step::Message { length, message } => {
                    let text = &mut self.transcript.text;
                    if let frontend::Message::Command(request) = &message
                        && let Treatment::Refused(report) = request.command.treatment
                    {
                        line(
                            text,
                            format_args!("refused {} {}", request.command.name, report.code),
                        );
                    } else {
                        let statement = self.tracker.client(&message, 7);
                        if let Some(statement) = statement.map_err(|error| error.to_string())? {
                            self.transcript.statements = statement.number;
                            describe(&statement, self.tracker.encoding(), text);
                        }
                    }
                    length
                }
            };
            done = done.saturating_add(length);
        }
        self.from_client = buffer.get(done..).unwrap_or_default().to_vec();
        Ok(())
    }

    fn server(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.from_server.extend_from_slice(bytes);
        let buffer = std::mem::take(&mut self.from_server);
        let mut done = 0_usize;
        loop {
            let input = buffer.get(done..).unwrap_or_default();
            let step = self.backend.step(input, self.tracker.expected());
            let length = match step.map_err(|error| error.to_string())? {
                backend::Step::Need(_) => break,
                backend::Step::Pass { length } => length,
                backend::Step::Message { length, rows, message } => {
                    if let backend::Message::File { sequence, name } = message {
                        let name = name.escape_ascii();
                        line(&mut self.transcript.text, format_args!("file {name}"));
                        self.frontend.expect_file(sequence);
                    }
                    self.tracker.server(&message, rows);
                    length
                }
            };
            done = done.saturating_add(length);
            self.outcomes();
        }
        self.from_server = buffer.get(done..).unwrap_or_default().to_vec();
        Ok(())
    }

    fn finish(mut self) -> Transcript {
        self.tracker.finish();
        self.outcomes();
        self.transcript.statements = self.tracker.statements_run();
        self.transcript.mismatches = self.tracker.mismatches();
        self.transcript
    }

    fn outcomes(&mut self) {
        while let Some(outcome) = self.tracker.next_outcome() {
            line(&mut self.transcript.text, format_args!("  {outcome:?}"));
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
    let mut values = 0_usize;
    statement.for_each_value(|value| {
        values = values.saturating_add(1);
        if values <= 20 {
            let name = value.name.map(|name| name.escape_ascii().to_string()).unwrap_or_default();
            let parameter = value.parameter(encoding, 64);
            line(text, format_args!("  {name}:{} {parameter:?}", value.kind.code));
        }
    });
    if statement.rows() > 0 {
        line(text, format_args!("  {} rows", statement.rows()));
    }
}

#[cfg(test)]
mod tests;
