"""Goes through psycopg's API against one server and prints what each step gave, as JSON.

    postgres_api.py CONNINFO

Every result and every exception is printed, so that a direct and a proxied run can be compared byte
for byte. Left out is only what the server itself gives anew each time: the ids of its processes, the
numbers of types made here, and, in texts of a failed connection, the port.
"""

import asyncio
import hashlib
import itertools
import json
import re
import sys
import threading

import psycopg
from psycopg import pq, sql
from psycopg.rows import dict_row, scalar_row
from psycopg.types.json import Jsonb
from psycopg.types.range import Range

SCHEMA = "api"
CONNINFO = f"{sys.argv[1]} options='-c search_path={SCHEMA} -c timezone=UTC'"
PORT = psycopg.conninfo.conninfo_to_dict(sys.argv[1])["port"]
# What is made in a database has a number from here on.
OWN_TYPES = 16384


def plain(value):
    if isinstance(value, (bytes, bytearray, memoryview)):
        value = bytes(value)
        return value.decode("latin-1") if len(value) < 100 else f"{len(value)}:{hashlib.sha256(value).hexdigest()}"
    if isinstance(value, str) and len(value) > 1000:
        return f"{len(value)}:{hashlib.sha256(value.encode()).hexdigest()}"
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, psycopg.Error):
        return failure(value)
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Exception):
        return [type(value).__name__, str(value)]
    return value if isinstance(value, (bool, int, float, str, type(None))) else f"{type(value).__name__} {value!r}"


def failure(error):
    """All that a client is told of an error."""
    diag = error.diag
    names = [name for name in dir(diag) if not name.startswith("_") and isinstance(getattr(diag, name), str)]
    text = str(error).replace(f"port {PORT}", "port")
    return [type(error).__name__, error.sqlstate, text, {name: getattr(diag, name) for name in names}]


def attempt(work, *arguments, **more):
    try:
        return work(*arguments, **more)
    except (psycopg.Error, psycopg.Warning, IndexError) as error:
        return error


def connect(**more):
    return psycopg.connect(CONNINFO, **({"autocommit": True} | more))


def answer(cursor):
    """Everything that a cursor knows of its results, of one after the other."""
    told = []
    for result in cursor.results():
        columns = [
            (one.name, min(one.type_code, OWN_TYPES), one.display_size, one.internal_size, one.precision, one.scale)
            for one in result.description or ()
        ]
        told.append((result.statusmessage, result.rowcount, columns, result.fetchall() if columns else None))
    return told


def ask(conn, query, arguments=None, **more):
    try:
        return answer(conn.execute(query, arguments, **more))
    except psycopg.Error as error:
        return error


def status(conn):
    return pq.TransactionStatus(conn.info.transaction_status).name


def sessions():
    with connect() as conn:
        info = conn.info
        own = info.get_parameters()
        own.pop("port")
        yield own, info.server_version, info.status.name, info.encoding, str(info.timezone), info.vendor
        yield [
            info.parameter_status(name)
            for name in ("server_version", "server_encoding", "DateStyle", "IntervalStyle", "is_superuser", "TimeZone")
        ]
        yield info.backend_pid == conn.execute("SELECT pg_backend_pid()").fetchone()[0]
        yield ask(conn, "SHOW search_path"), ask(conn, "SET client_encoding TO latin1")
        yield info.encoding, ask(conn, "SELECT 'é', %s", ["ü"]), ask(conn, "SELECT U&'\\2603'"), ask(conn, "RESET client_encoding")
        yield ask(conn, "SET DateStyle TO german"), info.parameter_status("DateStyle"), ask(conn, "RESET ALL")
        yield ask(conn, ""), ask(conn, "-- a comment"), ask(conn, " ; ; "), ask(conn, "SELECT")
        yield ask(conn, "DISCARD ALL"), status(conn)
    for change in (
        {"dbname": "nowhere"},
        {"user": "nobody"},
        {"password": "wrong"},
        {"sslmode": "require"},
        {"channel_binding": "require"},
        {"options": "-c no_such_setting=1"},
        {"replication": "database", "target_session_attrs": "read-only"},
        {"client_encoding": "klingon"},
        {"target_session_attrs": "standby"},
        {"application_name": "a" * 200},
    ):
        made = attempt(psycopg.connect, CONNINFO, **change)
        if isinstance(made, psycopg.Connection):
            with made:
                yield made.info.parameter_status("application_name"), ask(made, "SELECT current_setting('application_name')")
        else:
            yield made
    closed = connect()
    closed.close()
    yield attempt(closed.execute, "SELECT 1"), closed.closed, closed.broken


