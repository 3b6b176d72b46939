"""asyncpg."""

import asyncio
import io
import ssl

import asyncpg

from harness import *


async def connect(password=PASSWORD):
    context = ssl.create_default_context(cafile=AUTHORITY)
    return await asyncpg.connect(
        host=HOST, port=PORT, database=DATABASE, user=USER, password=password, ssl=context,
    )


async def login(password=PASSWORD):
    connection = await connect(password)
    expect(await connection.fetchval("select session_user"), USER)
    expect(await connection.fetchval("select pg_backend_pid()"), connection.get_server_pid())
    await connection.close()


async def simple():
    connection = await connect()
    expect(await connection.execute("select 6 * 7"), "SELECT 1")
    try:
        await connection.execute("select * from no_such_table")
    except asyncpg.PostgresError as error:
        expect(error.sqlstate, "42P01")
    else:
        raise AssertionError("no error, instead of 42P01")
    expect(await connection.fetchval("select 1"), 1)


async def prepared():
    connection = await connect()
    statement = await connection.prepare("select 2 * $1::int")
    for value in range(10):
        expect(await statement.fetchval(value), 2 * value)


async def pipeline():
    # `executemany` sends every Bind and Execute before it reads an answer.
    connection = await connect()
    await connection.execute("create temp table piped (id int)")
    await connection.executemany("insert into piped values ($1)", [(n,) for n in range(500)])
    expect(await connection.fetchval("select sum(id) from piped"), 500 * 499 // 2)
    try:
        await connection.executemany("select 1 / $1::int", [(1,), (0,), (2,)])
    except asyncpg.PostgresError as error:
        expect(error.sqlstate, "22012")
    else:
        raise AssertionError("no error, instead of 22012")
    expect(await connection.fetchval("select 1"), 1)


async def copy_in():
    connection = await connect()
    await connection.execute("create temp table copied (id int, name text)")
    rows = [(n, f"name {n}") for n in range(ROWS)]
    expect(await connection.copy_records_to_table("copied", records=rows), f"COPY {ROWS}")
    expect(await connection.fetchval("select sum(id) from copied"), ROWS * (ROWS - 1) // 2)


async def copy_out():
    connection, rows = await connect(), io.BytesIO()
    query = f"select generate_series(1, {ROWS})"
    expect(await connection.copy_from_query(query, output=rows), f"COPY {ROWS}")
    expect(rows.getvalue(), b"".join(b"%d\n" % n for n in range(1, ROWS + 1)))


async def cancel():
    connection, observer = await connect(), await connect()
    task = asyncio.ensure_future(connection.execute("select pg_sleep(61)"))
    for _ in range(1500):
        if await observer.fetchval(RUNNING) == 1:
            break
        await asyncio.sleep(0.02)
    else:
        raise AssertionError("the statement does not run")
    # A cancelled task sends a cancel request and waits until the session is usable again.
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        pass
    else:
        raise AssertionError("it was not cancelled")
    expect(await connection.fetchval("select 1"), 1)
    expect(await observer.fetchval(RUNNING), 0)


async def large_in():
    connection = await connect()
    expect(await connection.fetchval("select md5($1)", LARGE), LARGE_MD5)


async def large_out():
    connection = await connect()
    expect(await connection.fetchval(LARGE_SQL), LARGE)


async def reconnect():
    await login()
    first, second = await asyncio.gather(connect(), connect())
    expect([await first.fetchval("select 1"), await second.fetchval("select 1")], [1, 1])


def now(story, *arguments):
    async def bounded():
        await asyncio.wait_for(story(*arguments), 120)

    return lambda: asyncio.run(bounded())


run(
    f"asyncpg {asyncpg.__version__}",
    dict(
        login=now(login), handle=now(login, HANDLE), simple=now(simple), prepared=now(prepared),
        pipeline=now(pipeline), copyIn=now(copy_in), copyOut=now(copy_out), cancel=now(cancel),
        largeIn=now(large_in), largeOut=now(large_out), reconnect=now(reconnect),
    ),
)
