"""A program with third parties wired in, as analytics and webhooks are: it knows their hosts and
finds its way by the environment alone, through whatever client `/CLIENT?URL` names.

It answers with the status that the client got; 502 and 403 also where a proxy refused the tunnel,
504 where the client gave up, after GIVE_UP seconds.
"""

import http.server
import os
import subprocess
import sys
import urllib.error
import urllib.request

import requests

GIVE_UP = float(os.environ["GIVE_UP"])


def by_requests(url):
    try:
        response = requests.post(url, json={"event": "asked"}, timeout=GIVE_UP)
        # As Segment's own library wants it.
        return 500 if response.ok and response.json() != {"success": True} else response.status_code
    except requests.exceptions.ProxyError as error:
        return refused(str(error))
    except requests.exceptions.Timeout:
        return 504


def by_urllib(url):
    try:
        request = urllib.request.Request(url, data=b'{"event": "asked"}')
        return urllib.request.urlopen(request, timeout=GIVE_UP).status
    except urllib.error.HTTPError as error:
        return error.code
    except urllib.error.URLError as error:
        return 504 if isinstance(error.reason, TimeoutError) else refused(str(error.reason))
    except TimeoutError:
        return 504


def by_curl(url, *options, version="1.1", environment=None):
    command = ["curl", "-sS", "-o", os.devnull, "-d", "event=asked", "--max-time", str(GIVE_UP)]
    command += ["-w", "%{http_code} %{http_connect} %{http_version}", *options, url]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode == 28:
        return 504
    code, connect, spoken = done.stdout.split()
    if done.returncode != 0:
        return int(connect) or 500
    return int(code) if spoken == version else 500


def refused(text):
    return next((status for status in (502, 403) if f" {status} " in text), 500)


UPPER = {name: value for name, value in os.environ.items() if not name.endswith("_proxy")}
CLIENTS = {
    "requests": by_requests,
    "urllib": by_urllib,
    "curl": lambda url: by_curl(url, "--http1.1"),
    "curl-http2": lambda url: by_curl(url, "--http2", version="2"),
    "curl-all": lambda url: by_curl(url, "--http1.1", "--noproxy", ""),
    "curl-upper": lambda url: by_curl(url, "--http1.1", environment=UPPER),
}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        client, _, url = self.path[1:].partition("?")
        self.send_response(CLIENTS[client](url) if url else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_GET

    def log_message(self, *arguments):
        pass


if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    server.daemon_threads = True
    server.serve_forever()
