"""Compares MariaDB's own general query log with Portcullis' audit log, session by session and in order.

    compare_mysql.py --general-log FILE… --audit-log FOLDER [--server NAME] [--except-user NAME]…

It shares no code with Portcullis and needs nothing but Python. The server must log with
    general_log = ON, log_output = FILE, general_log_file = FILE
so that every query has a line before it runs, and every execute of a prepared statement one when it has run. `--server`
names the server as Portcullis knows it, where it protects several. `--except-user` names the users who do not come
through Portcullis.

What is compared: queries by their text, executes by the text that was prepared and by the text with the values in it,
and every command that says what a statement could (Init DB, Field List, Create DB, Drop DB, Processlist, Kill). A text
in the log is taken by its length, so that one that looks like lines of the log is not taken for them.

Not every line or record can have a counterpart. These are told apart by what both sides say, and counted beside the
rest:

  protocol           Connect, Quit, Prepare, Close stmt, Reset stmt, Long Data, Ping and the like run no statement
  prepared by SQL    the server logs what EXECUTE, EXECUTE IMMEDIATE and PREPARE run or prepare once more behind them
  failed             an execute, or a change of the default database, that failed: the server logs those that succeeded,
                     and those that it denies, with the reason in the database's place
  fetched            a fetch of more rows: the server has no line of it
  refused            a command that Portcullis answered itself: the server has not seen it
  not arrived        the session ended before the server said what became of it, and it has no line

Exit status: 0 when both agree, 1 when they do not, 2 when they cannot be compared.
"""

import argparse
import collections
import hashlib
import itertools
import json
import pathlib
import re
import sys
import traceback

SHOWN_MAX = 20
LOOK_AHEAD = 200

# A line of the log with what follows it up to the next: the command, and the place of its text in the file.
Entry = collections.namedtuple("Entry", "thread command begin end where")
Record = collections.namedtuple("Record", "number protocol sql bytes sha256 encoding parameters outcome where")

# What runs a statement; the rest is protocol.
STATEMENTS = ("Query", "Execute", "Bulk_execute", "Init DB", "Field List", "Create DB", "Drop DB", "Processlist", "Kill")
COMMANDS = (
    "Sleep|Quit|Init DB|Query|Field List|Create DB|Drop DB|Refresh|Shutdown|Statistics|Processlist|Connect|Kill|Debug|Ping|Time|"
    "Delayed insert|Change user|Binlog Dump|Table Dump|Connect Out|Register Slave|Prepare|Execute|Long Data|Close stmt|"
    "Reset stmt|Set option|Fetch|Daemon|Unimpl get tid|Reset connection|Slave_worker|Slave_IO|Slave_SQL|Com_multi|"
    "Bulk_execute|Error"
)
LINE = re.compile(rb"^(?:\d{6} [ \d]\d:\d\d:\d\d\t|\t\t) *(\d+) (" + COMMANDS.encode() + rb")\t", re.MULTILINE)
STARTED = re.compile(rb"^[^\n]*, Version: [^\n]* started with:\n", re.MULTILINE)
CONNECTED = re.compile(rb"^(.*)@(\S*) (?:as anonymous )?on (.*?) using (\S+)")
SPACE = b" \t\n\r\x0b\x0c"


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--general-log", nargs="+", required=True, type=pathlib.Path)
    arguments.add_argument("--audit-log", required=True, type=pathlib.Path)
    arguments.add_argument("--server")
    arguments.add_argument("--except-user", action="append", default=[])
    given = arguments.parse_args()
    ours = audit_sessions(given.audit_log, given.server)
    excepted = {name.encode() for name in given.except_user}
    comparison = compared(given.general_log, excepted, ours, set())
    if comparison.forged:
        # Entries that are parts of texts were looked for among the statements; now without them.
        comparison = compared(given.general_log, excepted, ours, comparison.forged)
    return comparison.conclude()


def compared(paths, excepted, ours, forged):
    comparison = Comparison(forged)
    for server, audit in pairs(server_sessions(paths, excepted, forged), ours):
        comparison.session(server, audit)
    return comparison


# The server's log.


