"""The stories of every client with Python's database API. A client is an adapter: see `Adapter`."""

import hashlib
import threading

from harness import *


class Result:
    """One result: rows and their description, or how many rows were affected."""

    def __init__(self, cursor, rows):
        described = cursor.description
        self.columns = None if described is None else [tuple(column[:2]) for column in described]
        self.rows = [tuple(row) for row in rows]
        self.affected = None if described is not None else cursor.rowcount
        self.last_id = cursor.lastrowid

    def __repr__(self):
        return f"{self.columns} {self.rows} affected {self.affected} last id {self.last_id}"


class Adapter:
    """What differs between clients. All of it waits for what it does."""

    # What it has not: feature to reason.
    absent = {}
    documentation = None
    dialect = None
    # What it says of a connection that was closed: killed, gone away, lost, a TLS connection's end, lost by its address.
    lost = (1927, 2006, 2013, 2026, 2055)
    # Columns that it cannot read in the binary protocol.
    unreadable = ()
    # Whether SQLAlchemy knows what the client says itself of a connection that was lost.
    loss_is_known = True

    def connect(self, password=PASSWORD, charset="utf8mb4", **more):
        raise NotImplementedError

    def query(self, connection, sql, values=None):
        with connection.cursor() as cursor:
            cursor.execute(sql, values)
            return Result(cursor, cursor.fetchall() if cursor.description else [])

    def results(self, connection, sql):
        """Every result of several statements, and the error that ends them."""
        results = []
        with connection.cursor() as cursor:
            try:
                cursor.execute(sql)
                while True:
                    results.append(Result(cursor, cursor.fetchall() if cursor.description else []))
                    if not cursor.nextset():
                        return results
            except Exception as error:
                return [*results, self.error(error)]

    def error(self, error):
        return error.args[:2]

    def number(self, connection):
        return connection.thread_id()

    def close(self, connection):
        connection.close()

    def commit(self, connection):
        connection.commit()

    def rollback(self, connection):
        connection.rollback()

    def autocommit(self, connection, on):
        connection.autocommit(on)

    def prepared(self, sql, every_values):
        """One statement prepared once at the server, a result for each tuple of values."""
        raise Absent("no statement is prepared at the server", self.documentation)

    def stream(self, connection, sql):
        """Rows as they come."""
        raise NotImplementedError

    def cursor(self, sql):
        """Rows by COM_STMT_FETCH."""
        raise Absent("no cursors at the server", self.documentation)

    def long_data(self, sql, value):
        raise Absent("no COM_STMT_SEND_LONG_DATA", self.documentation)

    def reset(self, connection):
        raise Absent("no COM_RESET_CONNECTION", self.documentation)

    def change_user(self, connection):
        raise Absent("no COM_CHANGE_USER", self.documentation)

    def reconnect(self, connection):
        connection.ping(reconnect=True)


