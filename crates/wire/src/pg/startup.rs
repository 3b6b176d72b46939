//! The first packet of a connection, and what it may ask for.
//!
//! The caller reads exactly the bytes that [`first`] asks for, so that nothing which arrived with an `SSLRequest` can
//! later be taken for the inside of TLS (CVE-2021-23214). Parameters are classified by [`setting::class`]; `options` is
//! taken apart by [`setting::options`].

use std::collections::BTreeSet;

use thiserror::Error;

use super::limits::{
    CANCEL_KEY_BYTES_MAX, CANCEL_KEY_BYTES_MIN, STARTUP_BYTES_MAX, STARTUP_BYTES_MIN,
};

pub mod setting;

/// What the first bytes of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// So many bytes in all are needed to go on; never more than [`STARTUP_BYTES_MAX`].
    Need(usize),
    /// A TLS record begins here (`sslnegotiation=direct`, which demands ALPN); no byte belongs to PostgreSQL's protocol.
    DirectTls,
    /// A whole packet.
    Packet {
        /// Its bytes.
        length: usize,
        /// What it says.
        packet: Packet,
    },
}

/// The first packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// Answer `S` (or `N`); nothing may follow it before the answer.
    SslRequest,
    /// Answer `N` and listen on.
    GssEncRequest,
    /// Cancel the running statement of another connection; no answer exists.
    CancelRequest(CancelRequest),
    /// Open a session.
    Startup(Startup),
}

/// A cancel request's key.
#[derive(Clone, PartialEq, Eq)]
pub struct CancelRequest {
    /// Process id, as in BackendKeyData.
    pub pid: u32,
    /// The secret: 4 to 256 bytes.
    pub key: Vec<u8>,
}

impl std::fmt::Debug for CancelRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CancelRequest {{ pid: {}, key: [secret] }}", self.pid)
    }
}

/// A protocol version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// 3, always.
    pub major: u16,
    /// 0, 2, or a number that a client made up to see whether we negotiate.
    pub minor: u16,
}

impl Version {
    /// What every server speaks.
    pub const V3_0: Self = Self { major: 3, minor: 0 };
    /// PostgreSQL 18: longer cancel keys.
    pub const V3_2: Self = Self { major: 3, minor: 2 };

    fn from_code(code: u32) -> Self {
        let [major_high, major_low, minor_high, minor_low] = code.to_be_bytes();
        Self {
            major: u16::from_be_bytes([major_high, major_low]),
            minor: u16::from_be_bytes([minor_high, minor_low]),
        }
    }

    /// As sent: major in the upper half.
    pub fn code(self) -> u32 {
        let [major_high, major_low] = self.major.to_be_bytes();
        let [minor_high, minor_low] = self.minor.to_be_bytes();
        u32::from_be_bytes([major_high, major_low, minor_high, minor_low])
    }
}

/// A StartupMessage. Names are unique, texts are UTF-8 without NUL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Startup {
    /// As asked for.
    pub version: Version,
    /// Names and values in the order in which they came.
    pub parameters: Vec<(String, String)>,
}

/// Why a first packet was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StartupError {
    /// Outside 8 to 10,000 bytes. PostgreSQL closes without an answer, since the peer may speak anything.
    #[error("the first packet declares {length} bytes")]
    Length {
        /// As declared.
        length: u32,
    },
    /// The packet's body is not as the protocol says.
    #[error("the first packet is malformed: {0}")]
    Malformed(&'static str),
    /// Not major version 3.
    #[error("unsupported frontend protocol {major}.{minor}: the gateway supports 3.0 to 3.2")]
    Version {
        /// As asked for.
        major: u16,
        /// As asked for.
        minor: u16,
    },
    /// A parameter came twice; the gateway and the server could understand different ones.
    #[error("start-up parameter `{name}` is given twice")]
    Duplicate {
        /// Its name.
        name: String,
    },
    /// The first packet of a session must name a user.
    #[error("no user name is given in the start-up packet")]
    UserMissing,
    /// `replication` is neither a boolean nor `database`.
    #[error("`{value}` is no value of `replication`")]
    Replication {
        /// As given.
        value: String,
    },
}

impl StartupError {
    /// The error class PostgreSQL uses; `None` where it closes without an answer.
    pub fn sqlstate(&self) -> Option<&'static str> {
        match self {
            Self::Length { .. } => None,
            Self::Malformed(_) | Self::Duplicate { .. } => Some("08P01"),
            Self::Version { .. } => Some("0A000"),
            Self::UserMissing => Some("28000"),
            Self::Replication { .. } => Some("22023"),
        }
    }
}

