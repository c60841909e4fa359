"""A small shop: each order is charged at a payment provider, and tried again where no answer came.

POST /orders with an id charges it by POST /charges, at most five times, and answers 200 once one
charge was answered. RETRY says how it tries again: `blind` sends the same request again, `keyed` with
an Idempotency-Key that is the same for all tries, `new-key` with another one each time.
"""

import http.client
import http.server
import json
import os
import sys
import time
import uuid

RETRY = os.environ["RETRY"]
PROVIDER = os.environ["PROVIDER"]
TRIES = 5


def charge(order, key):
    """Whether the provider said that it was charged."""
    connection = http.client.HTTPConnection(PROVIDER, timeout=2)
    headers = {"X-Order": order, "Content-Type": "application/json"}
    if RETRY == "keyed":
        headers["Idempotency-Key"] = key
    elif RETRY == "new-key":
        headers["Idempotency-Key"] = str(uuid.uuid4())
    try:
        connection.request("POST", "/charges", json.dumps({"order": order}), headers)
        return connection.getresponse().status < 300
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def order(name):
    key = str(uuid.uuid4())
    for attempt in range(TRIES):
        if charge(name, key):
            return 200
        time.sleep(0.05 * attempt)
    return 503


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self):
        self.answer(200)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer(order(json.loads(body)["id"]))

    def log_message(self, *arguments):
        pass


if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    server.daemon_threads = True
    server.serve_forever()