def values():
    made = (
        "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TYPE pair AS (a int, b text);"
        "CREATE DOMAIN even AS int CHECK (VALUE % 2 = 0)"
    )
    texts = [
        "1::int2, -1::int4, 9223372036854775807::int8, 'NaN'::float4, '-Infinity'::float8, 1e-300::float8",
        "'123456789.000000001'::numeric, 'NaN'::numeric, 1::bool, 'c'::\"char\", 'n'::name, 'x'::char(3), 'y'::varchar",
        "'\\x00ff'::bytea, '2000-02-29'::date, '23:59:59.999999'::time, '01:02:03+04:30'::timetz",
        "'2017-02-28 12:37:00.5'::timestamp, '2017-02-28 12:37:00+00'::timestamptz, '1 mon -2 days 03:04:05.6'::interval",
        "'infinity'::date, '4713-01-01 BC'::date",
        "'{1,NULL,3}'::int[], '[2:3][1:2]={{1,2},{3,4}}'::int[], '{\"a b\",\"c\\\"d\"}'::text[], '{}'::date[]",
        "'{\"a\": [1, null, \"é\"]}'::json, '{\"b\": 1.50, \"a\": true}'::jsonb, '<a>b</a>'::xml",
        "'127.0.0.1/32'::inet, '10.0.0.0/8'::cidr, '08:00:2b:01:02:03'::macaddr, B'1011'::bit(4), '1.5'::money",
        "'[1,5)'::int4range, '(,2017-01-01]'::daterange, '{[1,2),[3,4)}'::int4multirange",
        "'(1,2)'::point, '0/16B3748'::pg_lsn, 'pg_class'::regclass::text, '1:2,3'::tsvector, 'a & b'::tsquery",
        "'ok'::mood, ROW(1, 'two')::pair, 4::even, ROW(1, 'record')",
        "NULL, ''::text, repeat('long ', 100000), gen_random_uuid() IS NOT NULL, 'a\tb\nc\\d'::text",
    ]
    with connect() as conn:
        yield ask(conn, made)
        for text in texts:
            yield ask(conn, f"SELECT {text}"), ask(conn, f"SELECT {text}", [], binary=True)
        given = [
            1, 2**40, 2**70, -1.5, True, None, "é☃", b"\x00\xff", [1, 2], [["a"], ["b"]], Jsonb({"a": [1]}),
            Range(1, 5, "[)"),
        ]
        for value in given:
            for place in ("%s", "%b", "%t"):
                yield ask(conn, f"SELECT {place}, pg_typeof({place})::text", [value, value])
        yield ask(conn, "SELECT %s::even", [3]), ask(conn, "SELECT 'none'::mood"), ask(conn, "SELECT %(a)s + %(b)s", {"a": 1, "b": 2})
        yield ask(conn, "SELECT %s || 'x'", ["\x00"])
        yield ask(conn, sql.SQL("SELECT {} FROM {}").format(sql.Literal("l'it"), sql.Identifier("pg_class")) + sql.SQL(" LIMIT 2"))
        for size in (0, 1, 8191, 8192, 65_535, 65_536, 1_000_003, 20_000_000):
            yield ask(conn, "SELECT octet_length(%b), %b", [b"\x01" * size] * 2, binary=True)


