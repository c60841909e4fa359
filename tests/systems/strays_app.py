"""A worker that answers, and beside it a process that has left its group and its session, as daemons do, and asks
PEER for /beat twenty times a second.

    strays_app.py PORT [--once]

With --once it is ready the first time alone: started again in the same folder it never listens.
"""

import http.server
import os
import subprocess
import sys
import time
import urllib.request


def beat(peer):
    while True:
        try:
            urllib.request.urlopen(peer + "/beat", timeout=1).read()
        except OSError:
            pass
        time.sleep(0.05)


def run_away():
    """Starts it with a parent that is gone at once."""
    child = os.fork()
    if child == 0:
        words = [sys.executable, __file__, "--beat", os.environ["PEER"]]
        subprocess.Popen(words, start_new_session=True)
        os._exit(0)
    os.waitpid(child, 0)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


if __name__ == "__main__":
    if sys.argv[1] == "--beat":
        beat(sys.argv[2])
    was_here = os.path.exists("was-here")
    open("was-here", "w").close()
    if "--once" in sys.argv and was_here:
        time.sleep(1000)
    run_away()
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
