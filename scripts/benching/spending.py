"""The groups of what was spent."""

from __future__ import annotations

from benching import ledgers
from benching.home import Home
from benching.parties import Party, has_lines, is_text
from benching.plan import Group


def usage(home: Home, lines: int) -> Group:
    folders = home.folder / "ledger-long", home.folder / "ledger-short"
    by_model = ("usage", "--by", "model")
    pipechat, env = str(home.bin / "pipechat"), home.tool("env")
    long, short = ((env, f"PIPECHAT_HOME={folder}", pipechat, *by_model) for folder in folders)
    jq = (home.tool("jq"), "-s", "group_by(.model) | length", f"{folders[0]}/ledger/2026-10.jsonl")
    models = len(ledgers.MODELS)
    parties = (
        Party("usage", long, has_lines(models)),
        Party("usage, short", short, has_lines(models)),
        Party("jq -s group_by", jq, is_text(str(models))),
    )

    def set_up() -> None:
        for folder, count in zip(folders, (lines, 1_000), strict=True):
            ledgers.write_ledger(folder / "ledger", count)

    return Group("usage", f"a ledger of {lines} lines, by model", parties, set_up, long=True)
