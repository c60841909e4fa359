"""Goes through PyMySQL's API against one server and prints what each step gave, as JSON.

    mysql_api.py PORT

Every result, with all that a cursor knows of it, and every exception is printed, so that a direct and a
proxied run can be compared byte for byte. Left out are only the numbers of connections and the port,
which the server gives anew each time.
"""

import datetime
import decimal
import hashlib
import json
import os
import re
import struct
import sys
import tempfile
import threading
import warnings

import pymysql
import pymysql.cursors
from pymysql.constants import CLIENT, COMMAND

PORT = int(sys.argv[1])
# Of a connection in an error's text.
OWN = re.compile(r"(connection|thread id:?|Aborted connection) \d+")


def plain(value):
    if isinstance(value, bytes):
        return value.decode("latin-1") if len(value) < 100 else f"{len(value)}:{hashlib.sha256(value).hexdigest()}"
    if isinstance(value, str):
        return value if len(value) < 1000 else f"{len(value)}:{hashlib.sha256(value.encode()).hexdigest()}"
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)) and len(value) > 300:
        return [len(value), hashlib.sha256(repr(value).encode()).hexdigest()]
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Exception):
        return [type(value).__name__, OWN.sub(r"\1 N", str(value)).replace(str(PORT), "PORT")]
    return value if isinstance(value, (bool, int, float, type(None))) else f"{type(value).__name__} {value}"


def attempt(work, *arguments, **more):
    try:
        return work(*arguments, **more)
    except (pymysql.MySQLError, OSError, IndexError) as error:
        return error


def connect(**more):
    own = {"host": "127.0.0.1", "port": PORT, "user": "app", "password": "right", "database": "test", "charset": "utf8mb4", "autocommit": True}
    return pymysql.connect(**(own | more))


def answer(cursor):
    """Everything that a cursor knows of its results, of one after the other."""
    told = []
    while True:
        rows = cursor.fetchall()
        raw = cursor._result
        fields = [
            (one.name, one.org_name, one.table_name, one.db, one.type_code, one.charsetnr, one.length, one.flags, one.scale)
            for one in (raw.fields if raw is not None and raw.field_count else ())
        ]
        more = (raw.affected_rows, raw.insert_id, raw.server_status, raw.warning_count, raw.message) if raw is not None else None
        told.append((cursor.rowcount, cursor.lastrowid, cursor.description, fields, more, rows))
        if not cursor.nextset():
            return told


def ask(db, text, arguments=None, kind=None):
    try:
        with db.cursor(kind) as cursor, warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            cursor.execute(text, arguments)
            return answer(cursor), [str(one.message) for one in heard]
    except pymysql.MySQLError as error:
        return error


def sessions():
    with connect() as db:
        yield db.get_server_info(), db.server_version, db.get_proto_info(), db.get_host_info().replace(str(PORT), "PORT"), db.character_set_name()
        yield db.thread_id() == ask(db, "SELECT CONNECTION_ID()")[0][0][-1][0][0], db.server_language, db.server_charset, db._auth_plugin_name
        # All that is said of what the server can; TLS and compression are the proxy's own matter.
        yield db.server_capabilities & ~(CLIENT.SSL | CLIENT.COMPRESS) & 0xFFFF
        yield db.ping(), db.stat().split(":")[0] if hasattr(db, "stat") else None, db.get_autocommit(), db.autocommit(False), db.get_autocommit(), db.autocommit(True)
        yield attempt(db.select_db, "mysql"), attempt(db.select_db, "nowhere"), db.select_db("test"), db.set_character_set("latin1"), ask(db, "SELECT 'é'"), ask(db, "SELECT HEX('é')")
        yield db.escape("it's"), db.literal(b"\x00"), db.show_warnings(), db.insert_id(), db.affected_rows()
        yield ask(db, "SHOW VARIABLES LIKE 'character_set_c%'"), ask(db, "SET sql_mode = 'ANSI_QUOTES'"), ask(db, 'SELECT "nothing"'), ask(db, "SET NAMES utf8mb4")
        for command, text in ((COMMAND.COM_PING, b""), (COMMAND.COM_DEBUG, b""), (COMMAND.COM_FIELD_LIST, b"t\0"), (0x1F, b""), (0x7E, b"?"), (COMMAND.COM_SET_OPTION, struct.pack("<H", 0))):
            yield command, attempt(said, db, command, text)
        yield attempt(db.kill, 999_999_999), ask(db, "KILL QUERY 999999999"), ask(db, "SELECT 'goes on'")
    for change in (
        {"password": "wrong"}, {"user": "nobody"}, {"database": "nowhere"}, {"database": None}, {"password": ""}, {"charset": "latin1"}, {"ssl": {"ca": "/nowhere"}},
        {"init_command": "SET @begun = 7"}, {"init_command": "SELEKT"}, {"program_name": "api"}, {"client_flag": CLIENT.FOUND_ROWS}, {"connect_timeout": 20, "read_timeout": 20},
        {"client_flag": CLIENT.MULTI_STATEMENTS}, {"compress": None}, {"ssl_verify_cert": True, "ssl_ca": None}, {"sql_mode": "TRADITIONAL"}, {"read_default_file": os.devnull},
    ):
        made = attempt(connect, **change)
        if isinstance(made, pymysql.Connection):
            with made:
                yield sorted(change), ask(made, "SELECT @begun, DATABASE(), @@sql_mode, CURRENT_USER()"), ask(made, "SELECT 1; SELECT 2")
        else:
            yield sorted(change), made
    gone = connect()
    gone.close()
    yield attempt(gone.ping, reconnect=False), attempt(ask, gone, "SELECT 1"), gone.open, attempt(gone.ping, reconnect=True), ask(gone, "SELECT 'again'"), gone.close()


