"""Idle streams: `upstream` answers them, `client COUNT KIND...` opens as many of these kinds in turn and tells how many it holds.

Kinds: events, websocket, grpc. Of grpc, a hundred share a connection of HTTP/2; its frames are written by hand (RFC 9113)."""

import asyncio, sys

DATA, HEADERS, SETTINGS, PING, WINDOW_UPDATE = 0, 1, 4, 6, 8
END_HEADERS = 4
ACK = 1
A_CONNECTION = 100
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload

def fields(**named):
    """As literals that enter no table (RFC 7541 §6.2.2)."""
    pairs = ((name.replace("_", "-").encode(), value.encode()) for name, value in named.items())
    return b"".join(b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in pairs)

# By their indices: POST, http, the path /grpc, and the host; then 200.
CALL = b"\x83\x86\x04\x05/grpc\x01\x09localhost" + fields(content_type="application/grpc", te="trailers")
ANSWER = b"\x88" + fields(content_type="application/grpc")

async def frames(reader, writer):
    """The frames that come; settings and pings are answered."""
    while True:
        head = await reader.readexactly(9)
        payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
        kind, flags = head[3], head[4]
        if kind in (SETTINGS, PING) and not flags & ACK:
            writer.write(frame(kind, ACK, 0, payload if kind == PING else b""))
        yield kind, int.from_bytes(head[5:], "big")

async def answer(reader, writer):
    head = await reader.readuntil(b"\r\n\r\n")
    if head.startswith(b"PRI"):
        return await answer_calls(reader, writer)
    if b"upgrade: websocket" in head.lower():
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
    else:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: hello\n\n")
    await reader.read()
    writer.close()

async def answer_calls(reader, writer):
    await reader.readexactly(len(b"SM\r\n\r\n"))
    writer.write(frame(SETTINGS, 0, 0))
    async for kind, stream in frames(reader, writer):
        if kind == HEADERS:
            writer.write(frame(HEADERS, END_HEADERS, stream, ANSWER) + frame(DATA, 0, stream, bytes(5)))

async def ask(kind):
    reader, writer = await asyncio.open_connection("127.0.0.1", 18240, limit=1 << 12)
    websocket = b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    is_websocket = kind == "websocket"
    writer.write(b"GET / HTTP/1.1\r\nhost: localhost\r\n" + (websocket if is_websocket else b"") + b"\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.split()[1] == (b"101" if is_websocket else b"200"), head
    return writer

async def call(count):
    """So many calls on one connection; over when each has its first message."""
    reader, writer = await asyncio.open_connection("127.0.0.1", 18240)
    writer.write(PREFACE + frame(SETTINGS, 0, 0))
    writer.writelines(frame(HEADERS, END_HEADERS, 2 * i + 1, CALL) for i in range(count))
    answered = 0
    async for kind, _stream in frames(reader, writer):
        assert kind in (DATA, HEADERS, SETTINGS, PING, WINDOW_UPDATE), kind
        answered += kind == DATA
        if answered == count:
            return reader, writer

async def main():
    if sys.argv[1] == "upstream":
        await (await asyncio.start_server(answer, "127.0.0.1", 18244, backlog=4096)).serve_forever()
    count, kinds = int(sys.argv[2]), sys.argv[3:]
    asked = [kinds[i % len(kinds)] for i in range(count)]
    calls, others = asked.count("grpc"), [kind for kind in asked if kind != "grpc"]
    held = []
    for first in range(0, len(others), 100):
        held += await asyncio.gather(*(ask(kind) for kind in others[first : first + 100]))
    for first in range(0, calls, A_CONNECTION):
        held.append(await call(min(A_CONNECTION, calls - first)))
    print(count, flush=True)
    await asyncio.sleep(3600)

asyncio.run(main())
