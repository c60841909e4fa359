"""A program on clients whose policies are known, from their settings or from their source: each
`/CLIENT/KEY` asks that client's own dependency, at PEER_<CLIENT>, for KEY.
"""

import http.server
import os
import sys
import urllib.request

import openai
import psycopg_pool
import redis
import requests
import stamina
import tenacity

WAITS = {
    "fixed": tenacity.wait_fixed(0.2),
    "linear": tenacity.wait_incrementing(start=0.1, increment=0.1),
    "doubling": tenacity.wait_exponential(multiplier=0.1),
    "full": tenacity.wait_random_exponential(multiplier=0.2),
    "hasty": tenacity.wait_none(),
}


def peer(client):
    return os.environ["PEER_" + client.upper()]


def get(client, key, timeout):
    requests.get(peer(client) + "/" + key, timeout=timeout).raise_for_status()


def by_tenacity(client, key):
    stop = tenacity.stop_after_attempt(4)
    for attempt in tenacity.Retrying(wait=WAITS[client], stop=stop, reraise=True):
        with attempt:
            get(client, key, timeout=1.0)


def by_stamina(client, key):
    on = requests.RequestException
    for attempt in stamina.retry_context(on=on, attempts=4, timeout=None, wait_initial=0.2, wait_jitter=0.6):
        with attempt:
            get(client, key, timeout=1.5)


def by_openai(client, key):
    base = peer(client) + "/v1"
    with openai.OpenAI(base_url=base, api_key="nobody", timeout=1.0) as sdk:
        sdk.models.retrieve(key)


def by_urllib(client, key):
    """Python's own client, which waits for ever and tries once."""
    urllib.request.urlopen(peer(client) + "/" + key).read()


def by_once(client, key):
    """Tries once, and asks for the same thing each time."""
    get(client, "prices", timeout=1.0)


def address(client):
    host, port = peer(client).rsplit(":", 1)
    return host, int(port)


# redis-py as it comes: 5 s, ten retries.
REDIS = redis.Redis(*address("redis"))


def by_redis(client, key):
    REDIS.get(key)


def pool(number):
    host, port = address("pool")
    conninfo = f"host={host} port={port} user=app dbname=db{number} sslmode=disable"
    own = {"autocommit": True}
    return psycopg_pool.ConnectionPool(
        conninfo, kwargs=own, min_size=1, max_size=1, timeout=1, num_workers=1, open=True
    )


# As many pools of one connection, so that each of their reconnections is seen by itself.
POOLS = [pool(number) for number in range(6)]


def by_pool(client, key):
    number = int(key.removeprefix("k")) % len(POOLS)
    with POOLS[number].connection() as connection:
        connection.execute("SELECT 1")


CLIENTS = {name: by_tenacity for name in WAITS}
CLIENTS |= {"stamina": by_stamina, "openai": by_openai, "patient": by_urllib, "once": by_once}
CLIENTS |= {"redis": by_redis, "pool": by_pool}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body=b""):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/healthz":
            self.answer(200)
            return
        _, client, key = self.path.split("/")
        try:
            CLIENTS[client](client, key)
            self.answer(200)
        except Exception as error:
            self.answer(502, type(error).__name__.encode())

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    # Every client waits for a while, and more come meanwhile.
    request_queue_size = 200


if __name__ == "__main__":
    Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
