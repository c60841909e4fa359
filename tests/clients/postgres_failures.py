"""What a PostgreSQL client sees of one failure, printed as JSON.

Usage: postgres_failures.py real|fault CASE CONNINFO

`real` brings the failure about in the server itself; `fault` only does what meets it, through a
proxy whose faults bring it about.
"""

import json
import os
import re
import select
import signal
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
    # A table's file has another name in every database.
    said = json.loads(re.sub(r"base/\d+/\d+", "base/N/N", json.dumps(said)))
    if conn is not None:
        said.append(pq.TransactionStatus(conn.info.transaction_status).name)
    return said


def fails(work, conn=None):
    try:
        work()
    except psycopg.Error as error:
        return describe(error, conn)
    return "no failure"


def comes_true(query, *values):
    """Waits until the server, asked by a session of its own, says so."""
    with connect() as asking:
        until = time.monotonic() + 30
        while not asking.execute(query, values).fetchone()[0]:
            assert time.monotonic() < until, query
            time.sleep(0.005)


def is_told(conn):
    """Waits until the server has said something to an idle session."""
    told, _, _ = select.select([conn.fileno()], [], [], 30)
    assert told, "the server says nothing"


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
            waiting = "SELECT EXISTS (SELECT FROM pg_locks WHERE pid = %s AND NOT granted)"
            comes_true(waiting, other.info.backend_pid)
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


def piped(*texts):
    """A transaction within one pipeline, begun, done and ended before any Sync: what it meets, the
    state it leaves behind, and what remains of it."""
    with connect() as conn:
        conn.execute(
            "DROP TABLE IF EXISTS checked; DROP TABLE IF EXISTS piped; CREATE TABLE piped (a int PRIMARY KEY);"
            " CREATE TABLE checked (a int REFERENCES t(a) DEFERRABLE INITIALLY DEFERRED);"
            " INSERT INTO piped VALUES (1)"
        )

        def work():
            with conn.pipeline() as pipeline:
                for text in texts:
                    conn.execute(text)
                pipeline.sync()

        said = fails(work, conn)
        state = pq.TransactionStatus(conn.info.transaction_status).name
        rows = [usable(conn)]
        for table in ("piped", "checked"):
            rows.append(conn.execute(f"SELECT count(*) FROM {table}").fetchone())
        return [said, state, rows]


def piped_commit():
    """The COMMIT fails, by a constraint that is checked only then."""
    return piped(
        "BEGIN", "INSERT INTO piped VALUES (2)", f"INSERT INTO checked VALUES ({9 if REAL else 1})", "COMMIT", "SELECT 1"
    )


def piped_insert():
    """A statement in it fails: the COMMIT is skipped."""
    return piped("BEGIN", "INSERT INTO piped VALUES (2)", f"INSERT INTO piped VALUES ({1 if REAL else 3})", "COMMIT")


def flushed():
    """Asks for an answer in the midst of a pipeline, then goes on with it."""
    signal.alarm(30)
    with connect() as conn:
        conn.execute("DROP TABLE IF EXISTS piped; CREATE TABLE piped (a int PRIMARY KEY)")
        met = []

        def work():
            with conn.pipeline() as pipeline:
                first = "INSERT INTO piped VALUES (1) RETURNING a"
                met.append(fails(lambda: conn.execute(first).fetchone()))
                conn.execute("INSERT INTO piped VALUES (2)")
                pipeline.sync()

        met.append(fails(work, conn))
        return [met, usable(conn), conn.execute("SELECT count(*) FROM piped").fetchone()]


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
            is_told(conn)
        else:
            sys.stdin.readline()
        first = fails(lambda: conn.execute("SELECT 1"), conn)
        second = fails(lambda: conn.execute("SELECT 1"), conn)
        return [first, second]


