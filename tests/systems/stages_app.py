"""A program whose clients wait for a connection for another time than between bytes: each
`/CLIENT/STAGE` asks that client's dependency for that stage, at PEER_<CLIENT>_<STAGE>.

Times are in seconds, by client: to connect, and between bytes. Who would read all roots anew for each of its
connections looks at no certificate: that time would count as part of the time to connect.
"""

import http.server
import os
import ssl
import sys

import boto3
import botocore.config
import openai
import urllib3

TIMES = {"urllib3": (1.5, 1.0), "openai": (2.0, 1.25), "boto3": (1.0, 1.5)}


def peer(client, stage):
    return os.environ[f"PEER_{client}_{stage}".upper()]


POOL = urllib3.PoolManager(maxsize=100, retries=False, ssl_context=ssl._create_unverified_context())


def by_urllib3(stage):
    connect, read = TIMES["urllib3"]
    POOL.request("GET", peer("urllib3", stage) + "/thing", timeout=urllib3.Timeout(connect=connect, read=read))


def ai(stage):
    connect, read = TIMES["openai"]
    timeout = openai.Timeout(read, connect=connect)
    return openai.OpenAI(base_url=peer("openai", stage) + "/v1", api_key="nobody", timeout=timeout)


AI = {stage: ai(stage) for stage in ("shake", "body")}


def by_openai(stage):
    AI[stage].models.retrieve("thing")


def s3(stage):
    connect, read = TIMES["boto3"]
    times = {"connect_timeout": connect, "read_timeout": read}
    # More connections than calls in flight: the pool must not be what is measured.
    config = botocore.config.Config(max_pool_connections=100, **times)
    client = boto3.client("s3", region_name="us-east-1", endpoint_url=peer("boto3", stage), config=config, verify=False)
    client.put_object(Bucket="models", Key="thing", Body=b"a model")
    return client


S3 = {stage: s3(stage) for stage in ("shake", "body")}


def by_boto3(stage):
    S3[stage].get_object(Bucket="models", Key="thing")["Body"].read()


CLIENTS = {"urllib3": by_urllib3, "openai": by_openai, "boto3": by_boto3}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body=b""):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/healthz":
            self.answer(200)
            return
        _, client, stage = self.path.split("/")
        try:
            CLIENTS[client](stage)
            self.answer(200)
        except Exception as error:
            self.answer(502, repr(error).encode())

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    # Every client waits for a while, and more come meanwhile.
    request_queue_size = 200


if __name__ == "__main__":
    Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
