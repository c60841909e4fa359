"""Does what programs commonly do with redis-py against one server and prints what it got.

    redis_round_trip.py PORT PROTOCOL [CA]

The output is JSON without anything that may differ between two runs on an empty server, so that
a direct and a proxied run can be compared byte for byte.
"""

import hashlib
import json
import sys
import threading

import redis


def plain(value):
    if isinstance(value, bytes):
        return value.decode("latin-1") if len(value) < 100 else hashlib.sha256(value).hexdigest()
    if isinstance(value, dict):
        return {str(plain(key)): plain(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, (set, frozenset)):
        return sorted(str(plain(item)) for item in value)
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Exception):
        return f"{type(value).__name__}: {value}"
    return value


def attempt(work):
    try:
        return work()
    except redis.RedisError as error:
        return error


def types(r):
    r.flushall()
    yield r.ping()
    yield r.set("text", "value", ex=1000), r.get("text"), r.get("none")
    binary = bytes(range(256)) * 20_000
    yield r.set("binary", binary), r.get("binary") == binary, r.strlen("binary")
    yield r.incr("n"), r.incrby("n", 41), r.incrbyfloat("f", 0.5)
    yield r.hset("h", mapping={"a": 1, "b": "zwei"}), r.hgetall("h")
    yield r.rpush("l", *range(1000)), r.lrange("l", 0, -1)
    yield r.sadd("s", "x", "y"), r.smembers("s")
    yield r.zadd("z", {"a": 1.5, "b": 2}), r.zrange("z", 0, -1, withscores=True)
    yield r.xadd("x", {"k": "v"}, id="1-1"), r.xread({"x": "0"}, count=5)
    yield r.mset({"m1": 1, "m2": 2}), r.mget("m1", "none", "m2")
    yield r.eval("return {KEYS[1], ARGV[1], {1, {2, false}}, redis.status_reply('fine')}", 1, "k", "v")
    yield attempt(lambda: r.eval("return redis.error_reply('OWN error of a script')", 0))
    yield attempt(lambda: r.lpush("text", "wrong type"))
    yield attempt(lambda: r.execute_command("NOSUCH", "command"))
    yield sorted(key.decode() for key in r.scan_iter(count=3)), r.object("encoding", "text")
    yield r.type("z"), r.ttl("text") > 900, r.delete("text", "none"), r.exists("text")


def pipelines(r):
    with r.pipeline(transaction=False) as p:
        for n in range(3000):
            p.set(f"p{n}", "v" * n).get(f"p{n}")
        yield p.execute()
    with r.pipeline(transaction=True) as p:
        p.set("t", 1).incr("t").lpush("t", "wrong type").get("t")
        yield p.execute(raise_on_error=False)
    with r.pipeline() as p:
        p.watch("t")
        r.set("t", "changed meanwhile")
        p.multi()
        p.set("t", "never")
        yield attempt(p.execute), r.get("t")
    with r.pipeline() as p:
        p.set("t", 2).execute_command("NOSUCH")
        yield attempt(p.execute), r.get("t")


def messages(r):
    subscriber = r.pubsub()
    subscriber.subscribe("channel")
    subscriber.psubscribe("pat*")
    got = [subscriber.get_message(timeout=20), subscriber.get_message(timeout=20)]
    yield r.publish("channel", "hello"), r.publish("pattern", b"\x00\xff")
    got += [subscriber.get_message(timeout=20), subscriber.get_message(timeout=20)]
    subscriber.unsubscribe()
    subscriber.punsubscribe()
    got += [subscriber.get_message(timeout=20), subscriber.get_message(timeout=20)]
    subscriber.close()
    yield got
    answers = []
    waiter = threading.Thread(target=lambda: answers.append(r.blpop("queue", timeout=20)))
    waiter.start()
    while not any(client["cmd"] == "blpop" for client in r.client_list()):
        pass
    r.rpush("queue", "job")
    waiter.join()
    yield answers, r.blpop("queue", timeout=1)
    with r.monitor() as monitor:
        r.get("monitored")
        line = monitor.next_command()
        while "monitored" not in line["command"]:
            line = monitor.next_command()
        yield line["command"]


def main(port, protocol, ca):
    tls = {"ssl": True, "ssl_ca_certs": ca} if ca else {}
    r = redis.Redis(host="localhost" if ca else "127.0.0.1", port=port, protocol=protocol, **tls)
    out = {part.__name__: [plain(item) for item in part(r)] for part in (types, pipelines, messages)}
    print(json.dumps(out, indent=1, sort_keys=True))


main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else None)
