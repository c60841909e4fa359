"""A program that asks on its own account: for a price, one after the other, and for its peer's health.

    beat_app.py --port PORT --folder FOLDER [--deadline SECONDS] [--every SECONDS]

It gives up on a price after the deadline, and asks its peer every so often. In the folder it leaves
`hung` once a price did not come in time. As long as `pause` is there it asks for no price, and leaves
`paused` when the last one is over; with `slow` the next one is waited for SLOW seconds, and `asked` left
when it was asked for.
"""

import argparse
import http.client
import http.server
import itertools
import os
import pathlib
import threading
import time

SLOW = 2.0
HEALTH = 0.3
PAUSE = 0.05

options = argparse.ArgumentParser()
options.add_argument("--port", type=int, required=True)
options.add_argument("--folder", type=pathlib.Path, required=True)
options.add_argument("--deadline", type=float, default=0.4)
options.add_argument("--every", type=float, default=0.5)
options = options.parse_args()


def ask(address, path, deadline, is_sent=lambda: None):
    """Whether an answer came."""
    connection = http.client.HTTPConnection(address, timeout=deadline)
    try:
        connection.request("GET", path)
        is_sent()
        connection.getresponse().read()
        return True
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def prices():
    pause, paused, slow, asked, hung = (
        options.folder / name for name in ("pause", "paused", "slow", "asked", "hung")
    )
    for nth in itertools.count():
        while pause.exists():
            paused.touch()
            time.sleep(PAUSE / 5)
        is_slow = slow.exists()
        slow.unlink(missing_ok=True)
        deadline, is_sent = (SLOW, asked.touch) if is_slow else (options.deadline, lambda: None)
        # A price of its own each time, so that no two are tries of the same call.
        if not ask(os.environ["PRICES"], f"/prices/{nth}", deadline, is_sent):
            hung.touch()
        time.sleep(PAUSE)


def beats():
    began = time.monotonic()
    for nth in itertools.count(1):
        ask(os.environ["PEER"], "/health", HEALTH)
        time.sleep(max(0.0, began + nth * options.every - time.monotonic()))


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


if __name__ == "__main__":
    for task in (prices, beats):
        threading.Thread(target=task, daemon=True).start()
    Server(("127.0.0.1", options.port), Handler).serve_forever()
