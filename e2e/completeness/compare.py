"""Compares PostgreSQL's own statement log with Portcullis' audit log, session by session and in order.

    compare.py --server-log FILE.json… --audit-log FOLDER [--except-user NAME]…

It shares no code with Portcullis and needs nothing but Python. The server must log with
    log_destination = jsonlog, logging_collector = on, log_rotation_* = 0, log_error_verbosity = verbose,
    log_statement = all, log_min_duration_statement = 0, log_replication_commands = on
so that every Query, Execute and FunctionCall has a line before it runs, and a line or an error when it is over.
`--except-user` names the users who do not come through Portcullis.

Not every record can have a counterpart, because the server itself logs nothing of it. These are told apart by what
both sides say, and counted beside the rest:

  skipped            the server read over the Execute, after an error earlier in its pipeline; the server has no line
                     of it, and if it had run, its line would be reported as missing
  empty              an Execute of an empty statement
  not parsed         a Query that cannot be parsed has no statement line; its error, which quotes it, stands for it
  not executed       a Parse or Bind that failed, with no Execute behind it: nothing ran, we have no record

Exit status: 0 when both agree, 1 when they do not, 2 when they cannot be compared.
"""

import argparse
import collections
import datetime
import hashlib
import json
import pathlib
import re
import sys
import traceback

SHOWN_MAX = 20
LOOK_AHEAD = 200

# What one message of the client's is on the server: how it arrived, its text, and whether we must have a record of it.
Item = collections.namedtuple("Item", "protocol text must where")
# The same in the audit log.
Record = collections.namedtuple("Record", "number protocol sql bytes sha256 parameters outcome where")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--server-log", nargs="+", required=True, type=pathlib.Path)
    arguments.add_argument("--audit-log", required=True, type=pathlib.Path)
    arguments.add_argument("--except-user", action="append", default=[])
    given = arguments.parse_args()
    servers = server_sessions(given.server_log, set(given.except_user))
    ours = audit_sessions(given.audit_log)
    comparison = Comparison()
    for server, audit in pairs(servers, ours):
        comparison.session(server, audit)
    return comparison.conclude()


# The server's log.


def server_sessions(paths, excepted):
    """Sessions of client backends, oldest first: (pid, start in seconds, items)."""
    sessions = {}
    for path in paths:
        with open(path, encoding="utf-8", errors="surrogateescape") as lines:
            for number, line in enumerate(lines, 1):
                entry = json.loads(line)
                if entry.get("backend_type") not in ("client backend", "walsender"):
                    continue
                if entry.get("user") in (None, "[unknown]") or entry["user"] in excepted:
                    continue
                session = sessions.setdefault(entry["session_id"], ServerSession(entry))
                session.take(entry, f"{path.name}:{number}")
    return sorted(sessions.values(), key=lambda session: session.start)


class ServerSession:
    """Follows one backend through its lines."""

    def __init__(self, entry):
        self.pid = entry["pid"]
        self.start = int(entry["session_id"].split(".")[0], 16)
        self.items = []
        self.open = False

    def take(self, entry, where):
        severity, message = entry["error_severity"], entry.get("message", "")
        function = entry.get("func_name", "")
        if severity == "LOG":
            self.log(function, message, where)
        elif severity in ("ERROR", "FATAL", "PANIC"):
            self.error(entry, where)

    def log(self, function, message, where):
        if message.startswith("duration: "):
            if function in ("exec_simple_query", "exec_execute_message", "HandleFunctionRequest"):
                self.open = False
        elif function == "exec_simple_query" and message.startswith("statement: "):
            self.begin("simple", message[len("statement: ") :], where)
        elif function == "exec_execute_message":
            self.begin("extended", after_name(message), where)
        elif function in ("HandleFunctionRequest", "fetch_fp_info") and message.startswith("fastpath function call"):
            self.begin("function", re.search(r"\(OID (\d+)\)$", message)[1], where)
        elif function == "exec_replication_command":
            self.begin("replication", message.split(": ", 1)[1], where)

    def begin(self, protocol, text, where):
        self.items.append(Item(protocol, text, True, where))
        self.open = protocol != "replication"

    def error(self, entry, where):
        """An error ends the message that runs. Where none runs, it is the error of one that did not come so far."""
        if self.open:
            self.open = False
            return
        text, activity = entry.get("statement"), entry.get("ps", "")
        if text is None:
            self.items.append(Item("error", entry.get("message", ""), False, where))
        elif activity.startswith(("PARSE", "BIND")):
            self.items.append(Item("prepare", text, False, where))
        elif self.items and self.items[-1].protocol == "replication" and self.items[-1].text == text:
            pass
        else:
            self.items.append(Item("simple", text, True, where))


def after_name(message):
    """`execute NAME: TEXT`, `execute NAME/PORTAL: TEXT`, `execute fetch from NAME: TEXT`."""
    return message.split(": ", 1)[1]


# The audit log.


