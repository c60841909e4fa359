"""A shop that asks an interface for prices, and bears its troubles or does not.

    price_app.py --port PORT --deadline SECONDS [--remembers]

PRICES_URL is asked, and BACKUP_URL after it where there is one, each for as long as the deadline says.
With --remembers it then answers with the prices that it knows, and without with 503.
"""

import argparse
import http.client
import http.server
import os
import urllib.request

options = argparse.ArgumentParser()
options.add_argument("--port", type=int, required=True)
options.add_argument("--deadline", type=float, required=True)
options.add_argument("--remembers", action="store_true")
options = options.parse_args()
sources = {name: os.environ.get(name.upper() + "_URL") for name in ("prices", "backup")}


def source():
    """Whoever had the prices, if anybody."""
    for name, url in sources.items():
        try:
            if url:
                with urllib.request.urlopen(url + "/prices", timeout=options.deadline) as answer:
                    answer.read()
                return name
        except (OSError, http.client.HTTPException):
            pass
    return None


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
            return
        origin = source()
        if origin:
            self.answer(200, origin)
        elif options.remembers:
            self.answer(200, "memory")
        else:
            self.answer(503, "nowhere")

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


if __name__ == "__main__":
    Server(("127.0.0.1", options.port), Handler).serve_forever()