def statements():
    with connect() as conn:
        yield ask(conn, "CREATE TABLE t (id int PRIMARY KEY, word text NOT NULL CHECK (word <> 'bad'), up int REFERENCES t)")
        yield ask(conn, "INSERT INTO t VALUES (1, 'one', NULL), (2, 'two', 1) RETURNING id, word")
        yield ask(conn, "SELECT 1; SELECT 'a', 'b'; INSERT INTO t VALUES (3, 'c'); SELECT word FROM t WHERE false; NOTIFY nobody")
        yield ask(conn, "SELECT 1; SELECT 1/0; SELECT 2"), ask(conn, "BEGIN; INSERT INTO t VALUES (8, 'h'); COMMIT; SELECT nonsense")
        yield ask(conn, "SELECT count(*) FROM t"), ask(conn, "SELECT 1; SELECT 2", [], binary=True)
        for wrong in (
            "SELEKT 1", "SELECT * FROM nowhere", "SELECT none FROM t", "INSERT INTO t VALUES (1, 'again')",
            "INSERT INTO t VALUES (5, NULL)", "INSERT INTO t VALUES (5, 'bad')", "INSERT INTO t VALUES (5, 'e', 77)",
            "DELETE FROM t WHERE id = 1", "SELECT 1/0", "SELECT 'x'::int", "SELECT lo_get(7)", "DROP TABLE t CASCADE; SELECT 1/0",
            "SELECT 'unfinished", "UPDATE t SET id = 'a'", "DO $$ BEGIN RAISE 'own %', 7 USING ERRCODE = 'XX123', DETAIL = 'd', HINT = 'h'; END $$",
            "DO $$ BEGIN PERFORM 1/0; END $$", "VACUUM; SELECT 1", "LOCK TABLE t", "SELECT pg_sleep('a')", "SET nothing = 1",
        ):
            yield ask(conn, wrong), status(conn)
        yield ask(conn, "SELECT $1", [1]), ask(conn, "SELECT %s::int", ["x"]), attempt(conn.execute, "SELECT %s", [1, 2])
        yield ask(conn, "SET statement_timeout = 50"), ask(conn, "SELECT pg_sleep(20)"), ask(conn, "SET statement_timeout = 0")
        yield ask(conn, "EXPLAIN (COSTS off) SELECT * FROM t"), ask(conn, "SHOW ALL")[0][:2]
        yield ask(conn, "CREATE FUNCTION f(INOUT a int, OUT b text) LANGUAGE plpgsql AS $$ BEGIN a := a + 1; b := 'out'; END $$")
        yield ask(conn, "SELECT * FROM f(1)"), ask(conn, "CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN UPDATE t SET up = NULL; COMMIT; END $$")
        yield ask(conn, "CALL p()"), ask(conn, "MERGE INTO t USING (VALUES (1), (9)) AS n (id) ON t.id = n.id"
                                              " WHEN MATCHED THEN UPDATE SET word = 'merged' WHEN NOT MATCHED THEN INSERT VALUES (n.id, 'new')")
        yield ask(conn, "TABLE t"), ask(conn, "SELECT * FROM generate_series(1, 50000)")[0][:2], ask(conn, "TRUNCATE t CASCADE")