const CODE_CANCEL: u32 = 80_877_102;
const CODE_SSL: u32 = 80_877_103;
const CODE_GSSENC: u32 = 80_877_104;

/// First byte of a TLS record that carries a handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// Looks at the first bytes of a connection, or at those that follow an answered SSLRequest or GSSENCRequest.
pub fn first(input: &[u8]) -> Result<Step, StartupError> {
    if input.first() == Some(&TLS_HANDSHAKE) {
        return Ok(Step::DirectTls);
    }
    let Some((head, _)) = input.split_first_chunk::<4>() else {
        return Ok(Step::Need(STARTUP_BYTES_MIN));
    };
    let declared = u32::from_be_bytes(*head);
    let length = usize::try_from(declared)
        .ok()
        .filter(|length| (STARTUP_BYTES_MIN..=STARTUP_BYTES_MAX).contains(length))
        .ok_or(StartupError::Length { length: declared })?;
    let Some(body) = input.get(head.len()..length) else {
        return Ok(Step::Need(length));
    };
    let (code, rest) =
        body.split_first_chunk::<4>().ok_or(StartupError::Length { length: declared })?;
    let packet = match u32::from_be_bytes(*code) {
        CODE_SSL if rest.is_empty() => Packet::SslRequest,
        CODE_GSSENC if rest.is_empty() => Packet::GssEncRequest,
        CODE_SSL | CODE_GSSENC => {
            return Err(StartupError::Malformed("an encryption request has a body"));
        }
        CODE_CANCEL => Packet::CancelRequest(cancel(rest)?),
        code => Packet::Startup(startup(Version::from_code(code), rest)?),
    };
    Ok(Step::Packet { length, packet })
}

fn cancel(body: &[u8]) -> Result<CancelRequest, StartupError> {
    let (pid, key) = body
        .split_first_chunk::<4>()
        .ok_or(StartupError::Malformed("a cancel request is too short"))?;
    if !(CANCEL_KEY_BYTES_MIN..=CANCEL_KEY_BYTES_MAX).contains(&key.len()) {
        return Err(StartupError::Malformed("a cancel key has 4 to 256 bytes"));
    }
    Ok(CancelRequest { pid: u32::from_be_bytes(*pid), key: key.to_vec() })
}

fn startup(version: Version, body: &[u8]) -> Result<Startup, StartupError> {
    let Version { major, minor } = version;
    if major != Version::V3_0.major {
        return Err(StartupError::Version { major, minor });
    }
    let mut parameters = Vec::new();
    let mut seen = BTreeSet::new();
    let mut rest = body;
    loop {
        let name = text(&mut rest)?;
        if name.is_empty() {
            break;
        }
        let value = text(&mut rest)?;
        if !seen.insert(setting::folded(name)) {
            return Err(StartupError::Duplicate { name: name.to_owned() });
        }
        parameters.push((name.to_owned(), value.to_owned()));
    }
    if !rest.is_empty() {
        return Err(StartupError::Malformed("bytes follow the last parameter"));
    }
    Ok(Startup { version, parameters })
}

fn text<'a>(rest: &mut &'a [u8]) -> Result<&'a str, StartupError> {
    let end = rest
        .iter()
        .position(|byte| *byte == 0)
        .ok_or(StartupError::Malformed("a string has no end"))?;
    let (text, after) = rest.split_at(end);
    *rest = after.split_first().map_or(after, |(_, rest)| rest);
    std::str::from_utf8(text).map_err(|_| StartupError::Malformed("a string is not UTF-8"))
}

/// Whether a session speaks the replication protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replication {
    /// An ordinary session.
    No,
    /// Physical replication.
    Physical,
    /// Logical replication (`replication=database`).
    Logical,
}

impl Startup {
    /// The value of a protocol-level parameter (`user`, `database`, `options`, `replication`) or a setting.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(candidate, _)| candidate.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The user asked for; an empty one is none.
    pub fn user(&self) -> Result<&str, StartupError> {
        self.parameter("user").filter(|user| !user.is_empty()).ok_or(StartupError::UserMissing)
    }

    /// The database asked for: the user's name when none is given.
    pub fn database(&self) -> Result<&str, StartupError> {
        match self.parameter("database").filter(|database| !database.is_empty()) {
            Some(database) => Ok(database),
            None => self.user(),
        }
    }