def said(db, command, text):
    """A command that PyMySQL has no function for, and the bytes of its answer's first packet."""
    db._execute_command(command, text)
    packet = db._read_packet()
    first = packet.get_all_data()
    while command == COMMAND.COM_FIELD_LIST and not packet.is_eof_packet():
        packet = db._read_packet()
        first += packet.get_all_data()
    return first


def values():
    columns = {
        "a": ("TINYINT", -128), "b": ("SMALLINT UNSIGNED", 65535), "c": ("MEDIUMINT ZEROFILL", 7), "d": ("INT", None), "e": ("BIGINT UNSIGNED", 2**64 - 1),
        "f": ("FLOAT", 1.5), "g": ("DOUBLE", -1e300), "h": ("DECIMAL(65,30)", decimal.Decimal("12345678901234567890.123456789012345678901234567890")),
        "i": ("BIT(10)", b"\x03\xff"), "j": ("DATE", datetime.date(2000, 2, 29)), "k": ("DATETIME(6)", datetime.datetime(2017, 2, 28, 12, 37, 0, 5)),
        "l": ("TIME(3)", datetime.timedelta(hours=-838, minutes=59)), "m": ("YEAR", 2026), "n": ("CHAR(5)", "é☃"), "o": ("VARCHAR(300)", "x" * 300), "p": ("BINARY(4)", b"\0\1"),
        "q": ("VARBINARY(300)", bytes(range(256))), "r": ("TINYTEXT", ""), "s": ("LONGTEXT", "y" * 70_000), "t": ("LONGBLOB", bytes(range(256)) * 300), "u": ("ENUM('no','yes')", "yes"),
        "v": ("SET('a','b','c')", "a,c"), "w": ("JSON", '{"a": [1, null]}'), "x": ("POINT", None), "y": ("UUID", "12345678-1234-5678-1234-567812345678"), "z": ("INET6", "::1"),
    }
    with connect() as db:
        made = ", ".join(f"`{name}` {kind}" for name, (kind, _) in columns.items())
        yield ask(db, f"CREATE TABLE kinds ({made}) CHARACTER SET utf8mb4"), ask(db, f"INSERT INTO kinds VALUES ({', '.join(['%s'] * len(columns))})", [value for _, value in columns.values()])
        yield ask(db, "SELECT * FROM kinds"), ask(db, "SELECT * FROM kinds", kind=pymysql.cursors.DictCursor), ask(db, "DESCRIBE kinds")
        yield ask(db, "INSERT INTO kinds (d) VALUES (NULL), (0)"), ask(db, "SELECT * FROM kinds WHERE d IS NULL"), ask(db, "SELECT '0000-00-00', CAST('0000-00-00' AS DATE)")
        yield ask(db, "SELECT ST_AsText(POINT(1, 2)), POINT(1, 2), 1 = 1, NULL, -1, 18446744073709551615, 1e10, X'00ff', _latin1'x', @@version_comment IS NOT NULL")
        for count in (0, 1, 250, 251, 252, 65_535, 65_536):
            yield ask(db, "SELECT %s AS a, REPEAT('r', %s)", ["g" * count, count])
        yield ask(db, "SELECT " + ", ".join(f"{n} AS c{n}" for n in range(1000)))
        yield ask(db, "SELECT seq, REPEAT('x', seq % 977) FROM seq_1_to_20000")
        # A packet of exactly the most that one holds, and more than one.
        for size in (2**24 - 2, 2**24 - 1, 2**24, 2**24 + 3_000_000):
            text = "SELECT LENGTH('"
            yield ask(db, text + "p" * (size - len(text) - 3) + "')"), ask(db, f"SELECT REPEAT('q', {size - 10})")
        yield ask(db, "SELECT @@max_allowed_packet"), ask(connect(max_allowed_packet=2**30), "SELECT LENGTH(%s)", [b"m" * 20_000_000])


