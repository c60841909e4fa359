"""Does one thing with PyMySQL and prints the exception that came of it.

    mysql_error.py PORT WHAT

Of `idle` it says that it is connected, and waits for a line before it goes on.
"""

import sys

import pymysql

WHAT = {
    "connect": ["SELECT 1"],
    "select": ["SELECT a FROM t"],
    "idle": ["SELECT 1", None, "SELECT a FROM t"],
    "sleep": ["SELECT SLEEP(60), a FROM t"],
    "update": ["UPDATE t SET a = a + 1 WHERE id = 1"],
    "slow": ["SET max_statement_time = 0.2", "SELECT a, SLEEP(60) FROM t"],
}

try:
    db = pymysql.connect(
        host="127.0.0.1", port=int(sys.argv[1]), user="app", password="right", database="test"
    )
    with db.cursor() as cursor:
        for statement in WHAT[sys.argv[2]]:
            if statement is None:
                print("ready", flush=True)
                sys.stdin.readline()
            else:
                cursor.execute(statement)
except Exception as error:
    print(f"{type(error).__mro__[:3]}: {error}")
else:
    print("nothing failed")
