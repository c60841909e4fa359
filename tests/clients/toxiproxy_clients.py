"""Does with two clients of Toxiproxy, as they are, what their documentation shows; says which is done.

    toxiproxy_clients.py API_PORT ECHO_PORT
"""

import socket
import sys
import time

import chaostoxi.proxy.actions as chaos
import chaostoxi.proxy.probes as probes
import chaostoxi.toxic.actions as toxics
from toxiproxy import Toxiproxy
from toxiproxy.exceptions import InvalidToxic, NotFound, ProxyExists

API, ECHO = int(sys.argv[1]), int(sys.argv[2])


def raises(kind, action):
    try:
        action()
    except kind:
        return
    raise AssertionError(f"{kind.__name__} was not raised")


def port_of(listen):
    return int(listen.rsplit(":", 1)[1])


def round_trip(port):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        began = time.monotonic()
        connection.sendall(b"hello")
        back = connection.recv(16)
        return back, time.monotonic() - began


def python_client():
    server = Toxiproxy()
    server.update_api_consumer("127.0.0.1", API)
    assert server.running()
    assert b"2." in server.version()
    assert server.proxies() == {}
    proxy = server.create(name="echo", upstream=f"127.0.0.1:{ECHO}")
    assert proxy.enabled and proxy.listen.startswith("127.0.0.1:")
    raises(ProxyExists, lambda: server.create(name="echo", upstream="x:1"))
    # As its own tests do: without an address.
    from toxiproxy.api import APIConsumer

    made = APIConsumer.post("/proxies", json={"name": "bare", "upstream": "x:1"})
    assert made.status_code == 201
    raises(ProxyExists, lambda: APIConsumer.post("/proxies", json={"name": "bare", "upstream": "x:1"}))
    raises(NotFound, lambda: APIConsumer.get("/not_found"))
    raises(NotFound, lambda: APIConsumer.get("/proxies/none"))

    port = port_of(proxy.listen)
    assert round_trip(port)[0] == b"hello"
    with server.get_proxy("echo").down():
        raises(ConnectionRefusedError, lambda: round_trip(port))
    assert round_trip(port)[0] == b"hello"

    proxy.add_toxic(type="latency", attributes={"latency": 120})
    proxy.add_toxic(type="latency", stream="upstream", name="more", attributes={"latency": 80})
    assert round_trip(port)[1] >= 0.2
    assert set(proxy.toxics()) == {"latency_downstream", "more"}
    assert proxy.get_toxic("more").attributes == {"latency": 80, "jitter": 0}
    raises(InvalidToxic, lambda: proxy.add_toxic(type="bogus"))
    raises(ProxyExists, lambda: proxy.add_toxic(type="latency"))
    assert proxy.destroy_toxic("more")
    assert server.reset()
    assert proxy.toxics() == {}
    populated = server.populate(
        [
            {"name": "echo", "upstream": f"127.0.0.1:{ECHO}", "listen": proxy.listen},
            {"name": "second", "upstream": f"127.0.0.1:{ECHO}", "listen": "localhost:0"},
        ]
    )
    assert [one.name for one in populated] == ["second"]
    server.destroy_all()
    assert server.proxies() == {}
    print("toxiproxy-python")


def chaostoolkit():
    configuration = {"toxiproxy_host": "127.0.0.1", "toxiproxy_port": API}
    assert chaos.create_proxy("c", "127.0.0.1", ECHO, "127.0.0.1", 0, True, configuration)
    port = int(configuration["c_PORT"])
    assert probes.proxy_exist("c", configuration)
    assert not probes.proxy_exist("none", configuration)
    assert probes.get_proxy_attribute("c", "enabled", configuration) is True
    assert toxics.create_latency_toxic("c", "slow", 100, 0, configuration)
    assert round_trip(port)[1] >= 0.1
    assert toxics.delete_toxic("c", "slow", configuration)
    for name, create in [
        ("bandwidth", lambda n: toxics.create_bandwith_degradation_toxic("c", n, 1000, configuration)),
        ("slow_close", lambda n: toxics.create_slow_connection_close_toxic("c", n, 10, configuration)),
        ("timeout", lambda n: toxics.create_timeout_toxic("c", n, 1000, configuration)),
        ("slicer", lambda n: toxics.create_slicer_toxic("c", n, 10, 5, 10, configuration)),
        ("limiter", lambda n: toxics.create_limiter_toxic("c", n, 1000, configuration)),
    ]:
        assert create(name), name
    assert chaos.reset(configuration)
    assert chaos.disable_proxy("c", configuration)
    raises(ConnectionRefusedError, lambda: round_trip(port))
    assert chaos.enable_proxy("c", configuration)
    assert round_trip(port)[0] == b"hello"
    assert chaos.modify_proxy("c", upstream_address="127.0.0.1:1", configuration=configuration)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        assert connection.recv(16) == b"", "nobody is behind it"
    chaos.delete_proxy("c", configuration)
    assert not probes.proxy_exist("c", configuration)
    print("chaostoolkit-toxiproxy")


python_client()
chaostoolkit()
