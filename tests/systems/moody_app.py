"""A program that asks an interface, and of which only some starts can do without it.

    moody_app.py --port PORT --starts FILE [--bad N[,N]]

FILE keeps how often it was started. In a bad start (0 stands for all of them) it answers 503 while
the interface fails; in a good one it answers from what it knows.
"""

import argparse
import http.server
import os
import pathlib
import urllib.request

options = argparse.ArgumentParser()
options.add_argument("--port", type=int, required=True)
options.add_argument("--starts", type=pathlib.Path, required=True)
options.add_argument("--bad", default="")
options = options.parse_args()

starts = 1 + (int(options.starts.read_text()) if options.starts.exists() else 0)
options.starts.write_text(str(starts))
bad = [int(one) for one in options.bad.split(",") if one]
is_bad = starts in bad or 0 in bad


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
        try:
            with urllib.request.urlopen(os.environ["PRICES_URL"], timeout=2) as prices:
                prices.read()
            self.answer(200)
        except OSError:
            self.answer(503 if is_bad else 200)

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


if __name__ == "__main__":
    Server(("127.0.0.1", options.port), Handler).serve_forever()
