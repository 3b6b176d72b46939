"""pg8000."""

import io
import ssl
from importlib.metadata import version

import pg8000.native

from harness import *

DOCUMENTATION = "https://github.com/tlocke/pg8000/blob/main/README.md"


def connect(password=PASSWORD):
    context = ssl.create_default_context(cafile=AUTHORITY)
    return pg8000.native.Connection(
        USER, host=HOST, port=PORT, database=DATABASE, password=password, ssl_context=context,
    )


def one(connection, sql, **values):
    return connection.run(sql, **values)[0][0]


def login(password=PASSWORD):
    connection = connect(password)
    expect(one(connection, "select session_user"), USER)
    connection.close()


def simple():
    connection = connect()
    expect(one(connection, "select 6 * 7"), 42)
    fails_with("42P01", lambda: connection.run("select * from no_such_table"), lambda e: e.args[0]["C"])
    expect(one(connection, "select 1"), 1)


def prepared():
    statement = connect().prepare("select 2 * (:value)::int")
    for value in range(10):
        expect(statement.run(value=value)[0][0], 2 * value)
    statement.close()


def pipeline():
    raise Absent("pg8000 waits for each answer", DOCUMENTATION)


def copy_in():
    connection = connect()
    connection.run("create temp table copied (id int, name text)")
    rows = io.BytesIO(b"".join(b"%d\tname %d\n" % (n, n) for n in range(ROWS)))
    connection.run("copy copied from stdin", stream=rows)
    expect(one(connection, "select sum(id) from copied"), ROWS * (ROWS - 1) // 2)


def copy_out():
    rows = io.BytesIO()
    connect().run(f"copy (select generate_series(1, {ROWS})) to stdout", stream=rows)
    expect(rows.getvalue(), b"".join(b"%d\n" % n for n in range(1, ROWS + 1)))


def cancel():
    raise Absent("pg8000 sends no cancel requests", DOCUMENTATION)


def large_in():
    expect(one(connect(), "select md5(:value)", value=LARGE), LARGE_MD5)


def large_out():
    expect(one(connect(), LARGE_SQL), LARGE)


def reconnect():
    login()
    first, second = connect(), connect()
    expect([one(first, "select 1"), one(second, "select 1")], [1, 1])


run(
    f"pg8000 {version('pg8000')}",
    dict(
        login=login, handle=lambda: login(HANDLE), simple=simple, prepared=prepared,
        pipeline=pipeline, copyIn=copy_in, copyOut=copy_out, cancel=cancel, largeIn=large_in,
        largeOut=large_out, reconnect=reconnect,
    ),
)
