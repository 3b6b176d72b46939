//! Capability flags, and which of them client and server get to agree on.
//!
//! What is offered is what can be audited: a flag is on the list here because the framing that it brings is understood,
//! or because it changes nothing that is looked at.

/// Capability flags: MySQL's 32, and MariaDB's extended ones above them.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities(u64);

impl Capabilities {
    /// MySQL; a MariaDB peer that leaves it out speaks of the extended flags (`CLIENT_MYSQL`).
    pub const LONG_PASSWORD: Self = Self(1);
    /// Affected rows are those found, not those changed.
    pub const FOUND_ROWS: Self = Self(1 << 1);
    /// Column flags have two bytes.
    pub const LONG_FLAG: Self = Self(1 << 2);
    /// The handshake response names a database.
    pub const CONNECT_WITH_DB: Self = Self(1 << 3);
    /// `database.table.column` is an error.
    pub const NO_SCHEMA: Self = Self(1 << 4);
    /// zlib frames around packets.
    pub const COMPRESS: Self = Self(1 << 5);
    /// No meaning any more.
    pub const ODBC: Self = Self(1 << 6);
    /// The server may ask for a file of the client.
    pub const LOCAL_FILES: Self = Self(1 << 7);
    /// Spaces before `(` are ignored.
    pub const IGNORE_SPACE: Self = Self(1 << 8);
    /// The protocol of 4.1.
    pub const PROTOCOL_41: Self = Self(1 << 9);
    /// `interactive_timeout` instead of `wait_timeout`.
    pub const INTERACTIVE: Self = Self(1 << 10);
    /// TLS follows.
    pub const SSL: Self = Self(1 << 11);
    /// Client library only.
    pub const IGNORE_SIGPIPE: Self = Self(1 << 12);
    /// OK and EOF packets have status flags.
    pub const TRANSACTIONS: Self = Self(1 << 13);
    /// No meaning any more (`CLIENT_RESERVED`).
    pub const RESERVED: Self = Self(1 << 14);
    /// The scramble has 20 bytes.
    pub const SECURE_CONNECTION: Self = Self(1 << 15);
    /// Several statements in one query.
    pub const MULTI_STATEMENTS: Self = Self(1 << 16);
    /// Several results of one query.
    pub const MULTI_RESULTS: Self = Self(1 << 17);
    /// Several results of one execute.
    pub const PS_MULTI_RESULTS: Self = Self(1 << 18);
    /// Authentication plugins.
    pub const PLUGIN_AUTH: Self = Self(1 << 19);
    /// The handshake response has attributes.
    pub const CONNECT_ATTRS: Self = Self(1 << 20);
    /// The handshake response's authentication data may be long.
    pub const PLUGIN_AUTH_LENENC: Self = Self(1 << 21);
    /// The client knows what to do with an expired password.
    pub const CAN_HANDLE_EXPIRED_PASSWORDS: Self = Self(1 << 22);
    /// OK packets say what of the session's state changed.
    pub const SESSION_TRACK: Self = Self(1 << 23);
    /// Results end with an OK packet, and no EOF packet follows their columns.
    pub const DEPRECATE_EOF: Self = Self(1 << 24);
    /// Results may come without columns (MySQL's way).
    pub const OPTIONAL_RESULTSET_METADATA: Self = Self(1 << 25);
    /// zstd frames around packets.
    pub const ZSTD_COMPRESSION: Self = Self(1 << 26);
    /// Queries and executes have named attributes before them.
    pub const QUERY_ATTRIBUTES: Self = Self(1 << 27);
    /// More than one factor.
    pub const MULTI_FACTOR_AUTHENTICATION: Self = Self(1 << 28);
    /// MariaDB: progress reports, as ERR packets with code 0xffff.
    pub const PROGRESS: Self = Self(1 << 32);
    /// MariaDB: COM_MULTI.
    pub const COM_MULTI: Self = Self(1 << 33);
    /// MariaDB: COM_STMT_BULK_EXECUTE.
    pub const STMT_BULK_OPERATIONS: Self = Self(1 << 34);
    /// MariaDB: columns say more of their type.
    pub const EXTENDED_METADATA: Self = Self(1 << 35);
    /// MariaDB: columns that the client knows are not sent again.
    pub const CACHE_METADATA: Self = Self(1 << 36);
    /// MariaDB: a bulk execute may answer row by row.
    pub const BULK_UNIT_RESULTS: Self = Self(1 << 37);

    /// By their bits.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Their bits.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Whether all of these are set.
    pub const fn contains(self, all: Self) -> bool {
        self.0 & all.0 == all.0
    }

    /// Those and these.
    #[must_use]
    pub const fn with(self, these: Self) -> Self {
        Self(self.0 | these.0)
    }

    /// Those but these.
    #[must_use]
    pub const fn without(self, these: Self) -> Self {
        Self(self.0 & !these.0)
    }

    /// Those that are in both.
    #[must_use]
    pub const fn and(self, these: Self) -> Self {
        Self(self.0 & these.0)
    }

    /// MySQL's four bytes.
    pub(crate) fn classic(self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.0.to_le_bytes();
        [a, b, c, d]
    }

    /// MariaDB's four bytes: nothing when the peer is MySQL.
    pub(crate) fn extended(self) -> [u8; 4] {
        if self.contains(Self::LONG_PASSWORD) {
            return [0; 4];
        }
        let [.., a, b, c, d] = self.0.to_le_bytes();
        [a, b, c, d]
    }

