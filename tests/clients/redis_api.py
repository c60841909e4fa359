"""Goes through redis-py's API against one server and prints what each step gave, as JSON.

    redis_api.py PORT PROTOCOL

Every result and every exception is printed, so that a direct and a proxied run can be compared byte
for byte. The server is emptied first; nothing is asked that it answers differently each time.
"""

import asyncio
import hashlib
import json
import math
import socket
import sys
import threading

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

PORT, PROTOCOL = int(sys.argv[1]), int(sys.argv[2])
# Whether something never comes shows by when the test would otherwise go on.
PATIENCE = 20


def plain(value):
    if isinstance(value, (bytes, str)):
        raw = value if isinstance(value, bytes) else value.encode()
        return raw.decode("latin-1") if len(raw) < 300 else f"{len(raw)}:{hashlib.sha256(raw).hexdigest()}"
    if isinstance(value, dict):
        return {str(plain(key)): plain(value[key]) for key in sorted(value, key=lambda key: str(plain(key)))}
    if isinstance(value, (set, frozenset)):
        return sorted((plain(item) for item in value), key=str)
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Exception):
        return [type(value).__name__, str(value).replace(str(PORT), "PORT")]
    if isinstance(value, float):
        return repr(value)
    return value if isinstance(value, (int, bool, type(None))) else repr(value)


def attempt(work, *arguments, **more):
    try:
        return work(*arguments, **more)
    except (redis.RedisError, ConnectionError) as error:
        return error


def connect(**more):
    return redis.Redis(**({"host": "127.0.0.1", "port": PORT, "protocol": PROTOCOL, "socket_timeout": PATIENCE, "retry": Retry(NoBackoff(), 0)} | more))


