"""The `mariadb` command, driven as a person would."""

import hashlib
import os
import signal
import subprocess
import tempfile

from harness import *

# What Python calls the server's character sets.
ENCODING = {"utf8mb4": "utf-8", "latin1": "latin-1"}
DOCUMENTATION = "https://mariadb.com/kb/en/mariadb-command-line-client/"
COMMAND = [
    "mariadb", "--no-defaults", "--protocol=tcp", f"--host={HOST}", f"--port={PORT}", f"--user={USER}",
    f"--database={DATABASE}", "--ssl", "--ssl-verify-server-cert", f"--ssl-ca={AUTHORITY}", "--max-allowed-packet=64M",
]


def begin(*arguments, password=PASSWORD, charset="utf8mb4"):
    return subprocess.Popen(
        [*COMMAND, f"--default-character-set={charset}", *arguments], env=dict(os.environ, MYSQL_PWD=password),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )


def mariadb(script, *arguments, code=0, charset="utf8mb4", **more):
    """What it prints, with the types of columns and warnings."""
    arguments = arguments or ("--table", "--column-type-info", "--show-warnings", "--force", "-v")
    process = begin(*arguments, charset=charset, **more)
    out, error = process.communicate(script.encode(ENCODING[charset]), timeout=120)
    expect((process.returncode, error if code == 0 and "--force" not in arguments else b""), (code, b""))
    return out.decode(ENCODING[charset], "backslashreplace"), error.decode()


def plain(script, **more):
    return mariadb(script, "-N", "-B", **more)[0].rstrip("\n")


def login(password=PASSWORD):
    expect(plain("select current_user()", password=password), f"{USER}@{HOST}")
    see(plain("select database(), @@version, @@character_set_client, @@collation_connection"))


def refused():
    for code, password in REFUSED:
        _, error = mariadb("select 1", "-B", password=password, code=1)
        holds(error, "ERROR 1045 (28000)", code)


def query():
    see(*mariadb(
        "create temporary table t (id int auto_increment primary key, name varchar(40) not null, unique (name));\n"
        "insert into t (name) values ('one'), ('two'), ('it''s \\\"four\\\" 世界');\n"
        "insert ignore into t (name) values ('one'), ('five');\nselect * from t order by id;\n"
        "update t set name = 'two' where id < 3 and name = 'two';\nselect 1 / 0, null, cast('x' as signed);\n"
        "select * from no_such_table;\ninsert into t (name) values ('one');\nselec 1;\nselect last_insert_id();\n"
        # Its own commands: another database and back, COM_FIELD_LIST for the completion of names.
        "use mysql;\nselect database();\nuse orders;\nrehash\nselect count(*) from every_type;\n"
    ))


def types():
    see(*mariadb("select * from every_type order by id\\G"))
    see(*mariadb("select * from every_type order by id", "--xml", "--binary-as-hex"))


def prepared():
    see(*mariadb(
        "prepare s from 'select ? + 1, ?, hex(?)';\nset @a = 41, @b = 'Grüße', @c = x'00ff';\n"
        "execute s using @a, @b, @c;\nexecute s using @b, @c, @a;\ndeallocate prepare s;\nexecute s;\n"
    ))


def multi():
    see(*mariadb(
        "delimiter //\nselect 1 as a; create temporary table m (id int); insert into m values (1), (2);"
        " select * from m; update m set id = id + 1; select 'last'//\n"
        "select 1; select * from no_such_table; select 2//\nselect 'still there'//\n"
    ))


def procedure():
    see(*mariadb("set @counted = 40;\ncall both_ways(2, @counted);\nselect @counted;\ncall no_such_procedure();\n"))


def stream():
    out, _ = mariadb(f"select seq, repeat('x', 100) from seq_1_to_{ROWS}", "--quick", "-N", "-B")
    expect(out.count("\n"), ROWS)
    expect(out.endswith(f"{ROWS}\t{'x' * 100}\n"), True)


def cursor():
    raise Absent("the command asks for no cursors", DOCUMENTATION)


def large_in():
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(f"select md5('{LARGE}');\n")
        script.flush()
        out = plain(f"source {script.name}\n")
    expect(out, hashlib.md5(LARGE.encode()).hexdigest())


def large_out():
    expect(plain(LARGE_SQL), LARGE)


def long_data():
    raise Absent("the command sends statements alone", DOCUMENTATION)


def transaction():
    see(*mariadb(
        "start transaction;\ninsert into every_type (id) values (101);\nsavepoint half;\n"
        "insert into every_type (id) values (102);\nrollback to savepoint half;\ncommit;\n"
        "select count(*) from every_type where id > 100;\nset autocommit = 0;\ndelete from every_type where id > 100;\n"
        "rollback;\nselect count(*) from every_type where id > 100;\ndelete from every_type where id > 100;\ncommit;\n"
    ))
    # What is not committed goes with the session.
    plain("start transaction; insert into every_type (id) values (103)")
    expect(plain("select count(*) from every_type where id > 100"), "0")


def kill():
    # As Ctrl-C: a second session with the number of the first.
    process = begin("-e", SLEEP)
    poll(lambda: plain(RUNNING) == "1")
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    holds(error.decode(), "ERROR 1317 (70100)")
    expect(plain(RUNNING), "0")


def reset():
    raise Absent("the command of this version has no COM_RESET_CONNECTION", DOCUMENTATION)


def change_user():
    raise Absent("the command has no COM_CHANGE_USER", DOCUMENTATION)


def reconnect():
    out = plain("set @kept = 1;\nselect @kept;\n\\r\nselect @kept;\n\\r orders\nselect database();\n")
    expect([line for line in out.splitlines() if not line.startswith(("Connection id", "Current"))], ["1", "NULL", "orders"])
    # Its session is ended: one error, and it connects anew.
    out, error = mariadb("set @kept = 1;\nkill connection_id();\n\\r\nselect @kept;\n", "--force", "-N", "-B")
    holds(error, "ERROR 1927 (70100)")
    expect(out.splitlines()[-1], "NULL")
    both = [begin("-N", "-B", "-e", "select 1"), begin("-N", "-B", "-e", "select 1")]
    expect([process.communicate(timeout=60)[0] for process in both], [b"1\n", b"1\n"])


def charset():
    for name in ("utf8mb4", "latin1"):
        script = "select 'Grüße', hex('Grüße'), @@character_set_results;\nselect a_varchar from every_type where id = 1;\n"
        see(*mariadb(script, charset=name))


def orm():
    raise Absent("it is no library", DOCUMENTATION)


said = subprocess.run(["mariadb", "--version"], capture_output=True, text=True, check=True).stdout
run(
    f"mariadb {said.split(' Distrib ')[1].split('-')[0]}",
    dict(
        login=login, handle=lambda: login(HANDLE), refused=refused, query=query, types=types, prepared=prepared,
        multi=multi, procedure=procedure, stream=stream, cursor=cursor, largeIn=large_in, largeOut=large_out,
        longData=long_data, transaction=transaction, kill=kill, reset=reset, changeUser=change_user,
        reconnect=reconnect, charset=charset, orm=orm,
    ),
)
