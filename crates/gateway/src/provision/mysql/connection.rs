//! The provisioner's connection to a MySQL or MariaDB server: one statement at a time, its rows as text.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use access::database_user::PROVISIONER;
use keys::ClientLeaf;
use model::kind::server::DatabaseServer;
use model::{Document, ServerName, SessionId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wire::mysql::error::server_error;
use wire::mysql::packet::{self, HEADER_BYTES, Header};
use wire::mysql::rows::text_row;

use crate::dialect;
use crate::provision::pg::connection::{Dialler, Trouble};
use crate::tls::Stream;
use crate::upstream;

/// From the first packet to the first answer.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// One statement; longer means that the server hangs.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// Answers to our questions are small.
const ROW_BYTES_MAX: usize = 1 << 20;
const ROWS_MAX: usize = 100_000;

const QUERY: u8 = 0x03;
const ERROR: u8 = 0xff;
const END: u8 = 0xfe;

/// One row of an answer.
pub(crate) type Row = Vec<Option<String>>;

/// An open connection as the provisioner.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: tokio::sync::Mutex<Stream>,
    open: AtomicBool,
    /// As the server sees us.
    address: String,
}

impl Dialler {
    /// Opens one.
    pub(crate) async fn connect_mysql(
        &self,
        server: &Document<DatabaseServer>,
    ) -> Result<Connection, Trouble> {
        let connecting = Box::pin(self.connect_mysql_unbounded(server));
        tokio::time::timeout(CONNECT_WITHIN, connecting)
            .await
            .map_err(|_| Trouble::Late("let the provisioner in"))?
    }

    async fn connect_mysql_unbounded(
        &self,
        server: &Document<DatabaseServer>,
    ) -> Result<Connection, Trouble> {
        let unusable = |error: &dyn std::fmt::Display| Trouble::MySql {
            attempt: "make a certificate for the provisioner",
            number: 0,
            message: error.to_string(),
        };
        let name = ServerName::new(server.name()).map_err(|error| unusable(&error))?;
        let authority =
            self.keyring.client_authority(&name).await.map_err(|error| unusable(&error))?;
        let leaf = ClientLeaf { user: PROVISIONER, session: SessionId::random() };
        let identity =
            authority.issue_client(&leaf, self.clock.now()).map_err(|error| unusable(&error))?;
        let mut dialled = upstream::dial_greeted(server, identity).await?;
        dialect::enter_mysql(&mut dialled, PROVISIONER).await?;
        let mut connection = Connection {
            stream: tokio::sync::Mutex::new(dialled.stream),
            open: AtomicBool::new(true),
            address: String::new(),
        };
        connection
            .run(
                "take the provisioner's settings",
                &["SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO'".to_owned()],
            )
            .await?;
        let rows = connection
            .ask("say where we come from", "SELECT SUBSTRING_INDEX(USER(), '@', -1)")
            .await?;
        connection.address = single(rows).unwrap_or_default();
        Ok(connection)
    }
}

/// The first value of the first row.
pub(crate) fn single(rows: Vec<Row>) -> Option<String> {
    rows.into_iter().next()?.into_iter().next()?
}

impl Connection {
    /// Whether it still stands.
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// The host part of accounts that we can use: how the server sees us.
    pub(crate) fn our_address(&self) -> &str {
        &self.address
    }

    /// Runs statements one after the other, and stops at the first that is refused.
    pub(crate) async fn run(
        &self,
        attempt: &'static str,
        statements: &[String],
    ) -> Result<(), Trouble> {
        for statement in statements {
            self.ask(attempt, statement).await?;
        }
        Ok(())
    }

    /// Asks for rows.
    pub(crate) async fn ask(
        &self,
        attempt: &'static str,
        statement: &str,
    ) -> Result<Vec<Row>, Trouble> {
        let mut stream = self.stream.lock().await;
        if !self.is_open() {
            return Err(Trouble::Late("keep the provisioner's connection"));
        }
        // What was given up in the middle of an answer cannot be used again.
        self.open.store(false, Ordering::Relaxed);
        let asked = tokio::time::timeout(ANSWER_WITHIN, asked(&mut stream, statement)).await;
        let answer = match asked {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                return Err(Trouble::MySql { attempt, number: 0, message: error.to_string() });
            }
            Err(_) => return Err(Trouble::Late(attempt)),
        };
        self.open.store(true, Ordering::Relaxed);
        answer.map_err(|(number, message)| Trouble::MySql { attempt, number, message })
    }
}

/// Rows, or what the server refused it with.
type Answer = Result<Vec<Row>, (u16, String)>;

async fn asked(stream: &mut Stream, statement: &str) -> std::io::Result<Answer> {
    let request = packet::encode(0, &[&[QUERY], statement.as_bytes()].concat());
    stream.write_all(&request).await?;
    stream.flush().await?;
    let first = payload(stream).await?;
    let columns = match first.first() {
        Some(0) => return Ok(Ok(Vec::new())),
        Some(&ERROR) => return Ok(Err(refused(&first))),
        // A statement of ours has few columns.
        Some(&columns @ 1..=250) => columns,
        Some(_) | None => return Err(std::io::Error::other("an answer that was not asked for")),
    };
    for _ in 0..columns {
        payload(stream).await?;
    }
    let mut rows = Vec::new();
    loop {
        let row = payload(stream).await?;
        match row.first() {
            Some(&ERROR) => return Ok(Err(refused(&row))),
            // DEPRECATE_EOF was agreed on: an OK packet ends the rows.
            Some(&END) if row.len() < packet::PAYLOAD_BYTES_MAX => return Ok(Ok(rows)),
            _ if rows.len() >= ROWS_MAX => return Err(std::io::Error::other("too many rows")),
            _ => rows.push(texts(&row)?),
        }
    }
}

fn texts(row: &[u8]) -> std::io::Result<Row> {
    let values = text_row(row).map_err(std::io::Error::other)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(values.into_iter().map(|value| value.map(text)).collect())
}

fn refused(payload: &[u8]) -> (u16, String) {
    let said = server_error(payload);
    (said.code, said.message())
}

async fn payload(stream: &mut Stream) -> std::io::Result<Vec<u8>> {
    let mut header = [0; HEADER_BYTES];
    stream.read_exact(&mut header).await?;
    let length = Header::read(&header).map_or(0, |header| header.length);
    if length > ROW_BYTES_MAX {
        return Err(std::io::Error::other("a packet that is too long"));
    }
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await?;
    Ok(payload)
}
