"""Clients that work with `await`, for stories that wait: each connection has an event loop of its own."""

import asyncio
import ssl

from dbapi import Adapter, Result
from harness import *


class Connection:
    """A connection and its loop."""

    def __init__(self, opening):
        self.loop = asyncio.new_event_loop()
        self.inner = self.wait(opening())

    def wait(self, coroutine):
        async def bounded():
            return await asyncio.wait_for(coroutine, 120)

        return self.loop.run_until_complete(bounded())


class Waiting(Adapter):
    module = None

    def connect(self, password=PASSWORD, charset="utf8mb4", multi=False):
        tls = ssl.create_default_context(cafile=AUTHORITY)
        return Connection(lambda: self.module.connect(
            host=HOST, port=PORT, db=DATABASE, user=USER, password=password, charset=charset, autocommit=True,
            ssl=tls, client_flag=1 << 16 if multi else 0,
        ))

    def query(self, connection, sql, values=None):
        async def query():
            async with connection.inner.cursor() as cursor:
                await cursor.execute(sql, values)
                return Result(cursor, await cursor.fetchall() if cursor.description else [])

        return connection.wait(query())

    def results(self, connection, sql):
        async def results():
            found = []
            async with connection.inner.cursor() as cursor:
                try:
                    await cursor.execute(sql)
                    while True:
                        found.append(Result(cursor, await cursor.fetchall() if cursor.description else []))
                        if not await cursor.nextset():
                            return found
                except Exception as error:
                    return [*found, self.error(error)]

        return connection.wait(results())

    def number(self, connection):
        return connection.inner.thread_id()

    def close(self, connection):
        connection.wait(connection.inner.ensure_closed())

    def commit(self, connection):
        connection.wait(connection.inner.commit())

    def rollback(self, connection):
        connection.wait(connection.inner.rollback())

    def autocommit(self, connection, on):
        connection.wait(connection.inner.autocommit(on))

    def stream(self, connection, sql):
        async def rows():
            async with connection.inner.cursor(self.unbuffered) as cursor:
                await cursor.execute(sql)
                return [row async for row in cursor]

        return connection.wait(rows())

    def reconnect(self, connection):
        connection.wait(connection.inner.ping(reconnect=True))
