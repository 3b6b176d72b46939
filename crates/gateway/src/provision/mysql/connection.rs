//! A connection of the provisioner's to MariaDB or MySQL: one question at a time, answers held whole.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use access::database_user::PROVISIONER;
use model::kind::server::Product;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Mutex;
use wire::mysql::packet::{self, HEADER_BYTES, Header};
use wire::mysql::rows::{self, Answer, Read};

use super::catalog::{Catalog, Names};
use super::version;
use crate::dialect::{self, Greeted};
use crate::provision::connection::Trouble;
use crate::tls::Stream;
use crate::upstream::{Dialled, Proof};

/// Of one answer. Even lists of ten thousand accounts are smaller.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Counts what whoever asks holds on the server as a whole, of which this is true. Names may hold an `@`, hosts never do.
pub(crate) fn own_privileges(which: &str) -> String {
    const HOST: &str = "SUBSTRING_INDEX(CURRENT_USER(), '@', -1)";
    format!(
        "SELECT COUNT(*) FROM information_schema.user_privileges WHERE GRANTEE = CONCAT('''', \
         LEFT(CURRENT_USER(), CHAR_LENGTH(CURRENT_USER()) - CHAR_LENGTH({HOST}) - 1), '''@''', {HOST}, '''') \
         AND {which}"
    )
}

/// How accounts look.
#[derive(Clone, Debug)]
pub(crate) struct Accounts {
    /// From which the gateway dials; one account for each.
    pub(crate) addresses: Arc<[IpAddr]>,
    /// The common name of the authority that signs this server's client certificates.
    pub(crate) issuer: String,
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Mutex<Box<Stream>>,
    broken: AtomicBool,
    /// 101119 for 10.11.19.
    pub(crate) version: u32,
    /// Whether the provisioner may do everything: on test stacks only.
    pub(crate) superuser: bool,
    /// How it keeps its accounts.
    pub(crate) catalog: Catalog,
    pub(crate) accounts: Accounts,
}

/// A row of text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row(Vec<Option<String>>);

impl Row {
    /// A column's text; empty where it is NULL.
    pub(crate) fn text(&self, column: usize) -> &str {
        self.0.get(column).and_then(Option::as_deref).unwrap_or_default()
    }

    /// What the server's own client writes for a row: columns between tabs, and escapes for what they hold.
    pub(crate) fn of_line(line: &str) -> Self {
        Self(line.split('\t').map(|column| Some(unescaped(column))).collect())
    }

    /// A column that says yes: `1` or `Y`.
    pub(crate) fn says_yes(&self, column: usize) -> bool {
        ["1", "Y"].contains(&self.text(column))
    }

    /// A column's number; 0 where it has none.
    pub(crate) fn number(&self, column: usize) -> u64 {
        self.text(column).parse().unwrap_or_default()
    }
}

fn unescaped(column: &str) -> String {
    let mut letters = column.chars();
    let mut text = String::new();
    while let Some(letter) = letters.next() {
        let escaped = if letter == '\\' { letters.next() } else { None };
        text.push(match escaped {
            None => letter,
            Some('t') => '\t',
            Some('n') => '\n',
            Some('0') => '\0',
            Some(other) => other,
        });
    }
    text
}

/// Logs in over a connection inside TLS.
pub(crate) async fn open(mut dialled: Dialled, accounts: Accounts) -> Result<Connection, Trouble> {
    dialect::enter_mysql(&mut dialled, PROVISIONER, &Proof::Certificate).await?;
    let Greeted::MySql(greeted) = dialled.greeted else {
        return Err(broken("let the provisioner in", &"it is no MySQL server"));
    };
    let greeting = greeted.greeting.version;
    let catalog = Catalog::of(version::check(&greeting)?);
    let mut connection = Connection {
        stream: Mutex::new(Box::new(dialled.stream)),
        broken: AtomicBool::new(false),
        version: version::number(&greeting),
        superuser: false,
        catalog,
        accounts,
    };
    for setting in ["SET NAMES utf8mb4", catalog.sql_mode(), catalog.bounds()] {
        connection.run("take the provisioner's settings", setting).await?;
    }
    if catalog.product() == Product::MySql {
        let plain = connection.rows("say what names stand for", "SELECT @@partial_revokes").await?;
        if plain.first().is_some_and(|row| row.says_yes(0)) {
            connection.catalog = Catalog::MySql(Names::Plain);
        }
    }
    let superuser = own_privileges("PRIVILEGE_TYPE = 'SUPER'");
    let held = connection.rows("say who the provisioner is", &superuser).await?;
    connection.superuser = held.first().is_some_and(|row| row.number(0) > 0);
    Ok(connection)
}

