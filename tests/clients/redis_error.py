"""Does one thing with redis-py, without retries, and prints the exception that came of it.

    redis_error.py PORT WHAT
"""

import sys

import redis
import redis.backoff
import redis.retry


def transaction(r):
    with r.pipeline(transaction=True) as p:
        p.set("k", "v").get("k")
        p.execute()


def accepted(r):
    """What a server says to a connection by itself. A command sent meanwhile would race with it."""
    connection = r.connection_pool.make_connection()
    connection.connect()
    print(connection.read_response())


WHAT = {
    "accepted": accepted,
    "ping": lambda r: r.ping(),
    "get": lambda r: r.get("k"),
    "set": lambda r: r.set("k", "v"),
    "mset": lambda r: r.mset({"a": 1, "b": 2}),
    "transaction": transaction,
    "kill": lambda r: r.script_kill(),
    "loop": lambda r: r.eval("while true do end", 0),
}

retry = redis.retry.Retry(redis.backoff.NoBackoff(), 0)
password = {"password": "wrong"} if sys.argv[2] == "login" else {}
# Old enough for no hand-shake of its own: what fails is the command itself.
r = redis.Redis(
    host="127.0.0.1",
    port=int(sys.argv[1]),
    retry=retry,
    protocol=2,
    lib_name=None,
    lib_version=None,
    socket_timeout=20,
    **password,
)
try:
    WHAT.get(sys.argv[2], WHAT["ping"])(r)
except Exception as error:
    print(f"{type(error).__mro__[:3]}: {error}")
else:
    print("nothing failed")
