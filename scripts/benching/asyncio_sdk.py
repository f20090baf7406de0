"""Many questions as most people would ask them: the SDK's asynchronous client, so many at once.

`python asyncio_sdk.py MODEL QUESTIONS JOBS OUT`, with OPENAI_BASE_URL and OPENAI_API_KEY:
QUESTIONS is NDJSON, OUT gets a line an answer.
"""

import asyncio
import json
import sys

from openai import AsyncOpenAI

MODEL, QUESTIONS, JOBS, OUT = sys.argv[1:]


async def main() -> None:
    client = AsyncOpenAI()
    with open(QUESTIONS) as questions, open(OUT, "w") as out:

        async def worker() -> None:
            for line in questions:
                item = json.loads(line)
                answer = await client.chat.completions.create(
                    model=MODEL, messages=[{"role": "user", "content": item["question"]}]
                )
                text = answer.choices[0].message.content
                print(json.dumps({"id": item["id"], "answer": text}), file=out, flush=True)

        await asyncio.gather(*(worker() for _ in range(int(JOBS))))


asyncio.run(main())
