"""The house map (DESIGN §7, README "Inside"), held against the imports that really stand there."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "pipechat"

# module: the modules of ours that it imports, at any depth, for types alone included.
OWN_IMPORTS = {
    "__init__": "",
    "__main__": "main signals",
    "adoption": "jsonl messages session_file spool",
    "api_errors": "errors",
    "body": "api_errors errors events jsonl sse wire",
    "client": (
        "api_errors body deadlines errors events jsonl messages network_errors offline "
        "pump retries settings terminal"
    ),
    "commands.__init__": "",
    "commands.ask": (
        "commands.options commands.wiring conversation environment errors jsonl messages "
        "prompt settings sinks turn"
    ),
    "commands.chat": (
        "commands.options commands.wiring conversation environment errors events prompt "
        "settings signals sinks turn"
    ),
    "commands.history": (
        "commands.history_edit commands.history_output commands.history_search "
        "commands.options errors jsonl messages session_reading sessions terminal "
        "transcript"
    ),
    "commands.history_edit": (
        "commands.history_output commands.options commands.wiring environment errors "
        "moves rewrite sessions"
    ),
    "commands.history_output": "commands.wiring environment errors sessions terminal transcript",
    "commands.history_search": (
        "commands.history_output commands.options commands.wiring environment errors "
        "jsonl prompt search session_names sessions spool transcript"
    ),
    "commands.options": "errors jsonl",
    "commands.schema": "commands.history_output environment errors schema",
    "commands.wiring": (
        "client commands.options config conversation environment errors events lazy_openai prompt "
        "sessions settings signals turn"
    ),
    "config": "errors",
    "conversation": "errors events history messages prompt sessions settings stream turn",
    "deadlines": "errors events pump",
    "environment": "errors prompt signals terminal",
    "errors": "",
    "events": "messages",
    "history": "messages",
    "jsonl": "",
    "lazy_openai": "",
    "main": "__init__ commands.wiring environment errors signals",  # commands by name, when run
    "messages": "",
    "moves": "adoption errors replacing session_file session_reading sessions spool",
    "network_errors": "errors",
    "offline": "jsonl",
    "prompt": "errors messages",
    "pump": "signals",
    "replacing": "session_file sessions",
    "retries": "",
    "rewrite": "adoption jsonl messages replacing session_file session_reading sessions",
    "schema": "events messages",
    "search": "errors jsonl messages search_bytes session_reading",
    "search_bytes": "jsonl",
    "session_file": "errors",
    "session_names": "errors",
    "session_reading": "jsonl messages",
    "sessions": "adoption errors messages session_file session_names session_reading spool",
    "setting_values": "urls",
    "settings": "errors setting_values urls",
    "signals": "errors",
    "sinks": "errors events jsonl signals terminal turn",
    "spool": "errors jsonl messages session_file",
    "sse": "errors",
    "stream": "errors events messages",
    "terminal": "",
    "transcript": "messages session_reading terminal",
    "turn": "errors events stream",
    "urls": "",
    "wire": "api_errors errors events",
}

# No module of these opens, reads or waits for anything. What else they take from the standard
# library, beside PLAIN, is named with its reason.
PURE = {
    "api_errors": (),
    "body": (),
    "errors": ("enum", "signal"),  # the numbers of signals
    "events": (),
    "history": (),
    "messages": ("os", "time"),  # ids: random bytes and the time of day
    "network_errors": ("errno", "socket"),  # the types of their errors
    "prompt": (),
    "retries": ("email", "random"),  # dates; jitter
    "session_names": ("unicodedata",),
    "setting_values": ("math",),
    "settings": (),
    "sse": (),
    "stream": (),
    "terminal": (),
    "turn": (),
    "urls": ("urllib",),
    "wire": (),
}  # fmt: skip
PLAIN = {"collections", "dataclasses", "datetime", "re", "typing"}


@cache
def trees() -> dict[str, ast.Module]:
    paths = sorted(PACKAGE.rglob("*.py"))
    return {_name(path): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def _name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def _imports(tree: ast.Module, *, types: bool = True) -> set[str]:
    """Dotted names that are imported; without `types`, not those for the type checker alone."""
    for_types: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for_types |= {inner for statement in node.body for inner in ast.walk(statement)}
    found: set[str] = set()
    for node in ast.walk(tree):
        if node in for_types and not types:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def own_imports(name: str) -> set[str]:
    """The modules of ours that module `name` imports."""
    found = set()
    for imported in _imports(trees()[name]):
        first, _, rest = imported.partition(".")
        if first == "pipechat":
            module = rest if rest in trees() else rest.rpartition(".")[0]
            found.add(module or "__init__")
    return found


def foreign_imports(name: str, *, types: bool = True) -> set[str]:
    """The packages of others that module `name` imports."""
    found = {imported.partition(".")[0] for imported in _imports(trees()[name], types=types)}
    return found - {"pipechat", "__future__"}


def reached_from(name: str) -> set[str]:
    """All modules of ours that come along with module `name`."""
    reached: set[str] = set()
    waiting = {name}
    while waiting:
        module = waiting.pop()
        reached.add(module)
        waiting |= own_imports(module) - reached
    return reached - {name}


def who_imports(package: str, *, types: bool = True) -> set[str]:
    return {name for name in trees() if package in foreign_imports(name, types=types)}


def who_says(*expressions: str) -> set[str]:
    """Modules in whose code one of `expressions` stands: an attribute, or a call of a name."""
    found = set()
    for name, tree in trees().items():
        for node in ast.walk(tree):
            attribute = isinstance(node, ast.Attribute) and ast.unparse(node) in expressions
            call = isinstance(node, ast.Call) and ast.unparse(node.func) + "()" in expressions
            if attribute or call:
                found.add(name)
    return found


def test_every_module_imports_what_the_map_says_and_nothing_else() -> None:
    real = {name: " ".join(sorted(own_imports(name))) for name in trees()}
    assert real == OWN_IMPORTS


def test_no_two_modules_import_each_other() -> None:
    assert [name for name in trees() if name in reached_from(name)] == []


def test_only_the_clients_side_knows_the_sdk_and_its_transport() -> None:
    assert who_imports("openai") == set()  # lazy_openai loads it by name
    assert who_imports("httpx2") == {"client", "deadlines", "offline", "pump"}
    assert who_imports("httpx2", types=False) == {"client", "offline"}
    assert who_imports("httpx") == set()


def test_only_jsonl_knows_orjson() -> None:
    assert who_imports("orjson") == {"jsonl"}


def test_only_the_commands_and_main_know_typer_and_nobody_click() -> None:
    allowed = {name for name in trees() if name.startswith("commands.")} | {"main"}
    assert who_imports("typer") <= allowed
    assert who_imports("click") | who_imports("rich") == set()


def test_only_environment_touches_the_processs_streams_and_environment() -> None:
    assert who_says("os.environ", "os.environb", "os.getenv", "os.putenv") == {"environment"}
    assert who_says("sys.stdin", "sys.stdout", "sys.stderr", "sys.__stderr__") == set()
    assert who_says("sys.__stdout__") == {"environment"}  # `input` edits lines on it alone
    assert who_says("input()") == {"environment"}
    assert who_says("print()", "sys.exit()", "exit()", "quit()") == set()
    assert who_says("os._exit", "os.kill") <= {"main", "signals"}


def test_sinks_and_client_never_meet() -> None:
    assert "client" not in reached_from("sinks")
    assert "sinks" not in reached_from("client")


def test_the_core_knows_no_command_and_no_main() -> None:
    for name in trees():
        if not name.startswith(("commands.", "main", "__main__")):
            assert not {m for m in reached_from(name) if m.startswith(("commands", "main"))}, name


@pytest.mark.parametrize("name", PURE)
def test_a_pure_module_imports_nothing_that_could_wait_or_fail(name: str) -> None:
    assert foreign_imports(name) - PLAIN == set(PURE[name])
    assert reached_from(name) <= {*PURE, "jsonl"}
    calls = who_says("open()", "os.open()", "os.write()", "os.read()", "time.sleep()")
    assert name not in calls


def test_the_command_line_starts_without_the_sdk() -> None:
    script = "import sys, pipechat.main; print(*{'openai', 'httpx2', 'pydantic'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True)
    assert done.stdout == b"\n"


def test_the_readme_names_every_module() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = re.search(r"^## Inside$(.*?)(?=^## |\Z)", readme, re.MULTILINE | re.DOTALL)
    assert section, "README has no section Inside"
    files = {path.name for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"}
    named = {name.rpartition("/")[2] for name in re.findall(r"`([\w/]+\.py)`", section[1])}
    assert named == files
