"""The groups of searching a long session."""

from __future__ import annotations

from benching import sessions
from benching.home import Home
from benching.parties import Party, SessionOnDisk, has_lines, is_text
from benching.plan import Group


def search(home: Home, turns: int) -> Group:
    long = SessionOnDisk(home, "long", turns)
    needle, path = sessions.NEEDLE, str(long.path)
    found = sessions.needles(turns)
    query = f'select(.question + .answer | contains("{needle}")) | .id'
    search = (str(home.bin / "pipechat"), "history", "search", needle, "--session", "long")
    parties = (
        Party("history search", search, has_lines(found)),
        Party("grep -c", (home.tool("grep"), "-c", needle, path), is_text(str(found))),
        Party("jq", (home.tool("jq"), "-r", query, path), has_lines(found)),
    )
    about = f"a word that {found} of {turns} turns hold"
    return Group("search", about, parties, long.write, long=True)
