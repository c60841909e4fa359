"""Brownout in pytest: dependencies that fail as real ones do, for as long as a `with` lasts.

Put this file beside your tests and write in conftest.py:

    pytest_plugins = ["brownout_pytest"]

It needs pytest and the program `brownout`: on the path, or named by --brownout or BROWNOUT. See
docs/how-to/pytest.md of Brownout.
"""

import contextlib
import json
import os
import queue
import re
import shutil
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request

import pytest

# How long the server may take for anything, in seconds.
PATIENCE = 20


def pytest_addoption(parser):
    group = parser.getgroup("brownout")
    group.addoption("--brownout", default=os.environ.get("BROWNOUT"), help="the program `brownout`, where it is not on the path")
    group.addoption("--brownout-seed", default="1", help="what decides by chance (1)")


class Problem(Exception):
    """What the server has against a request, in its words."""


class Idle(AssertionError):
    """A fault acted less often than it had to: the test shows nothing."""


class Server:
    """`brownout serve` on a port of its own."""

    def __init__(self, program, seed):
        # Its lines are for whoever reads a failed test's output.
        # It ends with this process, also when that is killed: the pipe to it is closed then.
        command = [program, "serve", "--port", "0", "--seed", str(seed), "--until-stdin-closes"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        said = self.first_line()
        found = re.match(r"listening on (http://\S+), seed", said)
        if not found:
            self.process.kill()
            self.process.wait()
            raise Problem(f"`{program} serve` does not say where it listens: {said!r}")
        self.url = found.group(1)
        # Whatever proxy the environment names is not meant for this server.
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def first_line(self):
        """What it prints first; nothing if that takes too long."""
        lines = queue.Queue()
        reading = threading.Thread(target=lambda: lines.put(self.process.stdout.readline()), daemon=True)
        reading.start()
        try:
            return lines.get(timeout=PATIENCE)
        except queue.Empty:
            return ""

    def ask(self, method, *path, body=None):
        path = "".join("/" + urllib.parse.quote(part, safe="") for part in path)
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with self.opener.open(request, timeout=PATIENCE) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")
            with contextlib.suppress(ValueError, KeyError, TypeError):
                said = json.loads(said)["error"]
            raise Problem(said) from None
        return json.loads(text) if text else None

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self.process.stdin.close()
            self.process.stdout.close()


class Dependency:
    """A dependency with a proxy in front of it; `address` is what the code under test is given."""

    def __init__(self, server, name, protocol, upstream):
        self.server, self.name, self.protocol = server, name, protocol
        made = server.ask("POST", "proxies", body={"name": name, "upstream": upstream, "protocol": protocol})
        self.address = made["listen"]
        self.host, _, port = self.address.rpartition(":")
        self.port = int(port)
        self.count = 0

    @property
    def url(self):
        scheme = {"s3": "http", "pusher": "http"}.get(self.protocol, self.protocol)
        return f"{scheme}://{self.address}"

    @contextlib.contextmanager
    def fault(self, kind, /, *, share=1.0, must_act=1, **keys):
        """A fault of this kind while the `with` lasts.

        `keys` are those of a scenario's [[phase.fault]]: `status=503`, `first=2`,
        `when={"method": "GET"}`. Afterwards it must have acted `must_act` times, or the test
        fails with Idle; a test that fails anyway keeps its own reason. What it gives says by
        `.acted()` how often it did until now.
        """
        self.count += 1
        name = f"{kind} {self.count}"
        toxic = {"name": name, "type": f"{self.protocol}_{kind}".replace("-", "_"), "toxicity": share, "attributes": keys}
        self.server.ask("POST", "proxies", self.name, "toxics", body=toxic)
        fault = Fault(self, name)
        try:
            yield fault
        except BaseException:
            # The test fails for a reason of its own.
            with contextlib.suppress(Problem, OSError):
                fault.lift()
            raise
        try:
            acted = fault.acted()
        finally:
            fault.lift()
        if acted < must_act:
            raise Idle(f"the fault {kind!r} on {self.name!r} acted {acted} times, and has to {must_act} at least: what it is to show was not shown")

    def remove(self):
        self.server.ask("DELETE", "proxies", self.name)


class Fault:
    """A fault in force."""

    def __init__(self, dependency, name):
        self.dependency, self.name = dependency, name

    def acted(self):
        """On how many requests or connections it acted until now."""
        dependency = self.dependency
        return dependency.server.ask("GET", "proxies", dependency.name, "toxics", self.name)["acted"]

    def lift(self):
        """Has it act no more."""
        dependency = self.dependency
        dependency.server.ask("DELETE", "proxies", dependency.name, "toxics", self.name)


class Brownout:
    """Makes dependencies that go with the test."""

    def __init__(self, server):
        self.server, self.made = server, []

    def dependency(self, name, protocol, upstream):
        """One that speaks http, s3, pusher, redis, mysql, postgres or tcp."""
        made = Dependency(self.server, name, protocol, upstream)
        self.made.append(made)
        return made

    def http(self, name, upstream):
        return self.dependency(name, "http", upstream)

    def s3(self, name, upstream):
        return self.dependency(name, "s3", upstream)

    def redis(self, name, upstream):
        return self.dependency(name, "redis", upstream)

    def mysql(self, name, upstream):
        return self.dependency(name, "mysql", upstream)

    def postgres(self, name, upstream):
        return self.dependency(name, "postgres", upstream)

    def tcp(self, name, upstream):
        return self.dependency(name, "tcp", upstream)


@pytest.fixture(scope="session")
def brownout_server(request):
    """The server that all tests of this run share; each worker of pytest-xdist has its own."""
    program = request.config.getoption("--brownout") or shutil.which("brownout")
    if not program:
        pytest.fail("there is no `brownout` on the path: name it by --brownout or BROWNOUT", pytrace=False)
    server = Server(program, request.config.getoption("--brownout-seed"))
    yield server
    server.stop()


@pytest.fixture
def brownout(brownout_server):
    """Dependencies for one test: `brownout.http("stock", upstream="127.0.0.1:9000")`."""
    world = Brownout(brownout_server)
    yield world
    for dependency in world.made:
        dependency.remove()
