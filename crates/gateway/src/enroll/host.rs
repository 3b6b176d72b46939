//! The server's own host: the enrolment runs on it, and talks to the server over the unix socket as the account that the
//! server runs as.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use model::kind::server::{DatabaseServer, Engine};
use model::{Document, Refusal};

use super::account::Account;
use super::files::{self, Place};
use super::{CLIENT_AUTHORITY_FILE, EnrollInput, Observed, journal, mysql, pg};

/// Where the server is on this host.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its data directory.
    pub data_directory: PathBuf,
    /// The operating system account that it runs as.
    pub os_user: String,
    /// The superuser that this account becomes; the account's own name when absent.
    pub superuser: Option<String>,
    /// How it is reached from here.
    pub local: Local,
}

/// How a server is reached from its own host.
#[derive(Clone, Debug)]
pub enum Local {
    /// A PostgreSQL server.
    PostgreSql {
        /// Where its unix socket is.
        socket_directory: PathBuf,
    },
    /// A MariaDB or MySQL server.
    MySql {
        /// Its unix socket.
        socket: PathBuf,
        /// A folder that its option files include.
        configuration_directory: PathBuf,
        /// Its own client, when it is not found by its name.
        client: Option<PathBuf>,
    },
}

/// Why the host could not be looked at or changed.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no server's data.
    #[error("{0} is no data directory of PostgreSQL, MariaDB or MySQL")]
    NoData(PathBuf),
    /// The data are another engine's.
    #[error(
        "{path} is a data directory of {found}, and the server's document says `engine: {said}`"
    )]
    OtherEngine {
        /// The data directory.
        path: PathBuf,
        /// Whose it is.
        found: &'static str,
        /// What the document says.
        said: &'static str,
    },
    /// What was said fits another engine's server.
    #[error("{path} is a data directory of {found}, which is reached by {flags}")]
    OtherWay {
        /// The data directory.
        path: PathBuf,
        /// Whose it is.
        found: &'static str,
        /// What must be said of it.
        flags: &'static str,
    },
    /// The server does not run, or not from this directory.
    #[error("{0} names no port: the server does not run from this directory")]
    NotRunning(PathBuf),
    /// No server listens there.
    #[error("no server answers at the unix socket {socket}: {said}")]
    NoSocket {
        /// The socket.
        socket: PathBuf,
        /// What the client said.
        said: String,
    },
    /// The socket is another server's.
    #[error("the server at {socket} has its data in {found}, not in {wanted}")]
    OtherServer {
        /// The socket.
        socket: PathBuf,
        /// Where that server's data are.
        found: PathBuf,
        /// Where they should be.
        wanted: PathBuf,
    },
    /// The account cannot come in.
    #[error(
        "the server's own account cannot come in over the unix socket; put the line `local all {superuser} peer` first \
         in pg_hba.conf, reload the server and repeat: {said}"
    )]
    NoWayIn {
        /// The superuser that was asked for.
        superuser: String,
        /// What the server said.
        said: String,
    },
    /// The account cannot come in over MariaDB's or MySQL's socket.
    #[error(
        "the server's own account cannot come in over the unix socket as `{superuser}`@`localhost`; that account must be \
         identified by `unix_socket`, on MySQL `auth_socket` (`--os-user` and `--superuser` name others): {said}"
    )]
    NoSocketLogin {
        /// The superuser that was asked for.
        superuser: String,
        /// What the server said.
        said: String,
    },
    /// The account comes in, and may not do what has to be done.
    #[error(
        "`{0}` does not hold all privileges with GRANT OPTION on the server; name an account with `--superuser` that does"
    )]
    NotSuperuser(String),
    /// The server is none that is administered.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// There is no folder for the option file.
    #[error("{0} is no folder; it must be one that the server's option files include")]
    NoFolder(PathBuf),
    /// A program, the server's client for one, could not be run.
    #[error("`{program}` could not be run: {said}")]
    Program {
        /// Which.
        program: String,
        /// What it said.
        said: String,
    },
    /// The server refused a statement.
    #[error("database `{database}` refused: {said}")]
    Sql {
        /// In which database.
        database: String,
        /// What it said.
        said: String,
    },
    /// The server cannot read the new admission rules.
    #[error("the server cannot read pg_hba.conf as it would be ({0})")]
    Admission(String),
    /// The server did not read its files again in time.
    #[error("the server has not read its changed files; look at its log")]
    NotReloaded,
    /// The answer, or the journal, is not what it should be.
    #[error("{what} cannot be read: {source}")]
    Unreadable {
        /// Which.
        what: String,
        /// Why.
        source: serde_json::Error,
    },
    /// There is no such account here.
    #[error("the account `{name}` is not known on this host (`--os-user` names another): {said}")]
    NoAccount {
        /// Which.
        name: String,
        /// What was said of it.
        said: String,
    },
    /// A link, a folder or a device is where a file must be.
    #[error(
        "{0} is no file of its own but a link or something else: nothing is read or written by way of it; put the file \
         itself there and repeat"
    )]
    NoFile(PathBuf),
    /// Somebody else could have put it there.
    #[error("{path} is not trusted: {why}")]
    Distrusted {
        /// Which file or folder.
        path: PathBuf,
        /// Why, and what to do.
        why: &'static str,
    },
    /// The journal speaks of a file that no enrolment of this server touches.
    #[error(
        "{0} is none of the files that an enrolment of this server writes; say where the server is as when it was enrolled"
    )]
    OtherPlace(PathBuf),
    /// Somebody else's file is where one of ours would be.
    #[error(
        "{0} is in the way: the enrolment did not write it; look what it is for, move it away and repeat"
    )]
    NotOurs(PathBuf),
    /// A file of ours is not as we left it.
    #[error(
        "{0} was changed by hand since the enrolment wrote it; keep what is needed elsewhere, remove it and repeat"
    )]
    ChangedByHand(PathBuf),
    /// The plan says why it is not applied.
    #[error("it is not applied as things stand: {0}")]
    Obstacles(String),
    /// A step failed, and all is as it was.
    #[error("{0}; what was done before that has been taken back")]
    TakenBack(Box<Self>),
    /// A step failed, and so did the way back.
    #[error(
        "{cause}; what was done before that could not be taken back ({left}): --undo tries it again"
    )]
    HalfDone {
        /// Why the step failed.
        cause: Box<Self>,
        /// Why the way back failed.
        left: Box<Self>,
    },
}

