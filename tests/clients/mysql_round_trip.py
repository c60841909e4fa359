"""Does what programs commonly do with PyMySQL against one server and prints what it got.

    mysql_round_trip.py PORT [CA]

The output is JSON without anything that may differ between two runs, so that a direct and a
proxied run can be compared byte for byte.
"""

import datetime
import decimal
import hashlib
import json
import sys
import tempfile

import pymysql
import pymysql.constants.CLIENT as flags


def plain(value):
    if isinstance(value, bytes):
        return f"{len(value)}:{hashlib.sha256(value).hexdigest()}"
    if isinstance(value, (decimal.Decimal, datetime.date, datetime.datetime, datetime.timedelta)):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Exception):
        return f"{type(value).__name__}: {value}"
    return value


def attempt(work):
    try:
        return work()
    except pymysql.MySQLError as error:
        return error


def connect(port, ca):
    tls = {"ssl": {"ca": ca}} if ca else {}
    return pymysql.connect(
        host="localhost" if ca else "127.0.0.1",
        port=port,
        user="app",
        password="right",
        database="test",
        local_infile=True,
        client_flag=flags.MULTI_STATEMENTS,
        **tls,
    )


def statements(db):
    with db.cursor() as c:
        c.execute("DROP TABLE IF EXISTS things, files")
        c.execute(
            "CREATE TABLE things (id INT AUTO_INCREMENT PRIMARY KEY, t TEXT, n DECIMAL(10,2), b LONGBLOB,"
            " d DATETIME(6), u INT UNSIGNED NULL UNIQUE) ENGINE=InnoDB CHARACTER SET utf8mb4"
        )
        blob = bytes(range(256)) * 4096
        row = ("zwölf", decimal.Decimal("1.25"), blob, datetime.datetime(2017, 2, 28, 12, 37), None)
        c.execute("INSERT INTO things (t, n, b, d, u) VALUES (%s, %s, %s, %s, %s)", row)
        yield c.lastrowid, c.rowcount
        c.executemany("INSERT INTO things (t, u) VALUES (%s, %s)", [(f"row {n}", n) for n in range(3000)])
        c.execute("SELECT * FROM things WHERE id = 1")
        yield c.fetchall(), [column[0] for column in c.description]
        c.execute("SELECT id, t FROM things ORDER BY id")
        yield hashlib.sha256(repr(c.fetchall()).encode()).hexdigest()
        c.execute("SELECT 1; UPDATE things SET n = 2 WHERE id = 1; SELECT 'two', NULL")
        results = [c.fetchall()]
        while c.nextset():
            results.append(c.fetchall())
        yield results
        yield attempt(lambda: c.execute("SELECT * FROM nowhere"))
        yield attempt(lambda: c.execute("SELEKT"))
        yield attempt(lambda: c.execute("INSERT INTO things (u) VALUES (1)"))
        c.execute("SELECT REPEAT('x', 2000000)")
        yield len(c.fetchone()[0])
    with db.cursor(pymysql.cursors.SSCursor) as c:
        c.execute("SELECT u FROM things")
        yield sum(1 for _ in c)


def transactions(db):
    with db.cursor() as c:
        db.begin()
        c.execute("UPDATE things SET t = 'changed' WHERE id = 1")
        db.rollback()
        c.execute("SELECT t FROM things WHERE id = 1")
        yield c.fetchone()
        c.execute("UPDATE things SET t = 'changed' WHERE id = 1")
        db.commit()
        c.execute("SELECT t FROM things WHERE id = 1")
        yield c.fetchone()
        db.ping(reconnect=False)
        db.select_db("test")
        c.execute("PREPARE p FROM 'SELECT ? + 1'; SET @a = 41; EXECUTE p USING @a")
        results = []
        while c.nextset():
            results.append(c.fetchall())
        yield results


def files(db):
    with tempfile.NamedTemporaryFile("w", suffix=".csv") as file, db.cursor() as c:
        file.write("".join(f"{n},line {n}\n" for n in range(20_000)))
        file.flush()
        c.execute("CREATE TABLE files (n INT, t TEXT)")
        c.execute(f"LOAD DATA LOCAL INFILE '{file.name}' INTO TABLE files FIELDS TERMINATED BY ','")
        yield c.rowcount
        c.execute("SELECT COUNT(*), MAX(t) FROM files")
        yield c.fetchone()


ca = sys.argv[2] if len(sys.argv) > 2 else None
db = connect(int(sys.argv[1]), ca)
out = {part.__name__: plain(list(part(db))) for part in (statements, transactions, files)}
db.close()
print(json.dumps(out, indent=1, sort_keys=True))
