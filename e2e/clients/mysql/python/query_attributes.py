"""mysql-connector-python, in Python and by MySQL's C library: attributes of statements and of prepared ones. Arguments: port,
user, authority; the token is in MYSQL_PWD. Prints what the server has seen."""

import json
import os
import sys

import _mysql_connector  # Before the distribution's OpenSSL is loaded, which is older than its own.
import mysql.connector

port, user, authority = sys.argv[1:]
seen = {}
for name, pure in [("python", True), ("c", False)]:
    connection = mysql.connector.connect(
        host="127.0.0.1", port=int(port), database="orders", user=user, password=os.environ["MYSQL_PWD"],
        ssl_ca=authority, ssl_verify_cert=True, use_pure=pure, auth_plugin="mysql_clear_password",
    )
    with connection.cursor() as cursor:
        cursor.add_attribute("colour", f"green {name}")
        cursor.execute("select mysql_query_attribute_string('colour') as plain")
        plain = cursor.fetchone()[0]
    with connection.cursor(prepared=True) as cursor:
        # They stay with the connection.
        cursor.clear_attributes()
        cursor.add_attribute("colour", f"blue {name}")
        cursor.execute("select mysql_query_attribute_string('colour'), ? as prepared", (7,))
        prepared = cursor.fetchone()
    # Without attributes the same command has another form.
    with connection.cursor() as cursor:
        cursor.execute("select 'none' as none")
        none = cursor.fetchone()[0]
    connection.close()
    seen[name] = [plain, *prepared, none]
print(json.dumps(seen))
