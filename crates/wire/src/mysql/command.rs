//! Every command that a client may name, what becomes of it, and how it is answered.

use super::error::Report;

/// A row of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    /// The first byte of its first packet.
    pub code: u8,
    /// As the manuals write it.
    pub name: &'static str,
    /// What becomes of it.
    pub treatment: Treatment,
    /// What the server sends for it.
    pub answer: Answer,
}

/// What becomes of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// It goes to the server and is recorded as a statement.
    Audited,
    /// It goes to the server. What it prepares is recorded when it is executed.
    Forwarded,
    /// It is answered with this error, and the server does not see it.
    Refused(Report<'static>),
}

/// What the server sends for a command, unless it is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing, not even an error.
    Nothing,
    /// OK or EOF.
    Status,
    /// OK, results one after the other, or the wish for a file.
    Results,
    /// As `Results`, of an execute that wants a cursor; a result that has one has no rows.
    Cursor,
    /// A prepared statement with its parameters and columns.
    Prepared,
    /// Columns, without their number.
    Fields,
    /// Rows, without columns.
    Rows,
    /// One packet of text.
    Text,
}

const UNKNOWN: Treatment =
    Treatment::Refused(Report { code: 1047, sqlstate: "08S01", message: "Unknown command" });
const AUTHENTICATES: Treatment = Treatment::Refused(Report {
    code: 1047,
    sqlstate: "08S01",
    message: "COM_CHANGE_USER is not possible through Portcullis: connect again with your token, or reset the \
              connection (COM_RESET_CONNECTION)",
});
const PRIVILEGED: Treatment = Treatment::Refused(Report {
    code: 1227,
    sqlstate: "42000",
    message: "Access denied; Portcullis does not forward this command",
});
const REPLICATION: Treatment = Treatment::Refused(Report {
    code: 1227,
    sqlstate: "42000",
    message: "Access denied; Portcullis does not forward replication",
});

const fn row(code: u8, name: &'static str, treatment: Treatment, answer: Answer) -> Command {
    Command { code, name, treatment, answer }
}

/// The commands that have a name, by code: MySQL's to 0x21, then MariaDB's.
pub const COMMANDS: [Command; 39] = [
    row(0x00, "COM_SLEEP", UNKNOWN, Answer::Status),
    row(0x01, "COM_QUIT", Treatment::Forwarded, Answer::Nothing),
    row(0x02, "COM_INIT_DB", Treatment::Audited, Answer::Status),
    row(0x03, "COM_QUERY", Treatment::Audited, Answer::Results),
    row(0x04, "COM_FIELD_LIST", Treatment::Audited, Answer::Fields),
    row(0x05, "COM_CREATE_DB", Treatment::Audited, Answer::Status),
    row(0x06, "COM_DROP_DB", Treatment::Audited, Answer::Status),
    row(0x07, "COM_REFRESH", PRIVILEGED, Answer::Status),
    row(0x08, "COM_SHUTDOWN", PRIVILEGED, Answer::Status),
    row(0x09, "COM_STATISTICS", Treatment::Forwarded, Answer::Text),
    row(0x0a, "COM_PROCESS_INFO", Treatment::Audited, Answer::Results),
    row(0x0b, "COM_CONNECT", UNKNOWN, Answer::Status),
    row(0x0c, "COM_PROCESS_KILL", Treatment::Audited, Answer::Status),
    row(0x0d, "COM_DEBUG", PRIVILEGED, Answer::Status),
    row(0x0e, "COM_PING", Treatment::Forwarded, Answer::Status),
    row(0x0f, "COM_TIME", UNKNOWN, Answer::Status),
    row(0x10, "COM_DELAYED_INSERT", UNKNOWN, Answer::Status),
    row(0x11, "COM_CHANGE_USER", AUTHENTICATES, Answer::Status),
    row(0x12, "COM_BINLOG_DUMP", REPLICATION, Answer::Rows),
    row(0x13, "COM_TABLE_DUMP", REPLICATION, Answer::Rows),
    row(0x14, "COM_CONNECT_OUT", UNKNOWN, Answer::Status),
    row(0x15, "COM_REGISTER_SLAVE", REPLICATION, Answer::Status),
    row(0x16, "COM_STMT_PREPARE", Treatment::Forwarded, Answer::Prepared),
    row(0x17, "COM_STMT_EXECUTE", Treatment::Audited, Answer::Results),
    row(0x18, "COM_STMT_SEND_LONG_DATA", Treatment::Forwarded, Answer::Nothing),
    row(0x19, "COM_STMT_CLOSE", Treatment::Forwarded, Answer::Nothing),
    row(0x1a, "COM_STMT_RESET", Treatment::Forwarded, Answer::Status),
    row(0x1b, "COM_SET_OPTION", Treatment::Forwarded, Answer::Status),
    row(0x1c, "COM_STMT_FETCH", Treatment::Audited, Answer::Rows),
    row(0x1d, "COM_DAEMON", UNKNOWN, Answer::Status),
    row(0x1e, "COM_BINLOG_DUMP_GTID", REPLICATION, Answer::Rows),
    row(0x1f, "COM_RESET_CONNECTION", Treatment::Forwarded, Answer::Status),
    row(0x20, "COM_CLONE", PRIVILEGED, Answer::Status),
    row(0x21, "COM_SUBSCRIBE_GROUP_REPLICATION_STREAM", REPLICATION, Answer::Status),
    row(0xfa, "COM_STMT_BULK_EXECUTE", Treatment::Audited, Answer::Results),
    row(0xfb, "COM_SLAVE_WORKER", UNKNOWN, Answer::Status),
    row(0xfc, "COM_SLAVE_IO", UNKNOWN, Answer::Status),
    row(0xfd, "COM_SLAVE_SQL", UNKNOWN, Answer::Status),
    row(0xfe, "COM_MULTI", UNKNOWN, Answer::Status),
];

/// Where MariaDB's own begin.
const MARIADB_FIRST: u8 = 0xfa;
const MARIADB_INDEX: usize = 0x22;

/// What stands for a code without a name.
static NAMELESS: Command = row(0xff, "unknown command", UNKNOWN, Answer::Status);

/// The command with this code.
pub fn command(code: u8) -> &'static Command {
    static TABLE: [Command; 39] = COMMANDS;
    let index = match code.checked_sub(MARIADB_FIRST) {
        Some(over) => MARIADB_INDEX.saturating_add(usize::from(over)),
        None => usize::from(code),
    };
    TABLE.get(index).filter(|command| command.code == code).unwrap_or(&NAMELESS)
}
