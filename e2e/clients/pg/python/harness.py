"""What every Python client does: say its versions, then one line for each feature."""

import hashlib
import json
import os
import time
import traceback

FEATURES = [
    "login", "handle", "simple", "prepared", "pipeline", "copyIn", "copyOut",
    "cancel", "largeIn", "largeOut", "reconnect",
]
ROWS = 10_000
LARGE = "0123456789abcdef" * (2 * 1024 * 1024)
LARGE_SQL = "select repeat('0123456789abcdef', 2 * 1024 * 1024)"
LARGE_MD5 = hashlib.md5(LARGE.encode()).hexdigest()
RUNNING = "select count(*) from pg_stat_activity where state = 'active' and query like '%pg_sleep(61)%' and pid <> pg_backend_pid()"
WITHIN = 30

HOST = os.environ["PGHOST"]
PORT = int(os.environ["PGPORT"])
DATABASE = os.environ["PGDATABASE"]
USER = os.environ["PGUSER"]
PASSWORD = os.environ["PGPASSWORD"]
AUTHORITY = os.environ["PGSSLROOTCERT"]
HANDLE = os.environ.get("PGHANDLE")


class Absent(Exception):
    """The client has no such feature; its documentation is the source."""

    def __init__(self, reason, source):
        super().__init__(reason)
        self.source = source


def say(**fields):
    print(json.dumps(fields), flush=True)


def run(versions, features):
    """`features`: a function for each feature; a missing one is a failure."""
    say(versions=versions)
    for feature in FEATURES:
        if feature == "handle" and HANDLE is None:
            continue
        try:
            features[feature]()
        except Absent as absent:
            say(feature=feature, outcome="absent", reason=str(absent), source=absent.source)
        except Exception as error:
            traceback.print_exc()
            say(feature=feature, outcome="fails", reason=f"{type(error).__name__}: {error}".strip())
        else:
            say(feature=feature, outcome="works")


def expect(found, wanted):
    if found != wanted:
        raise AssertionError(f"{str(found)[:200]!r} instead of {str(wanted)[:200]!r}")


def poll(question):
    """Asks until the answer is true."""
    deadline = time.monotonic() + WITHIN
    while not question():
        if time.monotonic() > deadline:
            raise AssertionError("waited in vain")
        time.sleep(0.02)


def fails_with(sqlstate, act, state_of):
    """`act` must fail with this SQLSTATE."""
    try:
        act()
    except Exception as error:
        expect(state_of(error), sqlstate)
    else:
        raise AssertionError(f"no error, instead of {sqlstate}")
