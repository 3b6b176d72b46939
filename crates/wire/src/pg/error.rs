//! Messages that the gateway itself says, to either side.
//!
//! Texts are cut at [`TEXT_BYTES_MAX`] and lose their NULs, so nothing that a peer chose can break the framing.

use super::limits::AUTHENTICATION_BYTES_MAX;

/// No field of an error or notice that we send is longer.
pub const TEXT_BYTES_MAX: usize = 8 * 1024;

/// Builds one message; the length is filled in at the end.
pub(crate) struct Builder {
    tag: u8,
    body: Vec<u8>,
}

impl Builder {
    pub(crate) fn new(tag: u8) -> Self {
        Self { tag, body: Vec::new() }
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.body.push(value);
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.body.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.body.extend_from_slice(bytes);
    }

    /// Everything up to the first NUL, and a NUL.
    pub(crate) fn cstring(&mut self, text: &[u8]) {
        let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
        self.body.extend_from_slice(text);
        self.body.push(0);
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        let length = self.body.len().saturating_add(size_of::<u32>());
        let mut message = Vec::with_capacity(length.saturating_add(1));
        message.push(self.tag);
        message.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
        message.extend_from_slice(&self.body);
        message
    }
}

/// How grave it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The session ends.
    Fatal,
    /// The statement ends.
    Error,
    /// A warning.
    Warning,
    /// Something to know.
    Notice,
}

impl Severity {
    fn text(self) -> &'static str {
        match self {
            Self::Fatal => "FATAL",
            Self::Error => "ERROR",
            Self::Warning => "WARNING",
            Self::Notice => "NOTICE",
        }
    }
}

/// An ErrorResponse or NoticeResponse.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// How grave it is; decides between the two messages.
    pub severity: Severity,
    /// Five characters.
    pub sqlstate: &'a str,
    /// The primary text.
    pub message: &'a str,
    /// More about it.
    pub detail: Option<&'a str>,
    /// What to do next.
    pub hint: Option<&'a str>,
}

impl Report<'_> {
    /// The message, fields in PostgreSQL's own order.
    pub fn encode(&self) -> Vec<u8> {
        let tag = match self.severity {
            Severity::Fatal | Severity::Error => b'E',
            Severity::Warning | Severity::Notice => b'N',
        };
        let fields = [
            (b'S', Some(self.severity.text())),
            (b'V', Some(self.severity.text())),
            (b'C', Some(self.sqlstate)),
            (b'M', Some(self.message)),
            (b'D', self.detail),
            (b'H', self.hint),
        ];
        let mut message = Builder::new(tag);
        for (field, text) in fields {
            if let Some(text) = text {
                message.u8(field);
                message.cstring(cut(text).as_bytes());
            }
        }
        message.u8(0);
        message.finish()
    }
}

fn cut(text: &str) -> &str {
    let end = (0..=TEXT_BYTES_MAX.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end))
        .unwrap_or_default();
    text.get(..end).unwrap_or_default()
}

fn authentication(code: u32, data: &[u8]) -> Vec<u8> {
    let mut message = Builder::new(b'R');
    message.u32(code);
    message.bytes(data);
    message.finish()
}

/// AuthenticationOk.
pub fn authentication_ok() -> Vec<u8> {
    authentication(0, &[])
}

/// AuthenticationCleartextPassword.
pub fn authentication_cleartext_password() -> Vec<u8> {
    authentication(3, &[])
}

/// AuthenticationSASL: the mechanisms on offer.
pub fn authentication_sasl(mechanisms: &[&str]) -> Vec<u8> {
    let mut message = Builder::new(b'R');
    message.u32(10);
    for mechanism in mechanisms {
        message.cstring(mechanism.as_bytes());
    }
    message.u8(0);
    message.finish()
}

/// AuthenticationSASLContinue.
pub fn authentication_sasl_continue(data: &[u8]) -> Vec<u8> {
    authentication(11, data)
}

/// AuthenticationSASLFinal.
pub fn authentication_sasl_final(data: &[u8]) -> Vec<u8> {
    authentication(12, data)
}

/// ReadyForQuery.
pub fn ready_for_query(status: super::backend::TransactionStatus) -> Vec<u8> {
    let mut message = Builder::new(b'Z');
    message.u8(status.byte());
    message.finish()
}

/// BackendKeyData.
pub fn backend_key_data(pid: u32, key: &[u8]) -> Vec<u8> {
    let mut message = Builder::new(b'K');
    message.u32(pid);
    message.bytes(key);
    message.finish()
}

/// ParameterStatus.
pub fn parameter_status(name: &str, value: &str) -> Vec<u8> {
    let mut message = Builder::new(b'S');
    message.cstring(name.as_bytes());
    message.cstring(value.as_bytes());
    message.finish()
}

/// SSLRequest, to the server.
pub fn ssl_request() -> [u8; 8] {
    [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]
}

/// CancelRequest, to the server.
pub fn cancel_request(pid: u32, key: &[u8]) -> Vec<u8> {
    let length = key.len().saturating_add(12);
    let mut message = Vec::with_capacity(length);
    message.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    message.extend_from_slice(&80_877_102_u32.to_be_bytes());
    message.extend_from_slice(&pid.to_be_bytes());
    message.extend_from_slice(key);
    message
}

/// PasswordMessage, to the server; `None` when it is longer than a server takes.
pub fn password_message(password: &[u8]) -> Option<Vec<u8>> {
    let mut message = Builder::new(b'p');
    message.cstring(password);
    let message = message.finish();
    let max = usize::try_from(AUTHENTICATION_BYTES_MAX).unwrap_or(usize::MAX);
    (message.len() <= max).then_some(message)
}

/// Terminate.
pub fn terminate() -> [u8; 5] {
    [b'X', 0, 0, 0, 4]
}

/// Sync.
pub fn sync() -> [u8; 5] {
    [b'S', 0, 0, 0, 4]
}

/// Query, to the server.
pub fn query(sql: &str) -> Vec<u8> {
    let mut message = Builder::new(b'Q');
    message.cstring(sql.as_bytes());
    message.finish()
}
