"""What a PostgreSQL client sees of one failure, printed as JSON.

Usage: postgres_failures.py real|fault CASE CONNINFO

`real` brings the failure about in the server itself; `fault` only does what meets it, through a
proxy whose faults bring it about.
"""

import json
import sys
import threading
import time

import psycopg
from psycopg import pq

REAL = sys.argv[1] == "real"
CASE = sys.argv[2]
CONNINFO = sys.argv[3]


def connect(**more):
    return psycopg.connect(CONNINFO, autocommit=True, **more)


def describe(error, conn=None):
    said = [type(error).__name__, error.sqlstate]
    text = str(error)
    # Where a connect failed, the address comes first.
    said.append(text.split("FATAL:")[-1].strip() if error.sqlstate is None else text)
    if error.sqlstate is not None and error.diag.message_primary:
        said.append([error.diag.severity, error.diag.message_primary, error.diag.message_hint])
    if conn is not None:
        said.append(pq.TransactionStatus(conn.info.transaction_status).name)
    return said


def fails(work, conn=None):
    try:
        work()
    except psycopg.Error as error:
        return describe(error, conn)
    return "no failure"


def usable(conn):
    """Whether the session goes on, after a rollback where one is needed."""
    if conn.info.transaction_status == pq.TransactionStatus.INERROR:
        conn.execute("ROLLBACK")
    return conn.execute("SELECT 7").fetchone()


def statement(conn, setup, text):
    if REAL:
        conn.execute(setup)
    said = fails(lambda: conn.execute(text), conn)
    return [said, usable(conn)]


def statement_timeout():
    with connect() as conn:
        return statement(conn, "SET statement_timeout = '50ms'", "UPDATE t SET b = b FROM (SELECT pg_sleep(0.5)) s")


def statement_timeout_in_transaction():
    with connect() as conn:
        if REAL:
            conn.execute("SET statement_timeout = '50ms'")
        conn.execute("BEGIN")
        said = fails(lambda: conn.execute("UPDATE t SET b = b FROM (SELECT pg_sleep(0.5)) s"), conn)
        after = fails(lambda: conn.execute("SELECT 1"), conn)
        end = conn.execute("COMMIT").statusmessage
        return [said, after, end, usable(conn)]


def lock_timeout():
    with connect() as holder, connect() as conn:
        if REAL:
            holder.execute("BEGIN")
            holder.execute("UPDATE t SET b = b WHERE a = 1")
        return statement(conn, "SET lock_timeout = '50ms'", "UPDATE t SET b = b WHERE a = 1")


def nowait():
    with connect() as holder, connect() as conn:
        if REAL:
            holder.execute("BEGIN")
            holder.execute("UPDATE t SET b = b WHERE a = 1")
        return statement(conn, "SELECT 1", "SELECT * FROM t WHERE a = 1 FOR UPDATE NOWAIT")


def deadlock():
    with connect() as other, connect() as conn:
        conn.execute("BEGIN")
        if REAL:
            other.execute("SET deadlock_timeout = '60s'")
            conn.execute("SET deadlock_timeout = '100ms'")
            conn.execute("UPDATE t SET b = b WHERE a = 1")
            other.execute("BEGIN")
            other.execute("UPDATE t SET b = b WHERE a = 2")
            waits = threading.Thread(target=lambda: other.execute("UPDATE t SET b = b WHERE a = 1"))
            waits.start()
            time.sleep(0.3)
        try:
            conn.execute("UPDATE t SET b = b WHERE a = 2")
            said = "no failure"
        except psycopg.Error as error:
            # Numbers of processes and transactions differ from run to run.
            said = [type(error).__name__, error.sqlstate, error.diag.message_primary, error.diag.message_hint]
            said.append(pq.TransactionStatus(conn.info.transaction_status).name)
        going = usable(conn)
        if REAL:
            waits.join()
        return [said, going]


