"""What a PostgreSQL client sees, printed as JSON: the same directly and through a proxy.

Usage: postgres_round_trip.py CONNINFO
"""

import datetime
import decimal
import json
import sys
import threading
import time
import uuid

import psycopg
from psycopg import pq
from psycopg_pool import ConnectionPool

CONNINFO = sys.argv[1]
seen = {}


def connect(**more):
    return psycopg.connect(CONNINFO, autocommit=True, **more)


def status(conn):
    return pq.TransactionStatus(conn.info.transaction_status).name


def failure(error):
    return [type(error).__name__, error.sqlstate, str(error).split("\n")[0]]


def types():
    values = [
        1,
        -(2**40),
        2.5,
        decimal.Decimal("12345678901234567890.123"),
        "text with é and ☃",
        b"\x00\xff bytes",
        True,
        None,
        uuid.UUID("12345678-1234-5678-1234-567812345678"),
        datetime.datetime(2025, 8, 14, 9, 30, tzinfo=datetime.timezone.utc),
        [1, 2, 3],
        "x" * 3_000_000,
    ]
    rows = []
    with connect() as conn:
        for value in values:
            for binary in (False, True):
                row = conn.execute("SELECT %s", [value], binary=binary).fetchone()
                text = repr(row)
                rows.append(text if len(text) < 200 else [len(text), text[-20:]])
    seen["types"] = rows


def transactions():
    steps = []
    with connect() as conn:
        conn.execute("CREATE TABLE round_trip (id int PRIMARY KEY, word text)")
        conn.execute("BEGIN")
        steps.append(status(conn))
        conn.execute("INSERT INTO round_trip VALUES (1, 'one')")
        conn.execute("SAVEPOINT a")
        try:
            conn.execute("INSERT INTO round_trip VALUES (1, 'again')")
        except psycopg.Error as error:
            steps.append(failure(error))
        steps.append(status(conn))
        try:
            conn.execute("SELECT 1")
        except psycopg.Error as error:
            steps.append(failure(error))
        conn.execute("ROLLBACK TO a")
        steps.append(status(conn))
        steps.append(conn.execute("COMMIT").statusmessage)
        steps.append(status(conn))
        steps.append(conn.execute("SELECT * FROM round_trip").fetchall())
        # Several statements in one simple query, of which one fails.
        try:
            conn.pgconn.exec_(b"INSERT INTO round_trip VALUES (2, 'two'); SELECT 1 / 0")
        except psycopg.Error as error:
            steps.append(failure(error))
        steps.append(conn.execute("SELECT count(*) FROM round_trip").fetchall())
    seen["transactions"] = steps


def copies():
    with connect() as conn:
        conn.execute("CREATE TABLE copied (id int, word text)")
        with conn.cursor() as cursor:
            with cursor.copy("COPY copied FROM STDIN") as copy:
                for n in range(20_000):
                    copy.write_row((n, f"word {n}"))
            with cursor.copy("COPY copied (id, word) FROM STDIN (FORMAT BINARY)") as copy:
                copy.set_types(["int4", "text"])
                copy.write_row((20_000, "binary"))
            with cursor.copy("COPY (SELECT * FROM copied ORDER BY id) TO STDOUT") as copy:
                data = b"".join(bytes(part) for part in copy)
            broken = None
            try:
                with cursor.copy("COPY copied FROM STDIN") as copy:
                    copy.write("nonsense\n")
            except psycopg.Error as error:
                broken = failure(error)
            try:
                with cursor.copy("COPY copied FROM STDIN") as copy:
                    copy.write_row((1, "never"))
                    raise KeyError("the client gives up")
            except KeyError:
                pass
            rows = cursor.execute("SELECT count(*), max(id) FROM copied").fetchone()
            # With parameters the extended protocol carries it.
            with cursor.copy("COPY (SELECT %s::int) TO STDOUT", [7]) as copy:
                seven = b"".join(bytes(part) for part in copy).decode()
    seen["copies"] = [len(data), data[:20].decode(), broken, rows, seven]


def pipelines():
    steps = []
    with connect() as conn:
        conn.execute("CREATE TABLE piped (id int PRIMARY KEY)")
        with conn.pipeline() as pipeline:
            cursors = [conn.execute("INSERT INTO piped VALUES (%s) RETURNING id", [n]) for n in range(500)]
            pipeline.sync()
            steps.append(sum(cursor.fetchone()[0] for cursor in cursors))
        try:
            with conn.pipeline() as pipeline:
                conn.execute("INSERT INTO piped VALUES (1000)")
                conn.execute("INSERT INTO piped VALUES (1)")
                conn.execute("INSERT INTO piped VALUES (1001)")
                pipeline.sync()
        except psycopg.Error as error:
            steps.append(failure(error))
        steps.append(status(conn))
        steps.append(conn.execute("SELECT count(*), max(id) FROM piped").fetchone())
        with conn.cursor() as cursor:
            cursor.executemany("INSERT INTO piped VALUES (%s)", [(n,) for n in range(2000, 2500)])
            steps.append(cursor.rowcount)
        with conn.transaction(), conn.cursor("named") as cursor:
            cursor.execute("SELECT id FROM piped ORDER BY id")
            steps.append([len(cursor.fetchmany(7)), len(cursor.fetchall())])
    seen["pipelines"] = steps


def prepared():
    with connect(prepare_threshold=0) as conn:
        rows = [conn.execute("SELECT %s::int + 1", [n], prepare=True).fetchone()[0] for n in range(20)]
        names = conn.execute("SELECT count(*) FROM pg_prepared_statements").fetchone()[0]
        conn.execute("DEALLOCATE ALL")
    seen["prepared"] = [rows, names > 0]


def cancels():
    with connect() as conn:
        thread = threading.Timer(0.3, conn.cancel_safe)
        thread.start()
        began = time.monotonic()
        try:
            conn.execute("SELECT pg_sleep(20)")
        except psycopg.Error as error:
            said = failure(error)
        thread.join()
        seen["cancels"] = [said, time.monotonic() - began < 10, conn.execute("SELECT 1").fetchone()]


def notifications():
    notices = []
    with connect() as listener, connect() as conn:
        listener.add_notice_handler(lambda notice: notices.append([notice.severity, notice.message_primary]))
        listener.execute("LISTEN channel")
        conn.execute("NOTIFY channel, 'hello'")
        got = next(listener.notifies(timeout=10, stop_after=1))
        listener.execute("DO $$ BEGIN RAISE NOTICE 'a notice'; END $$")
        listener.execute("SET application_name = 'renamed'")
        name = listener.info.parameter_status("application_name")
    seen["notifications"] = [got.channel, got.payload, notices, name]


def pools():
    with ConnectionPool(CONNINFO, min_size=2, max_size=4, open=True) as pool:
        pool.wait(10)
        numbers = []
        for n in range(20):
            with pool.connection() as conn:
                numbers.append(conn.execute("SELECT %s::int", [n]).fetchone()[0])
    seen["pools"] = numbers


def connecting():
    said = []
    for change in ({"dbname": "nowhere"}, {"user": "nobody"}, {"password": "wrong"}):
        try:
            psycopg.connect(CONNINFO, **change)
        except psycopg.Error as error:
            said.append([type(error).__name__, error.sqlstate, str(error).split("FATAL:")[-1].strip()])
    seen["connecting"] = said


with connect() as conn:
    conn.execute("DROP TABLE IF EXISTS round_trip, copied, piped")
for part in (types, transactions, copies, pipelines, prepared, cancels, notifications, pools, connecting):
    part()
json.dump(seen, sys.stdout, indent=1, default=str)
