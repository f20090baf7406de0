"""The groups of what a start costs."""

from __future__ import annotations

from benching.home import Home
from benching.parties import QUESTION, Party, SessionOnDisk, anything, holds
from benching.plan import Group


def start(home: Home) -> Group:
    python = str(home.bin / "python")
    pipechat = str(home.bin / "pipechat")
    show = SessionOnDisk(home, "show", 20)
    parties = (
        Party("python -c pass", (python, "-c", "pass"), anything),
        Party("import typer", (python, "-c", "import typer"), anything),
        Party("import typer, orjson", (python, "-c", "import typer, orjson"), anything),
        Party("--version", (pipechat, "--version"), holds(b"pipechat ")),
        Party("--help", (pipechat, "--help"), holds(b"--help")),
        Party("completion bash", (pipechat, "completion", "bash"), holds(b"_pipechat")),
        Party("ask --offline", (pipechat, "ask", "--offline", QUESTION), holds(b"pipe")),
        Party("history show --last 3", show.shown(3), holds(b"A pipe joins")),
        Party("llm --version", (str(home.bin / "llm"), "--version"), holds(b"llm")),
        Party("llm logs -n 3", (str(home.bin / "llm"), "logs", "-n", "3"), holds(b"answer")),
    )
    about = "starting, and what a command costs that asks no server"
    return Group("start", about, parties, set_up=show.write)
