"""A shop that keeps its orders in PostgreSQL, each in a transaction of its own, and waits for half a second for
what a COMMIT came to: then it closes the connection.

    orders_app.py PORT TABLE [--hopeful]

POST /orders with {"id": ...} is answered 201 once the order is committed, and 504 where nobody knows. With
--hopeful it is 201 in any case. DATABASE is how libpq connects.
"""

import http.server
import json
import os
import socket
import sys
import threading

import psycopg

PATIENCE = 0.5
TABLE = sys.argv[2]
IS_HOPEFUL = "--hopeful" in sys.argv


def connect():
    return psycopg.connect(os.environ["DATABASE"])


def leave(connection):
    """Closes it under the feet of whoever waits for it."""
    with socket.socket(fileno=os.dup(connection.fileno())) as own:
        own.shutdown(socket.SHUT_RDWR)


def order(number):
    """Whether it is known to be committed."""
    with connect() as connection:
        connection.execute(f"INSERT INTO {TABLE} VALUES (%s)", (number,))
        patience = threading.Timer(PATIENCE, leave, (connection,))
        patience.start()
        try:
            connection.commit()
            return True
        except psycopg.OperationalError:
            return False
        finally:
            patience.cancel()


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
        self.answer(201 if order(json.loads(body)["id"]) or IS_HOPEFUL else 504)

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True


if __name__ == "__main__":
    with connect() as first:
        first.execute(f"CREATE TABLE {TABLE} (id text PRIMARY KEY)")
    Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