def statements():
    with connect(client_flag=CLIENT.MULTI_STATEMENTS) as db:
        yield ask(db, "CREATE TABLE s (id INT AUTO_INCREMENT PRIMARY KEY, u INT UNIQUE, word VARCHAR(5) NOT NULL, up INT, FOREIGN KEY (up) REFERENCES s (id)) ENGINE=InnoDB")
        yield ask(db, "INSERT INTO s (u, word) VALUES (1, 'one'), (2, 'two')"), ask(db, "INSERT INTO s (u, word) VALUES (3, 'c') RETURNING id, word"), ask(db, "UPDATE s SET word = 'one' WHERE u = 1")
        yield ask(db, "SELECT 1; SELECT 'a', 'b'; UPDATE s SET u = u; SELECT id FROM s WHERE 0; DO 1"), ask(db, "SELECT 1; SELEKT; SELECT 2"), ask(db, "SELECT 1; SELECT * FROM nowhere"), ask(db, "SELECT 'after'")
        for wrong in (
            "", ";", "SELEKT", "SELECT * FROM nowhere", "SELECT none FROM s", "INSERT INTO s (u, word) VALUES (1, 'x')", "INSERT INTO s (word) VALUES (NULL)", "INSERT INTO s (word) VALUES ('too long')",
            "INSERT INTO s (word, up) VALUES ('x', 99)", "DELETE FROM nowhere", "DROP TABLE nowhere", "USE nowhere", "CALL nowhere()", "SELECT 1/0", "SET nothing = 1", "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'own', MYSQL_ERRNO = 5000",
            "SELECT SLEEP('a')", "GRANT ALL ON *.* TO app", "SHUTDOWN", "SELECT * FROM mysql.user", "SELECT @@nothing", "CREATE TABLE s (a INT)", "ALTER TABLE s DROP COLUMN none",
        ):
            yield ask(db, wrong)
        yield ask(db, "DROP TABLE IF EXISTS nowhere"), ask(db, "SHOW WARNINGS"), ask(db, "SET sql_mode = ''"), ask(db, "INSERT INTO s (word, u) VALUES ('far too long', 'x7')"), db.show_warnings()
        yield ask(db, "INSERT IGNORE INTO s (u, word) VALUES (1, 'x')"), ask(db, "REPLACE INTO s (u, word) VALUES (2, 'new')"), ask(db, "INSERT INTO s (u, word) VALUES (1, 'd') ON DUPLICATE KEY UPDATE word = 'dup'")
        yield ask(db, "SHOW TABLES"), ask(db, "SHOW CREATE TABLE s"), ask(db, "EXPLAIN SELECT * FROM s WHERE id = 1"), ask(db, "ANALYZE TABLE s"), ask(db, "CHECKSUM TABLE s"), ask(db, "OPTIMIZE TABLE s")
        yield ask(db, "SET max_statement_time = 0.05"), ask(db, "SELECT SLEEP(20)"), ask(db, "SET max_statement_time = 0"), ask(db, "TABLE s"), ask(db, "VALUES (1, 'a'), (2, 'b')")
        yield ask(db, "PREPARE p FROM 'SELECT ? + 1, ?'; SET @a = 41; EXECUTE p USING @a, @a; DEALLOCATE PREPARE p; EXECUTE p"), ask(db, "HANDLER s OPEN; HANDLER s READ FIRST; HANDLER s CLOSE")
        yield ask(db, "BEGIN NOT ATOMIC DECLARE n INT DEFAULT 2; SELECT n; SELECT n * 2; END"), ask(db, "/*!50000 SELECT 1 */; -- comment\nSELECT 2 # the end")


