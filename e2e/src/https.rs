//! One HTTPS request at a time, whatever is in it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use testkit::stack::Reach;

use crate::tls;

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

/// A form, as OAuth's token endpoint takes them.
pub fn post_form(reach: &Reach, path: &str, fields: &[(&str, &str)]) -> Result<Answer> {
    let body: Vec<String> =
        fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    let body = body.join("&");
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    send(reach, &format!("{head}{body}"))
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
