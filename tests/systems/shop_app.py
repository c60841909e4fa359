"""A shop that asks an interface for prices: with a deadline, as it should, or without one.

    shop_app.py --port PORT [--deadline SECONDS]      without a deadline a request waits for ever
"""

import argparse
import http.server
import os
import urllib.request

options = argparse.ArgumentParser()
options.add_argument("--port", type=int, required=True)
options.add_argument("--deadline", type=float)
options = options.parse_args()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/healthz":
            self.answer(200, b"well")
            return
        try:
            url = os.environ["PRICES_API_URL"] + "/prices"
            with urllib.request.urlopen(url, timeout=options.deadline) as prices:
                self.answer(200, prices.read())
        except OSError:
            self.answer(503, b"no prices now")

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


if __name__ == "__main__":
    Server(("127.0.0.1", options.port), Handler).serve_forever()