def cursors():
    with connect() as db:
        with db.cursor() as cursor:
            yield cursor.executemany("INSERT INTO s (u, word) VALUES (%s, %s)", [(1000 + n, f"w{n}") for n in range(2000)]), cursor.rowcount, cursor.lastrowid
            yield cursor.executemany("UPDATE s SET word = %s WHERE u = %s", [("a", 1000), ("b", 1001)]), attempt(cursor.executemany, "INSERT INTO s (u, word) VALUES (%s, 'x')", [(1,), (9999,)])
            cursor.execute("SELECT u FROM s ORDER BY u")
            yield cursor.fetchone(), cursor.fetchmany(3), cursor.scroll(10), cursor.fetchone(), cursor.scroll(0, mode="absolute"), cursor.fetchone(), len(cursor.fetchall()), cursor.fetchone()
            yield cursor.mogrify("SELECT %s, %s", ["it's", None]), attempt(cursor.scroll, 9999), cursor.rownumber
            yield attempt(cursor.callproc, "nowhere", (1,))
        with db.cursor(pymysql.cursors.SSCursor) as stream:
            stream.execute("SELECT u, REPEAT('x', u) FROM s ORDER BY u")
            yield stream.fetchone(), stream.fetchmany(5), stream.scroll(100), stream.fetchone(), sum(len(row[1]) for row in stream), stream.rowcount, attempt(stream.scroll, -1)
            stream.execute("SELECT seq FROM seq_1_to_100000")
            yield stream.fetchone(), stream.close()
        yield ask(db, "SELECT 'after a stream of which little was read'"), ask(db, "SELECT 1 AS a, 2 AS a", kind=pymysql.cursors.SSDictCursor)
        broken = db.cursor(pymysql.cursors.SSCursor)
        broken.execute("SELECT IF(seq < 5000, seq, (SELECT a.seq FROM seq_1_to_2 AS a)) FROM seq_1_to_6000")
        yield attempt(lambda: sum(row[0] for row in broken)), ask(db, "SELECT 'goes on'")
        unread = db.cursor(pymysql.cursors.SSCursor)
        unread.execute("SELECT seq FROM seq_1_to_1000")
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            yield ask(db, "SELECT 'in the midst of another'"), [str(one.message) for one in heard]


def procedures():
    with connect(client_flag=CLIENT.MULTI_STATEMENTS) as db:
        yield ask(db, "CREATE PROCEDURE two(IN a INT, INOUT b INT, OUT c TEXT) BEGIN SELECT a; SELECT b, 'x'; SET b = b + a; SET c = 'out'; END")
        with db.cursor() as cursor:
            yield cursor.callproc("two", (1, 2, None)), answer(cursor)
            cursor.execute("SELECT @_two_0, @_two_1, @_two_2")
            yield cursor.fetchall()
        yield ask(db, "CREATE PROCEDURE fails() BEGIN SELECT 'before'; SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'own'; SELECT 'behind'; END"), ask(db, "CALL fails()"), ask(db, "SELECT 'after'")
        yield ask(db, "CREATE FUNCTION f(a INT) RETURNS INT DETERMINISTIC RETURN a * 2"), ask(db, "SELECT f(21)"), ask(db, "CALL two(1, 2, @x)"), ask(db, "CALL two(1, @y, @x); SELECT @x, @y")
        yield ask(db, "CREATE TRIGGER tr BEFORE INSERT ON s FOR EACH ROW SET NEW.word = UPPER(NEW.word)"), ask(db, "INSERT INTO s (u, word) VALUES (77, 'up')"), ask(db, "SELECT word FROM s WHERE u = 77"), ask(db, "DROP TRIGGER tr")