    /// Whether replication is asked for, understood as PostgreSQL understands it.
    pub fn replication(&self) -> Result<Replication, StartupError> {
        let Some(value) = self.parameter("replication") else { return Ok(Replication::No) };
        if value == "database" {
            return Ok(Replication::Logical);
        }
        match setting::boolean(value) {
            Some(true) => Ok(Replication::Physical),
            Some(false) => Ok(Replication::No),
            None => Err(StartupError::Replication { value: value.to_owned() }),
        }
    }

    /// The first setting that may not be given at start-up, as a parameter or inside `options`.
    pub fn denied(&self) -> Result<(), setting::Denied> {
        for (name, value) in &self.parameters {
            match setting::class(name) {
                setting::Class::Denied(why) => {
                    return Err(setting::Denied::Setting { name: name.clone(), why });
                }
                setting::Class::Protocol if name.eq_ignore_ascii_case("options") => {
                    for option in setting::options(value)? {
                        if let setting::Class::Denied(why) = setting::class(&option.name) {
                            return Err(setting::Denied::Setting { name: option.name, why });
                        }
                    }
                }
                setting::Class::Protocol | setting::Class::Extension | setting::Class::Passed => {}
            }
        }
        Ok(())
    }

    /// Whether, and with what, protocol negotiation must answer before anything else is said; `newest` is the newest
    /// version that gateway and server both speak.
    pub fn negotiation(&self, newest: Version) -> Option<Negotiation> {
        let unknown: Vec<String> = self
            .parameters
            .iter()
            .filter(|(name, _)| setting::class(name) == setting::Class::Extension)
            .map(|(name, _)| name.clone())
            .collect();
        (self.version > newest || !unknown.is_empty()).then_some(Negotiation { newest, unknown })
    }

    /// The version that holds after negotiation.
    pub fn effective(&self, newest: Version) -> Version {
        self.version.min(newest)
    }

    /// The message for the server: `user` and `database` as they were decided in place of the client's, `_pq_.`
    /// extensions left out, all else unchanged.
    pub fn upstream(
        &self,
        (user, database): (&str, &str),
        version: Version,
    ) -> Result<Vec<u8>, EncodeError> {
        let identity = [("user", user), ("database", database)];
        let others = self.parameters.iter().filter_map(|(name, value)| {
            let identity = ["user", "database"].iter().any(|own| name.eq_ignore_ascii_case(own));
            let extension = setting::class(name) == setting::Class::Extension;
            (!identity && !extension).then_some((name.as_str(), value.as_str()))
        });
        encode(version, identity.into_iter().chain(others))
    }
}

/// A NegotiateProtocolVersion answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiation {
    /// The newest version spoken.
    pub newest: Version,
    /// `_pq_.` parameters that are not understood.
    pub unknown: Vec<String>,
}

impl Negotiation {
    /// The message `v`; bounded, since its parts came in one startup packet.
    pub fn encode(&self) -> Vec<u8> {
        let mut message = super::error::Builder::new(b'v');
        message.u32(self.newest.code());
        message.u32(u32::try_from(self.unknown.len()).unwrap_or(u32::MAX));
        for name in &self.unknown {
            message.cstring(name.as_bytes());
        }
        message.finish()
    }
}

/// Why a StartupMessage cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// A name or value holds a NUL, or a name is empty: it would read as something else.
    #[error("start-up parameter `{name}` cannot be sent")]
    Unsendable {
        /// Its name.
        name: String,
    },
    /// PostgreSQL would refuse it.
    #[error("the start-up message would have {length} bytes; PostgreSQL takes {STARTUP_BYTES_MAX}")]
    TooLong {
        /// Its length.
        length: usize,
    },
}

/// A StartupMessage.
pub fn encode<'a>(
    version: Version,
    parameters: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<Vec<u8>, EncodeError> {
    let mut body = version.code().to_be_bytes().to_vec();
    for (name, value) in parameters {
        if name.is_empty() || name.contains('\0') || value.contains('\0') {
            return Err(EncodeError::Unsendable { name: name.to_owned() });
        }
        for text in [name, value] {
            body.extend_from_slice(text.as_bytes());
            body.push(0);
        }
    }
    body.push(0);
    let length = body.len().saturating_add(size_of::<u32>());
    let declared = u32::try_from(length)
        .ok()
        .filter(|_| length <= STARTUP_BYTES_MAX)
        .ok_or(EncodeError::TooLong { length })?;
    let mut message = declared.to_be_bytes().to_vec();
    message.append(&mut body);
    Ok(message)
}