/// Whose data these are.
pub fn engine_of(data_directory: &Path) -> Result<Engine, HostError> {
    let there = |name: &str| {
        let path = data_directory.join(name);
        path.try_exists().map_err(|source| HostError::File { path, source })
    };
    if there("PG_VERSION")? {
        Ok(Engine::PostgreSql)
    } else if there("mysql")? {
        Ok(Engine::MySql)
    } else {
        Err(HostError::NoData(data_directory.to_owned()))
    }
}

/// What the server says now; fills [`EnrollInput::observed`].
pub fn observe(host: &Host, server: &Document<DatabaseServer>) -> Result<Observed, HostError> {
    let found = engine_of(&host.data_directory)?;
    if found != server.spec.engine {
        return Err(HostError::OtherEngine {
            path: host.data_directory.clone(),
            found: name(found),
            said: word(server.spec.engine),
        });
    }
    host.check_way()?;
    match host.server() {
        Server::PostgreSql(pg) => {
            pg.observe(&server.spec.maintenance_database).map(Observed::PostgreSql)
        }
        Server::MySql(mysql) => mysql.observe().map(Observed::MySql),
    }
}

const fn name(engine: Engine) -> &'static str {
    match engine {
        Engine::PostgreSql => "PostgreSQL",
        Engine::MySql => "MariaDB or MySQL",
    }
}

const fn word(engine: Engine) -> &'static str {
    match engine {
        Engine::PostgreSql => "postgresql",
        Engine::MySql => "mysql",
    }
}

/// Nobody comes in over the unix socket any more, not even the server's own account, where its rules can say so.
pub fn close_local_door(input: &EnrollInput, host: &Host) -> Result<(), HostError> {
    let (Server::PostgreSql(pg), Some(Observed::PostgreSql(observed))) =
        (host.server(), &input.observed)
    else {
        return Ok(());
    };
    let Some(step) = pg::offer(input, observed) else { return Ok(()) };
    journal::carry_out(std::slice::from_ref(&step), host)?;
    pg.signal_reload()
}

