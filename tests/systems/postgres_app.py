"""A service that keeps its notes in PostgreSQL: a connection for each request, as small ones do."""

import http.server
import os
import sys

import psycopg


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body=b""):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def attempt(self, sql, parameters=None):
        try:
            # Without a URL the client looks at PGHOST, PGPORT and their like.
            with psycopg.connect(os.environ.get("DATABASE_URL", ""), autocommit=True) as connection:
                row = connection.execute(sql, parameters).fetchone()
            self.answer(200, str(row[0]).encode())
        except psycopg.OperationalError as error:
            self.answer(503, str(error.sqlstate).encode())

    def do_GET(self):
        if self.path == "/healthz":
            self.answer(200)
        elif self.path == "/one":
            self.attempt("SELECT 1")
        else:
            self.attempt("SELECT count(*) FROM notes")

    def do_POST(self):
        self.attempt("INSERT INTO notes (body) VALUES (%s) RETURNING id", (self.path,))

    def log_message(self, *arguments):
        pass


if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    server.daemon_threads = True
    server.serve_forever()
