//! A session with the server, around the gateway, with a certificate as the gateway would mint it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use runtime::tls::Identity;
use testkit::mariadb::{DirectLogin, Place};
use tokio_postgres::SimpleQueryMessage;

/// No statement of a test takes longer, one that waits to be cut excepted.
const ANSWERS_WITHIN: Duration = Duration::from_secs(90);

/// Lines of an answer that nobody has read yet.
const LINES_MAX: usize = 1024;

/// What the server said instead of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    /// SQLSTATE, or MySQL's number; empty when the session was gone.
    pub(crate) code: String,
    pub(crate) text: String,
}

impl Said {
    /// The role does not give that.
    pub(crate) fn is_denied(&self) -> bool {
        ["42501", "1044", "1142", "1143", "1227", "1370"].contains(&self.code.as_str())
    }

    /// Nobody logs in under that name.
    pub(crate) fn is_shut_out(&self) -> bool {
        ["28000", "1045", "3118", "4151"].contains(&self.code.as_str())
    }

    /// The session was ended from outside.
    pub(crate) fn is_cut(&self) -> bool {
        ["", "57P01", "1927", "2006", "2013", "2026"].contains(&self.code.as_str())
    }
}

pub(crate) enum Session {
    PostgreSql(tokio_postgres::Client),
    MySql(Arc<Mutex<Client>>),
}

impl Session {
    /// Rows, columns between bars.
    pub(crate) async fn run(&self, sql: &str) -> Result<Vec<String>, Said> {
        match self {
            Self::PostgreSql(client) => {
                let messages = client.simple_query(sql).await.map_err(|error| said(&error))?;
                let rows = messages.iter().filter_map(|message| match message {
                    SimpleQueryMessage::Row(row) => Some(row),
                    _ => None,
                });
                let columns = |row: &tokio_postgres::SimpleQueryRow| {
                    let column = |index| row.get(index).unwrap_or_default();
                    (0..row.len()).map(column).collect::<Vec<_>>().join("|")
                };
                Ok(rows.map(columns).collect())
            }
            Self::MySql(client) => {
                let (client, sql) = (Arc::clone(client), sql.to_owned());
                let asked = tokio::task::spawn_blocking(move || client.lock().unwrap().run(&sql));
                asked.await.unwrap()
            }
        }
    }
}

pub(crate) fn said(error: &tokio_postgres::Error) -> Said {
    let code = error.code().map(|code| code.code().to_owned()).unwrap_or_default();
    Said { code, text: format!("{error:?}") }
}

/// MariaDB's own client, one statement at a time.
pub(crate) struct Client {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    asked: u32,
}

impl Client {
    /// Logs in; what the server says to that is the first answer.
    pub(crate) fn open(
        server: &Place,
        (user, identity): (&str, &Identity),
        folder: &Path,
    ) -> Result<Self, Said> {
        let (certificate, key) = (folder.join("session.crt"), folder.join("session.key"));
        fs::write(&certificate, pem("CERTIFICATE", &identity.chain[0])).unwrap();
        fs::write(&key, pem("PRIVATE KEY", identity.key.secret_der())).unwrap();
        let login = DirectLogin { user, database: "orders", certificate: &certificate, key: &key };
        let client = server.directly(&login);
        // What it says of a statement comes in the order in which it says it.
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$@\" 2>&1", "sh"]).arg(client.get_program());
        command.args(client.get_args());
        command.args(["--force", "--unbuffered", "--skip-reconnect", "--binary-mode"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (send, lines) = sync_channel(LINES_MAX);
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        let mut client = Self { child, input, lines, asked: 0 };
        client.run("SELECT 1").map(|_| client)
    }

    fn run(&mut self, sql: &str) -> Result<Vec<String>, Said> {
        self.asked += 1;
        let end = format!("-- {} --", self.asked);
        let gone = |text: &str| Said { code: "2006".to_owned(), text: text.to_owned() };
        let statement = format!("{sql}\n//\nSELECT '{end}'\n//\n");
        let start = if self.asked == 1 { "delimiter //\n" } else { "" };
        if self.input.write_all(format!("{start}{statement}").as_bytes()).is_err() {
            return Err(gone("the client has ended"));
        }
        let (mut rows, mut failed) = (Vec::new(), None);
        loop {
            let Ok(line) = self.lines.recv_timeout(ANSWERS_WITHIN) else {
                return Err(failed.unwrap_or_else(|| gone("no answer")));
            };
            if line == end {
                return failed.map_or(Ok(rows), Err);
            }
            match line.strip_prefix("ERROR ").and_then(|rest| rest.split(' ').next()) {
                None => rows.push(line.replace('\t', "|")),
                Some(code) => {
                    let said = Said { code: code.to_owned(), text: line.clone() };
                    let is_last = said.is_cut() && said.code != "1927";
                    let first = failed.get_or_insert(said);
                    if is_last {
                        return Err(first.clone());
                    }
                }
            }
        }
    }
}

/// What the server says to whoever comes without a certificate.
#[cfg(feature = "newest-mysql")]
pub(crate) fn refused(server: &Place, user: &str, how: &[&str]) -> Said {
    let mut command = testkit::program::clean("mariadb");
    command.args([
        "--no-defaults",
        "--protocol=tcp",
        "-h",
        "127.0.0.1",
        "-u",
        user,
        "-e",
        "SELECT 1",
    ]);
    command.args(["-P", &server.port().to_string()]).args(how);
    let said = testkit::program::run(&mut command).unwrap();
    assert!(!said.ok(), "{user} is in: {}", said.stdout);
    let code = said.stderr.lines().find_map(|line| line.strip_prefix("ERROR ")?.split(' ').next());
    Said { code: code.unwrap_or("none").to_owned(), text: said.stderr.clone() }
}

impl Drop for Client {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        let _waited = self.child.wait();
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
