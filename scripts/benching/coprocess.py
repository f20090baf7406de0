"""A program that asks turn by turn: `python coprocess.py COUNT COMMAND…`.

COMMAND reads a question a line and answers each with a line. Written is a stamp a turn: when its
question went out, told once its answer is there.
"""

import json
import subprocess
import sys
import time

count, command = int(sys.argv[1]), sys.argv[2:]
with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as answering:
    assert answering.stdin is not None
    assert answering.stdout is not None
    for number in range(count):
        asked = time.monotonic_ns()
        question = {"id": str(number), "question": f"What is question {number} about?"}
        answering.stdin.write(json.dumps(question).encode() + b"\n")
        answering.stdin.flush()
        if not answering.stdout.readline():
            sys.exit("it answers no more")
        if number:  # the first turn also starts it
            print(f"t={asked};", flush=True)
    answering.stdin.close()
sys.exit(answering.returncode)
