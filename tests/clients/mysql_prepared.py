"""Executes prepared statements, in the binary protocol, and prints what came of it.

    mysql_prepared.py PORT
"""

import datetime
import decimal
import sys

import mysql.connector

db = mysql.connector.connect(
    host="127.0.0.1",
    port=int(sys.argv[1]),
    user="app",
    password="right",
    database="test",
    charset="utf8mb4",
    collation="utf8mb4_general_ci",
    use_pure=True,
    ssl_disabled=True,
)
with db.cursor(prepared=True) as c:
    when = datetime.datetime(2017, 2, 28, 12, 37)
    for n in range(40):
        try:
            c.execute("SELECT %s, %s, %s, %s, %s", (n, f"id-{n}", None, decimal.Decimal("1.5"), when))
            print(c.fetchone())
        except mysql.connector.Error as error:
            print(type(error).__name__, error.errno, error.sqlstate)
db.close()
