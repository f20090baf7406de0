"""What a start puts off of the standard library is the real thing as soon as it is asked for."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
# With every Python: 3.11 runs `ast` and `platform` at once, 3.13 imports no `ipaddress`, and with
# -c a plain `linecache`.
WAIT = {"bz2", "lzma", "subprocess", "textwrap", "tokenize"}
START = """
import json, sys
from pipechat.__main__ import _WAITING
from pipechat.late_imports import waiting
hooks = len(sys.meta_path)
with waiting(_WAITING):
    import pipechat.main
def waiting_now():
    served = {name: vars(sys.modules.get(name, sys)).get("__getattr__") for name in _WAITING}
    return [n for n, by in served.items() if getattr(by, "__module__", "") == waiting.__module__]
waits = waiting_now()
assert len(sys.meta_path) == hooks
"""
NAMES = """
from importlib import import_module
print(json.dumps({name: sorted(dir(import_module(name))) for name in sorted(_WAITING)}))
"""


def run(script: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_start_leaves_waiting_what_few_functions_use() -> None:
    assert set(run(START + "print(json.dumps(waits))")) >= WAIT


def test_what_a_start_puts_off_is_whole_when_it_is_asked_for() -> None:
    asked = """
import ast, bz2, ipaddress, linecache, lzma, platform, subprocess, textwrap, tokenize
assert bz2.decompress(bz2.compress(b"7")) == lzma.decompress(lzma.compress(b"7")) == b"7"
ast.parse, ipaddress.ip_address, linecache.getline, platform.system, textwrap.wrap, tokenize.open
from subprocess import Popen, run
assert run([sys.executable, "-c", "print(7)"], stdout=subprocess.PIPE).stdout == b"7\\n"
assert not waiting_now()
"""
    plain = "import json\nfrom pipechat.__main__ import _WAITING\n"
    assert run(START + asked + NAMES) == run(plain + NAMES)


def test_a_module_asked_for_by_threads_at_once_is_whole_in_each() -> None:
    assert (
        run(f"""{START}
import threading
sys.setswitchinterval(1e-5)
import subprocess
names, found = ["run", "Popen", "PIPE", "call", "list2cmdline", "CompletedProcess"], []
together = threading.Barrier(len(names))
def ask(name):
    together.wait()
    found.append(getattr(subprocess, name) is not None and "run" in vars(subprocess))
threads = [threading.Thread(target=ask, args=(name,)) for name in names]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(json.dumps(found))
""")
        == [True] * 6
    )


def test_a_thread_that_asks_while_a_module_runs_gets_it_whole(tmp_path: Path) -> None:
    (tmp_path / "half.py").write_text(
        "import sys\ndef last(): return LAST\nsys.reached.set()\nsys.may_end.wait()\nLAST = 7\n"
    )
    assert run(f"""
import json, sys, threading, time
from pipechat.late_imports import waiting
sys.path.append({str(tmp_path)!r})
sys.reached, sys.may_end, found = threading.Event(), threading.Event(), []
with waiting({{"half"}}):
    import half
def ask(): found.append(half.last())
threads = [threading.Thread(target=ask) for _ in range(3)]
threads[0].start()
sys.reached.wait()
threads[1].start()
threads[2].start()
def waits_or_ended(thread):
    frame = sys._current_frames().get(thread.ident)
    return frame is None or frame.f_code.co_filename.endswith("late_imports.py")
while not all(map(waits_or_ended, threads[1:])): time.sleep(0.001)
sys.may_end.set()
for thread in threads: thread.join()
print(json.dumps([found, type(half) is type(sys)]))
""") == [[7, 7, 7], True]


def test_what_is_not_there_is_missing_as_ever() -> None:
    assert run("""
import json
from pipechat.late_imports import waiting
with waiting({"no_such_module", "tokenize"}):
    try:
        import no_such_module
    except ModuleNotFoundError as error:
        missing = error.name
    import tokenize
try:
    tokenize.no_such_name
except AttributeError as error:
    print(json.dumps([missing, error.name]))
""") == ["no_such_module", "no_such_name"]


@pytest.mark.parametrize("lacks", ["_bz2", "_lzma"])
def test_a_python_built_without_a_part_says_so_at_the_import_of_what_needs_it(lacks: str) -> None:
    tells = f"""
import json, sys
sys.modules[{lacks!r}] = None
{START}
try:
    import {lacks[1:]}
except ImportError as error:
    print(json.dumps(error.name))
"""
    assert run(tells) == lacks


@pytest.mark.parametrize("failure", ["KeyboardInterrupt", "OSError(24, 'too many')", "MemoryError"])
def test_a_module_that_could_not_run_to_its_end_is_whole_when_it_is_asked_for_again(
    tmp_path: Path, failure: str
) -> None:
    (tmp_path / "half.py").write_text(
        f"import sys\nFIRST = 1\nif not hasattr(sys, 'may_run'): raise {failure}\nLAST = 2\n"
    )
    assert run(f"""
import json, sys
from pipechat.late_imports import waiting
sys.path.append({str(tmp_path)!r})
with waiting({{"half"}}):
    import half
try:
    half.LAST
except BaseException as error:
    first = [type(error).__name__, "FIRST" in vars(half)]
sys.may_run = True
print(json.dumps([*first, half.LAST, half.FIRST]))
""") == [failure.partition("(")[0], False, 2, 1]
