"""psycopg2."""

import io
import threading

import psycopg2
import psycopg2.extensions

from harness import *

PIPELINE = Absent(
    "psycopg2 waits for each answer",
    "https://www.psycopg.org/docs/extras.html#fast-execution-helpers",
)


def connect(password=PASSWORD):
    connection = psycopg2.connect(
        host=HOST, port=PORT, dbname=DATABASE, user=USER, password=password,
        sslmode="verify-full", sslrootcert=AUTHORITY,
    )
    connection.autocommit = True
    return connection


def one(connection, sql, values=None):
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchone()[0]


def state(error):
    return error.pgcode


def login(password=PASSWORD):
    connection = connect(password)
    expect(one(connection, "select session_user"), USER)
    expect(one(connection, "select pg_backend_pid()"), connection.info.backend_pid)
    connection.close()


def simple():
    connection = connect()
    expect(one(connection, "select 6 * 7"), 42)
    fails_with("42P01", lambda: one(connection, "select * from no_such_table"), state)
    expect(one(connection, "select 1"), 1)


def prepared():
    # The driver has no API for it; the statement does.
    connection = connect()
    with connection.cursor() as cursor:
        cursor.execute("prepare twice (int) as select 2 * $1")
        for value in (1, 2, 3):
            cursor.execute("execute twice (%s)", (value,))
            expect(cursor.fetchone()[0], 2 * value)


def pipeline():
    raise PIPELINE


def copy_in():
    connection = connect()
    with connection.cursor() as cursor:
        cursor.execute("create temp table copied (id int, name text)")
        rows = io.StringIO("".join(f"{n}\tname {n}\n" for n in range(ROWS)))
        cursor.copy_expert("copy copied from stdin", rows)
        expect(cursor.rowcount, ROWS)
    expect(one(connection, "select sum(id) from copied"), ROWS * (ROWS - 1) // 2)


def copy_out():
    connection = connect()
    rows = io.StringIO()
    with connection.cursor() as cursor:
        cursor.copy_expert(f"copy (select generate_series(1, {ROWS})) to stdout", rows)
    expect(rows.getvalue(), "".join(f"{n}\n" for n in range(1, ROWS + 1)))


def cancel():
    connection, observer = connect(), connect()
    failed = []

    def sleep():
        try:
            one(connection, "select pg_sleep(61)")
        except Exception as error:
            failed.append(state(error))

    thread = threading.Thread(target=sleep)
    thread.start()
    poll(lambda: one(observer, RUNNING) == 1)
    connection.cancel()
    thread.join()
    expect(failed, ["57014"])
    expect(one(connection, "select 1"), 1)


def large_in():
    expect(one(connect(), "select md5(%s)", (LARGE,)), LARGE_MD5)


def large_out():
    expect(one(connect(), LARGE_SQL), LARGE)


def reconnect():
    login()
    both = [connect(), connect()]
    for connection in both:
        expect(one(connection, "select 1"), 1)


libpq = psycopg2.extensions.libpq_version()
run(
    f"psycopg2 {psycopg2.__version__.split()[0]}, libpq {libpq // 10000}.{libpq % 10000}",
    dict(
        login=login, handle=lambda: login(HANDLE), simple=simple, prepared=prepared,
        pipeline=pipeline, copyIn=copy_in, copyOut=copy_out, cancel=cancel, largeIn=large_in,
        largeOut=large_out, reconnect=reconnect,
    ),
)
