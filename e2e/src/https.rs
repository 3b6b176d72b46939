//! One HTTPS request at a time, whatever is in it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use testkit::stack::Reach;

use crate::tls::{self, Tls};

const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.body).with_context(|| format!("not JSON: {}", self.body))
    }

    /// A field of the body, as text.
    pub fn field(&self, name: &str) -> Result<String> {
        let json = self.json()?;
        let value = json.get(name).and_then(Value::as_str);
        Ok(value.with_context(|| format!("no `{name}` in {json}"))?.to_owned())
    }
}

/// `application/x-www-form-urlencoded`.
pub fn form(fields: &[(&str, &str)]) -> String {
    let pairs: Vec<String> =
        fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    pairs.join("&")
}

/// A form, as OAuth's token endpoint takes them.
pub fn post_form(reach: &Reach, path: &str, fields: &[(&str, &str)]) -> Result<Answer> {
    let body = form(fields);
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    send(reach, &format!("{head}{body}"))
}

/// A connection that stays, from an address of its own: budgets are by address.
pub struct Kept {
    tls: Tls,
    buffer: Vec<u8>,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}

impl Kept {
    pub fn open(reach: &Reach, from: Ipv4Addr) -> Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((from, 0)).into())?;
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, reach.https_port()?));
        socket.connect(&to.into())?;
        socket.set_tcp_nodelay(true)?;
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        Ok(Self { tls: tls::connect(stream, &reach.ca)?, buffer: Vec::new() })
    }

    /// A form that was encoded already.
    pub fn post_form(&mut self, path: &str, body: &str) -> Result<Answer> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.tls.write_all(format!("{head}{body}").as_bytes())?;
        self.tls.flush()?;
        self.answer()
    }

    fn answer(&mut self) -> Result<Answer> {
        self.buffer.clear();
        loop {
            if let Some((head_bytes, status, body_bytes)) = head(&self.buffer)?
                && let Some(body) = self.buffer.get(head_bytes..head_bytes + body_bytes)
            {
                return Ok(Answer { status, body: String::from_utf8_lossy(body).into_owned() });
            }
            let mut part = [0; 8192];
            let length = self.tls.read(&mut part)?;
            ensure!(length > 0, "it closed before it had answered");
            self.buffer.extend(part.iter().take(length));
        }
    }
}

/// Length of the head, status and length of the body, once the head is there.
fn head(answer: &[u8]) -> Result<Option<(usize, u16, usize)>> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let text = String::from_utf8_lossy(answer.get(..end).unwrap_or_default()).to_ascii_lowercase();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length = length.and_then(|length| length.trim().parse().ok());
    Ok(Some((end + 4, status.context("no status")?, length.context("no length")?)))
}

pub fn get(reach: &Reach, path: &str, bearer: Option<&str>) -> Result<Answer> {
    let authorization = match bearer {
        Some(token) => format!("Authorization: Bearer {token}\r\n"),
        None => String::new(),
    };
    send(
        reach,
        &format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{authorization}\r\n"
        ),
    )
}

/// Any bytes at all.
pub fn send(reach: &Reach, request: &str) -> Result<Answer> {
    let stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, reach.https_port()?)))?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    let mut tls = tls::connect(stream, &reach.ca)?;
    tls.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    // An end without TLS's own farewell is an end all the same.
    if let Err(error) = tls.read_to_end(&mut answer)
        && error.kind() != std::io::ErrorKind::UnexpectedEof
    {
        return Err(error.into());
    }
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) =
        answer.split_once("\r\n\r\n").context("an answer without an end of its head")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok(Answer { status: status.context("an answer without a status")?, body: body.to_owned() })
}

fn encoded(text: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if keep(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect::<Vec<_>>()
        .concat()
}
