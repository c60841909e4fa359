"""A program that works for some milliseconds on one processor alone and asks its dependency: `/work`.

    pinned_app.py --port PORT

DEPENDENCY is the dependency's URL, PROCESSOR the number of the processor.
"""

import argparse
import http.client
import http.server
import os
import time
import urllib.parse

options = argparse.ArgumentParser()
options.add_argument("--port", type=int, required=True)
options = options.parse_args()

dependency = urllib.parse.urlsplit(os.environ["DEPENDENCY"]).netloc
os.sched_setaffinity(0, {int(os.environ["PROCESSOR"])})


def work():
    until = time.thread_time() + 0.005
    while time.thread_time() < until:
        pass
    connection = http.client.HTTPConnection(dependency, timeout=5)
    try:
        connection.request("GET", "/")
        connection.getresponse().read()
    finally:
        connection.close()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path != "/healthz":
            work()
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", options.port), Handler).serve_forever()