def transactions():
    with connect(autocommit=False) as one, connect(autocommit=False) as other:
        yield one.begin(), ask(one, "INSERT INTO s (u, word) VALUES (5000, 'kept')"), one.get_transaction_status() if hasattr(one, "get_transaction_status") else None, one.commit()
        yield ask(one, "INSERT INTO s (u, word) VALUES (5001, 'lost')"), one.rollback(), ask(other, "SELECT u FROM s WHERE u >= 5000"), other.commit()
        yield ask(one, "SAVEPOINT a"), ask(one, "INSERT INTO s (u, word) VALUES (5002, 'part')"), ask(one, "ROLLBACK TO a"), ask(one, "ROLLBACK TO b"), ask(one, "RELEASE SAVEPOINT a"), one.commit()
        yield ask(one, "START TRANSACTION READ ONLY"), ask(one, "DELETE FROM s"), one.rollback(), ask(one, "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"), ask(one, "SELECT COUNT(*) FROM s"), one.rollback()
        yield ask(one, "UPDATE s SET word = 'lock' WHERE u = 5000"), ask(other, "SELECT word FROM s WHERE u = 5000 FOR UPDATE NOWAIT"), ask(other, "SET innodb_lock_wait_timeout = 1"), other.commit()
        yield ask(other, "SELECT word FROM s WHERE u = 5000 FOR UPDATE SKIP LOCKED"), other.rollback(), one.rollback(), ask(one, "XA START 'x'"), ask(one, "COMMIT"), ask(one, "XA END 'x'"), ask(one, "XA ROLLBACK 'x'")
        yield ask(one, "LOCK TABLES s READ"), ask(one, "SELECT COUNT(*) FROM t"), ask(one, "UPDATE s SET u = u"), ask(one, "UNLOCK TABLES"), ask(one, "COMMIT AND CHAIN"), ask(one, "ROLLBACK RELEASE"), ask(one, "SELECT 1")


def files():
    with connect(local_infile=True) as db, tempfile.TemporaryDirectory() as folder:
        # The same name each time: it is in the messages.
        os.chdir(folder)
        yield ask(db, "CREATE TABLE f (n INT PRIMARY KEY, t TEXT)")
        for name, text in (("many", "".join(f"{n},line {n}\n" for n in range(30_000))), ("empty", ""), ("twice", "1,again\n70000,new\n"), ("bad", "x,\n70001\n70002,a,b\n"), ("large", "70003," + "z" * 3_000_000)):
            with open(name, "w") as file:
                file.write(text)
            yield ask(db, f"LOAD DATA LOCAL INFILE '{name}' INTO TABLE f FIELDS TERMINATED BY ','"), ask(db, "SHOW WARNINGS"), ask(db, "SELECT COUNT(*), SUM(LENGTH(t)) FROM f")
        yield ask(db, "LOAD DATA LOCAL INFILE 'missing' INTO TABLE f"), ask(db, "SELECT 'goes on'"), ask(db, "LOAD DATA LOCAL INFILE 'many' INTO TABLE nowhere"), ask(db, "LOAD DATA INFILE 'many' INTO TABLE f")
    with connect() as db:
        yield ask(db, "LOAD DATA LOCAL INFILE 'many' INTO TABLE f")


def lost(db):
    """Whether the session is gone. Which of two moments PyMySQL notices it at is a race of its own."""
    told = ask(db, "SELECT 1")
    return isinstance(told, pymysql.err.OperationalError) and told.args[0] in (2006, 2013)


def ended():
    """Sessions and statements that others end."""
    with connect() as watch:
        def when_asleep(text, number):
            asleep = "SELECT 1 FROM information_schema.processlist WHERE id = %s AND info LIKE 'SELECT SLEEP%%'"
            while not ask(watch, asleep, [number])[0][0][-1]:
                pass
            ask(watch, f"{text} {number}")

        for text in ("KILL QUERY", "KILL"):
            db = connect()
            helper = threading.Thread(target=when_asleep, args=(text, db.thread_id()))
            helper.start()
            yield text, ask(db, "SELECT SLEEP(60)")
            helper.join()
            yield lost(db) if text == "KILL" else ask(db, "SELECT 1")
        idle = connect()
        yield ask(watch, f"KILL {idle.thread_id()}")
        while ask(watch, "SELECT 1 FROM information_schema.processlist WHERE id = %s", [idle.thread_id()])[0][0][-1]:
            pass
        yield lost(idle)
    waits = connect(init_command="SET wait_timeout = 1", read_timeout=20)
    yield attempt(waits._sock.recv, 1000), lost(waits)


PARTS = (sessions, values, statements, cursors, procedures, transactions, files, ended)
with connect(client_flag=CLIENT.MULTI_STATEMENTS) as first:
    for name in ("kinds", "s", "f"):
        ask(first, f"DROP TABLE IF EXISTS {name}")
    ask(first, "DROP PROCEDURE IF EXISTS two; DROP PROCEDURE IF EXISTS fails; DROP FUNCTION IF EXISTS f")
out = {part.__name__: [plain(step) for step in part()] for part in PARTS}
print(json.dumps(out, indent=1))
