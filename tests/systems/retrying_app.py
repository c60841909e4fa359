"""A program that asks an interface with a deadline, and asks again at once when that is over.

    retrying_app.py --port PORT --attempts N [--deadline SECONDS]

With several attempts it is what retry storms are made of; with one it is its correct twin.
"""

import argparse
import http.server
import os
import urllib.request

options = argparse.ArgumentParser()
options.add_argument("--port", type=int, required=True)
options.add_argument("--attempts", type=int, required=True)
options.add_argument("--deadline", type=float, default=0.25)
options = options.parse_args()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self):
        if self.path == "/healthz":
            self.answer(200)
            return
        for _ in range(options.attempts):
            try:
                url = os.environ["PRICES_URL"]
                with urllib.request.urlopen(url, timeout=options.deadline) as prices:
                    prices.read()
                self.answer(200)
                return
            except OSError:
                pass
        self.answer(503)

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


if __name__ == "__main__":
    Server(("127.0.0.1", options.port), Handler).serve_forever()
