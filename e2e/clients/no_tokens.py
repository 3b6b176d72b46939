"""An application's drivers as they come, with the user and password of a settings file: they know of no token and no
TLS. Arguments: the driver, the port. Says one JSON object: what it saw.
"""

import json
import sys

SETTINGS = {"host": "127.0.0.1", "user": "application", "password": "from a settings file"}
CONNECTIONS = 5


def pg8000(port):
    import pg8000.dbapi

    said = {"users": [], "error": None}
    for _ in range(CONNECTIONS):
        connection = pg8000.dbapi.connect(database="orders", port=port, **SETTINGS)
        cursor = connection.cursor()
        cursor.execute("select session_user, %s::int + 1", (41,))
        said["users"].append(list(cursor.fetchone()))
        try:
            cursor.execute("select nonsense")
        except pg8000.dbapi.DatabaseError as error:
            said["error"] = error.args[0]["C"]
        connection.rollback()
        connection.close()
    return said


def pymysql(port):
    import pymysql

    said = {"users": [], "error": None}
    for _ in range(CONNECTIONS):
        connection = pymysql.connect(database="orders", port=port, **SETTINGS)
        with connection.cursor() as cursor:
            cursor.execute("select current_user(), %s + 1", (41,))
            said["users"].append(list(cursor.fetchone()))
            try:
                cursor.execute("select nonsense")
            except pymysql.err.OperationalError as error:
                said["error"] = str(error.args[0])
        connection.ping()
        connection.close()
    return said


print(json.dumps({"pg8000": pg8000, "pymysql": pymysql}[sys.argv[1]](int(sys.argv[2]))))