def serialization():
    with connect() as other, connect() as conn:
        conn.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        conn.execute("SELECT * FROM t")
        if REAL:
            other.execute("UPDATE t SET b = b + 1 WHERE a = 1")
        said = fails(lambda: conn.execute("UPDATE t SET b = b WHERE a = 1"), conn)
        return [said, usable(conn)]


def serialization_at_commit():
    with connect() as one, connect() as conn:
        for each in (one, conn):
            each.execute("BEGIN ISOLATION LEVEL SERIALIZABLE")
            each.execute("SELECT sum(b) FROM t")
        if REAL:
            one.execute("UPDATE t SET b = b WHERE a = 1")
            conn.execute("UPDATE t SET b = b WHERE a = 2")
            one.execute("COMMIT")
        else:
            one.execute("ROLLBACK")
            conn.execute("UPDATE t SET b = b WHERE a = 2")
        said = fails(lambda: conn.execute("COMMIT"), conn)
        return [said, usable(conn)]


def read_only():
    with connect() as conn:
        if REAL:
            conn.execute("SET default_transaction_read_only = on")
        said = fails(lambda: conn.execute("UPDATE t SET b = b"), conn)
        return [said, usable(conn)]


def pipeline():
    """The second of three statements fails: nothing of the pipeline remains."""
    with connect() as conn:
        conn.execute("DROP TABLE IF EXISTS piped; CREATE TABLE piped (a int)")
        if REAL:
            conn.execute("SET lock_timeout = '50ms'")
        with connect() as holder:
            if REAL:
                holder.execute("BEGIN")
                holder.execute("UPDATE t SET b = b WHERE a = 1")

            def work():
                with conn.pipeline() as pipeline:
                    conn.execute("INSERT INTO piped VALUES (%s)", [1])
                    conn.execute("SELECT a FROM t WHERE a = %s FOR UPDATE NOWAIT", [1])
                    conn.execute("INSERT INTO piped VALUES (%s)", [2])
                    pipeline.sync()

            said = fails(work, conn)
        return [said, usable(conn), conn.execute("SELECT count(*) FROM piped").fetchone()]


def slots():
    """Every slot of the server is taken."""
    held = []
    if REAL:
        try:
            while True:
                held.append(connect())
        except psycopg.Error:
            pass
    said = fails(connect)
    for conn in held:
        conn.close()
    return said


def reserved():
    """Only the slots of superusers are left."""
    held = []
    if REAL:
        try:
            while True:
                held.append(connect(user="plain"))
        except psycopg.Error:
            pass
    said = fails(lambda: connect(user="plain"))
    for conn in held:
        conn.close()
    return said


def terminated():
    """An idle session is ended: the next statement hears of it, the one after finds it closed."""
    with connect() as other, connect() as conn:
        pid = conn.info.backend_pid
        conn.execute("SELECT 1")
        print("ready", file=sys.stderr, flush=True)
        if REAL:
            other.execute("SELECT pg_terminate_backend(%s)", [pid])
            time.sleep(0.3)
        else:
            sys.stdin.readline()
        first = fails(lambda: conn.execute("SELECT 1"), conn)
        second = fails(lambda: conn.execute("SELECT 1"), conn)
        return [first, second]


def restart():
    """`restart -m fast`: an idle session, then everyone who connects, until it is ready again."""
    conn = connect()
    conn.execute("SELECT 1")
    print("ready", file=sys.stderr, flush=True)
    sys.stdin.readline()
    idle = fails(lambda: conn.execute("SELECT 1"), conn)
    again = []
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            with connect(connect_timeout=5) as fresh:
                fresh.execute("SELECT 1")
            break
        except psycopg.OperationalError as error:
            text = describe(error)
            for known in ("shutting down", "starting up", "refused", "not yet accepting", "recovery mode"):
                if known in text[2]:
                    text[2] = known
            if "server closed the connection" in text[2] or "reset by peer" in text[2]:
                text[2] = "refused"
            if not again or again[-1] != text:
                again.append(text)
            time.sleep(0.002)
    else:
        again.append("never ready")
    return [idle, again]


json.dump(globals()[CASE](), sys.stdout, indent=1, default=str)