def when_ready(setup, work):
    """Something that befalls an idle session, by the server itself or by a fault."""
    with connect() as other, connect() as conn:
        conn.execute("SELECT 1")
        print("ready", file=sys.stderr, flush=True)
        if REAL:
            setup(other, conn)
        else:
            sys.stdin.readline()
        first = fails(work or (lambda: conn.execute("SELECT 1")), conn)
        second = fails(lambda: conn.execute("SELECT 1"), conn)
        return [first, second]


def user_request():
    """Another session cancels the statement."""
    with connect() as other, connect() as conn:
        if REAL:
            pid = conn.info.backend_pid

            def cancel():
                active = "SELECT state = 'active' FROM pg_stat_activity WHERE pid = %s"
                comes_true(active, pid)
                other.execute("SELECT pg_cancel_backend(%s)", [pid])

            threading.Thread(target=cancel).start()
        said = fails(lambda: conn.execute("UPDATE t SET b = b FROM (SELECT pg_sleep(20)) s"), conn)
        return [said, usable(conn)]


def relation_locked():
    with connect() as holder, connect() as conn:
        if REAL:
            holder.execute("BEGIN")
            holder.execute("LOCK TABLE t")
        conn.execute("BEGIN")
        return statement(conn, "SELECT 1", "LOCK TABLE t NOWAIT")


def temp_file_limit():
    with connect() as conn:
        if REAL:
            conn.execute("SET work_mem = '64kB'")
            conn.execute("SET temp_file_limit = '64kB'")
        text = "SELECT count(*) FROM (SELECT * FROM generate_series(1, 100000) n ORDER BY n DESC) s"
        return [fails(lambda: conn.execute(text), conn), usable(conn)]


def disk_full():
    """There is no more room for a table's file."""
    with connect() as conn:
        conn.execute("CREATE TABLE IF NOT EXISTS filling (a int)")
        if REAL:
            where = "SELECT current_setting('data_directory') || '/' || pg_relation_filepath('filling')"
            path = conn.execute(where).fetchone()[0]
            os.unlink(path)
            os.symlink("/dev/full", path)
    with connect() as conn:
        return [fails(lambda: conn.execute("INSERT INTO filling VALUES (1)"), conn), usable(conn)]


def out_of_memory():
    """The session's process may not have any more memory."""
    with connect() as conn:
        if REAL:
            pid = conn.info.backend_pid
            with open(f"/proc/{pid}/statm") as statm:
                limit = int(statm.read().split()[0]) * os.sysconf("SC_PAGE_SIZE") + 2**24
            # By the server itself: only its own account may.
            conn.execute(f"COPY (SELECT) TO PROGRAM 'prlimit --pid {pid} --as={limit}:'")
        text = "UPDATE t SET b = length(repeat('x', 200000000))"
        return [fails(lambda: conn.execute(text), conn), usable(conn)]


def refused(user, dbname="postgres", *operator):
    """The server refuses a session; `operator` makes it do so."""
    if REAL:
        with connect() as conn:
            for text in operator:
                conn.execute(text)
    return fails(lambda: connect(user=user, dbname=dbname))


def role_limit():
    said = refused("plain", "postgres", "ALTER ROLE plain CONNECTION LIMIT 0")
    if REAL:
        refused("plain", "postgres", "ALTER ROLE plain CONNECTION LIMIT -1")
    return said


def database_limit():
    return refused("plain", "narrow", "CREATE DATABASE narrow CONNECTION LIMIT 0")


def database_not_accepting():
    return refused("app", "shut", "CREATE DATABASE shut", "ALTER DATABASE shut ALLOW_CONNECTIONS false")


def no_database():
    return refused("app", "nowhere")


def idle_session():
    def setup(_, conn):
        conn.execute("SET idle_session_timeout = '100ms'")
        is_told(conn)

    return when_ready(setup, None)


def idle_in_transaction():
    with connect() as conn:
        if REAL:
            conn.execute("SET idle_in_transaction_session_timeout = '100ms'")
        conn.execute("BEGIN")
        print("ready", file=sys.stderr, flush=True)
        if REAL:
            is_told(conn)
        else:
            sys.stdin.readline()
        first = fails(lambda: conn.execute("SELECT 1"), conn)
        return [first, fails(lambda: conn.execute("SELECT 1"), conn)]


