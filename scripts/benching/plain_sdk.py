"""What most people would write: the SDK's own parsed stream, printed as it comes.

`python plain_sdk.py MODEL QUESTION`, with OPENAI_BASE_URL and OPENAI_API_KEY.
"""

import sys

from openai import OpenAI

client = OpenAI()
for chunk in client.chat.completions.create(
    model=sys.argv[1], messages=[{"role": "user", "content": sys.argv[2]}], stream=True
):
    if chunk.choices and chunk.choices[0].delta.content:
        print(chunk.choices[0].delta.content, end="", flush=True)
