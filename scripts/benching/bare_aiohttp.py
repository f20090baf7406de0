"""The same requests by aiohttp alone, with nothing looked at: `asyncio_sdk.py`'s arguments."""

import asyncio
import json
import os
import sys

import aiohttp

MODEL, QUESTIONS, JOBS, OUT = sys.argv[1:]
URL = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
HEADERS = {"Authorization": "Bearer " + os.environ["OPENAI_API_KEY"]}


async def main() -> None:
    connector = aiohttp.TCPConnector(limit=int(JOBS))
    with open(QUESTIONS) as questions, open(OUT, "wb") as out:
        async with aiohttp.ClientSession(connector=connector, headers=HEADERS) as client:

            async def worker() -> None:
                for line in questions:
                    messages = [{"role": "user", "content": json.loads(line)["question"]}]
                    body = {"model": MODEL, "messages": messages}
                    async with client.post(URL, json=body) as response:
                        out.write(await response.read() + b"\n")

            await asyncio.gather(*(worker() for _ in range(int(JOBS))))


asyncio.run(main())
