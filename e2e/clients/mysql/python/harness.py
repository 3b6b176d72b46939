"""What every Python client does: say its versions, then one line for each feature."""

import json
import os
import time
import traceback

FEATURES = [
    "login", "handle", "refused", "query", "types", "prepared", "multi", "procedure", "stream", "cursor", "largeIn",
    "largeOut", "longData", "transaction", "kill", "reset", "changeUser", "reconnect", "charset", "orm",
]
# Only at a gateway.
OF_GATEWAY = ("handle", "refused", "changeUser")
# More than one packet of 16 MiB holds.
LARGE = "0123456789abcdef" * (5 * 256 * 1024)
LARGE_SQL = "select repeat('0123456789abcdef', 5 * 256 * 1024)"
SLEEP = "select sleep(61)"
RUNNING = "select count(*) from information_schema.processlist where info like 'select sleep(61)%' and state like 'User sleep%'"
ROWS = 100_000
WITHIN = 30

HOST = os.environ["DB_HOST"]
PORT = int(os.environ["DB_PORT"])
DATABASE = os.environ["DB_NAME"]
USER = os.environ["DB_USER"]
PASSWORD = os.environ["DB_PASSWORD"]
AUTHORITY = os.environ["DB_CA"]
HANDLE = os.environ.get("DB_HANDLE")
# Passwords that do not open, each behind the code that says why.
REFUSED = [tuple(wrong.split("=", 1)) for wrong in os.environ.get("DB_REFUSED", "").split()]

_seen = []


class Absent(Exception):
    """The client has no such feature; its documentation is the source."""

    def __init__(self, reason, source):
        super().__init__(reason)
        self.source = source


def say(**fields):
    print(json.dumps(fields), flush=True)


def see(*values):
    """What has to be the same in both places."""
    _seen.extend(repr(value) for value in values)


def run(versions, features):
    """`features`: a function for each feature; a missing one is a failure."""
    say(versions=versions)
    for feature in FEATURES:
        if feature in OF_GATEWAY and HANDLE is None:
            continue
        _seen.clear()
        try:
            features[feature]()
        except Absent as absent:
            say(feature=feature, outcome="absent", reason=str(absent), source=absent.source)
        except Exception as error:
            traceback.print_exc()
            say(feature=feature, outcome="fails", reason=f"{type(error).__name__}: {error}".strip())
        else:
            say(feature=feature, outcome="works", saw="\n".join(_seen))


def expect(found, wanted):
    if found != wanted:
        raise AssertionError(f"{str(found)[:300]!r} instead of {str(wanted)[:300]!r}")


def holds(text, *parts):
    for part in parts:
        if part not in text:
            raise AssertionError(f"no {part!r} in {text!r}")


def poll(question):
    """Asks until the answer is true."""
    deadline = time.monotonic() + WITHIN
    while not question():
        if time.monotonic() > deadline:
            raise AssertionError("waited in vain")
        time.sleep(0.02)


def failure(act):
    """The error that `act` must end with."""
    try:
        act()
    except Absent:
        raise
    except Exception as error:
        return error
    raise AssertionError("no error")
