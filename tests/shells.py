"""A shell at a pseudo-terminal, with the completion of pipechat loaded: typed at as a person does,
Tab and Enter included. `pipechat` is in it a function that tells which words it was given."""

import os
import pty
import select
import shlex
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.controlling_terminal import take_terminal
from tests.program import Program

SHELLS = ("bash", "zsh", "fish")
LIMIT_S = 30.0
_STARTS = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "-i"],
}
_FUNCTION = 'pipechat() { printf \'%s\\0\' "$@" > "$OUT.words"; : > "$OUT"; }\n'
_BEFORE = {
    "bash": "bind 'set bell-style none'; bind 'set completion-query-items 0'\n" + _FUNCTION,
    "zsh": "autoload -Uz compinit; compinit -D -u\n" + _FUNCTION,
    "fish": "function pipechat\nprintf '%s\\0' $argv > $OUT.words\nprintf '' > $OUT\nend\n",
}


def _install(name: str, home: Path, script: str) -> str:
    """Put the script where a shell looks for it; the line of its own start that lets it."""
    paths = {
        "bash": ".local/share/bash-completion/completions/pipechat",
        "zsh": ".zfunc/_pipechat",
        "fish": ".config/fish/completions/pipechat.fish",
    }
    path = home / paths[name]
    path.parent.mkdir(parents=True)
    path.write_text(script)
    # What the package bash-completion does at the first Tab.
    return {"bash": f". '{path}'\n", "zsh": f"fpath+='{path.parent}'\n", "fish": ""}[name]


class Shell:
    """The shell of that name, standing in the folder `here`. `installed`: the script is not loaded,
    but stands where the shell looks for it."""

    def __init__(self, name: str, program: Program, here: Path, *, installed: bool = False) -> None:
        assert shutil.which(name), f"{name} is not installed"
        self.name = name
        self.script = program.run("completion", name).stdout.decode()
        self._out = program.home / "out"
        start = program.home / f"start.{name}"
        if installed:
            before = _install(name, program.home, self.script) + _BEFORE[name]
        else:
            before = _BEFORE[name] + self.script
        start.write_text(before)
        # No program is found from here on: what a Tab does, the shell does itself.
        no_programs = "set -gx PATH /nowhere\n" if name == "fish" else "PATH=/nowhere\n"
        with start.open("a") as file:
            file.write(no_programs)
        environ = program.environ({"TERM": "xterm", "OUT": str(self._out), "LC_ALL": "C.UTF-8"})
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            _STARTS[name], env=environ, cwd=here, stdin=slave, stdout=slave, stderr=slave,
            start_new_session=True,
            preexec_fn=take_terminal,
        )  # fmt: skip
        os.close(slave)
        self.screen = b""
        self.typed(f". {shlex.quote(str(start))}; pipechat ready")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    def typed(self, line: str) -> list[str]:
        """Type a line and Enter; the words that `pipechat` was given."""
        os.write(self._master, line.encode() + b"\r")
        ends_at = time.monotonic() + LIMIT_S
        while not self._out.exists():
            assert time.monotonic() < ends_at, self.screen[-2000:].decode("utf-8", "replace")
            if select.select([self._master], [], [], 0.01)[0]:
                self.screen += os.read(self._master, 65536)
        self._out.unlink()
        return Path(f"{self._out}.words").read_bytes().decode().split("\0")[:-1]