def cursors():
    with connect() as conn:
        with conn.cursor() as cursor:
            cursor.executemany("INSERT INTO t VALUES (%s, %s) RETURNING id, word", [(n, f"w{n}") for n in range(300)], returning=True)
            yield hashlib.sha256(repr(answer(cursor)).encode()).hexdigest(), cursor.rowcount
            yield attempt(cursor.executemany, "INSERT INTO t VALUES (%s, 'x')", [(1000,), (1000,), (1001,)]), ask(conn, "SELECT count(*) FROM t")
            cursor.execute("SELECT id FROM t ORDER BY id")
            yield cursor.fetchone(), cursor.fetchmany(3), cursor.scroll(10), cursor.fetchone(), cursor.scroll(0, mode="absolute"), cursor.fetchone()
            yield attempt(cursor.scroll, 9999), len(cursor.fetchall()), cursor.rownumber
            yield sum(row[0] for row in cursor.stream("SELECT id FROM t WHERE id < %s", [200]))
            yield sum(row[0] for row in cursor.stream("SELECT id FROM t", size=7)), sum(1 for _ in cursor.stream("SELECT %s", [1], binary=True))
            stopped = cursor.stream("SELECT * FROM generate_series(1, 100000)")
            yield list(itertools.islice(stopped, 3)), stopped.close(), ask(conn, "SELECT 'after'")
            yield attempt(list, cursor.stream("SELECT 1 / (3 - n) FROM generate_series(1, 5) AS n")), status(conn)
        yield conn.cursor(row_factory=dict_row).execute("SELECT 1 AS a, 2 AS b").fetchone()
        yield conn.cursor(row_factory=scalar_row).execute("SELECT 7").fetchone()
        with psycopg.ClientCursor(conn) as client:
            yield answer(client.execute("SELECT %s, %s", ["cl'ient", 1])), client.mogrify("SELECT %s", [b"\x01"])
        with psycopg.RawCursor(conn) as raw:
            yield answer(raw.execute("SELECT $1::int, $2::text", [1, "raw"]))
        with conn.transaction():
            with conn.cursor("named", scrollable=True, binary=True) as named:
                named.execute("SELECT id, word FROM t ORDER BY id")
                named.itersize = 17
                yield named.fetchone(), named.fetchmany(2), named.scroll(-2), named.fetchone(), named.scroll(250, mode="absolute")
                yield named.fetchmany(2), len(list(named)), named.rownumber, [one.name for one in named.description]
            with conn.cursor("forward", scrollable=False) as forward:
                forward.execute("SELECT id FROM t WHERE id < %s", [9])
                yield forward.fetchmany(4)
                yield attempt(forward.scroll, -2)
        yield status(conn)
        with conn.cursor("held", withhold=True) as held:
            held.execute("SELECT id FROM t ORDER BY id DESC")
            yield held.fetchmany(3), len(held.fetchall())
        yield attempt(conn.cursor("homeless").execute, "SELECT 1"), ask(conn, "FETCH 1 FROM nothing"), ask(conn, "CLOSE ALL")


