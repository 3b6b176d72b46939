"""libpq 18 with OAUTHBEARER, by the library that psycopg's binary brings, through ctypes.

The token comes from a hook of the application (`PQsetAuthDataHook`), as a program with an identity of its own gives it;
`PORTCULLIS_TOKEN` absent means no hook. The connection string is the only argument. Says one JSON object: what the hook
was asked, what came of it.
"""

import ctypes
import glob
import importlib.util
import json
import os
import sys

PQAUTHDATA_OAUTH_BEARER_TOKEN = 1
CONNECTION_OK = 0


class BearerRequest(ctypes.Structure):
    _fields_ = [
        ("openid_configuration", ctypes.c_char_p),
        ("scope", ctypes.c_char_p),
        ("asynchronous", ctypes.c_void_p),
        ("cleanup", ctypes.c_void_p),
        ("token", ctypes.c_char_p),
        ("user", ctypes.c_void_p),
    ]


Hook = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


def library():
    packages = os.path.dirname(os.path.dirname(importlib.util.find_spec("psycopg_binary").origin))
    [path] = glob.glob(os.path.join(packages, "psycopg_binary.libs", "libpq-*"))
    libpq = ctypes.CDLL(path)
    libpq.PQconnectdb.restype = ctypes.c_void_p
    libpq.PQexec.restype = ctypes.c_void_p
    for name in ("PQerrorMessage", "PQgetvalue", "PQparameterStatus"):
        getattr(libpq, name).restype = ctypes.c_char_p
    return libpq


def main():
    libpq, asked = library(), []
    token = os.environ.get("PORTCULLIS_TOKEN")
    # libpq copies it after the hook has returned: it must live longer than the hook.
    kept = ctypes.create_string_buffer((token or "").encode())

    @Hook
    def hook(kind, connection, data):
        if kind != PQAUTHDATA_OAUTH_BEARER_TOKEN:
            return 0
        request = ctypes.cast(data, ctypes.POINTER(BearerRequest)).contents
        asked.append({
            "configuration": (request.openid_configuration or b"").decode(),
            "scope": (request.scope or b"").decode(),
        })
        request.token = ctypes.cast(kept, ctypes.c_char_p)
        return 1

    if token is not None:
        libpq.PQsetAuthDataHook(hook)
    connection = ctypes.c_void_p(libpq.PQconnectdb(sys.argv[1].encode()))
    said = {
        "libpq": libpq.PQlibVersion(),
        "open": libpq.PQstatus(connection) == CONNECTION_OK,
        "error": libpq.PQerrorMessage(connection).decode(),
        "asked": asked,
    }
    if said["open"]:
        result = ctypes.c_void_p(libpq.PQexec(connection, b"select session_user"))
        said["user"] = libpq.PQgetvalue(result, 0, 0).decode()
        said["protocol"] = libpq.PQfullProtocolVersion(connection)
    libpq.PQfinish(connection)
    print(json.dumps(said))


main()
