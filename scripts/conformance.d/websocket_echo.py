"""A WebSocket server that sends back what it is sent, whole messages up to 64 MiB."""

import asyncio
from websockets.asyncio.server import serve

async def echo(connection):
    async for message in connection:
        await connection.send(message)

async def main():
    await (await serve(echo, "127.0.0.1", 18214, max_size=64 << 20)).serve_forever()

asyncio.run(main())
