"""psycopg 3. `PSYCOPG_IMPL` chooses the binary with its own libpq, or pure Python with the system's."""

import threading

import psycopg
from psycopg import pq

from harness import *


def connect(password=PASSWORD):
    return psycopg.connect(
        host=HOST, port=PORT, dbname=DATABASE, user=USER, password=password,
        sslmode="verify-full", sslrootcert=AUTHORITY, autocommit=True,
    )


def one(connection, sql, values=None, **options):
    return connection.execute(sql, values, **options).fetchone()[0]


def state(error):
    return error.sqlstate


def login(password=PASSWORD):
    with connect(password) as connection:
        expect(one(connection, "select session_user"), USER)
        expect(one(connection, "select pg_backend_pid()"), connection.info.backend_pid)


def simple():
    with connect() as connection:
        expect(one(connection, "select 6 * 7"), 42)
        fails_with("42P01", lambda: one(connection, "select * from no_such_table"), state)
        expect(one(connection, "select 1"), 1)


def prepared():
    with connect() as connection:
        for value in range(10):
            expect(one(connection, "select 2 * %s::int", (value,), prepare=True), 2 * value)
        expect(one(connection, "select count(*) from pg_prepared_statements where not from_sql"), 1)


def pipeline():
    with connect() as connection:
        with connection.pipeline():
            cursors = [connection.execute("select %s::int", (n,)) for n in range(500)]
        expect([cursor.fetchone()[0] for cursor in cursors], list(range(500)))
        # An error in the middle ends the segment and nothing else.
        try:
            with connection.pipeline() as pipe:
                connection.execute("select 1")
                connection.execute("select 1 / 0")
                connection.execute("select 2")
                pipe.sync()
        except psycopg.Error as error:
            expect(error.sqlstate, "22012")
        else:
            raise AssertionError("no error, instead of 22012")
        expect(one(connection, "select 3"), 3)


def copy_in():
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute("create temp table copied (id int, name text)")
        with cursor.copy("copy copied from stdin") as copy:
            for n in range(ROWS):
                copy.write_row((n, f"name {n}"))
        expect(cursor.rowcount, ROWS)
        expect(one(connection, "select sum(id) from copied"), ROWS * (ROWS - 1) // 2)


def copy_out():
    with connect() as connection, connection.cursor() as cursor:
        with cursor.copy(f"copy (select generate_series(1, {ROWS})) to stdout") as copy:
            rows = [int(row[0]) for row in copy.rows()]
        expect(rows, list(range(1, ROWS + 1)))


def cancel():
    with connect() as connection, connect() as observer:
        failed = []

        def sleep():
            try:
                one(connection, "select pg_sleep(61)")
            except psycopg.Error as error:
                failed.append(error.sqlstate)

        # In plain text, and inside TLS where libpq can (17 and later).
        for stop in (connection.cancel, connection.cancel_safe):
            thread = threading.Thread(target=sleep)
            thread.start()
            poll(lambda: one(observer, RUNNING) == 1)
            stop()
            thread.join()
        expect(failed, ["57014", "57014"])
        expect(one(connection, "select 1"), 1)


def large_in():
    with connect() as connection:
        expect(one(connection, "select md5(%s)", (LARGE,)), LARGE_MD5)


def large_out():
    with connect() as connection:
        expect(one(connection, LARGE_SQL), LARGE)


def reconnect():
    login()
    with connect() as first, connect() as second:
        expect([one(first, "select 1"), one(second, "select 1")], [1, 1])


libpq = pq.version()
run(
    f"psycopg {psycopg.__version__} ({pq.__impl__}), libpq {libpq // 10000}.{libpq % 10000}",
    dict(
        login=login, handle=lambda: login(HANDLE), simple=simple, prepared=prepared,
        pipeline=pipeline, copyIn=copy_in, copyOut=copy_out, cancel=cancel, largeIn=large_in,
        largeOut=large_out, reconnect=reconnect,
    ),
)