def strings(r):
    yield r.set("a", "1"), r.set("a", "2", nx=True), r.set("none", "1", xx=True), r.set("a", "3", get=True), r.get("a")
    yield r.set("t", "x", px=10_000_000), r.set("t", "y", keepttl=True), r.ttl("t") > 9000, r.getex("t", persist=True), r.ttl("t"), r.ttl("none")
    yield r.expireat("t", 4_000_000_000), r.expiretime("t"), r.pexpiretime("t"), r.persist("t"), r.getdel("t"), r.getdel("t")
    yield r.append("s", "hello"), r.append("s", b"\x00\xff"), r.setrange("s", 3, "XY"), r.getrange("s", 1, -2), r.strlen("s"), r.get("s")
    yield r.incr("n"), r.decrby("n", 5), r.incrbyfloat("n", 0.25), attempt(r.incr, "s"), attempt(r.incrby, "n", 2**64)
    yield r.mset({"m1": "a", "m2": b"\r\n$-1\r\n", "m3": ""}), r.mget("m1", "m2", "none", "m3"), r.msetnx({"m1": 1, "m9": 1}), r.getset("m1", "b")
    yield r.setbit("bits", 70, 1), r.bitcount("bits"), r.bitpos("bits", 1), r.bitop("NOT", "not", "bits"), r.get("not"), r.getbit("bits", 7)
    yield r.bitfield("bf").set("u8", "#1", 200).incrby("i5", 0, 9).get("u4", 3).execute(), r.setex("ex", 1000, "v"), attempt(r.setex, "ex", 0, "v")
    yield attempt(r.execute_command, "LCS", "a", "m1", "IDX"), attempt(r.execute_command, "SET", "a"), attempt(r.get, "x" * 5000)
    for size in (0, 1, 16_383, 16_384, 65_536, 1_000_003, 30_000_000):
        value = (b"\x00\r\n+*$" * (size // 6 + 1))[:size]
        yield r.set("big", value), r.strlen("big"), r.get("big") == value
    yield r.get("big"), r.delete("big", "none"), r.echo("echo ☃"), r.execute_command("PING", "said")


def hashes(r):
    yield r.hset("h", mapping={"a": 1, "b": b"\xff", "": "empty"}), r.hget("h", "b"), r.hget("h", "none"), r.hgetall("h"), r.hgetall("none")
    yield r.hincrby("h", "a", 41), r.hincrbyfloat("h", "a", 0.5), attempt(r.hincrby, "h", "b"), r.hmget("h", "a", "none", "b"), r.hlen("h")
    yield r.hsetnx("h", "a", 1), r.hexists("h", "a"), r.hstrlen("h", "b"), r.hkeys("h"), r.hvals("h"), r.hdel("h", "", "none")
    yield r.hrandfield("none"), r.hset("one", "f", "v"), r.hrandfield("one", 2, withvalues=True), r.hset("many", mapping={n: n * n for n in range(2000)})
    yield dict(r.hscan_iter("many", count=50)) == r.hgetall("many"), r.hscan("one"), dict(r.hscan_iter("many", match="19*9"))


def lists(r):
    yield r.rpush("l", *range(10)), r.lpush("l", "x"), r.lrange("l", 0, -1), r.lindex("l", 3), r.lindex("l", 99), r.llen("l"), r.lpushx("none", 1)
    yield r.linsert("l", "before", "5", "new"), r.linsert("l", "after", "none", "new"), r.lpos("l", "new"), r.lpos("l", "5", count=0), r.lrem("l", 1, "new")
    yield r.lset("l", 0, "y"), attempt(r.lset, "l", 99, "y"), attempt(r.lset, "none", 0, "y"), r.ltrim("l", 0, 6), r.lpop("l"), r.rpop("l", 2), r.lpop("none", 2)
    yield r.lmove("l", "k", "LEFT", "RIGHT"), r.rpoplpush("l", "k"), r.lmpop(2, "none", "k", direction="LEFT", count=5), r.lmpop(1, "none", direction="LEFT")
    yield r.blpop(["none", "l"], timeout=1), r.brpoplpush("l", "k", timeout=1), r.blmove("l", "k", timeout=1), r.blmpop(1, 1, "k", direction="RIGHT")
    yield r.blpop("none", timeout=0.05), r.bzpopmin("none", timeout=0.05), r.sort("l"), r.rpush("nums", 3, 1, 2), r.sort("nums", desc=True, store="sorted")
    with connect() as other:
        for work, wake in (
            (lambda: other.blpop(["q1", "q2"], timeout=PATIENCE), lambda: r.rpush("q2", "job", "next")),
            (lambda: other.bzpopmax(["q3"], timeout=PATIENCE), lambda: r.zadd("q3", {"a": 1, "b": 2})),
            (lambda: other.xread({"q4": "$"}, block=PATIENCE * 1000), lambda: r.xadd("q4", {"k": "v"}, id="5-5")),
        ):
            got = []
            waiting = threading.Thread(target=lambda: got.append(work()))
            waiting.start()
            while r.info("clients")["blocked_clients"] == 0:
                pass
            yield wake(), waiting.join(), got


def sets(r):
    yield r.sadd("s1", "a", "b", "c"), r.sadd("s2", "b", "c", "d"), r.smembers("s1"), r.sinter("s1", "s2"), r.sunion("s1", "s2"), r.sdiff("s1", "s2")
    yield r.sinterstore("s3", "s1", "s2"), r.sintercard(2, ["s1", "s2"], limit=1), r.smismember("s1", ["a", "z"]), r.sismember("s1", "a"), r.scard("none")
    yield r.smove("s1", "s2", "a"), r.srem("s1", "none"), r.srandmember("none"), r.spop("none"), r.sadd("ints", *range(3000)), r.object("encoding", "ints")
    yield len(set(r.sscan_iter("ints", count=100))), r.smembers("ints"), attempt(r.sadd, "h", "x"), sorted(r.sscan_iter("s2", match="[bc]"))
    yield r.zadd("z", {"a": 1, "b": 2.5, "c": math.inf, "d": -math.inf}), r.zrange("z", 0, -1, withscores=True), r.zscore("z", "c"), r.zscore("z", "none")
    yield r.zadd("z", {"a": 5}, nx=True), r.zadd("z", {"a": 5}, gt=True, ch=True), r.zadd("z", {"a": 1}, incr=True), attempt(r.zadd, "z", {"x": math.nan})
    yield r.zincrby("z", 1.1, "b"), r.zrank("z", "b"), r.zrank("z", "none"), r.zrevrank("z", "b"), r.zcount("z", "-inf", "(6"), r.zmscore("z", ["a", "none"])
    yield r.zrangebyscore("z", 0, 10, withscores=True), r.zrevrangebyscore("z", "+inf", "-inf", start=1, num=2), r.zrangestore("zs", "z", 0, 1)
    yield r.zadd("lex", {"a": 0, "b": 0, "c": 0}), r.zrangebylex("lex", "[a", "(c"), r.zlexcount("lex", "-", "+"), r.zremrangebyrank("lex", 0, 0)
    yield r.zinter(["z", "zs"], withscores=True), r.zunion({"z": 2, "zs": 3}, aggregate="MAX", withscores=True), r.zdiff(["z", "zs"], withscores=True)
    yield r.zpopmin("z"), r.zpopmax("z", 2), r.zmpop(1, ["z"], min=True, count=9), r.zmpop(1, ["none"], min=True), r.zadd("zz", {f"m{n}": n / 7 for n in range(1000)})
    yield list(r.zscan_iter("zz", match="m99*")), r.zrange("zz", 0, -1, withscores=True), r.zrandmember("none")
    yield r.pfadd("hll", *range(1000)), r.pfcount("hll"), r.pfmerge("hll2", "hll"), r.geoadd("g", (13.361389, 38.115556, "P", 15.087269, 37.502669, "C"))
    yield r.geodist("g", "P", "C", "km"), r.geohash("g", "P", "none"), r.geopos("g", "P", "none")
    yield r.geosearch("g", longitude=15, latitude=37, radius=200, unit="km", withdist=True, withcoord=True, sort="ASC")


def streams(r):
    yield r.xadd("x", {"k": "v", "b": b"\xff"}, id="1-1"), r.xadd("x", {"k": "2"}, id="1-2"), attempt(r.xadd, "x", {"k": "0"}, id="1-1"), r.xlen("x")
    yield r.xadd("x", {"n": 1}, id="2-*"), r.xadd("none", {"n": 1}, nomkstream=True), r.xrange("x"), r.xrevrange("x", count=1), r.xread({"x": "1-1", "none": "0"})
    yield r.xgroup_create("x", "g", id="0"), attempt(r.xgroup_create, "x", "g"), attempt(r.xgroup_create, "none", "g"), r.xgroup_createconsumer("x", "g", "idle")
    yield r.xreadgroup("g", "c1", {"x": ">"}, count=2), r.xreadgroup("g", "c1", {"x": "0"}), r.xack("x", "g", "1-1"), r.xpending("x", "g")
    yield r.xclaim("x", "g", "c2", 0, ["1-2"]), r.xautoclaim("x", "g", "c3", 0, justid=True), attempt(r.xreadgroup, "none", "c", {"x": ">"})
    yield r.xreadgroup("g", "c2", {"x": ">"}, block=10), r.xreadgroup("g", "c2", {"x": ">"}, block=10), r.xinfo_stream("x"), r.xgroup_setid("x", "g", "0")
    yield r.xdel("x", "1-1", "9-9"), r.xtrim("x", maxlen=1), r.xgroup_delconsumer("x", "g", "c1"), r.xgroup_destroy("x", "g"), r.xread({"x": "$"}, block=10)
    with r.pipeline(transaction=False) as p:
        for n in range(1, 1500):
            p.xadd("xs", {"n": n, "data": "d" * n}, id=f"{n}-0")
        yield len(p.execute()), r.xrange("xs", min="(1000-0", count=3), r.xread({"xs": "0"}), r.xinfo_groups("xs")


def keys(r):
    yield r.rename("a", "b"), attempt(r.rename, "none", "b"), r.renamenx("b", "m1"), r.copy("b", "c"), r.exists("b", "c", "none", "b"), r.type("h"), r.type("none")
    yield r.restore("restored", 0, r.dump("h")), r.hgetall("restored"), r.dump("none"), attempt(r.restore, "restored", 0, b"junk"), attempt(r.restore, "h", 0, r.dump("h"))
    yield r.expire("c", 1000), r.expire("c", 10, gt=True), r.expire("c", 10, nx=True), r.pttl("c") > 0, r.touch("b", "none"), r.unlink("c", "none")
    yield sorted(r.scan_iter(count=7)) == sorted(r.keys()), sorted(r.scan_iter(match="m?")), sorted(r.scan_iter(_type="zset")), sorted(r.keys("q*")), r.dbsize()
    yield r.object("refcount", "h"), attempt(r.object, "freq", "h"), r.object("encoding", "none"), attempt(r.lpush, "h", 1), r.wait(0, 10)
    with connect(db=5) as five:
        yield five.set("own", 1), five.keys(), five.move("own", 6), five.dbsize(), attempt(five.execute_command, "SELECT", 99), r.swapdb(5, 6), five.keys()
    yield attempt(connect(db=99).ping), attempt(r.execute_command, "SORT", "h"), attempt(r.execute_command, "EXPIRE", "h", "x")


def scripts(r):
    double = r.register_script("return tonumber(redis.call('INCRBY', KEYS[1], ARGV[1])) * 2")
    yield double(keys=["sc"], args=[21]), double(keys=["sc"], args=[1]), double.sha, r.script_exists(double.sha, "0" * 40), r.script_flush(), r.script_exists(double.sha)
    yield attempt(r.evalsha, double.sha, 1, "sc", 1), double(keys=["sc"], args=[1]), attempt(r.eval, "return {", 0), attempt(r.eval, "return redis.call('NOSUCH')", 0)
    for body in (
        "1", "1.9", "'text'", "nil", "false", "true", "{1, 2, nil, 4}", "{}", "{{1, {2, {}}}, 'x'}", "redis.status_reply('fine')", "redis.error_reply('MY own')",
        "redis.pcall('GET')", "redis.call('HGETALL', 'h')", "redis.sha1hex('a')", "string.rep('x', 100000)", "cjson.encode({a = 1})", "{double = 3.25}",
        "{map = {a = 1}}", "{set = {a = true}}", "{big_number = '123456789012345678901234567890'}", "{verbatim_string = {format = 'txt', string = 'verb'}}",
    ):
        yield attempt(r.eval, f"return {body}", 0), attempt(r.eval, f"redis.setresp(3); return {body}", 0)
    yield attempt(r.eval, "redis.setresp(3); return redis.call('HGETALL', 'h')", 0), attempt(r.eval, "redis.setresp(3); return redis.call('ZSCORE', 'zz', 'm1')", 0)
    yield attempt(r.eval_ro, "return redis.call('SET', 'a', 1)", 0), attempt(r.script_kill), attempt(r.eval, "redis.call('SET', 'half', 1) error('thrown')", 0), r.get("half")
    library = "#!lua name=lib\nredis.register_function('twice', function(keys, args) return args[1] * 2 end)"
    yield r.function_load(library), r.fcall("twice", 0, 4), attempt(r.function_load, library), attempt(r.fcall, "none", 0), r.function_list(library="lib"), r.function_delete("lib")


def pipelines(r):
    with r.pipeline(transaction=False) as p:
        for n in range(10_000):
            p.set(f"p{n % 50}", n)
        p.mget([f"p{n}" for n in range(50)]).lpush("p1", "x").get("p2").hgetall("h")
        yield p.execute(raise_on_error=False), attempt(p.lpush("p1", "x").get("p2").execute)
    with r.pipeline() as p:
        p.incr("tx").lpush("tx", 1).get("tx").set("big", "x" * 1_000_000).get("big").hgetall("h").zrange("zz", 0, 3, withscores=True).ping()
        yield p.execute(raise_on_error=False), p.execute()
        yield attempt(p.incr("tx").execute_command("NOSUCH").execute), attempt(p.incr("tx").execute_command("GET").execute), r.get("tx")
        p.watch("tx")
        got = p.get("tx")
        p.multi()
        yield got, p.incr("tx").execute(), p.watch("tx"), r.set("tx", "other"), p.multi(), attempt(p.incr("tx").execute), p.unwatch(), p.reset()
    yield r.transaction(lambda p: (p.multi(), p.set("tx", 5), p.get("tx")), "tx"), attempt(r.execute_command, "EXEC"), attempt(r.execute_command, "DISCARD")
    with connect(single_connection_client=True) as one:
        say = one.execute_command
        yield say("MULTI"), attempt(say, "MULTI"), say("SET", "q", 1), attempt(say, "WATCH", "q"), say("GET", "q"), say("DISCARD"), say("GET", "q")
        yield say("MULTI"), say("EVAL", "return redis.call('INCR', 'q')", 0), say("BLPOP", "none", 5), say("EXEC"), say("RESET"), say("PING")


def messages(r):
    def heard(subscriber, count):
        return [subscriber.get_message(timeout=PATIENCE) for _ in range(count)]

    with r.pubsub() as one:
        one.subscribe("a", "b", **{"handled": lambda message: handled.append(message)})
        one.psubscribe("p?t*")
        handled = []
        yield heard(one, 4), r.pubsub_channels(), r.pubsub_numsub("a", "none"), r.pubsub_numpat(), r.publish("a", "hello"), r.publish("pat tern", b"\x00\xff")
        yield heard(one, 2), r.publish("handled", "by a function"), heard(one, 1), handled, r.publish("none", "x"), one.ping("alive"), heard(one, 1)
        for n in range(500):
            r.publish("b", f"{n} " + "m" * n)
        yield heard(one, 500), one.unsubscribe("a", "never"), heard(one, 2), one.punsubscribe(), heard(one, 1), one.unsubscribe(), heard(one, 2), one.subscribed
    with r.pubsub() as sharded:
        sharded.ssubscribe("shard")
        yield heard(sharded, 1), r.spublish("shard", "m"), [sharded.get_sharded_message(timeout=PATIENCE)] if hasattr(sharded, "get_sharded_message") else heard(sharded, 1)
    r.config_set("notify-keyspace-events", "KEA")
    with r.pubsub() as events:
        events.psubscribe("__key*__:watched")
        yield heard(events, 1), r.set("watched", 1), heard(events, 1), r.delete("watched"), heard(events, 1), r.config_set("notify-keyspace-events", "")
    # Where a subscriber may say nothing else.
    with connect(protocol=2, single_connection_client=True) as one:
        yield attempt(one.execute_command, "SUBSCRIBE", "mixed"), attempt(one.execute_command, "GET", "tx")


def sessions(r):
    with connect(client_name="named", single_connection_client=True) as one:
        say = one.execute_command
        yield one.client_getname(), one.client_setname("other"), one.client_getname(), one.acl_whoami(), one.client_no_evict("ON"), one.client_trackinginfo()
        yield attempt(say, "CLIENT", "NOSUCH"), attempt(say, "HELLO", 9), attempt(say, "AUTH", "x"), attempt(say, "AUTH", "u", "p"), say("CLIENT", "KILL", "ID", 999_999)
        if PROTOCOL == 2:
            yield say("RESET"), one.client_getname()
    yield r.acl_setuser("limited", enabled=True, passwords=["+secret"], keys=["ok:*"], commands=["+get", "+set", "+ping", "+hello", "+client"], channels=["c"])
    with connect(username="limited", password="secret") as limited:
        yield limited.set("ok:1", 1), attempt(limited.set, "no", 1), attempt(limited.keys), attempt(limited.publish, "d", 1), attempt(limited.pipeline().set("ok:2", 1).flushall().execute)
    yield attempt(connect(username="limited", password="wrong").ping), r.acl_getuser("limited"), r.acl_dryrun("limited", "get", "no"), r.acl_deluser("limited")
    yield r.config_get("maxmemory*"), attempt(r.config_set, "nosuch", 1), r.command_count(), attempt(r.execute_command, "COMMAND", "INFO", "get"), r.command_getkeys("MSET", "a", 1, "b", 2)
    yield attempt(r.execute_command, "DEBUG", "JMAP"), attempt(r.execute_command, "CLUSTER", "INFO"), attempt(r.execute_command, "FAILOVER"), attempt(r.execute_command, "SENTINEL"), r.lolwut()
    yield attempt(r.execute_command, "OBJECT", "HELP"), attempt(r.execute_command, "XADD", "x"), r.client_pause(1), r.client_unpause(), r.role()


def tracking(r):
    if PROTOCOL == 3:
        with connect(single_connection_client=True) as one:
            raw = one.connection
            yield r.set("cached", "old"), one.client_tracking_on(), one.get("cached"), r.set("cached", "new")
            yield raw.read_response(push_request=True), one.client_tracking_off(), one.client_tracking_on(bcast=True, prefix=["own:"]), r.set("own:1", 1)
            yield raw.read_response(push_request=True), one.client_tracking_off(), r.set("own:1", 2), one.get("own:1")
    # Another connection is told what this one read.
    with connect(protocol=2, single_connection_client=True) as listener, connect(protocol=2, single_connection_client=True) as reader:
        told = listener.pubsub()
        own = listener.client_id()
        raw = listener.connection
        yield raw.send_command("SUBSCRIBE", "__redis__:invalidate"), raw.read_response(), reader.client_tracking_on(clientid=own), reader.get("cached")
        yield r.set("cached", "newer"), raw.read_response(), reader.client_tracking_off(), told.close()
    with connect(single_connection_client=True) as one:
        raw = one.connection
        for words in (("CLIENT", "REPLY", "SKIP"), ("SET", "silent", "1"), ("GET", "silent"), ("CLIENT", "REPLY", "OFF"), ("SET", "silent", "2"), ("PING",), ("CLIENT", "REPLY", "ON"), ("GET", "silent")):
            raw.send_command(*words)
        yield raw.read_response(), raw.read_response(), raw.read_response()
    with r.monitor() as monitor:
        r.set("seen", "by the monitor ☃")
        r.eval("return redis.call('GET', KEYS[1])", 1, "seen")
        lines = [monitor.next_command() for _ in range(3)]
        yield [[line["command"], line["client_type"]] for line in lines]


RAW = (
    b"PING\r\n", b"PING\nPING\n", b"SET in 'quoted \\'text'\r\nGET in\r\n", b"SET in \"a\\x00\\n\"\r\nGET in\r\n", b"\r\n\r\nPING\r\n", b"SET in \"unbalanced\r\n",
    b"*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nECHO\r\n$3\r\nabc\r\n", b"*0\r\nPING\r\n", b"*-1\r\nPING\r\n", b"*abc\r\n", b"*2000000\r\n", b"*1\r\n:1\r\n", b"*1\r\n$-5\r\n",
    b"*1\r\n$999999999999\r\n", b"*3\r\n$3\r\nSET\r\n$1\r\nr\r\n$2\r\n\r\n\r\n*2\r\n$3\r\nGET\r\n$1\r\nr\r\n", b"*1\r\n$4\r\nQUIT\r\n*1\r\n$4\r\nPING\r\n",
    b"*1\r\n$5\r\nRESET\r\n", b"nosuch a b c\r\n", b"*1\r\n$4\r\nPINGxx", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"x" * 70_000,
)


def raw(_):
    for request in RAW:
        with socket.create_connection(("127.0.0.1", PORT), timeout=PATIENCE) as one:
            one.sendall(request)
            one.shutdown(socket.SHUT_WR)
            said = b""
            try:
                while piece := one.recv(65_536):
                    said += piece
            except ConnectionResetError:
                # Of a server that closes on unread bytes; what it said before may be lost.
                said = b"reset"
            yield request, said


def asynchronous(_):
    async def main():
        async with redis.asyncio.Redis(host="127.0.0.1", port=PORT, protocol=PROTOCOL) as r:
            told = [await asyncio.gather(*(r.incr("together") for _ in range(50)))]
            told[0].sort()
            async with r.pipeline() as p:
                told.append(await p.set("k", "v").get("k").lrange("nums", 0, -1).execute())
            async with r.pubsub() as one:
                await one.subscribe("later")
                told.append(await one.get_message(timeout=PATIENCE))
                await r.publish("later", "x")
                told.append(await one.get_message(timeout=PATIENCE))
            told.append([key async for key in r.scan_iter(match="s?")].sort())
            return told

    yield asyncio.run(main())


PARTS = (strings, hashes, lists, sets, streams, keys, scripts, pipelines, messages, sessions, tracking, raw, asynchronous)
with connect() as first:
    first.flushall()
    first.script_flush()
    out = {part.__name__: [plain(step) for step in part(first)] for part in PARTS}
print(json.dumps(out, indent=1))
