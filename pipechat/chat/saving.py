"""`/save FILE`: the conversation as text, in a file that appears when it is whole."""

import os
from collections.abc import Iterable

from pipechat.errors import OutputError
from pipechat.messages import Turn
from pipechat.show.files import FileOutput
from pipechat.show.transcript import Look, Transcript


def save(turns: Iterable[Turn], path: str) -> int:
    """Write `turns` to a new file, 0600; how many they were.

    Raises:
        OutputError: `output_exists`: there is such a file; `output_failed`.
    """
    if os.path.lexists(path):
        hint = "Name another: /save replaces none."
        raise OutputError("output_exists", f"{path} is there already", hint)
    file = FileOutput(path, 0o600)
    transcript = Transcript(Look())
    count = 0
    try:
        for turn in turns:
            file.write(transcript.turn(turn).encode())
            count += 1
        file.commit()
    finally:
        file.discard()
    return count
