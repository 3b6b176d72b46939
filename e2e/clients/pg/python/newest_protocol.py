"""libpq 18, which psycopg's binary brings: opens each version of the protocol and has a statement cancelled inside TLS.

The connection string is the only argument. Says one JSON object: for each version that was asked for, the one that was
spoken and the SQLSTATE with which the statement ended.
"""

import json
import sys
import threading

import psycopg


def spoken(version):
    with psycopg.connect(f"{sys.argv[1]} max_protocol_version={version}", autocommit=True) as connection:
        over = threading.Event()

        def cancel():
            # A request that comes before the statement does nothing.
            while not over.wait(0.05):
                connection.cancel_safe()

        cancelling = threading.Thread(target=cancel)
        cancelling.start()
        try:
            connection.execute("select pg_sleep(60)")
            state = None
        except psycopg.Error as error:
            state = error.sqlstate
        finally:
            over.set()
            cancelling.join()
        return [connection.info.full_protocol_version, state]


print(json.dumps({version: spoken(version) for version in ("3.2", "latest", "3.0")}))