/// The seam between engines.
enum Server<'a> {
    PostgreSql(pg::host::Server<'a>),
    MySql(mysql::host::Server<'a>),
}

impl Host {
    fn server(&self) -> Server<'_> {
        match &self.local {
            Local::PostgreSql { socket_directory } => {
                Server::PostgreSql(pg::host::Server { host: self, socket_directory })
            }
            Local::MySql { socket, configuration_directory, client } => {
                let client = client.as_deref();
                let host = self;
                Server::MySql(mysql::host::Server { host, socket, configuration_directory, client })
            }
        }
    }

    /// Whether the data are of the engine that the way in is of.
    pub(super) fn check_way(&self) -> Result<(), HostError> {
        let found = engine_of(&self.data_directory)?;
        let flags = match (&self.local, found) {
            (Local::PostgreSql { .. }, Engine::PostgreSql)
            | (Local::MySql { .. }, Engine::MySql) => return Ok(()),
            (Local::MySql { .. }, Engine::PostgreSql) => "--socket-directory",
            (Local::PostgreSql { .. }, Engine::MySql) => "--socket and --configuration-directory",
        };
        Err(HostError::OtherWay { path: self.data_directory.clone(), found: name(found), flags })
    }

    /// Runs statements as the superuser.
    pub(super) fn sql(&self, database: &str, statements: &[String]) -> Result<(), HostError> {
        match self.server() {
            Server::PostgreSql(pg) => pg.run(database, statements),
            Server::MySql(mysql) => mysql.run(statements),
        }
    }

    /// Whether statements that fail have done nothing.
    pub(super) fn is_atomic(&self, statements: &[String]) -> bool {
        match self.server() {
            Server::PostgreSql(_) => pg::host::is_transaction(statements),
            Server::MySql(_) => false,
        }
    }

    /// What the server says to a file that has just been written.
    pub(super) fn check_files(&self) -> Result<(), HostError> {
        match self.server() {
            Server::PostgreSql(pg) => pg.check_admission(),
            Server::MySql(_) => Ok(()),
        }
    }

    /// A file is as it was before, and what follows may need it.
    pub(super) fn file_is_back(&self) -> Result<(), HostError> {
        match self.server() {
            Server::PostgreSql(pg) => pg.rules_are_back(),
            Server::MySql(_) => Ok(()),
        }
    }

    /// Makes the server read its files, as far as it does without a restart.
    pub(super) fn reload(&self) -> Result<(), HostError> {
        match self.server() {
            Server::PostgreSql(pg) => pg.reload(),
            Server::MySql(mysql) => mysql.reload(),
        }
    }

    pub(super) fn superuser(&self) -> &str {
        self.superuser.as_deref().unwrap_or(&self.os_user)
    }

    /// The account that the server runs as.
    pub(super) fn account(&self) -> Result<Account, HostError> {
        Account::named(&self.os_user)
    }

    /// A file of those that an enrolment of this server writes, and with whose rights. Others are refused: whoever names
    /// one may be the server's account, and we may be root.
    pub(super) fn place(&self, path: &Path) -> Result<Place, HostError> {
        let authority = self.data_directory.join(CLIENT_AUTHORITY_FILE);
        let account = self.account()?;
        if files::is_same(path, &authority) {
            return Ok(Place::of_server(authority, account));
        }
        match self.server() {
            // Only the server knows where its admission rules are. What its account may not change stays as it is.
            Server::PostgreSql(_) => Ok(Place::of_server(path.to_owned(), account)),
            Server::MySql(mysql) => {
                let options = mysql.option_file()?;
                if files::is_same(path, &options) {
                    return Place::of_either(options, account);
                }
                Err(HostError::OtherPlace(path.to_owned()))
            }
        }
    }

    /// As the server's account: the kernel is asked who is at the other end of a unix socket.
    pub(super) fn command(&self, program: &str) -> Result<Command, HostError> {
        let mut command = if self.account()?.is_another() {
            let mut command = Command::new("runuser");
            command.args(["-u", &self.os_user, "--", program]);
            command
        } else {
            Command::new(program)
        };
        command.current_dir("/").env("LC_ALL", "C");
        Ok(command)
    }
}

/// Runs a program with this on its standard input.
pub(super) fn feed(mut command: Command, input: &str) -> Result<Output, HostError> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut run = || -> io::Result<Output> {
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            match stdin.write_all(input.as_bytes()) {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
                _ => {}
            }
        }
        child.wait_with_output()
    };
    run().map_err(|error| HostError::Program { program, said: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_cannot_be_run_is_named_as_one() {
        let refused = feed(Command::new("no-such-program-of-ours"), "").unwrap_err();
        assert!(
            matches!(&refused, HostError::Program { program, .. } if program == "no-such-program-of-ours"),
            "{refused}"
        );
    }
}