def crashed():
    """Another session's process is killed: the server ends all others as well."""
    def setup(other, conn):
        os.kill(other.info.backend_pid, signal.SIGKILL)
        is_told(conn)

    said = when_ready(setup, None)
    if REAL:
        until = time.monotonic() + 30
        while time.monotonic() < until and fails(lambda: connect().close()) != "no failure":
            time.sleep(0.05)
    return said


def pooler_waits():
    """A pooler has no connection of the server's left for a statement."""
    with connect() as holder, connect() as conn:
        if REAL:
            holder.execute("BEGIN")
            holder.execute("SELECT 1")
        first = fails(lambda: conn.execute("SELECT 1"), conn)
        return [first, fails(lambda: conn.execute("SELECT 1"), conn)]


def through_a_pooler(how):
    """The server's end of a pooler's connection ends within a transaction."""
    with connect() as conn:
        conn.execute("BEGIN")
        pid = conn.execute("SELECT pg_backend_pid()").fetchone()[0]
        print("ready", file=sys.stderr, flush=True)
        if REAL:
            os.kill(pid, how)
            is_told(conn)
        else:
            sys.stdin.readline()
        first = fails(lambda: conn.execute("SELECT 1"), conn)
        return [first, fails(lambda: conn.execute("SELECT 1"), conn)]


def pooler_server_shutdown():
    return through_a_pooler(signal.SIGTERM)


def pooler_server_crashed():
    return through_a_pooler(signal.SIGKILL)


def connecting():
    return fails(connect)


def stating():
    with connect() as conn:
        return [fails(lambda: conn.execute("UPDATE t SET b = b WHERE a = 1"), conn), usable(conn)]


def ending():
    with connect() as conn:
        first = fails(lambda: conn.execute("UPDATE t SET b = b WHERE a = 1"), conn)
        return [first, fails(lambda: conn.execute("SELECT 1"), conn)]


def idling():
    return when_ready(None, None)


def pool():
    """What a pool's borrowers meet, one after the other, while the server is started anew."""
    import logging

    from psycopg_pool import ConnectionPool, PoolTimeout

    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)
    met = []

    def borrow():
        try:
            with pool.connection(timeout=0.3) as conn:
                conn.execute("SELECT 1")
            return ["served", None]
        except PoolTimeout:
            return ["PoolTimeout", None]
        except psycopg.Error as error:
            return [type(error).__name__, error.sqlstate]

    options = {"autocommit": True}
    with ConnectionPool(CONNINFO, min_size=2, max_size=2, kwargs=options, open=True) as pool:
        pool.wait(20)
        met.append(borrow())
        print("ready", file=sys.stderr, flush=True)
        sys.stdin.readline()
        until = time.monotonic() + 40
        while time.monotonic() < until:
            seen = borrow()
            if seen != met[-1]:
                met.append(seen)
            if seen[0] == "served" and len(met) > 1:
                return met
            time.sleep(0.005)
    return [*met, "never ready"]


def reconnecting(conn):
    """An idle session, then everyone who connects, until the server is ready again."""
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


def restart():
    """`restart -m fast` or `immediate`."""
    conn = connect()
    conn.execute("SELECT 1")
    print("ready", file=sys.stderr, flush=True)
    sys.stdin.readline()
    return reconnecting(conn)


def crash():
    """Another session's process is killed, and the server recovers."""
    other, conn = connect(), connect()
    conn.execute("SELECT 1")
    print("ready", file=sys.stderr, flush=True)
    if REAL:
        os.kill(other.info.backend_pid, signal.SIGKILL)
        is_told(conn)
    else:
        sys.stdin.readline()
    return reconnecting(conn)


json.dump(globals()[CASE](), sys.stdout, indent=1, default=str)