class Log:
    """One file, looked at as it is."""

    def __init__(self, path):
        self.path = path
        self.bytes = path.read_bytes()
        self.starts = [0] + [found.end() for found in re.finditer(rb"\n", self.bytes)]

    def entries(self):
        """Every line that begins an entry, or looks so, and where its text ends if it is one line only up to the next."""
        restarts = [found.span() for found in STARTED.finditer(self.bytes)]
        found = list(LINE.finditer(self.bytes))
        edges = sorted([match.start() for match in found] + [begin for begin, _ in restarts] + [len(self.bytes)])
        ends = dict(zip(edges, edges[1:]))
        line = 0
        for match in found:
            while line + 1 < len(self.starts) and self.starts[line + 1] <= match.start():
                line += 1
            run = sum(1 for begin, _ in restarts if begin <= match.start())
            end = ends[match.start()] - 1
            where = f"{self.path.name}:{line + 1}"
            yield run, Entry(int(match[1]), match[2].decode(), match.end(), max(end, match.end()), where)


class ServerSession:
    def __init__(self, log, entry):
        self.log = log
        self.thread = entry.thread
        self.entries = []

    def text(self, entry):
        return self.log.bytes[entry.begin : entry.end]


def server_sessions(paths, excepted, forged):
    """Sessions of those who are not excepted, oldest first."""
    sessions = []
    for path in paths:
        log, known = Log(path), {}
        for run, entry in log.entries():
            if (path, entry.begin) in forged:
                continue
            if entry.command == "Connect":
                connected = CONNECTED.match(log.bytes[entry.begin : entry.end])
                known.pop((run, entry.thread), None)
                if connected and connected[1] not in excepted:
                    known[run, entry.thread] = ServerSession(log, entry)
                    sessions.append(known[run, entry.thread])
            session = known.get((run, entry.thread))
            if session is not None:
                session.entries.append(entry)
    return sessions


# The audit log.


class AuditSession:
    def __init__(self, event):
        self.id = event["session"]
        self.thread = event["backendPid"]
        self.records = []


