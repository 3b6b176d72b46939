"""asyncmy."""

from importlib.metadata import version

import asyncmy
import asyncmy.cursors

from dbapi import stories
from harness import *
from waiting import Waiting


class AsyncMy(Waiting):
    documentation = "https://github.com/long2ice/asyncmy/blob/dev/README.md"
    module = asyncmy
    unbuffered = asyncmy.cursors.SSCursor
    absent = {
        "orm": "SQLAlchemy's traffic is run with the drivers that wait",
        "largeOut": "it gives no row for a value of more than a packet, directly neither",
    }

    def prepared(self, sql, every_values):
        connection = self.connect()

        async def results():
            async with await connection.inner.prepare(sql) as statement:
                found = [await statement.execute(values) for values in every_values]
                return [([column[:2] for column in result.description], result.rows) for result in found]

        return connection.wait(results())


run(f"asyncmy {version('asyncmy')}", stories(AsyncMy()))
