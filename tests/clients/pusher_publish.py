"""Publishes with the `pusher` library and asks about channels; prints what came of it as JSON.

Arguments: a JSON object that says where (host, port, ssl, app_id, key, secret), then what to do.
"""

import json
import os
import sys
import time

import pusher

where = json.loads(sys.argv[1])
client = pusher.Pusher(**where)
if "REQUESTS_CA_BUNDLE" in os.environ:
    # The library trusts nothing but a bundle of its own.
    client._pusher_client.http.options["verify"] = os.environ["REQUESTS_CA_BUNDLE"]


def tried(do):
    began = time.monotonic()
    try:
        outcome = {"ok": do()}
    except Exception as error:
        outcome = {"error": type(error).__name__, "text": str(error)}
    outcome["seconds"] = time.monotonic() - began
    return outcome


ways = {
    "trigger": lambda channel, data: client.trigger(channel, "news", data),
    "batch": lambda channel, data: client.trigger_batch(
        [{"channel": channel, "name": "news", "data": data}] * 2
    ),
    "channels": lambda: client.channels_info(),
    "channel": lambda channel: client.channel_info(channel, ["subscription_count"]),
    "users": lambda channel: client.users_info(channel),
}

for step in json.loads(sys.argv[2]):
    print(json.dumps(tried(lambda: ways[step[0]](*step[1:]))), flush=True)