def audit_sessions(folder):
    """Sessions in the order in which they were opened: (pid, start in seconds, records)."""
    sessions, statements = {}, {}
    for path in sorted(folder.glob("[0-9]" * 20 + ".log")):
        with open(path, encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                event = json.loads(line.split(" ", 1)[1])
                kind = event["type"]
                if kind == "sessionOpened":
                    sessions[event["session"]] = AuditSession(event)
                elif kind == "statement":
                    key = (event["session"], event["number"])
                    statements[key] = record_of(event, f"{path.name}:{number}")
                    sessions[event["session"]].records.append(statements[key])
                elif kind == "statementOutcome":
                    statement = statements.get((event["session"], event["number"]))
                    if statement is None:
                        raise ValueError(f"{path.name}:{number} is the outcome of a statement that is not there")
                    statement.outcome.append(event)
    return list(sessions.values())


class AuditSession:
    def __init__(self, event):
        self.id = event["session"]
        self.pid = event["backendPid"]
        self.start = datetime.datetime.fromisoformat(event["time"].replace("Z", "+00:00")).timestamp()
        self.records = []


def record_of(event, where):
    return Record(
        event["number"],
        event["protocol"],
        event["sql"],
        event.get("sqlBytes"),
        event.get("sqlSha256"),
        event.get("parameters", []),
        [],
        where,
    )


def pairs(servers, ours):
    """Each backend with its session: the same process id, and of several the one that began last before it."""
    left = list(servers)
    for audit in ours:
        candidates = [server for server in left if server.pid == audit.pid]
        # The server's start is cut to the second.
        nearest = min(candidates, key=lambda server: abs(audit.start - server.start), default=None)
        if nearest is not None:
            left.remove(nearest)
        yield nearest, audit
    for server in left:
        yield server, None


# The comparison.


class Comparison:
    def __init__(self):
        self.sessions = 0
        self.by_protocol = collections.Counter()
        self.categories = collections.Counter()
        self.missing = []
        self.extra = []
        self.gaps = []

    def session(self, server, audit):
        self.sessions += 1
        items = server.items if server else []
        records = audit.records if audit else []
        at, number = 0, 0
        for record in records:
            if record.number != number + 1:
                self.gaps.append(f"after number {number} of session {audit.id}: {record.where} is number {record.number}")
            number = record.number
            if self.has_no_line(record):
                continue
            found = self.find(items, at, record)
            if found is None:
                self.extra.append(f"{record.where}: {shown(record.protocol, record.sql)}")
                continue
            for item in items[at:found]:
                self.without_record(item)
            if items[found].protocol in ("prepare", "error"):
                self.categories["errors before the statement line, matched with their record"] += 1
            self.by_protocol[record.protocol] += 1
            at = found + 1
        for item in items[at:]:
            self.without_record(item)

    def has_no_line(self, record):
        notes = [outcome.get("note") for outcome in record.outcome]
        if "skipped" in notes:
            self.categories["skipped: read over by the server after an error, no line"] += 1
            return True
        if record.protocol == "extended" and is_empty(record.sql):
            self.categories["empty: Execute of an empty statement, no line"] += 1
            return True
        return False

    def find(self, items, at, record):
        """The item of this record. What must have a record of its own is passed over only if nothing else fits."""
        for index in range(at, min(at + LOOK_AHEAD, len(items))):
            if is_same(items[index], record):
                return index
            if items[index].must and not any(
                is_same(item, record) for item in items[index + 1 : index + LOOK_AHEAD]
            ):
                return None
        return None

    def without_record(self, item):
        if item.must:
            self.missing.append(f"{item.where}: {shown(item.protocol, item.text)}")
        elif item.protocol == "prepare":
            self.categories["not executed: a Parse or Bind that failed, no record"] += 1
        else:
            self.categories["errors outside of statements (connection ended, commit failed), no record"] += 1

    def conclude(self):
        counted = sum(self.by_protocol.values())
        print(f"{'sessions':<12}{self.sessions:>9}")
        for protocol, count in sorted(self.by_protocol.items()):
            print(f"{protocol:<12}{count:>9}")
        print(f"{'counted':<12}{counted:>9}   statements that are in both logs, in the same order")
        print(f"{'missing':<12}{len(self.missing):>9}   in the server's log and not in ours")
        print(f"{'extra':<12}{len(self.extra):>9}   in ours and not in the server's log")
        print(f"{'gaps':<12}{len(self.gaps):>9}   in our numbering of a session's statements")
        for category, count in sorted(self.categories.items()):
            print(f"  beside them {count:>7}   {category}")
        for name, listed in (("missing", self.missing), ("extra", self.extra), ("gap", self.gaps)):
            for line in listed[:SHOWN_MAX]:
                print(f"{name}: {line}")
            if len(listed) > SHOWN_MAX:
                print(f"{name}: and {len(listed) - SHOWN_MAX} more")
        if counted == 0:
            print("nothing was compared")
        return 1 if self.missing or self.extra or self.gaps or counted == 0 else 0


def is_same(item, record):
    if item.protocol == "error":
        # No such portal or prepared statement: the server does not say which.
        unknown = record.sql.startswith("/* runs ")
        return unknown and any("error" in outcome for outcome in record.outcome)
    if item.protocol == "prepare":
        failed = any("error" in outcome for outcome in record.outcome)
        return failed and record.protocol == "extended" and is_text(item.text, record)
    if item.protocol == "function":
        return record.protocol == "function" and re.match(rf"/\* calls function {item.text}\b", record.sql) is not None
    if record.protocol == "replication":
        return item.protocol in ("replication", "simple") and is_text(item.text, record)
    return item.protocol == record.protocol and is_text(item.text, record)


def is_text(text, record):
    if record.sha256 is None:
        # A statement that SQL prepared has no text on the protocol; the record names it.
        return text == record.sql or (record.protocol == "extended" and record.sql.startswith("/* runs "))
    whole = text.encode("utf-8", "surrogateescape")
    return len(whole) == record.bytes and hashlib.sha256(whole).hexdigest() == record.sha256


def is_empty(sql):
    without = re.sub(r"/\*.*?\*/|--[^\n]*", "", sql, flags=re.DOTALL)
    return without.strip(" \t\n\r\f;") == "" and not sql.startswith("/* runs ")


def shown(protocol, text):
    line = " ".join(text.split())
    return f"{protocol} {line[:160]}"


if __name__ == "__main__":
    try:
        status = main()
    except Exception:  # Python itself would end with 1, as if they had been compared.
        traceback.print_exc()
        status = 2
    sys.exit(status)
