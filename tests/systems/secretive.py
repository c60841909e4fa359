"""A shop that tells its dependencies secrets in every way in which clients do: in headers, queries, bodies,
signatures, passwords of databases, and statements. What is secret in it begins with `planted-`.

Usage: secretive.py PORT --api-key planted-argument
"""

import base64
import http.client
import http.server
import json
import os
import socket
import struct
import sys


def ask(address, method, path, body=None, headers=None):
    client = http.client.HTTPConnection(address, timeout=2)
    try:
        client.request(method, path, body, headers or {})
        return client.getresponse().status
    finally:
        client.close()


def say(address, *messages):
    """Sends each of these and waits for an answer to it; an empty one is not sent."""
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=2) as connection:
        for message in messages:
            if message:
                connection.sendall(message)
            connection.recv(4096)


def redis(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def postgres(kind, body):
    return kind + struct.pack("!i", len(body) + 4) + body


def mysql(number, body):
    return struct.pack("<I", len(body))[:3] + bytes([number]) + body


def page():
    web, store = os.environ["WEB"], os.environ["STORE"]
    basic = base64.b64encode(b"app:planted-basic").decode()
    status = ask(
        web,
        "POST",
        "/prices?access_token=planted-query&page=2",
        json.dumps({"password": "planted-body", "note": "hello"}),
        {"Authorization": "Bearer planted-bearer", "Cookie": "session=planted-cookie", "X-Api-Key": "planted-header"},
    )
    ask(web, "GET", "/stock", None, {"Authorization": f"Basic {basic}", "Proxy-Authorization": "planted-proxy"})
    signature = "AWS4-HMAC-SHA256 Credential=planted-key/20261122/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=planted-signature"
    ask(store, "GET", "/models/a", None, {"Authorization": signature, "X-Amz-Security-Token": "planted-session"})
    ask(store, "GET", "/models/b?X-Amz-Credential=planted-key&X-Amz-Signature=planted-presigned&X-Amz-Security-Token=planted-session")
    say(
        os.environ["CACHE"],
        redis(b"AUTH", b"app", b"planted-auth"),
        redis(b"HELLO", b"3", b"AUTH", b"app", b"planted-hello"),
        redis(b"SET", b"session", b"planted-value"),
        redis(b"CONFIG", b"SET", b"requirepass", b"planted-config"),
        redis(b"ACL", b"SETUSER", b"app", b">planted-acl"),
        redis(b"MIGRATE", b"other", b"6379", b"key", b"0", b"5", b"AUTH", b"planted-migrate"),
    )
    say(
        os.environ["DATABASE"],
        struct.pack("!ii", 21 + 8, 196608) + b"user\0app\0database\0a\0\0",
        postgres(b"p", b"planted-postgres\0"),
        postgres(b"Q", b"ALTER ROLE app PASSWORD 'planted-statement'\0"),
        postgres(b"Q", b"UPDATE users SET token = 'planted-token' WHERE name = 'planted-where'\0"),
    )
    password = b"planted-mysql\0"
    login = struct.pack("<IIB23x", 0x00088201, 1 << 24, 33) + b"app\0" + bytes([len(password)]) + password
    say(
        os.environ["SHOP"],
        b"",
        mysql(1, login + b"mysql_clear_password\0"),
        mysql(0, b"\x03SET PASSWORD = 'planted-set'"),
        mysql(0, b"\x03INSERT INTO users (token) VALUES ('planted-insert')"),
    )
    return 200 if status < 400 else 502


class Shop(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        status = 200
        if self.path != "/healthz":
            assert self.headers["Authorization"] == "Bearer planted-load"
            assert os.environ["FROM_OUTSIDE"] == "planted-outside"
            try:
                status = page()
            except OSError as error:
                print(error, file=sys.stderr)
                status = 500
        self.send_response(status)
        self.send_header("Set-Cookie", "id=planted-answer")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Shop).serve_forever()
