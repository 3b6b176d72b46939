"""psql, driven as a person would, with libpq's environment."""

import ctypes
import os
import signal
import subprocess
import tempfile

from harness import *

PIPELINE = "https://www.postgresql.org/docs/15/app-psql.html"


def begin(*arguments, password=PASSWORD):
    environment = dict(os.environ, PGPASSWORD=password, PGSSLMODE="verify-full")
    return subprocess.Popen(
        ["psql", "-X", "-A", "-t", "-q", *arguments], env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )


def psql(script, password=PASSWORD):
    process = begin("-v", "VERBOSITY=verbose", "-f", "-", password=password)
    out, error = process.communicate(script, timeout=120)
    expect(process.returncode, 0)
    return out.rstrip("\n"), error


def login(password=PASSWORD):
    expect(psql("select session_user;", password)[0], USER)


def simple():
    out, error = psql("select 6 * 7;\nselect * from no_such_table;\nselect 1;")
    expect(out, "42\n1")
    expect("42P01" in error, True)


def prepared():
    out, _ = psql(
        "prepare twice (int) as select 2 * $1;\n"
        "execute twice (1); execute twice (2); execute twice (3);"
    )
    expect(out, "2\n4\n6")


def pipeline():
    raise Absent("psql has pipelines from version 18 on", PIPELINE)


def copy_in():
    rows = "".join(f"{n}\tname {n}\n" for n in range(ROWS))
    out, _ = psql(
        "create temp table copied (id int, name text);\n"
        f"copy copied from stdin;\n{rows}\\.\nselect sum(id) from copied;"
    )
    expect(out, str(ROWS * (ROWS - 1) // 2))


def copy_out():
    out, _ = psql(f"copy (select generate_series(1, {ROWS})) to stdout;")
    expect(out, "\n".join(str(n) for n in range(1, ROWS + 1)))


def cancel():
    # As Ctrl-C, which also ends a script.
    process = begin("-v", "VERBOSITY=verbose", "-c", "select pg_sleep(61)")
    poll(lambda: psql(RUNNING)[0] == "1")
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    expect([line[:14] for line in error.splitlines() if "ERROR" in line], ["ERROR:  57014:"])


def large_in():
    # As one statement.
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(f"select md5('{LARGE}');\n")
        script.flush()
        out, error = begin("-f", script.name).communicate(timeout=120)
    expect((out, error), (f"{LARGE_MD5}\n", ""))


def large_out():
    expect(psql(LARGE_SQL)[0], LARGE)


def reconnect():
    out, _ = psql(f"select 1;\n\\connect\nselect 2;\n\\connect - - - -\nselect 3;")
    expect([line for line in out.splitlines() if line.isdigit()], ["1", "2", "3"])
    both = [begin("-c", "select 1"), begin("-c", "select 1")]
    expect([process.communicate(timeout=60)[0] for process in both], ["1\n", "1\n"])


said = subprocess.run(["psql", "--version"], capture_output=True, text=True, check=True).stdout
# The library that the dynamic linker gives psql too.
libpq = ctypes.CDLL("libpq.so.5").PQlibVersion()
run(
    f"psql {said.split()[2]}, libpq {libpq // 10000}.{libpq % 10000}",
    dict(
        login=login, handle=lambda: login(HANDLE), simple=simple, prepared=prepared,
        pipeline=pipeline, copyIn=copy_in, copyOut=copy_out, cancel=cancel, largeIn=large_in,
        largeOut=large_out, reconnect=reconnect,
    ),
)
