"""A program with very many dependencies: `/call/N` asks the N-th one, and answers as it was answered.

    hub_app.py --port PORT

DEPENDENCIES holds their URLs, with blanks between.
"""

import argparse
import http.client
import http.server
import os
import urllib.parse

options = argparse.ArgumentParser()
options.add_argument("--port", type=int, required=True)
options = options.parse_args()

dependencies = [urllib.parse.urlsplit(url).netloc for url in os.environ["DEPENDENCIES"].split()]


def ask(nth):
    connection = http.client.HTTPConnection(dependencies[nth], timeout=1)
    try:
        connection.request("GET", f"/of/{nth}")
        answer = connection.getresponse()
        answer.read()
        return 502 if answer.status >= 500 else 200
    except OSError:
        return 504
    finally:
        connection.close()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        status = 200 if self.path == "/healthz" else ask(int(self.path.rsplit("/", 1)[1]))
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", options.port), Handler).serve_forever()