fn broken(attempt: &'static str, cause: &dyn std::fmt::Display) -> Trouble {
    Trouble::Broken { attempt, cause: cause.to_string() }
}

impl Connection {
    /// Whether it still stands: asked of the server.
    pub(crate) async fn is_open(&self) -> bool {
        !self.broken.load(Ordering::Acquire) && self.command("answer", rows::PING).await.is_ok()
    }

    /// The host parts of our accounts.
    pub(crate) fn hosts(&self) -> Vec<String> {
        self.accounts.addresses.iter().map(ToString::to_string).collect()
    }

    /// Runs one statement.
    pub(crate) async fn run(&self, attempt: &'static str, statement: &str) -> Result<(), Trouble> {
        self.rows(attempt, statement).await.map(drop)
    }

    /// Runs statements one after the other: each becomes true for itself.
    pub(crate) async fn run_all(
        &self,
        attempt: &'static str,
        statements: &[String],
    ) -> Result<(), Trouble> {
        for statement in statements {
            self.run(attempt, statement).await?;
        }
        Ok(())
    }

    /// Asks for rows.
    pub(crate) async fn rows(
        &self,
        attempt: &'static str,
        question: &str,
    ) -> Result<Vec<Row>, Trouble> {
        let rows = self.command(attempt, &rows::query(question)).await?;
        let text = |value: Vec<u8>| String::from_utf8_lossy(&value).into_owned();
        let row = |row: rows::Row| Row(row.into_iter().map(|value| value.map(text)).collect());
        Ok(rows.into_iter().map(row).collect())
    }

    /// A command that is given up half way leaves the connection unusable, and marked so.
    async fn command(
        &self,
        attempt: &'static str,
        command: &[u8],
    ) -> Result<Vec<rows::Row>, Trouble> {
        let mut stream = self.stream.lock().await;
        if self.broken.swap(true, Ordering::AcqRel) {
            return Err(broken(attempt, &"it had broken before"));
        }
        let answered = exchange(&mut stream, attempt, command).await;
        if !matches!(answered, Err(Trouble::Broken { .. })) {
            self.broken.store(false, Ordering::Release);
        }
        answered
    }
}

async fn exchange(
    stream: &mut Stream,
    attempt: &'static str,
    command: &[u8],
) -> Result<Vec<rows::Row>, Trouble> {
    let failed = |error: &dyn std::fmt::Display| broken(attempt, error);
    stream.write_all(&packet::encode(0, command)).await.map_err(|error| failed(&error))?;
    stream.flush().await.map_err(|error| failed(&error))?;
    let (mut answer, mut sequence, mut left) = (Answer::default(), 1_u8, ANSWER_BYTES_MAX);
    loop {
        let payload = read(stream, sequence, left).await.map_err(|cause| failed(&cause))?;
        sequence = sequence.wrapping_add(1);
        left = left.saturating_sub(payload.len().saturating_add(HEADER_BYTES));
        match answer.packet(&payload).map_err(|error| failed(&error))? {
            Read::More => {}
            Read::Done(rows) => return Ok(rows),
            Read::Refused(said) => {
                return Err(Trouble::MySql { attempt, number: said.code, message: said.message() });
            }
        }
    }
}

async fn read(stream: &mut Stream, sequence: u8, bytes_max: usize) -> Result<Vec<u8>, String> {
    let mut header = [0; HEADER_BYTES];
    stream.read_exact(&mut header).await.map_err(|error| error.to_string())?;
    let header = Header::read(&header).ok_or("no header")?;
    if header.sequence != sequence || header.is_continued() || header.length > bytes_max {
        return Err(format!("a packet is not what it must be: {header:?}"));
    }
    let mut payload = vec![0; header.length];
    stream.read_exact(&mut payload).await.map_err(|error| error.to_string())?;
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_client_is_a_row_with_its_tabs_and_lines_as_they_were() {
        let row = Row::of_line("a\tb\\n\t\\\\c\\t\\0");
        assert_eq!(row, Row(["a", "b\n", "\\c\t\0"].map(|text| Some(text.to_owned())).into()));
        assert_eq!(Row::of_line("").text(0), "");
    }
}