    /// From MySQL's four bytes, and MariaDB's, which mean something only where the first flag is not set.
    pub(crate) fn from_halves(classic: u32, extended: u32) -> Self {
        let classic = Self(u64::from(classic));
        if classic.contains(Self::LONG_PASSWORD) {
            return classic;
        }
        Self(classic.0 | (u64::from(extended) << 32))
    }
}

impl std::fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Capabilities({:#x})", self.0)
    }
}

const fn all<const N: usize>(flags: [Capabilities; N]) -> Capabilities {
    let (mut all, mut rest) = (Capabilities(0), flags.as_slice());
    while let Some((flag, after)) = rest.split_first() {
        all = all.with(*flag);
        rest = after;
    }
    all
}

/// What the gateway itself speaks, to either side, whatever the other side speaks.
const OURS: Capabilities = all([
    Capabilities::PROTOCOL_41,
    Capabilities::SSL,
    Capabilities::SECURE_CONNECTION,
    Capabilities::PLUGIN_AUTH,
    Capabilities::PLUGIN_AUTH_LENENC,
    Capabilities::CONNECT_ATTRS,
]);

/// What both sides may agree on: bytes that follow can be relayed as they are, and are understood. Not here:
/// compression (its frames hide the packets; the bytes travel in TLS, where the size of compressed secrets tells of
/// them), what to do with an expired password and further factors (the credential is not the client's),
/// OPTIONAL_RESULTSET_METADATA (described in two ways), COM_MULTI, and whatever is not known yet.
const RELAYED: Capabilities = all([
    Capabilities::LONG_PASSWORD,
    Capabilities::FOUND_ROWS,
    Capabilities::LONG_FLAG,
    Capabilities::CONNECT_WITH_DB,
    Capabilities::NO_SCHEMA,
    Capabilities::ODBC,
    Capabilities::IGNORE_SPACE,
    Capabilities::INTERACTIVE,
    Capabilities::IGNORE_SIGPIPE,
    Capabilities::TRANSACTIONS,
    Capabilities::RESERVED,
    Capabilities::MULTI_STATEMENTS,
    Capabilities::MULTI_RESULTS,
    Capabilities::PS_MULTI_RESULTS,
    Capabilities::SESSION_TRACK,
    Capabilities::DEPRECATE_EOF,
    Capabilities::QUERY_ATTRIBUTES,
    Capabilities::PROGRESS,
    Capabilities::STMT_BULK_OPERATIONS,
    Capabilities::EXTENDED_METADATA,
    Capabilities::CACHE_METADATA,
    Capabilities::BULK_UNIT_RESULTS,
]);

/// Flags that a client may claim without the server having offered them, as it would towards the server itself.
const CLAIMED: Capabilities = all([
    Capabilities::LONG_PASSWORD,
    Capabilities::FOUND_ROWS,
    Capabilities::ODBC,
    Capabilities::IGNORE_SPACE,
    Capabilities::INTERACTIVE,
    Capabilities::IGNORE_SIGPIPE,
]);

/// Whether a server may ask the client for a file (`LOAD DATA LOCAL`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalFiles {
    /// It may not: the flag is not offered.
    Refused,
    /// The server's rules allow it.
    Allowed,
}

/// What the client is offered, from what the server offers.
pub fn offered(server: Capabilities, local_files: LocalFiles) -> Capabilities {
    let relayed = match local_files {
        LocalFiles::Refused => RELAYED,
        LocalFiles::Allowed => RELAYED.with(Capabilities::LOCAL_FILES),
    };
    server.and(relayed).with(OURS)
}

/// What holds between client and gateway: what it claims, as far as it was offered. `None`: it cannot be asked for a
/// token, because it speaks the protocol of before 4.1 or knows no authentication plugins (`1251 08004`).
pub fn agreed(offered: Capabilities, client: Capabilities) -> Option<Capabilities> {
    let agreed = client.and(offered.with(CLAIMED));
    let needed = all([Capabilities::PROTOCOL_41, Capabilities::PLUGIN_AUTH]);
    agreed.contains(needed).then_some(agreed)
}

/// Whether our handshake response to the server names a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    /// It does.
    Named,
    /// It does not.
    None,
}

/// What the gateway claims towards the server, so that what follows is the same on both sides; without LOCAL_FILES where
/// the server's rules refuse it or the server does, which only means that it will not ask. `Err`: the server offers
/// these no more, although the client was offered them.
pub fn upstream(
    agreed: Capabilities,
    server: Capabilities,
    (database, local_files): (Database, LocalFiles),
) -> Result<Capabilities, Capabilities> {
    let files = match local_files {
        LocalFiles::Refused => Capabilities::default(),
        LocalFiles::Allowed => server.and(Capabilities::LOCAL_FILES),
    };
    let relayed = agreed.and(RELAYED.with(files)).without(Capabilities::CONNECT_WITH_DB);
    let needed = relayed.without(CLAIMED).with(all([
        Capabilities::PROTOCOL_41,
        Capabilities::SSL,
        Capabilities::SECURE_CONNECTION,
        Capabilities::PLUGIN_AUTH,
    ]));
    let missing = needed.without(server);
    if missing != Capabilities::default() {
        return Err(missing);
    }
    let database = match database {
        Database::Named => Capabilities::CONNECT_WITH_DB,
        Database::None => Capabilities::default(),
    };
    Ok(relayed.with(OURS.and(server)).with(database))
}
