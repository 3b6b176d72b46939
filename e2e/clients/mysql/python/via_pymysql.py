"""PyMySQL."""

import ssl
from importlib.metadata import version

import pymysql
import pymysql.cursors
from pymysql.constants import CLIENT

from dbapi import Adapter, stories
from harness import *


class PyMySql(Adapter):
    documentation = "https://pymysql.readthedocs.io/en/latest/modules/connections.html"
    dialect = "mysql+pymysql"

    def connect(self, password=PASSWORD, charset="utf8mb4", multi=False, **more):
        return pymysql.connect(
            host=HOST, port=PORT, database=DATABASE, user=USER, password=password, charset=charset, autocommit=True,
            ssl=ssl.create_default_context(cafile=AUTHORITY), client_flag=CLIENT.MULTI_STATEMENTS if multi else 0,
            max_allowed_packet=64 << 20, **more,
        )

    def raw(self):
        connection = self.connect()
        connection.autocommit(False)
        return connection

    def stream(self, connection, sql):
        with connection.cursor(pymysql.cursors.SSCursor) as cursor:
            cursor.execute(sql)
            yield from cursor


run(f"PyMySQL {version('PyMySQL')}", stories(PyMySql()))
