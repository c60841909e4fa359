"""A service that acknowledges jobs fast and hands them on in batches.

POST /jobs answers 202 at once; what has come is sent to a webhook a few times a second, again and
again until the webhook takes it. LOSE_NTH forgets the n-th job after it was acknowledged, LOSE_EVERY
every n-th.
"""

import asyncio
import json
import os
import sys

LOSE_NTH = int(os.environ.get("LOSE_NTH", "0"))
LOSE_EVERY = int(os.environ.get("LOSE_EVERY", "0"))
HOST, PORT = os.environ["WEBHOOK"].rsplit(":", 1)
BATCH_MAX = 100

waiting = []
taken = 0


async def post(batch):
    """Whether the webhook took it."""
    body = json.dumps({"events": [{"id": job} for job in batch]}).encode()
    head = (
        "POST /hook HTTP/1.1\r\nHost: webhook\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    try:
        reader, writer = await asyncio.open_connection(HOST, int(PORT))
        writer.write(head.encode() + body)
        line = await asyncio.wait_for(reader.readline(), 2)
        writer.close()
        return line.split(b" ")[1].startswith(b"2")
    except (OSError, IndexError, asyncio.TimeoutError):
        return False


async def send():
    while True:
        batch = waiting[:BATCH_MAX]
        del waiting[:BATCH_MAX]
        if batch:
            while not await post(batch):
                await asyncio.sleep(0.05)
        else:
            await asyncio.sleep(0.05)


def take(body):
    global taken
    taken += 1
    if taken != LOSE_NTH and (LOSE_EVERY == 0 or taken % LOSE_EVERY):
        waiting.append(json.loads(body)["id"])


async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = 0
            for line in head.split(b"\r\n"):
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            body = await reader.readexactly(length)
            if head.startswith(b"POST"):
                take(body)
            writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), backlog=1024)
    sender = asyncio.create_task(send())
    await server.serve_forever()
    await sender


if __name__ == "__main__":
    asyncio.run(main())
