"""The groups of searching a long session."""

from __future__ import annotations

from benching import sessions
from benching.home import Home
from benching.parties import Party, SessionOnDisk, has_lines, is_text
from benching.plan import Group


def searching(home: Home, turns: int) -> Group:
    long = SessionOnDisk(home, "long", turns)
    needle, path = sessions.NEEDLE, str(long.path)
    found = sessions.needles(turns)
    query = f'select(.question + .answer | contains("{needle}")) | .id'
    grep, either = home.tool("grep"), f"{needle[:3]}({needle[3:]}|luft)|zwickm.hle"

    def search(*arguments: str) -> tuple[str, ...]:
        return (str(home.bin / "pipechat"), "history", "search", *arguments, "--session", "long")

    parties = (
        Party("history search", search(needle), has_lines(found)),
        Party("grep -c", (grep, "-c", needle, path), is_text(str(found))),
        Party("history search -i", search("-i", needle.upper()), has_lines(found)),
        Party("grep -ci", (grep, "-ci", needle.upper(), path), is_text(str(found))),
        Party("history search -E", search("-E", either), has_lines(found)),
        Party("grep -cE", (grep, "-cE", either, path), is_text(str(found))),
        Party("jq", (home.tool("jq"), "-r", query, path), has_lines(found)),
    )
    about = f"a word that {found} of {turns} turns hold"
    return Group("search", about, parties, long.write, long=True)
