"""The same requests by aiohttp alone, on one connection: `python turn_by_turn.py COUNT MODEL`."""

import asyncio
import os
import sys
import time

import aiohttp

COUNT, MODEL = int(sys.argv[1]), sys.argv[2]
URL = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
HEADERS = {"Authorization": "Bearer " + os.environ["OPENAI_API_KEY"]}


async def main() -> None:
    async with aiohttp.ClientSession(headers=HEADERS) as client:
        for number in range(COUNT):
            asked = time.monotonic_ns()
            content = f"What is question {number} about?"
            body = {"model": MODEL, "messages": [{"role": "user", "content": content}]}
            async with client.post(URL, json=body) as response:
                await response.read()
            if number:  # the first one also connects
                print(f"t={asked};", flush=True)


asyncio.run(main())
