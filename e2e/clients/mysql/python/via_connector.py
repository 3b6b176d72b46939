"""mysql-connector-python: in Python, or by MySQL's own C library that its extension brings (`CONNECTOR_C`)."""

import io
import os

import _mysql_connector
import mysql.connector
from mysql.connector.constants import ServerFlag
from mysql.connector.version import VERSION_TEXT

from dbapi import Adapter, Result, stories
from harness import *

BY_C = os.environ["CONNECTOR_C"] == "yes"


class Connector(Adapter):
    documentation = "https://dev.mysql.com/doc/connector-python/en/connector-python-reference.html"
    dialect = "mysql+mysqlconnector"
    # Without a number: "MySQL Connection not available."
    lost = (*Adapter.lost, -1)
    # In Python it reads no year in the binary protocol, directly neither.
    unreadable = () if BY_C else ("a_year",)

    def connect(self, password=PASSWORD, charset="utf8mb4", multi=False):
        return mysql.connector.connect(
            host=HOST, port=PORT, database=DATABASE, user=USER, password=password, charset=charset, autocommit=True,
            collation={"utf8mb4": "utf8mb4_general_ci", "latin1": "latin1_swedish_ci"}[charset],
            ssl_ca=AUTHORITY, ssl_verify_cert=True, ssl_verify_identity=True, use_pure=not BY_C,
            # A token is sent in clear inside TLS, which libmysqlclient does only when it is told to.
            **({"auth_plugin": "mysql_clear_password"} if BY_C and HANDLE is not None else {}),
        )

    def raw(self):
        connection = self.connect()
        connection.autocommit = False
        return connection

    def error(self, error):
        return error.errno, error.msg

    def number(self, connection):
        return connection.connection_id

    def autocommit(self, connection, on):
        connection.autocommit = on

    def prepared(self, sql, every_values):
        connection = self.connect()
        with connection.cursor(prepared=True) as cursor:
            for values in every_values:
                cursor.execute(sql, values)
                yield Result(cursor, cursor.fetchall())

    def stream(self, connection, sql):
        with connection.cursor(buffered=False) as cursor:
            cursor.execute(sql)
            yield from cursor

    def cursor(self, sql):
        if BY_C:
            raise Absent("the extension has no cursors at the server", self.documentation)
        connection = self.connect()
        number = connection.cmd_stmt_prepare(sql.encode())["statement_id"]
        _, columns, end = connection.cmd_stmt_execute(number, flags=1)
        expect(bool(end["status_flag"] & ServerFlag.STATUS_CURSOR_EXISTS), True)
        rows = []
        while not end["status_flag"] & ServerFlag.STATUS_LAST_ROW_SENT:
            connection.cmd_stmt_fetch(number, 999)
            some, end = connection.get_rows(binary=True, columns=columns)
            rows.extend(some)
        connection.cmd_stmt_close(number)
        return rows

    def long_data(self, sql, value):
        if BY_C:
            raise Absent("the extension sends every value with its statement", self.documentation)
        connection = self.connect()
        with connection.cursor(prepared=True) as cursor:
            cursor.execute(sql, (io.BytesIO(value),))
            return cursor.fetchone()[0]

    def reset(self, connection):
        connection.cmd_reset_connection()

    def change_user(self, connection):
        # A short one: of a password longer than 255 bytes libmysqlclient sends nothing here, and takes that for success.
        connection.cmd_change_user(USER, HANDLE, DATABASE)


library = f"libmysqlclient {_mysql_connector.MySQL().get_client_info()}" if BY_C else "pure Python"
run(f"mysql-connector-python {VERSION_TEXT}, {library}", stories(Connector()))
