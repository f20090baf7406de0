"""The house map (DESIGN §7), held against the imports that really stand there: which room may
know which, who alone may touch what is outside, and what is pure."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import pipechat

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "pipechat"

GROUND = {"errors", "text", "jsonl", "messages", "events"}
# room: the rooms that it may import from, for types alone included. A module that stands by
# itself is a room of its own.
MAY_IMPORT = {
    "errors": set(),
    "text": {"errors"},
    "jsonl": {"text"},
    "messages": {"errors", "jsonl", "text"},
    "events": {"errors", "messages"},
    "late_imports": set(),
    "quick_imports": set(),
    "signals": {"errors"},
    "settings": GROUND,
    "wire": GROUND,
    "answers": GROUND,
    "attached_files": {"errors", "text"},
    "turn": GROUND | {"settings"},
    "client": GROUND | {"settings", "wire", "signals", "late_imports"},
    "store": GROUND | {"signals"},
    "ledger": GROUND | {"store"},
    "batch": GROUND
    | {"settings", "wire", "turn", "client", "store", "ledger", "signals", "environment"}
    | {"__init__"},
    "show": GROUND | {"signals"},
    "foreign": GROUND,
    "line_editor": GROUND | {"signals"},
    "stdin": GROUND | {"line_editor"},
    "environment": GROUND | {"signals", "stdin"},
    "doctor": GROUND | {"client", "store"},
    "chat": GROUND | {"settings", "turn", "store", "show", "environment", "line_editor", "signals"},
    "commands": GROUND
    | {"settings", "wire", "turn", "client", "store", "show", "environment", "signals"}
    | {"answers", "attached_files", "batch", "doctor", "chat", "ledger", "foreign"}
    | {"__init__"},
    "main": GROUND | {"commands", "environment", "signals", "__init__"},
    "__main__": {"main", "signals", "late_imports", "quick_imports"},
    "__init__": set(),
}

# Rooms and modules in which nothing opens, reads or waits. What else they take from the standard
# library, beside PLAIN, is named with its reason.
PURE: dict[str, tuple[str, ...]] = {
    # The numbers of signals and of the system's errors; which Python this is.
    "errors": ("enum", "errno", "signal", "sys"),
    "text": ("difflib", "itertools"),  # names that are near
    "events": (),
    "messages": ("os", "time"),  # ids: random bytes and the time of day
    "wire": (),
    # The clock that a conversation hands to its reducer; attachments; templates, when asked for.
    "turn": ("base64", "contextlib", "enum", "functools", "hashlib", "jinja2", "time"),
    # The schema's own hash; values that begin in the middle; when asked for.
    "answers": ("hashlib", "json", "jsonschema_rs"),
    "batch.items": (),
    "batch.rows": ("csv",),
    "batch.pace": (),
    "batch.job": (),
    "batch.job_faults": ("errno",),
    "batch.seen": (),
    "batch.standing": (),
    "batch.summary": (),
    "settings.budget": (),
    "settings.resolve": (),
    "settings.values": ("math",),
    "settings.endpoint": ("urllib",),
    "settings.layers": (),
    "settings.headers": (),
    "settings.destination": (),
    "settings.way": (),
    "settings.fallback": (),
    "settings.proxy": ("ipaddress",),
    "settings.table": (),
    "settings.own_prices": (),
    "client.frames": (),
    "client.reading": ("math", "time"),  # how long a server is listened to
    "client.refusal": (),
    "client.request_form": (),
    "client.retries": ("email", "random"),  # dates; jitter
    "client.network_errors": ("errno", "socket"),  # the types of their errors
    "client.near_request": (),
    "client.inflating": ("zlib",),
    "client.recording": ("base64",),  # segments that are no text
    "doctor.finding": (),
    "doctor.judging": ("email", "socket", "ssl"),  # dates; their errors and the dates of TLS
    "doctor.judging_folder": ("errno",),
    "ledger.tokens": (),
    "ledger.amounts": ("decimal",),
    "ledger.bounds": (),
    "ledger.periods": (),
    "ledger.rates": ("decimal",),
    "store.names": ("unicodedata",),
    "show.aligned": (),
    "foreign": ("codecs", "itertools", "json"),  # JSON that comes in blocks
    "show.html_markdown": ("functools", "html", "markdown_it"),
    "show.html_page": ("base64", "decimal", "hashlib", "html"),  # the hash of its style sheet
    "show.html_style": (),
    "show.markdown_cost": (),
    "show.markdown_page": ("functools", "markdown_it"),
    "show.messages_page": (),
    "show.width": ("unicodedata",),
    "show.wrapping": ("functools",),  # what was looked up of a letter
    "show.markdown_blocks": (),
    "show.markdown_tables": (),
    "show.found": (),
    "store.search_bytes": ("functools",),  # which letters are alike
    "store.search_context": (),
    "store.search_finders": ("functools",),
    "store.search_in_text": (),
    "store.search_literals": ("importlib",),  # re's own parser
}  # fmt: skip
PLAIN = {"collections", "dataclasses", "datetime", "re", "typing"}


@cache
def trees() -> dict[str, ast.Module]:
    paths = sorted(PACKAGE.rglob("*.py"))
    return {_name(path): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def _name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def room(name: str) -> str:
    return name.partition(".")[0]


def _imports(tree: ast.Module, *, types: bool = True) -> set[str]:
    """Dotted names that are imported; without `types`, not those for the type checker alone."""
    for_types: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for_types |= {inner for statement in node.body for inner in ast.walk(statement)}
    found: set[str] = set()
    for node in ast.walk(tree):
        if not types and node in for_types:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports of ours are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@cache
def own_imports(name: str) -> frozenset[str]:
    """The modules of ours that module `name` imports."""
    found = set()
    for imported in _imports(trees()[name]):
        if not imported.startswith("pipechat."):
            continue
        dotted = imported.removeprefix("pipechat.")
        while dotted and dotted not in trees() and f"{dotted}.__init__" not in trees():
            dotted = dotted.rpartition(".")[0]
        found.add(dotted if dotted in trees() else f"{dotted}.__init__".lstrip("."))
    return frozenset(found)


@cache
def foreign_imports(name: str, *, types: bool = True) -> set[str]:
    found = {imported.partition(".")[0] for imported in _imports(trees()[name], types=types)}
    return found - {"pipechat", "__future__"}


def reached_from(name: str) -> set[str]:
    """All modules of ours that come along with module `name`; itself where it is in a circle."""
    reached: set[str] = set()
    waiting = {*own_imports(name)}
    while waiting:
        module = waiting.pop()
        reached.add(module)
        waiting |= own_imports(module) - reached
    return reached


def who_imports(package: str, *, types: bool = True) -> set[str]:
    return {name for name in trees() if package in foreign_imports(name, types=types)}


def who_says(*expressions: str) -> set[str]:
    """Modules in whose code one of `expressions` stands: an attribute, or a call of a name."""
    return {name for name in trees() if not said_in(name).isdisjoint(expressions)}


@cache
def said_in(name: str) -> set[str]:
    """The attributes and the calls, as `f()`, that stand in the code of module `name`."""
    nodes = list(ast.walk(trees()[name]))
    attributes = {ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute)}
    calls = {f"{ast.unparse(node.func)}()" for node in nodes if isinstance(node, ast.Call)}
    return attributes | calls


@pytest.mark.parametrize("name", sorted({room(name) for name in trees()}))
def test_a_room_knows_no_more_rooms_than_the_map_allows(name: str) -> None:
    inside = [module for module in trees() if room(module) == name]
    known = {room(other) for module in inside for other in own_imports(module)} - {name}
    assert known <= MAY_IMPORT[name]


def test_no_two_rooms_know_each_other_however_long_the_way() -> None:
    reached = {name: set(rooms) for name, rooms in MAY_IMPORT.items()}
    for _ in reached:
        for rooms in reached.values():
            rooms |= {further for other in rooms for further in reached[other]}
    assert [name for name, rooms in reached.items() if name in rooms] == []


def test_modules_import_each_other_in_no_circle_be_it_late_or_for_types() -> None:
    assert [name for name in trees() if name in reached_from(name)] == []


def test_only_the_client_knows_the_sdk_and_its_transport() -> None:
    assert who_imports("openai") == set()  # lazy_openai loads it by name
    assert {room(name) for name in who_imports("httpx2")} == {"client"}
    assert who_imports("httpx") == set()


def test_only_jsonl_knows_orjson() -> None:
    assert who_imports("orjson") == {"jsonl"}


def test_only_the_index_of_once_knows_sqlite() -> None:
    assert who_imports("sqlite3") == {"store.once_index"}


def test_an_extra_is_known_where_it_is_used_and_comes_only_when_it_is_asked_for() -> None:
    assert who_imports("jsonschema_rs") == {"answers.validation"}
    assert who_imports("ray") == {"batch.ray_cluster"}
    assert who_imports("genai_prices") == {"ledger.listed_prices"}
    assert who_imports("prompt_toolkit") == {"chat.toolkit_editor"}
    assert who_imports("jinja2") == {"turn.sandbox", "turn.template_limits", "turn.template_tree"}
    modules = "answers.validation, pipechat.answers.strict_subset, pipechat.turn.template"
    script = (
        f"import sys, pipechat.{modules}; print(*{{'jsonschema_rs', 'jinja2'}} & {{*sys.modules}})"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True)
    assert done.stdout == b"\n"


def test_only_what_formats_answers_knows_markdown_it_and_comes_with_nothing_else() -> None:
    used_by = {
        "show.markdown": {"show.render"},
        "show.html_markdown": {"show.html_page"},
        "show.markdown_page": {"commands.exporting"},
    }
    assert who_imports("markdown_it") == set(used_by)
    for module, users in used_by.items():
        assert {name for name in trees() if module in own_imports(name)} == users


def test_only_the_commands_and_main_know_typer_and_nobody_click() -> None:
    assert {room(name) for name in who_imports("typer")} <= {"commands", "main"}
    assert who_imports("click") | who_imports("rich") == set()


def test_only_environment_touches_the_processs_streams_and_environment() -> None:
    # The line editor gives readline a locale, and `input` edits lines on sys.stdin alone.
    assert who_says("os.environ", "os.environb", "os.getenv") == {"environment", "line_editor"}
    assert who_says("os.putenv", "sys.stdin", "input()") == {"line_editor"}
    assert who_says("sys.stdout", "sys.stderr", "sys.__stdout__", "sys.__stderr__") == set()
    assert who_says("print()", "sys.exit()", "exit()", "quit()") == set()
    # A worker, and the bridge to Ray, are processes of their own, and end as `main` does.
    of_their_own = {"batch.worker_process", "batch.ray_bridge"}
    assert who_says("os._exit", "os.kill") <= {"main", "signals", *of_their_own}


def test_what_shows_and_what_asks_never_meet() -> None:
    for name in trees():
        reached = {room(other) for other in reached_from(name)}
        assert room(name) != "show" or "client" not in reached
        assert room(name) != "client" or "show" not in reached


@pytest.mark.parametrize("name", PURE)
def test_what_is_pure_imports_nothing_that_could_wait_or_fail(name: str) -> None:
    inside = [module for module in trees() if module == name or room(module) == name]
    assert set().union(*(foreign_imports(module) for module in inside)) - PLAIN == set(PURE[name])
    calls = who_says("open()", "os.open()", "os.write()", "os.read()", "time.sleep()")
    assert not calls & set(inside)


# Modules that may be longer, and why.
LONG = {"settings.table"}  # a table, a row an option


def test_a_module_is_read_in_one_go_and_a_function_seen_at_once() -> None:
    lines = {_name(path): path.read_bytes().count(b"\n") for path in PACKAGE.rglob("*.py")}
    assert {name for name, count in lines.items() if count > 260} <= LONG
    functions = {
        f"{name}: {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for name, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: count for name, count in functions.items() if count > 40} == {}


def test_the_command_line_starts_without_the_sdk() -> None:
    script = "import sys, pipechat.main; print(*{'openai', 'httpx2', 'pydantic'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True)
    assert done.stdout == b"\n"


def _rooms_of_the_map() -> list[str]:
    map_ = re.search(r"The rooms.*?\n\n(.*?)\n\n", pipechat.__doc__ or "", re.DOTALL)
    assert map_ is not None
    firsts = re.findall(r"^    (\w.*?)(?:  |$)", map_[1], re.MULTILINE)
    return [room for line in firsts for room in line.split(", ")]


def test_the_map_in_the_package_names_every_room_once_and_no_other() -> None:
    assert sorted(_rooms_of_the_map()) == sorted(set(MAY_IMPORT) - {"__init__"})


def test_the_map_stands_in_the_order_in_which_rooms_may_import() -> None:
    rooms = _rooms_of_the_map()
    assert [
        (room, other)
        for place, room in enumerate(rooms)
        for other in MAY_IMPORT[room] & set(rooms[place:])
    ] == []
