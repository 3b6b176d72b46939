"""mysqlclient, on the distribution's libmariadb."""

import MySQLdb
import MySQLdb.cursors
import MySQLdb.release

from dbapi import Adapter, stories
from harness import *


class MySqlClient(Adapter):
    documentation = "https://mysqlclient.readthedocs.io/user_guide.html"
    dialect = "mysql+mysqldb"
    # libmariadb says 2026, as of any error of TLS.
    loss_is_known = False

    def connect(self, password=PASSWORD, charset="utf8mb4", multi=False, **more):
        return MySQLdb.connect(
            host=HOST, port=PORT, database=DATABASE, user=USER, password=password, charset=charset, autocommit=True,
            ssl={"ca": AUTHORITY}, ssl_mode="VERIFY_IDENTITY", multi_statements=multi, **more,
        )

    def raw(self):
        connection = self.connect()
        connection.autocommit(False)
        return connection

    def stream(self, connection, sql):
        with connection.cursor(MySQLdb.cursors.SSCursor) as cursor:
            cursor.execute(sql)
            yield from cursor

    def change_user(self, connection):
        connection.change_user(USER, PASSWORD, DATABASE)

    def reconnect(self, connection):
        connection.ping(True)


run(f"mysqlclient {MySQLdb.release.__version__}, libmariadb {MySQLdb.get_client_info()}", stories(MySqlClient()))