def audit_sessions(folder, server):
    """Sessions in the order in which they were opened."""
    sessions, statements = {}, {}
    for path in sorted(folder.glob("[0-9]" * 20 + ".log")):
        with open(path, encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                event = json.loads(line.split(" ", 1)[1])
                kind, session = event["type"], event.get("session")
                if kind == "sessionOpened" and server in (None, event["server"]):
                    sessions[session] = AuditSession(event)
                elif kind == "statement" and session in sessions:
                    key = (session, event["number"])
                    statements[key] = record_of(event, f"{path.name}:{number}")
                    sessions[session].records.append(statements[key])
                elif kind == "statementOutcome" and session in sessions:
                    statement = statements.get((session, event["number"]))
                    if statement is None:
                        raise ValueError(f"{path.name}:{number} is the outcome of a statement that is not there")
                    statement.outcome.append(event)
    return list(sessions.values())


def record_of(event, where):
    return Record(
        event["number"],
        event["protocol"],
        event["sql"],
        event.get("sqlBytes"),
        event.get("sqlSha256"),
        event.get("encoding"),
        event.get("parameters", []),
        [],
        where,
    )


def pairs(servers, ours):
    """Each thread with its session. A server that was restarted numbers anew: then in order."""
    waiting = collections.defaultdict(collections.deque)
    for server in servers:
        waiting[server.thread].append(server)
    for audit in ours:
        yield waiting[audit.thread].popleft() if waiting[audit.thread] else None, audit
    for left in waiting.values():
        for server in left:
            yield server, None


# The comparison.


class Comparison:
    def __init__(self, known_forged):
        self.sessions = 0
        self.known_forged = known_forged
        self.forged = set()
        self.by_command = collections.Counter()
        self.categories = collections.Counter()
        self.missing, self.extra, self.gaps, self.differing = [], [], [], []

    def session(self, server, audit):
        self.sessions += 1
        entries = server.entries if server else []
        records = audit.records if audit else []
        at, number, prepared, by_sql = 0, 0, set(), False
        for record in records:
            if record.number != number + 1:
                self.gaps.append(f"after number {number} of session {audit.id}: {record.where} is number {record.number}")
            number = record.number
            found = self.find(server, at, record)
            if found is None:
                category = without_line(record)
                if category:
                    self.categories[category] += 1
                else:
                    self.extra.append(f"{record.where}: {shown(record.protocol, record.sql)}")
                continue
            for entry in entries[at:found]:
                self.without_record(server, entry, prepared, by_sql)
            self.take(server, entries, found, record, prepared)
            at = found + 1
            while record.protocol == "bulkExecute" and at < len(entries) and self.is_same(server, entries[at], record):
                at += 1
            by_sql = record.protocol == "query" and re.search(r"(?i)\b(execute|prepare)\b", record.sql) is not None
        for entry in entries[at:]:
            self.without_record(server, entry, prepared, by_sql)

    def find(self, server, at, record):
        """The entry of this record. A statement is passed over only if nothing before it fits."""
        entries = server.entries if server else []
        for index in range(at, min(at + LOOK_AHEAD, len(entries))):
            entry = entries[index]
            if self.is_same(server, entry, record):
                return index
            if entry.command in STATEMENTS:
                later = entries[index + 1 : index + LOOK_AHEAD]
                if not any(self.is_same(server, other, record) for other in later):
                    return None
        return None

    def is_same(self, server, entry, record):
        """Whether this entry is what this record would have in the log."""
        data = server.log.bytes
        if record.protocol == "query":
            return entry.command == "Query" and reach(data, entry, record) is not None
        if record.protocol == "bulkExecute" and entry.command == "Execute":
            # All its rows are one line, with the placeholders.
            if server.text(entry) == trimmed(encoded(record)):
                return True
        if record.protocol in ("execute", "bulkExecute"):
            return entry.command in ("Execute", "Bulk_execute") and executed(server.text(entry), record)
        if record.protocol == "command":
            said = command_of(record)
            if said is None or entry.command != said[0]:
                return False
            text = server.text(entry).strip()
            return said[1] in (None, text) or failed(record) and is_denied(text, said[1])
        return False

    def take(self, server, entries, found, record, prepared):
        entry = entries[found]
        self.by_command[entry.command] += 1
        if record.protocol == "query":
            # Whatever looks like an entry within the text is none.
            end = reach(server.log.bytes, entry, record)
            if end > entry.end:
                inside = LINE.finditer(server.log.bytes, entry.begin, end)
                self.forged.update((server.log.path, match.end()) for match in inside)
        elif record.protocol == "execute":
            texts = {text for text, _ in prepared}
            if trimmed(encoded(record)) not in texts and record.sha256 is None:
                self.differing.append(f"{record.where}: no Prepare of {shown('execute', record.sql)}")

    def without_record(self, server, entry, prepared, by_sql):
        if entry.command == "Prepare":
            prepared.add((trimmed(server.text(entry)), entry.where))
        if entry.command in ("Prepare", "Execute") and by_sql:
            self.categories["prepared by SQL: logged once more behind PREPARE or EXECUTE, no record"] += 1
        elif entry.command in STATEMENTS:
            self.missing.append(f"{entry.where}: {shown(entry.command, server.text(entry).decode(errors='replace'))}")
        else:
            self.categories[f"protocol: {entry.command}, no record"] += 1

    def conclude(self):
        counted = sum(self.by_command.values())
        print(f"{'sessions':<12}{self.sessions:>9}")
        for command, count in sorted(self.by_command.items()):
            print(f"{command:<12}{count:>9}")
        print(f"{'counted':<12}{counted:>9}   statements that are in both logs, in the same order")
        print(f"{'missing':<12}{len(self.missing):>9}   in the server's log and not in ours")
        print(f"{'extra':<12}{len(self.extra):>9}   in ours and not in the server's log")
        print(f"{'gaps':<12}{len(self.gaps):>9}   in our numbering of a session's statements")
        print(f"{'differing':<12}{len(self.differing):>9}   executed with a text that the server did not prepare")
        for category, count in sorted(self.categories.items()):
            print(f"  beside them {count:>7}   {category}")
        all_listed = (
            ("missing", self.missing),
            ("extra", self.extra),
            ("gap", self.gaps),
            ("differing", self.differing),
        )
        for name, listed in all_listed:
            for line in listed[:SHOWN_MAX]:
                print(f"{name}: {line}")
            if len(listed) > SHOWN_MAX:
                print(f"{name}: and {len(listed) - SHOWN_MAX} more")
        if counted == 0:
            print("nothing was compared")
        return 1 if counted == 0 or any(listed for _, listed in all_listed) else 0


def failed(record):
    return any("error" in outcome for outcome in record.outcome)


def is_denied(text, database):
    """What the server says of a database that may not be the default, in the place of its name."""
    return text.startswith(b"Access denied for user ") and text.endswith(b" to database '%b'" % database)


def without_line(record):
    """Why the server has no line of this record; none when it must have one."""
    errors = [outcome["error"] for outcome in record.outcome if "error" in outcome]
    notes = [outcome.get("note") for outcome in record.outcome]
    if record.protocol == "command" and record.sql.startswith("/* COM_"):
        return "refused: answered here, the server has not seen it"
    if record.protocol == "fetch":
        return "fetched: more rows of a statement, no line"
    if errors and record.protocol in ("execute", "bulkExecute"):
        return "failed: an execute, no line"
    if errors and record.protocol == "command":
        return "failed: a command, no line"
    if record.protocol == "command" and record.sql.startswith("KILL "):
        return "killed by a command: no line"
    if any(error.get("number") == PACKET_TOO_LARGE for error in errors):
        return "failed: larger than the server takes, no line"
    if any(note in ("unknown", "unknown (gateway stopped)") for note in notes) or not record.outcome:
        return "not arrived: the session ended before, no line"
    return None


# ER_NET_PACKET_TOO_LARGE
PACKET_TOO_LARGE = 1153


# Texts.


def encoded(record):
    """The bytes of a record's text, as the client sent them."""
    if record.sql.startswith("\\x") and record.encoding:
        return bytes.fromhex(record.sql[2:])
    name = PYTHONS.get(record.encoding or "utf8mb4", record.encoding)
    try:
        return record.sql.encode(name)
    except (LookupError, UnicodeEncodeError):
        return record.sql.encode("utf-8", "surrogateescape")


# Character sets whose names are others in Python.
PYTHONS = {
    "utf8": "utf-8",
    "utf8mb3": "utf-8",
    "utf8mb4": "utf-8",
    "binary": "latin-1",
    "latin1": "cp1252",
    "ucs2": "utf-16-be",
    "ujis": "euc_jp",
    "sjis": "shift_jis",
}


def trimmed(text):
    """As the server takes a text: without space before it, and without space and semicolons behind it."""
    return text.lstrip(SPACE).rstrip(SPACE + b";")


def reach(data, entry, record):
    """Where the record's text ends in the log if it stands there from the entry's begin on."""
    whole = encoded(record)
    if record.sha256 is None:
        text = trimmed(whole)
        end = entry.begin + len(text)
        if data.startswith(text, entry.begin) and data[end : end + 1] == b"\n" and entry.end <= end:
            return end
        return killed(data, entry, text)
    # Of a long text the record has the beginning, the length and the hash of all.
    before = len(whole) - len(whole.lstrip(SPACE))
    if not data.startswith(whole[before : len(whole) - 4], entry.begin):
        return None
    for behind in range(5):
        end = entry.begin + record.bytes - before - behind
        if data[end : end + 1] != b"\n":
            continue
        text = whole[:before] + data[entry.begin : end]
        for rest in itertools.product(SPACE + b";", repeat=behind):
            if hashlib.sha256(text + bytes(rest)).hexdigest() == record.sha256:
                return end
    return None


KILL = re.compile(rb"(?i)\s*kill\s[^;]*?(\d+)$")


def killed(data, entry, text):
    """A connection to be killed has another number for the client than for the server."""
    said = data[entry.begin : entry.end]
    ours, theirs = KILL.match(text), KILL.match(said)
    if ours and theirs and text[: ours.start(1)] == said[: theirs.start(1)]:
        return entry.end
    return None


def executed(said, record):
    """Whether the log's text is the record's with something in the place of each placeholder."""
    if record.sha256 is not None:
        # Of its beginning, up to the first placeholder.
        return said.startswith(parts(trimmed(encoded(record)))[0][:1000])
    pieces = parts(trimmed(encoded(record)))
    if len(pieces) == 1:
        return said == pieces[0]
    if not said.startswith(pieces[0]) or not said.endswith(pieces[-1]):
        return False
    at = len(pieces[0])
    values = record.parameters if len(record.parameters) == len(pieces) - 1 else [None] * (len(pieces) - 1)
    for piece, value in zip(pieces[1:], values):
        at = behind_value(said, at, value)
        if at is None or not said.startswith(piece, at):
            return False
        at += len(piece)
    return at == len(said)


def behind_value(said, at, value):
    """Where the value ends that stands at this place; None where it is not the record's."""
    literal = LITERAL.match(said, at)
    if not literal:
        return None
    if value is None:
        return literal.end()
    written = literal[0]
    if value == "null" or value == {"null": None}:
        return literal.end() if written.upper() == b"NULL" else None
    text = value.get("text") if isinstance(value, dict) else None
    if text is None:
        return literal.end()
    unquoted = unescaped(written)
    if unquoted == text.encode() or is_equal_number(unquoted, text) or is_same_time(unquoted, text):
        return literal.end()
    # Written in another character set, or as the server writes this type.
    return literal.end() if not unquoted.isascii() or not text.isascii() else None


LITERAL = re.compile(rb"(?:_?[A-Za-z0-9]+)?'(?:[^'\\]|\\.|'')*'|[-+]?[0-9][0-9.eE+-]*|0x[0-9A-Fa-f]+|[A-Za-z_]+", re.DOTALL)
ESCAPES = {b"0": b"\0", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"Z": b"\x1a"}


def unescaped(written):
    quote = written.find(b"'")
    if quote < 0:
        return written
    inner = written[quote + 1 : -1]
    return re.sub(rb"\\(.)|''", lambda found: b"'" if found[1] is None else ESCAPES.get(found[1], found[1]), inner, flags=re.DOTALL)


def is_equal_number(written, text):
    try:
        return float(written) == float(text) or abs(float(written) - float(text)) <= 1e-6 * abs(float(text))
    except ValueError:
        return False


def is_same_time(written, text):
    """Both to the second, without zeros behind it."""
    short = lambda time: re.sub(r"(\.\d*?)0*$", r"\1", time).rstrip(".")
    return short(written.decode(errors="replace")) == short(text)


def parts(text):
    """What stands around the placeholders."""
    pieces, begin, at = [], 0, 0
    while at < len(text):
        byte = text[at : at + 1]
        if byte in (b"'", b'"', b"`"):
            at += 1
            while at < len(text) and text[at : at + 1] != byte:
                at += 2 if text[at : at + 1] == b"\\" and byte != b"`" else 1
        elif byte == b"#" or re.match(rb"--[\s\x00-\x1f]", text[at : at + 3]):
            end = text.find(b"\n", at)
            at = len(text) if end < 0 else end
        elif text.startswith(b"/*", at) and not re.match(rb"/\*M?!", text[at : at + 4]):
            end = text.find(b"*/", at + 2)
            at = len(text) if end < 0 else end + 1
        elif byte == b"?":
            pieces.append(text[begin:at])
            begin = at + 1
        at += 1
    return pieces + [text[begin:]]


def command_of(record):
    """Command and text of the line that says the same as this record; the text may be left open."""
    sql = record.sql
    for verb, command in (("USE ", "Init DB"), ("CREATE DATABASE ", "Create DB"), ("DROP DATABASE ", "Drop DB")):
        if sql.startswith(verb):
            return command, unquoted(sql[len(verb) :]).encode()
    fields = re.fullmatch(r"SHOW COLUMNS FROM (`(?:[^`]|``)*`)(?: LIKE '((?:[^']|'')*)')?", sql, re.DOTALL)
    if fields:
        wildcard = (fields[2] or "").replace("''", "'")
        return "Field List", f"{unquoted(fields[1])} {wildcard}".strip().encode()
    if sql == "SHOW PROCESSLIST":
        return "Processlist", None
    if sql.startswith("KILL "):
        return "Kill", None
    return None


def unquoted(name):
    return name[1:-1].replace("``", "`") if name.startswith("`") else name


def shown(kind, text):
    line = " ".join(text.split())
    return f"{kind} {line[:160]}"


if __name__ == "__main__":
    try:
        status = main()
    except Exception:  # Python itself would end with 1, as if they had been compared.
        traceback.print_exc()
        status = 2
    sys.exit(status)
