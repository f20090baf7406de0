"""What `load_openai` promises: the SDK's own objects, later; and the plain import where in doubt.

Each test that depends on what was imported before runs in an interpreter of its own.
"""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from pipechat.client.reexports import front_of

ROOT = Path(__file__).resolve().parent.parent
LOAD = "import json, os, sys\nfrom pipechat.client.lazy_openai import load_openai\n"


def run(script: str, *, fake_sdk: Path | None = None, **environ: str) -> Any:
    """Run `script` in a fresh interpreter and return what it prints, read as JSON."""
    path = [str(ROOT)] if fake_sdk is None else [str(fake_sdk), str(ROOT)]
    done = subprocess.run(
        [sys.executable, "-c", LOAD + script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path), **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def write_sdk(folder: Path, files: dict[str, str]) -> Path:
    """A made-up SDK: an `openai` package of `files`, each folder with an `__init__.py`."""
    for name, text in files.items():
        file = folder / "openai" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    for inner in [folder / "openai", *(folder / "openai").rglob("*/")]:
        (inner / "__init__.py").touch()
    return folder


FACES = """
import openai.types.chat, openai.types.responses, openai.types.shared
packages = [openai, openai.types, openai.types.chat, openai.types.responses, openai.types.shared]
face = {}
for package in packages:
    for name in names.get(package.__name__, ()) if names else list(vars(package)):
        value = getattr(package, name)
        # Once all of it has run, which says of its front that it is of `openai`.
        if isinstance(value, type) and openai.AzureOpenAI:
            face[package.__name__ + ":" + name] = [value.__module__, value.__qualname__]
"""


def test_the_names_served_are_those_of_the_plain_import() -> None:
    plain = run(
        "names, openai = None, load_openai(os.environ)" + FACES + "print(json.dumps(face))",
        PIPECHAT_PLAIN_IMPORT="1",
    )
    names: dict[str, list[str]] = {}
    for address in plain:
        package, name = address.split(":")
        names.setdefault(package, []).append(name)
    quick = run(f"names, openai = {names}, load_openai({{}})" + FACES + "print(json.dumps(face))")
    assert len(plain) > 300
    # The client of an extra is asked for by its own name, and here stands as if it were missing.
    del quick["openai:DefaultAioHttpClient"], plain["openai:DefaultAioHttpClient"]
    assert quick == plain


def test_a_served_name_is_the_object_of_its_submodule() -> None:
    assert run("""
openai = load_openai({})
from openai.types.chat import ChatCompletion
from openai.types.chat import chat_completion
print(json.dumps([
    ChatCompletion is chat_completion.ChatCompletion,
    ChatCompletion is openai.types.chat.ChatCompletion,
    openai.types.chat.chat_completion is chat_completion,
    openai.types.batch is sys.modules["openai.types.batch"],
]))
""") == [True, True, True, True]


def test_what_the_sdk_begins_with_is_served_without_the_rest_and_stays_what_it_was() -> None:
    assert run("""
openai = load_openai({})
front = ["OpenAI", "AsyncOpenAI", "APIStatusError", "APIConnectionError", "Omit", "Stream",
         "Timeout", "__version__", "types"]
early = {name: getattr(openai, name) for name in front}
assert early.keys() <= vars(openai).keys()
rest = ["openai.lib.azure", "openai.lib.bedrock", "openai.providers", "openai._module_client"]
waited = not any(name in sys.modules for name in rest)
openai.version.VERSION, openai._qs  # submodules, and they alone
waited = waited and not any(name in sys.modules for name in rest)
assert issubclass(openai.AzureOpenAI, early["OpenAI"]) and openai.api_key is None
kept = all(getattr(openai, name) is value for name, value in early.items())
print(json.dumps([waited, kept, "serve" in repr(openai.__getattr__), hasattr(openai, "Nonsense")]))
""") == [True, True, False, False]


ELSE_OLD = "def __getattr__(name):\n    from .old import OpenAI\n    return OpenAI\n"
FRONTS = {
    "a branch on what is imported": (
        "from .flags import NEW\nif NEW:\n    from .new import OpenAI\n"
        "else:\n    from .old import OpenAI\n",
        "openai.old",
    ),
    "a branch on what others have": (
        "from os import altsep as seen\nif seen:\n    from .new import OpenAI\n"
        "else:\n    from .old import OpenAI\n",
        "openai.old",
    ),
    "a name bound again": (
        "from .new import OpenAI\nfrom .old import OpenAI\nprint\n",
        "openai.old",
    ),
    "a name bound again later": (
        "from .new import OpenAI\nimport os as made\nOpenAI = made.getpid\n",
        "posix",
    ),
    "a name taken away": (
        "from .new import OpenAI\nimport os as made\nmade.sep\ndel OpenAI\n"
        "def __getattr__(name):\n    return made.getpid\n",
        "posix",
    ),
    "a branch on what is None": (
        "from .flags import NONE\nif NONE is not None:\n    from .new import OpenAI\n" + ELSE_OLD,
        "openai.old",
    ),
    "a branch on what is equal": (
        "from .flags import NONE\nif NONE != None:\n    from .new import OpenAI\n" + ELSE_OLD,
        "openai.old",
    ),
    "a branch on what is among others": (
        "from .flags import NONE\nif NONE not in (None,):\n    from .new import OpenAI\n"
        + ELSE_OLD,
        "openai.old",
    ),
    "an import that may fail": (
        "try:\n    from .missing import OpenAI\nexcept ImportError:\n    from .old import OpenAI\n",
        "openai.old",
    ),
    "a star": ("from .old import *\nlen\n", "openai.old"),
    "a name of its own": ("from .new import A\n\nclass OpenAI(A): ...\n", "openai"),
    "nothing": ("OpenAI = len\n", "builtins"),
}


@pytest.mark.parametrize("way", FRONTS)
def test_what_the_front_of_a_package_serves_is_what_a_run_of_it_leaves(
    tmp_path: Path, way: str
) -> None:
    front, module = FRONTS[way]
    sdk = write_sdk(
        tmp_path,
        {
            "__init__.py": front,
            "flags.py": "NEW = False\nNONE = None\n",
            "new.py": "class OpenAI: ...\nclass A: ...\n",
            "old.py": "class OpenAI: ...\n",
        },
    )
    script = "print(json.dumps(load_openai(os.environ).OpenAI.__module__))"
    plain = run(script, fake_sdk=sdk, PIPECHAT_PLAIN_IMPORT="1")
    assert [run(script, fake_sdk=sdk), plain] == [module, module]


MANY = "".join(f"from .a import A{number}\n" for number in range(600))


@pytest.mark.parametrize(
    ("source", "front"),
    [
        ("from .a import A\nfrom . import b\nlen\nfrom .c import C\n", {"A", "b"}),
        ("import os\nfrom .a import A as B, C\n", {"B", "C"}),
        (
            "from .a import A\nif A is None:\n    B = 1\nfrom .b import B as C\nif C is A: D = 1\n",
            {"A"},
        ),
        ("from .a import A\nwhile A:\n    from .b import B\n", {"A"}),
        ("from .a import A\nwhile not A:\n    from .b import B\n", {"A"}),
        ("from .a import A\nfrom .b import B\nB = A\n", {"A"}),
        ("from .a import A\nfrom ..b import B\nfrom c import C\n", {"A"}),
        (MANY + "A0 = A599 = 1\n", {f"A{number}" for number in range(1, 599)}),
    ],
    ids=["use", "others", "branches", "loop", "loop while not", "bound anew", "elsewhere", "many"],
)
def test_the_front_ends_at_a_use_or_a_branch_and_has_what_stays_as_it_was_imported(
    source: str, front: set[str]
) -> None:
    assert set(front_of(compile(source, "__init__.py", "exec"))) == front


def test_a_rest_that_fails_fails_again_and_leaves_the_front_as_it_was(tmp_path: Path) -> None:
    sdk = write_sdk(
        tmp_path,
        {
            "__init__.py": "from .front import OpenAI\n\nraise ValueError(OpenAI)\n",
            "front.py": "class OpenAI: ...\n",
        },
    )
    script = """
openai = load_openai({})
first, failed = openai.OpenAI, []
for _ in range(2):
    try:
        openai.api_key
    except ValueError as error:
        failed.append(error.args[0] is first)
print(json.dumps([failed, openai.OpenAI is first]))
"""
    # What cannot run whole is, for the plain import, no SDK: that is found out when it is asked.
    assert run(script, fake_sdk=sdk) == [[True, True], True]


def test_while_the_rest_runs_a_package_has_what_it_has_in_a_plain_run(tmp_path: Path) -> None:
    sdk = write_sdk(
        tmp_path,
        {
            "__init__.py": "from .front import OpenAI\nlen\nfrom . import early, late\n",
            "front.py": "class OpenAI: ...\n",
            "early.py": "import openai\nhad = [hasattr(openai, n) for n in ('late', 'front')]\n",
            "late.py": "",
        },
    )
    script = """
openai = load_openai(os.environ)
print(json.dumps([hasattr(openai, "rest"), openai.early.had]))
"""
    plain = run(script, fake_sdk=sdk, PIPECHAT_PLAIN_IMPORT="1")
    assert [run(script, fake_sdk=sdk), plain] == [[False, [False, True]]] * 2


def test_threads_that_ask_for_the_front_and_for_the_rest_at_once_all_get_it() -> None:
    assert run("""
import threading
sys.setswitchinterval(1e-5)
openai = load_openai({})
names = ["OpenAI", "AzureOpenAI", "Stream", "BedrockOpenAI", "api_key", "Omit", "AsyncAzureOpenAI",
         "ComputerDriver"]
found, together = [], threading.Barrier(len(names))
def ask(name):
    together.wait()
    getattr(openai, name)
    found.append(name)
threads = [threading.Thread(target=ask, args=(name,)) for name in names]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(json.dumps([sorted(found) == sorted(names), hasattr(openai, "Nonsense")]))
""") == [True, False]


def test_a_thread_that_imports_the_front_waits_for_none_that_runs_the_rest(tmp_path: Path) -> None:
    sdk = write_sdk(
        tmp_path,
        {
            "__init__.py": "from .front import OpenAI\nimport meeting\nmeeting.begun.set()\n"
            "from .last import rest\n",
            "last.py": "from .slow import rest\n",
            "front.py": "class OpenAI: ...\n",
            "slow.py": "import meeting\nmeeting.inside.set()\nmeeting.begun.wait(30)\n"
            "from . import sub\nrest = sub.rest\n",
            "sub.py": "rest = 7\n",
        },
    )
    (tmp_path / "meeting.py").write_text(
        "import threading\nbegun, inside = threading.Event(), threading.Event()\n"
    )
    script = """
import threading, meeting
from pipechat import late_imports
late_imports._LONGEST_S = 3_600.0
openai = load_openai({})
found = []
slow = threading.Thread(target=lambda: found.append(openai.slow.rest))
slow.start()
meeting.inside.wait(30)
found.append(openai.rest)  # runs the rest, which waits for the other's import
slow.join()
print(json.dumps(found))
"""
    assert run(script, fake_sdk=sdk) == [7, 7]


def test_models_that_nobody_asked_for_are_not_imported() -> None:
    imported = run("load_openai({}); print(json.dumps(sorted(sys.modules)))")
    assert "openai" in imported
    assert "openai.types.responses.response" not in imported
    assert "openai.types.chat.chat_completion" not in imported
    assert "openai.resources" not in imported
    assert sum(name.startswith("openai.types.") for name in imported) < 30


def test_no_import_hook_outlives_the_import() -> None:
    assert run("""
before = list(sys.meta_path)
load_openai({})
print(json.dumps(sys.meta_path == before))
""")


def test_plain_import_is_one_variable_away() -> None:
    imported = run(
        "load_openai(os.environ); print(json.dumps(sorted(sys.modules)))", PIPECHAT_PLAIN_IMPORT="1"
    )
    assert "openai.types.responses.response" in imported


def test_an_sdk_imported_before_is_returned_as_it_is() -> None:
    assert run("""
import openai
before = dict(sys.modules)
print(json.dumps([load_openai({}) is openai, sys.modules == before]))
""") == [True, True]


def test_models_work_after_the_quick_import() -> None:
    assert run("""
load_openai({})
import pickle, typing
from openai.types.chat import ChatCompletion, ChatCompletionUserMessageParam
completion = ChatCompletion.model_validate({
    "id": "1", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "logprobs": None,
                 "message": {"role": "assistant", "content": "hi"}}],
})
from openai.types.chat.chat_completion import Choice
print(json.dumps([
    completion.choices[0].message.content,
    isinstance(completion.choices[0], Choice),
    pickle.loads(pickle.dumps(completion)) == completion,
    "content" in typing.get_type_hints(ChatCompletionUserMessageParam),
    "properties" in ChatCompletion.model_json_schema(),
]))
""") == ["hi", True, True, True, True]


def test_the_whole_client_works_after_the_quick_import() -> None:
    assert run("""
openai = load_openai({})
import httpx2
answer = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [
    {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}]}
transport = httpx2.MockTransport(lambda request: httpx2.Response(200, json=answer))
client = openai.OpenAI(api_key="x", http_client=httpx2.Client(transport=transport))
completion = client.chat.completions.create(model="m", messages=[])
print(json.dumps([completion.choices[0].message.content, type(completion).__name__]))
""") == ["hi", "ChatCompletion"]


def test_star_import_and_dir_offer_every_name() -> None:
    assert run("""
openai = load_openai({})
untouched = "FileObject" in vars(openai.types)
listed = {"FileObject", "file_object", "responses", "__name__"} <= set(dir(openai.types))
from openai.types import *
kept = "FileObject" in vars(openai.types)
print(json.dumps([
    untouched, listed, FileObject.__module__, kept, hasattr(openai.types, "Nonsense")
]))
""") == [False, True, "openai.types.file_object", True, False]


def test_only_modules_among_the_files_of_a_package_are_served(tmp_path: Path) -> None:
    others = dict.fromkeys(("py.typed", "LICENSE", "notes.txt", "stubs.pyi", "old.py.orig"), "")
    modules = {"thing.py": "class Thing: ...\n", "inner/deep.py": ""}
    sdk = write_sdk(
        tmp_path,
        {
            "__init__.py": "from . import types\nfrom .thing import Thing as OpenAI\nlen\n",
            **modules,
            **others,
            "types/__init__.py": REEXPORT,
            **{f"types/{name}": text for name, text in {**modules, **others}.items()},
        },
    )
    script = """
openai = load_openai({})
names = ["inner", "thing", "py", "LICENSE", "notes", "stubs", "old"]
print(json.dumps([
    [name for name in names if hasattr(openai, name)],
    [name for name in names if hasattr(openai.types, name)],
    [name for name in names if name in dir(openai.types)],
]))
"""
    assert run(script, fake_sdk=sdk) == [["inner", "thing"]] * 3


REEXPORT = "from .thing import Thing as Thing\n"
RAISED = [
    ("httpx2.Response(400)", "BadRequestError"),
    ("httpx2.Response(401)", "AuthenticationError"),
    ("httpx2.Response(403)", "PermissionDeniedError"),
    ("httpx2.Response(404)", "NotFoundError"),
    ("httpx2.Response(409)", "ConflictError"),
    ("httpx2.Response(422)", "UnprocessableEntityError"),
    ("httpx2.Response(429)", "RateLimitError"),
    ("httpx2.Response(500)", "InternalServerError"),
    ("fail(httpx2.ConnectError('no'))", "APIConnectionError"),
    ("fail(httpx2.ReadTimeout('late'))", "APITimeoutError"),
]


@cache
def caught() -> dict[str, list[bool]]:
    """By the name of the exported class: whether it caught what the SDK raised, and as what."""
    rows = "".join(f"    {error!r}: lambda request: {answer},\n" for answer, error in RAISED)
    found: dict[str, list[bool]] = run(f"""
openai = load_openai({{}})
import httpx2
def fail(error):
    raise error
found = {{}}
for name, answer in {{
{rows}}}.items():
    expected = getattr(openai, name)
    http_client = httpx2.Client(transport=httpx2.MockTransport(answer))
    client = openai.OpenAI(api_key="x", http_client=http_client, max_retries=0)
    try:
        client.post("/chat/completions", cast_to=httpx2.Response, body={{}}, stream=True)
    except expected as error:
        found[name] = [type(error) is expected, isinstance(error, openai.OpenAIError)]
    except openai.OpenAIError:
        found[name] = [False, True]
print(json.dumps(found))
""")
    return found


@pytest.mark.parametrize(("answer", "error"), RAISED)
def test_what_the_sdk_raises_is_caught_by_its_exported_class(answer: str, error: str) -> None:
    assert caught()[error] == [True, True], answer


def test_every_exported_error_class_is_the_one_the_sdk_defines() -> None:
    found = run("""
openai = load_openai({})
from openai import _exceptions
errors = {name: value for name in openai.__all__
          if isinstance(value := getattr(openai, name), type) and issubclass(value, Exception)}
print(json.dumps({name: value is getattr(_exceptions, name) for name, value in errors.items()}))
""")
    assert {"OpenAIError", "APIError", "APIStatusError", "RateLimitError"} <= found.keys()
    assert all(found.values())


@pytest.mark.parametrize(
    "init",
    [
        REEXPORT,
        '"""Said."""\nfrom __future__ import annotations\n' + REEXPORT + "__all__ = ['Thing']\n",
    ],
    ids=["re-exports", "docstring, __future__ and __all__"],
)
def test_a_package_that_only_reexports_is_put_off(init: str, tmp_path: Path) -> None:
    sdk = write_sdk(
        tmp_path,
        {
            "__init__.py": "from . import types\n",
            "types/__init__.py": init + "from .thing import Thing as _Hidden\n",
            "types/thing.py": "class Thing: ...\n",
        },
    )
    script = """
openai = load_openai({})
early = "openai.types.thing" in sys.modules
from openai.types import *
thing = sys.modules["openai.types.thing"].Thing
same = [Thing is thing, openai.types._Hidden is thing]
print(json.dumps([early, same, "_Hidden" in globals(), openai.types.__doc__]))
"""
    doc = "Said." if "Said" in init else None
    assert run(script, fake_sdk=sdk) == [False, [True, True], False, doc]


@pytest.mark.parametrize(
    "init",
    [
        REEXPORT + "from .thing import *\n",
        REEXPORT + "import os\n",
        REEXPORT + "from typing import TYPE_CHECKING\n",
        REEXPORT + "from . import thing\n",
        REEXPORT + "from . import Thing as Other\n",
        REEXPORT + "from ..other import Other\n",
        REEXPORT + "EXTRA = 1\n",
        REEXPORT + "class Extra(Thing): ...\n",
        REEXPORT + "def __getattr__(name): return name\n",
        REEXPORT + "Thing.touched = True\n",
        REEXPORT + "Thing.name = 'thing'\n",
        REEXPORT + "Thing.submodule = 'other'\n",
        REEXPORT
        + "from .thing import none\nif none is None:\n    from .thing import thing as Other\n",
        REEXPORT
        + "from .thing import none\nif none == None:\n    from .thing import thing as Other\n",
        REEXPORT + "print\n",
        REEXPORT + "assert Thing(1)\n",
        REEXPORT + "from .thing import thing\n",
        REEXPORT + "for EXTRA in __path__: pass\n",
    ],
)
def test_a_package_that_does_more_runs_as_it_is_written(init: str, tmp_path: Path) -> None:
    sdk = write_sdk(
        tmp_path,
        {
            "__init__.py": "from . import types\n",
            "other.py": "class Other: ...\n",
            "types/__init__.py": init,
            "types/thing.py": "class Thing:\n    def __init__(self, *a): ...\nthing = Thing()\n"
            "none = None\n",
        },
    )
    script = """
types = load_openai(os.environ).types
print(json.dumps({name: repr(type(value)) for name, value in vars(types).items()
                  if name not in ("__loader__", "__builtins__")}))
"""
    plain = run(script, fake_sdk=sdk, PIPECHAT_PLAIN_IMPORT="1")
    assert "Thing" in plain
    assert run(script, fake_sdk=sdk) == plain


def test_an_sdk_without_the_expected_packages_is_imported_plainly(tmp_path: Path) -> None:
    sdk = write_sdk(
        tmp_path,
        {"__init__.py": "from .types import Thing\n", "types.py": "class Thing: ...\n"},
    )
    assert run("print(json.dumps(load_openai({}).Thing.__module__))", fake_sdk=sdk) == (
        "openai.types"
    )


def test_an_sdk_that_the_quick_way_breaks_is_imported_plainly_from_a_clean_start(
    tmp_path: Path,
) -> None:
    sdk = write_sdk(
        tmp_path,
        {
            "__init__.py": "from . import core, types\nThing = vars(types)['Thing']\n",
            "core.py": "import sys\nsys.cores = [*getattr(sys, 'cores', ()), sys.modules]\n",
            "types/__init__.py": REEXPORT,
            "types/thing.py": "class Thing: ...\n",
        },
    )
    assert run(
        """
before = list(sys.meta_path)
openai = load_openai({})
print(json.dumps([
    openai.Thing is sys.modules["openai.types.thing"].Thing,
    sys.modules["openai"] is openai,
    "__getattr__" in vars(openai.types),
    len(sys.cores),
    sys.meta_path == before,
]))
""",
        fake_sdk=sdk,
    ) == [True, True, False, 2, True]


def test_an_sdk_that_cannot_be_imported_at_all_says_so_itself(tmp_path: Path) -> None:
    sdk = write_sdk(tmp_path, {"__init__.py": "raise ImportError('needs a newer Python')\n"})
    assert run(
        """
before = list(sys.meta_path)
try:
    load_openai({})
except ImportError as error:
    print(json.dumps([str(error), error.__context__, sys.meta_path == before]))
""",
        fake_sdk=sdk,
    ) == ["needs a newer Python", None, True]
