"""Does what a psycopg program commonly does against one PostgreSQL server.

    postgres_session.py PORT

Prints the name of every check that held, one a line, and fails at the first that does not.
"""

import datetime
import decimal
import sys
import uuid

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

CONNINFO = f"host=127.0.0.1 port={sys.argv[1]} user=app dbname=app connect_timeout=10"
WHEN = datetime.datetime(2021, 5, 4, 3, 2, 1, 5000, tzinfo=datetime.timezone.utc)


def held(name, truth):
    assert truth, name
    print(name)


def fails(connection, error, sql, parameters=None):
    try:
        connection.execute(sql, parameters)
    except error as raised:
        return raised
    raise AssertionError(f"{sql} did not raise {error}")


def values(connection, binary):
    key = uuid.uuid4()
    with connection.cursor(binary=binary, row_factory=dict_row) as cursor:
        cursor.execute(
            "INSERT INTO events (bot, at, key, data, score, seen, raw)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING *",
            ("ada", WHEN, key, Jsonb({"a": [1, None]}), 0.5, True, b"\x00\xff"),
        )
        row = cursor.fetchone()
        row.pop("id")
        held(
            f"values binary={binary}",
            row
            == {
                "bot": "ada",
                "at": WHEN,
                "key": key,
                "data": {"a": [1, None]},
                "score": 0.5,
                "seen": True,
                "raw": b"\x00\xff",
                "cost": None,
            },
        )
        cursor.execute("SELECT count(*), max(at) AS latest FROM events WHERE key = %s", (key,))
        held(f"computed binary={binary}", cursor.fetchone() == {"count": 1, "latest": WHEN})
        cursor.execute("SELECT 12.25::numeric AS n, '2021-05-04'::date AS d")
        expected = {"n": decimal.Decimal("12.25"), "d": datetime.date(2021, 5, 4)}
        held(f"casts binary={binary}", cursor.fetchone() == expected)


with psycopg.connect(CONNINFO) as connection:
    held("version", connection.info.server_version == 160004)
    connection.execute(
        "CREATE TABLE events (id bigserial PRIMARY KEY, bot varchar(40) NOT NULL, at timestamptz"
        " DEFAULT now(), key uuid UNIQUE, data jsonb, score double precision, seen boolean, raw bytea,"
        " cost numeric(10, 2))"
    )
    connection.commit()
    values(connection, False)
    values(connection, True)
    held("in a transaction", connection.info.transaction_status.name == "INTRANS")
    connection.rollback()
    held("rolled back", connection.execute("SELECT count(*) FROM events").fetchone() == (0,))

    error = fails(connection, psycopg.errors.NotNullViolation, "INSERT INTO events (bot) VALUES (NULL)")
    held("not null", error.diag.column_name == "bot" and error.sqlstate == "23502")
    held("failed", connection.info.transaction_status.name == "INERROR")
    fails(connection, psycopg.errors.InFailedSqlTransaction, "SELECT 1")
    connection.rollback()
    fails(connection, psycopg.errors.UndefinedTable, "SELECT * FROM robots")
    connection.rollback()
    fails(connection, psycopg.errors.UndefinedColumn, "SELECT frob FROM events WHERE id = %s", (1,))
    connection.rollback()
    fails(connection, psycopg.errors.SyntaxError, "SELECT FROM WHERE")
    connection.rollback()
    fails(connection, psycopg.errors.InvalidTextRepresentation, "SELECT %s::int", ("x",))
    connection.rollback()
    for sql, by in [("SELECT 1 / 0", None), ("SELECT 1.5 / %s", (0.0,)), ("SELECT 7 %% %s", (0,))]:
        fails(connection, psycopg.errors.DivisionByZero, sql, by)
        connection.rollback()
    held("divisions", connection.execute("SELECT 6 / %s, 7 %% 4", (2,)).fetchone() == (3, 3))

    with connection.transaction():
        connection.execute("INSERT INTO events (bot) VALUES ('kept')")
        try:
            with connection.transaction():
                connection.execute("INSERT INTO events (bot) VALUES ('lost')")
                raise psycopg.Rollback
        except psycopg.Rollback:
            pass
    bots = [row[0] for row in connection.execute("SELECT bot FROM events")]
    held("nested transactions", bots == ["kept"])

    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO events (bot) VALUES (%s)", [(str(n),) for n in range(200)])
        held("executemany", cursor.rowcount == 200)
    with connection.pipeline():
        first = connection.execute("SELECT count(*) FROM events")
        second = connection.execute("UPDATE events SET seen = %s WHERE bot = %s", (True, "7"))
    held("pipeline", first.fetchone() == (201,) and second.rowcount == 1)
    connection.commit()
    for _ in range(8):
        connection.execute("SELECT bot FROM events WHERE id = %s", (3,), prepare=True).fetchone()
    upsert = (
        "INSERT INTO events (bot, key) VALUES (%(bot)s, %(key)s) ON CONFLICT (key) DO UPDATE"
        " SET bot = excluded.bot RETURNING bot"
    )
    key = uuid.uuid4()
    connection.execute(upsert, {"bot": "old", "key": key})
    held("upsert", connection.execute(upsert, {"bot": "new", "key": key}).fetchone() == ("new",))
    job = connection.execute(
        "SELECT id FROM events WHERE seen ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED"
    ).fetchone()
    held("row locks", job is not None)
    recent = "SELECT count(*) > 0 FROM events WHERE at > now() - interval '5 minutes'"
    held("intervals", connection.execute(recent).fetchone() == (True,))
    connection.commit()

with psycopg.connect(CONNINFO, autocommit=True) as connection:
    error = fails(
        connection,
        psycopg.errors.UniqueViolation,
        "INSERT INTO events (bot, key) VALUES ('x', %s)",
        (str(key),),
    )
    held("unique", error.diag.constraint_name == "events_key_key")
    held("idle", connection.info.transaction_status.name == "IDLE")
    several = connection.execute("SELECT 1; SELECT 'two'")
    held("several", several.fetchone() == (1,) and several.nextset() and several.fetchone() == ("two",))
