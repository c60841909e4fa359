"""A shop that asks an interface for prices, with one of few leases in its hand while it does.

    lease_app.py --port PORT [--leaks] [--sick]

When the prices cannot be had it answers with those it remembers. With --leaks a lease is not given back
when asking failed, and without a lease there is no answer: when all are lost it never answers again. With
--sick it never does.
"""

import argparse
import http.server
import os
import threading
import urllib.request

LEASES = 16
DEADLINE = 1.0

options = argparse.ArgumentParser()
options.add_argument("--port", type=int, required=True)
options.add_argument("--leaks", action="store_true")
options.add_argument("--sick", action="store_true")
options = options.parse_args()
leases = threading.BoundedSemaphore(LEASES)


def prices():
    url = os.environ["PRICES_URL"] + "/prices"
    with urllib.request.urlopen(url, timeout=DEADLINE) as answer:
        return answer.read()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, origin):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.send_header("X-Answered-From", origin)
        self.end_headers()

    def do_GET(self):
        if self.path == "/healthz":
            self.answer(200, "here")
        elif options.sick or not leases.acquire(blocking=False):
            self.answer(503, "nowhere")
        else:
            self.ask()

    def ask(self):
        try:
            prices()
        except OSError:
            if not options.leaks:
                leases.release()
            self.answer(200, "memory")
            return
        leases.release()
        self.answer(200, "prices")

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


if __name__ == "__main__":
    Server(("127.0.0.1", options.port), Handler).serve_forever()
