"""Idle streams: `upstream` answers them, `client COUNT` opens them, every second a WebSocket, and tells how many it holds."""

import asyncio, sys

async def answer(reader, writer):
    head = await reader.readuntil(b"\r\n\r\n")
    if b"upgrade: websocket" in head.lower():
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
    else:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: hello\n\n")
    await reader.read()
    writer.close()

async def ask(i):
    reader, writer = await asyncio.open_connection("127.0.0.1", 18240)
    websocket = b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    writer.write(b"GET / HTTP/1.1\r\nhost: localhost\r\n" + (websocket if i % 2 else b"") + b"\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.split()[1] == (b"101" if i % 2 else b"200"), head
    return writer

async def main():
    if sys.argv[1] == "upstream":
        await (await asyncio.start_server(answer, "127.0.0.1", 18244, backlog=4096)).serve_forever()
    held = []
    for first in range(0, int(sys.argv[2]), 100):
        held += await asyncio.gather(*(ask(i) for i in range(first, min(first + 100, int(sys.argv[2])))))
    print(len(held), flush=True)
    await asyncio.sleep(3600)

asyncio.run(main())