def transactions():
    with connect(autocommit=False) as conn:
        yield status(conn), ask(conn, "SELECT 1"), status(conn), conn.rollback(), status(conn)
        conn.isolation_level, conn.read_only, conn.deferrable = psycopg.IsolationLevel.SERIALIZABLE, True, True
        yield ask(conn, "SHOW transaction_isolation"), ask(conn, "DELETE FROM t"), status(conn), ask(conn, "SELECT 1")
        yield conn.rollback(), status(conn)
        conn.isolation_level, conn.read_only, conn.deferrable = None, None, None
        yield ask(conn, "INSERT INTO t VALUES (7000, 'kept')"), conn.commit(), ask(conn, "INSERT INTO t VALUES (7001, 'lost')"), conn.rollback()
        yield ask(conn, "SELECT id FROM t WHERE id >= 7000"), conn.rollback()

        def inner():
            with conn.transaction("outer"):
                conn.execute("INSERT INTO t VALUES (7002, 'outer')")
                with conn.transaction():
                    conn.execute("INSERT INTO t VALUES (7003, 'inner')")
                    raise psycopg.Rollback
                conn.execute("INSERT INTO t VALUES (7002, 'twice')")

        yield attempt(inner), status(conn), ask(conn, "SELECT id FROM t WHERE id >= 7000"), conn.commit()
        yield ask(conn, "SET CONSTRAINTS ALL DEFERRED"), ask(conn, "SAVEPOINT a"), ask(conn, "ROLLBACK TO b"), ask(conn, "ROLLBACK TO a")
        yield ask(conn, "RELEASE a"), ask(conn, "COMMIT AND CHAIN"), status(conn), ask(conn, "ABORT"), ask(conn, "COMMIT")
    two = connect(autocommit=False)
    yield attempt(two.tpc_begin, two.xid(1, "gtrid", "bqual")), ask(two, "SELECT 1"), attempt(two.tpc_prepare), status(two), attempt(two.tpc_rollback), two.close()
    with connect() as one, connect() as other:
        one.execute("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        yield ask(other, "LOCK TABLE t NOWAIT"), ask(other, "SET lock_timeout = 30"), ask(other, "SELECT count(*) FROM t")
        yield ask(one, "ROLLBACK"), ask(other, "SELECT count(*) FROM t")
        for conn in (one, other):
            conn.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            conn.execute("SELECT count(*) FROM t")
        yield ask(one, "UPDATE t SET word = 'first' WHERE id = 1"), ask(one, "COMMIT")
        yield ask(other, "UPDATE t SET word = 'second' WHERE id = 1"), ask(other, "SELECT 1"), ask(other, "COMMIT"), status(other)


def copies():
    rows = [(n, f"word\t{n}\\ é") for n in range(5000)]
    with connect() as conn, conn.cursor() as cursor:
        cursor.execute("CREATE TABLE c (id int, word text)")
        with cursor.copy("COPY c FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        yield cursor.rowcount, cursor.statusmessage
        with cursor.copy("COPY c FROM STDIN (FORMAT csv, HEADER, DELIMITER ';', NULL 'none')") as copy:
            copy.write('id;word\n1;"quoted; ""x"""\nnone;none\n')
        yield cursor.rowcount
        with cursor.copy("COPY c FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(["int4", "text"])
            copy.write_row((None, None))
            copy.write_row((1, "x" * 300_000))
        yield cursor.rowcount
        for how in ("", "(FORMAT csv, FORCE_QUOTE *)", "(FORMAT BINARY)"):
            with cursor.copy(f"COPY (SELECT * FROM c ORDER BY id, word) TO STDOUT {how}") as copy:
                yield b"".join(bytes(part) for part in copy)
            yield cursor.statusmessage
        with cursor.copy("COPY (SELECT 1, 'a' UNION ALL SELECT 2, NULL) TO STDOUT (FORMAT BINARY)") as copy:
            copy.set_types(["int4", "text"])
            yield list(copy.rows())
        left = connect()
        with left.cursor().copy("COPY (SELECT generate_series(1, 100000)) TO STDOUT") as copy:
            yield copy.read(), "and no more", left.close()
        yield status(conn), ask(conn, "SELECT 1")

        def bad(text, *lines):
            with cursor.copy(text) as copy:
                for line in lines:
                    copy.write(line)

        def broken(how, text):
            with connect() as other, other.cursor() as own, own.copy(f"COPY c FROM STDIN {how}") as copy:
                copy.write(text)

        yield attempt(bad, "COPY c FROM STDIN", "1\tfine\n", "nonsense\n"), ask(conn, "SELECT count(*) FROM c"), status(conn)
        yield attempt(bad, "COPY nowhere FROM STDIN", "x\n"), status(conn), attempt(broken, "(FORMAT BINARY)", b"no binary\n"), attempt(broken, "(FORMAT csv)", '"open')
        yield attempt(bad, "COPY (SELECT 1/0) FROM STDIN"), status(conn)
        with conn.transaction():
            yield ask(conn, "SELECT 1")
            bad("COPY c FROM STDIN", "7\tin a transaction\n")
            yield status(conn), cursor.rowcount
        yield ask(conn, "COPY c TO PROGRAM 'exit 7'"), ask(conn, "SELECT count(*) FROM c")


def pipelines():
    with connect() as conn:
        with conn.pipeline() as pipeline:
            cursors = [conn.execute("SELECT %s::int, repeat('x', %s)", [n, n]) for n in range(400)]
            inserted = conn.execute("INSERT INTO t VALUES (8000, 'piped') RETURNING id")
            with conn.pipeline():
                nested = conn.execute("SELECT 'nested'")
            pipeline.sync()
            yield [cursor.fetchone() for cursor in cursors][-1], inserted.fetchone(), nested.fetchone(), pipeline.status.name

        def spoilt(*texts):
            with conn.pipeline():
                made = [conn.execute(text) for text in texts]
                return [answer(cursor) for cursor in made]

        yield attempt(spoilt, "SELECT 1", "SELECT 1/0", "SELECT 2"), status(conn)
        yield attempt(spoilt, "INSERT INTO t VALUES (8001, 'undone')", "INSERT INTO t VALUES (8000, 'again')"), status(conn)
        yield ask(conn, "SELECT id FROM t WHERE id BETWEEN 8000 AND 8999")
        steps = []
        with conn.pipeline() as pipeline:
            steps.append(attempt(conn.execute("SELECT 1/0").fetchone))
            steps.append(attempt(conn.execute("SELECT 'aborted'").fetchone))
            steps.append(attempt(pipeline.sync))
            steps.append(attempt(conn.execute("SELECT 'again'").fetchone))
        yield steps, status(conn)
        with conn.pipeline(), conn.transaction():
            conn.execute("INSERT INTO t VALUES (8002, 'transaction')")
            conn.execute("SAVEPOINT a")
            conn.execute("INSERT INTO t VALUES (8003, 'rolled back')")
            conn.execute("ROLLBACK TO a")
        with conn.pipeline(), conn.cursor() as cursor:
            cursor.executemany("INSERT INTO t VALUES (%s, 'many')", [(n,) for n in range(8100, 8300)])
        yield ask(conn, "SELECT id FROM t WHERE id BETWEEN 8000 AND 8199")


def prepared():
    with connect(prepare_threshold=2) as conn:
        yield [ask(conn, "SELECT %s::int * 2", [n]) for n in range(6)]
        yield ask(conn, "SELECT statement, parameter_types::text FROM pg_prepared_statements ORDER BY 1")
        yield ask(conn, "CREATE TABLE plan (a int)"), [ask(conn, "SELECT * FROM plan", prepare=True) for _ in range(3)]
        yield ask(conn, "ALTER TABLE plan ADD b text"), ask(conn, "SELECT * FROM plan", prepare=True), ask(conn, "SELECT * FROM plan")
        yield ask(conn, "DEALLOCATE ALL"), ask(conn, "SELECT %s::int * 2", [4], prepare=True)
        yield ask(conn, "PREPARE own (int) AS SELECT $1 + 1"), ask(conn, "EXECUTE own(1)"), ask(conn, "DEALLOCATE own"), ask(conn, "EXECUTE own(1)")
        raw = conn.pgconn

        def told(result):
            columns = [(result.fname(n), result.ftype(n), result.fmod(n), result.fformat(n)) for n in range(result.nfields)]
            types = [result.param_type(n) for n in range(result.nparams)]
            rows = [[result.get_value(row, n) for n in range(result.nfields)] for row in range(result.ntuples)]
            said = result.error_message.decode() if result.error_message else None
            return pq.ExecStatus(result.status).name, result.command_status, columns, types, rows, said

        yield told(raw.prepare(b"st", b"SELECT $1::int4, $2")), told(raw.describe_prepared(b"st"))
        yield told(raw.exec_prepared(b"st", [b"7", b"text"])), told(raw.exec_prepared(b"st", [b"\0\0\0\x07", None], [1, 0], 1))
        yield told(raw.exec_prepared(b"none", [])), told(raw.describe_prepared(b"none")), told(raw.describe_portal(b"none"))
        yield told(raw.prepare(b"st", b"SELECT 1")), told(raw.prepare(b"bad", b"SELEKT"))
        yield told(raw.exec_(b"BEGIN; DECLARE portal CURSOR FOR SELECT 1 AS one")), told(raw.describe_portal(b"portal")), told(raw.exec_(b"END"))
        yield told(raw.exec_params(b"SELECT $1", [b"\x00\x01"], [17], [1], 1)), told(raw.exec_params(b"", [])), told(raw.exec_(b""))
        close = getattr(raw, "close_prepared", None)
        yield told(close(b"st")) if close and pq.version() >= 170000 else None


def notices():
    with connect() as conn, connect() as other:
        heard, got = [], []
        conn.add_notice_handler(lambda diag: heard.append([diag.severity, diag.sqlstate, diag.message_primary, diag.message_detail, diag.context]))
        conn.add_notify_handler(lambda notify: got.append([notify.channel, notify.payload, notify.pid == other.info.backend_pid]))
        yield ask(conn, "SET client_min_messages TO debug1"), ask(
            conn,
            "DO $$ BEGIN RAISE DEBUG 'debug'; RAISE LOG 'log'; RAISE INFO 'info'; RAISE NOTICE 'notice' USING DETAIL = 'more';"
            " RAISE WARNING 'warning'; END $$",
        )
        yield ask(conn, "RESET client_min_messages"), ask(conn, "DROP TABLE IF EXISTS nothing"), ask(conn, "COMMIT")
        yield ask(conn, "LISTEN one; LISTEN two"), ask(conn, "SELECT pg_listening_channels()")
        for n in range(50):
            other.execute("SELECT pg_notify('one', %s)", [str(n)])
        yield ask(other, "SELECT pg_notify('two', repeat('x', 7999))"), ask(other, "SELECT pg_notify('two', repeat('x', 8000))")
        while len(got) < 51:
            conn.execute("SELECT 1")
        yield got
        conn.remove_notify_handler(conn._notify_handlers[0])
        yield ask(other, "NOTIFY two, 'waited for'"), [[one.channel, one.payload] for one in conn.notifies(timeout=20, stop_after=1)]
        yield ask(conn, "UNLISTEN *"), list(conn.notifies(timeout=0)), heard


def cancels():
    with connect() as conn, connect() as watch:
        def when_asleep(act):
            asleep = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'"
            while watch.execute(asleep, [conn.info.backend_pid]).fetchone() is None:
                pass
            act()

        for act in (conn.cancel, conn.cancel_safe):
            helper = threading.Thread(target=when_asleep, args=(act,))
            helper.start()
            yield ask(conn, "SELECT 'before'; SELECT pg_sleep(60); SELECT 'behind'"), status(conn)
            helper.join()
            yield ask(conn, "SELECT 'goes on'")
        yield conn.cancel_safe(), ask(conn, "SELECT 'nothing was cancelled'")
        # Of a session that another one ends.
        doomed = connect()
        yield ask(watch, "SELECT pg_terminate_backend(%s, 20000)", [doomed.info.backend_pid])
        yield ask(doomed, "SELECT 1"), doomed.broken, ask(doomed, "SELECT 1")


def large_objects():
    with connect() as conn:
        yield ask(conn, "SELECT lo_unlink(oid) FROM pg_largeobject_metadata WHERE oid = 4242")
        yield ask(conn, "SELECT lo_from_bytea(4242, %s)", [bytes(range(256)) * 8000])
        with conn.transaction():
            yield ask(conn, "SELECT lo_open(4242, x'60000'::int)"), ask(conn, "SELECT lo_lseek(0, 100, 0), loread(0, 10)")
            yield ask(conn, "SELECT lowrite(0, 'written'), lo_tell64(0), lo_truncate(0, 1000000), lo_close(0)")
        yield ask(conn, "SELECT lo_get(4242)", binary=True), ask(conn, "SELECT lo_get(4242, 100, 20), lo_unlink(4242)"), ask(conn, "SELECT lo_get(4242)")


def asynchronous():
    async def main():
        async with await psycopg.AsyncConnection.connect(CONNINFO, autocommit=True) as conn:
            async def one(n):
                cursor = await conn.execute("SELECT %s::int", [n])
                return await cursor.fetchone()

            told = [await asyncio.gather(*(one(n) for n in range(20)))]
            async with conn.pipeline(), conn.cursor() as cursor:
                await cursor.execute("SELECT repeat('y', 100000)")
                told.append(await cursor.fetchone())
            async with conn.cursor() as cursor, cursor.copy("COPY (SELECT generate_series(1, 2000)) TO STDOUT") as copy:
                told.append(b"".join([bytes(part) async for part in copy]))
            # What its caller no longer waits for is cancelled by psycopg itself.
            told.append(isinstance(await abandoned(conn), TimeoutError))
            told.append(await one(7))
            return told

    async def abandoned(conn):
        try:
            await asyncio.wait_for(conn.execute("SELECT pg_sleep(60)"), 0.2)
        except asyncio.TimeoutError as error:
            return TimeoutError(str(error))

    yield asyncio.run(main())


def replication():
    with connect(replication="database") as conn:
        said = ask(psycopg.ClientCursor(conn).connection, "SHOW wal_level")
        identified = psycopg.ClientCursor(conn).execute("IDENTIFY_SYSTEM").fetchone()
        yield said, len(identified), identified[3], attempt(psycopg.ClientCursor(conn).execute, "NOT_A_COMMAND")


PARTS = (
    sessions, values, statements, cursors, transactions, copies, pipelines, prepared, notices, cancels, large_objects,
    asynchronous, replication,
)
with psycopg.connect(sys.argv[1], autocommit=True) as first:
    first.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
    first.execute(f"CREATE SCHEMA {SCHEMA}")
out = {part.__name__: [plain(step) for step in part()] for part in PARTS}
print(json.dumps(out, indent=1))
