"""A small service on boto3, as many are: it stores and fetches objects for its callers.

Its S3 client is configured by the environment, so that a test knows the true policy:
CONNECT_TIMEOUT, READ_TIMEOUT (seconds) and TOTAL_MAX_ATTEMPTS. Unset, boto3's own defaults hold.
"""

import http.server
import os
import sys

import boto3
import botocore.config
import botocore.exceptions


def client():
    settings = {}
    if "CONNECT_TIMEOUT" in os.environ:
        settings["connect_timeout"] = float(os.environ["CONNECT_TIMEOUT"])
    if "READ_TIMEOUT" in os.environ:
        settings["read_timeout"] = float(os.environ["READ_TIMEOUT"])
    if "TOTAL_MAX_ATTEMPTS" in os.environ:
        settings["retries"] = {"total_max_attempts": int(os.environ["TOTAL_MAX_ATTEMPTS"])}
    # More connections than calls in flight: the pool must not be what is measured.
    settings["max_pool_connections"] = 200
    return boto3.client("s3", region_name="us-east-1", config=botocore.config.Config(**settings))


S3 = client()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body=b""):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def attempt(self, work):
        try:
            self.answer(200, work() or b"")
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
            self.answer(502, type(error).__name__.encode())

    def do_GET(self):
        if self.path == "/healthz":
            self.answer(200)
            return
        if self.path.startswith("/long/"):
            # Of no store, whatever follows.
            self.answer(200)
            return
        key = self.path.removeprefix("/objects/")
        self.attempt(lambda: S3.get_object(Bucket="models", Key=key)["Body"].read())

    def do_PUT(self):
        key = self.path.removeprefix("/objects/")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.attempt(lambda: S3.put_object(Bucket="models", Key=key, Body=body) and None)

    def log_message(self, *arguments):
        pass


if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    server.daemon_threads = True
    S3.put_object(Bucket="models", Key="warm", Body=b"a model")
    server.serve_forever()
