"""A small service that accepts jobs, queues them and sends each to a webhook.

POST /jobs acknowledges with 202 and queues; one worker sends what is queued, trying again until the
webhook takes it. GET /ledger lists what was sent, GET /queue says how much waits.

The environment makes it misbehave: LOSE_EVERY forgets every n-th job after it was acknowledged,
DOUBLE_EVERY sends every n-th twice, LEDGER_STATUS is what GET /ledger answers.
"""

import http.client
import http.server
import json
import os
import queue
import sys
import threading
import time

LOSE_EVERY = int(os.environ.get("LOSE_EVERY", "0"))
DOUBLE_EVERY = int(os.environ.get("DOUBLE_EVERY", "0"))
LEDGER_STATUS = int(os.environ.get("LEDGER_STATUS", "200"))
WEBHOOK = os.environ["WEBHOOK"]

waiting = queue.Queue()
sent = []


def post(job):
    """Whether the webhook took it."""
    connection = http.client.HTTPConnection(WEBHOOK, timeout=2)
    try:
        body = json.dumps({"events": [{"id": job}]})
        connection.request("POST", "/hook", body, {"Content-Type": "application/json"})
        return connection.getresponse().status < 300
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def send(job):
    while not post(job):
        time.sleep(0.1)
    sent.append(job)


def work():
    number = 0
    while True:
        job = waiting.get()
        number += 1
        if not (LOSE_EVERY and number % LOSE_EVERY == 0):
            send(job)
        if DOUBLE_EVERY and number % DOUBLE_EVERY == 0:
            send(job)
        waiting.task_done()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/ledger":
            self.answer(LEDGER_STATUS, {"ids": list(sent)})
        elif self.path == "/queue":
            self.answer(200, {"depth": waiting.unfinished_tasks})
        else:
            self.answer(200, {})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        waiting.put(json.loads(body)["id"])
        self.answer(202, {})

    def log_message(self, *arguments):
        pass


if __name__ == "__main__":
    threading.Thread(target=work, daemon=True).start()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    server.daemon_threads = True
    server.serve_forever()