def stories(adapter):
    def one(connection, sql, values=None):
        return adapter.query(connection, sql, values).rows[0][0]

    def login(password=PASSWORD):
        connection = adapter.connect(password)
        expect(one(connection, "select current_user()"), f"{USER}@{HOST}")
        see(adapter.query(connection, "select database(), @@version, @@character_set_client, @@collation_connection"))
        adapter.close(connection)

    def refused():
        for code, password in REFUSED:
            number, message = adapter.error(failure(lambda: adapter.connect(password)))
            expect(number, 1045)
            holds(message, code)

    def query():
        connection = adapter.connect()
        run = lambda sql, values=None: see(adapter.query(connection, sql, values))
        run("create temporary table t (id int auto_increment primary key, name varchar(40) not null, unique (name))")
        run("insert into t (name) values ('one'), ('two'), ('three')")
        run("insert into t (name) values (%s)", ("it's\\ \"four\" 世界",))
        run("insert ignore into t (name) values ('one'), ('five')")
        run("show warnings")
        run("update t set name = 'two' where id < 3 and name = 'two'")
        run("select * from t order by id")
        run("select 1 / 0, null, cast('x' as signed)")
        run("show warnings")
        for sql in ("select * from no_such_table", "insert into t (name) values ('one')", "selec 1", "kill 0"):
            see(adapter.error(failure(lambda: adapter.query(connection, sql))))
        run("select count(*) from t")

    def types():
        connection = adapter.connect()
        see(adapter.query(connection, "select * from every_type order by id"))
        see(adapter.query(connection, "select 1, -1, 1.5, 1e3, 'x', x'00ff', null, true, date'2024-02-29', now(6) is null"))

    def every_column():
        return [row[0] for row in adapter.query(adapter.connect(), "show columns from every_type").rows]

    def prepared():
        columns = [name for name in every_column() if name not in adapter.unreadable]
        sql = f"select {', '.join(columns)} from every_type where id >= ? and id < ? order by id"
        see(*adapter.prepared(sql, [(1, 9), (2, 3), (9, 9)]))
        values = [(-7, 1 << 62, 2.5, "Grüße 🐘", b"\0\xff", None), (0, 0, 0.0, "", b"", 1)]
        see(*adapter.prepared("select ? + 0, ?, ?, ?, hex(?), ?", values))

    def multi():
        connection = adapter.connect(multi=True)
        see(*adapter.results(
            connection,
            "select 1 as a; create temporary table m (id int); insert into m values (1), (2); select * from m;"
            " set @x = 7; select @x, 'x' union select 8, 'y'; update m set id = id + 1; select 'last'",
        ))
        see(*adapter.results(connection, "select 1; select * from no_such_table; select 2"))
        see(adapter.query(connection, "select 'still there'"))

    def procedure():
        connection = adapter.connect()
        see(adapter.query(connection, "set @counted = 40"))
        see(*adapter.results(connection, "call both_ways(2, @counted)"))
        expect(int(one(connection, "select @counted")), 42)
        see(adapter.error(failure(lambda: adapter.query(connection, "call no_such_procedure()"))))

    def stream():
        connection = adapter.connect()
        count = total = 0
        for row in adapter.stream(connection, f"select seq, repeat('x', 100) from seq_1_to_{ROWS}"):
            count, total = count + 1, total + row[0]
        expect((count, total), (ROWS, ROWS * (ROWS + 1) // 2))
        expect(one(connection, "select 1"), 1)

    def cursor():
        rows = adapter.cursor("select seq from seq_1_to_10000")
        expect([row[0] for row in rows], list(range(1, 10001)))

    def large_in():
        connection = adapter.connect()
        expect(one(connection, "select md5(%s)", (LARGE,)), hashlib.md5(LARGE.encode()).hexdigest())

    def large_out():
        expect(one(adapter.connect(), LARGE_SQL), LARGE)

    def long_data():
        value = LARGE.encode()[:3_000_000]
        expect(adapter.long_data("select md5(?)", value), hashlib.md5(value).hexdigest())

    def transaction():
        connection, other = adapter.connect(), adapter.connect()
        adapter.autocommit(connection, False)
        adapter.autocommit(other, True)
        count = lambda: one(other, "select count(*) from every_type where id > 100")
        insert = lambda n: adapter.query(connection, "insert into every_type (id) values (%s)", (n,))
        insert(101)
        adapter.query(connection, "savepoint half")
        insert(102)
        adapter.query(connection, "rollback to savepoint half")
        see(count())
        adapter.commit(connection)
        see(count())
        adapter.query(connection, "delete from every_type where id > 100")
        adapter.rollback(connection)
        see(count())
        adapter.query(connection, "delete from every_type where id > 100")
        adapter.commit(connection)
        expect(count(), 0)

    def kill():
        connection, observer = adapter.connect(), adapter.connect()
        # Before another thread has the connection: some clients let only one use it.
        number = adapter.number(connection)
        ended = []

        def sleep():
            try:
                ended.append(adapter.query(connection, SLEEP).rows)
            except Exception as error:
                ended.append(adapter.error(error)[0])

        thread = threading.Thread(target=sleep)
        thread.start()
        poll(lambda: one(observer, RUNNING) == 1)
        adapter.query(observer, f"kill query {number}")
        thread.join(WITHIN)
        expect(ended, [1317])
        see(adapter.query(connection, "select 1"))
        # A whole connection, and one that does not exist.
        adapter.query(observer, f"kill {number}")
        holds(adapter.lost, adapter.error(failure(lambda: adapter.query(connection, "select 1")))[0])
        expect(adapter.error(failure(lambda: adapter.query(observer, "kill query 4294967290")))[0], 1094)

    def reset():
        connection = adapter.connect()
        adapter.query(connection, "set @kept = 1, sql_mode = 'ansi'")
        adapter.query(connection, "create temporary table gone (id int)")
        adapter.reset(connection)
        see(adapter.query(connection, "select @kept, @@sql_mode, database(), @@character_set_client"))
        expect(adapter.error(failure(lambda: adapter.query(connection, "select * from gone")))[0], 1146)

    def change_user():
        connection = adapter.connect()
        number, message = adapter.error(failure(lambda: adapter.change_user(connection)))
        expect(number, 1047)
        holds(message, "COM_CHANGE_USER", "connect again with your token")
        expect(one(adapter.connect(), "select 1"), 1)

    def reconnect():
        login()
        first, second = adapter.connect(), adapter.connect()
        expect([one(first, "select 1"), one(second, "select 1")], [1, 1])
        adapter.query(second, f"kill {adapter.number(first)}")
        adapter.reconnect(first)
        expect(one(first, "select current_user()"), f"{USER}@{HOST}")

    def charset():
        for charset in ("utf8mb4", "latin1"):
            connection = adapter.connect(charset=charset)
            see(adapter.query(connection, "select %s, hex(%s), @@character_set_results", ("Grüße", "Grüße")))
            see(adapter.query(connection, "select a_varchar, length(a_varchar) from every_type where id = 1"))

    def orm():
        from orm import traffic

        if adapter.dialect is None:
            raise Absent("SQLAlchemy has no dialect for it", "https://docs.sqlalchemy.org/en/21/dialects/mysql.html")
        traffic(adapter)

    said = dict(
        login=login, handle=lambda: login(HANDLE), refused=refused, query=query, types=types, prepared=prepared,
        multi=multi, procedure=procedure, stream=stream, cursor=cursor, largeIn=large_in, largeOut=large_out,
        longData=long_data, transaction=transaction, kill=kill, reset=reset, changeUser=change_user,
        reconnect=reconnect, charset=charset, orm=orm,
    )

    def missing(reason):
        def story():
            raise Absent(reason, adapter.documentation)

        return story

    return said | {feature: missing(reason) for feature, reason in adapter.absent.items()}
