"""What the SDK imports and a plain question does not use waits, and is whole when asked for."""

import json
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from pipechat.client import put_off

_METADATA_OF = {"dist-info": "METADATA", "egg-info": "PKG-INFO"}
ROOT = Path(__file__).resolve().parent.parent


def run(script: str, **environ: str) -> Any:
    start = "import json, os, sys\nfrom pipechat.client.lazy_openai import load_openai\n"
    done = subprocess.run(
        [sys.executable, "-c", start + script],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_waited_is_whole_as_soon_as_anything_of_it_is_asked_for() -> None:
    assert run("""
load_openai({})
waited = ["asyncio.base_events" in sys.modules, "truststore._api" in sys.modules]
waited.append(sys.modules["anyio"].__getattr__.__module__ != "pipechat.late_imports")
import asyncio
import asyncio.subprocess
from asyncio import sleep
async def one(): return await sleep(0, 1)
import anyio
from anyio.from_thread import BlockingPortal
import truststore
from importlib.metadata import distribution, version
from importlib import metadata
import httpcore2
print(json.dumps([
    waited,
    asyncio.run(one()),
    asyncio.subprocess.PIPE,
    issubclass(truststore.SSLContext, object),
    anyio.run(anyio.sleep, 0) is None and issubclass(anyio.Lock, object),
    "__getattr__" in vars(asyncio),
    distribution("openai").version == version("openai") == metadata.version("openai"),
    httpcore2.SyncBackend.__name__,
]))
""") == [[False, False, False], 1, -1, True, True, False, True, "SyncBackend"]


# Something of each, by which it can be seen that it works.
USES = {
    "anyio": "anyio.run(anyio.sleep, 0) is None",
    "asyncio": "asyncio.run(asyncio.sleep(0, True))",
    "email.base64mime": "email.base64mime.body_encode(b'7') == 'Nw==\\n'",
    "email.parser": "email.parser.Parser().parsestr('A: 7')['a'] == '7'",
    "idna": "idna.encode('b\\u00fccher.example') == b'xn--bcher-kva.example'",
    "importlib.resources": "importlib.resources.files('idna').joinpath('core.py').is_file()",
    "locale": "locale.normalize('de_DE') == 'de_DE.ISO8859-1'",
    "mimetypes": "mimetypes.guess_type('a.png')[0] == 'image/png'",
    "secrets": "len(secrets.token_bytes(7)) == 7",
    "truststore": "issubclass(truststore.SSLContext, object)",
}


def test_each_module_that_waits_has_not_run_and_works_as_soon_as_it_is_used() -> None:
    assert set(USES) == put_off._WAITING
    waits = """
def waits(name):
    served = vars(sys.modules.get(name, sys)).get("__getattr__")
    return getattr(served, "__module__", "") == "pipechat.late_imports"
load_openai({})
from pipechat.client.put_off import _WAITING
"""
    uses = "".join(f"import {name}\nassert {use}\n" for name, use in USES.items())
    waiting = run(f"{waits}print(json.dumps([name for name in _WAITING if waits(name)]))")
    # Which of them are imported at all is Python's own affair: these 3.11 to 3.13 have in common.
    assert set(waiting) >= {"anyio", "asyncio", "email.parser", "idna", "truststore"}
    assert run(f"{waits}{uses}print(json.dumps([name for name in _WAITING if waits(name)]))") == []


# Something of it that its package offers as well.
PARTS = {
    "asyncio.exceptions": "CancelledError",
    "idna.core": "IDNAError",
    "truststore._api": "SSLContext",
}


@pytest.mark.parametrize("part", PARTS)
def test_a_part_of_a_package_that_waits_is_imported_once_whoever_asks_first(part: str) -> None:
    package = part.rpartition(".")[0]
    assert run(f"""
load_openai({{}})
import {part}, {package}
first = {part}
print(json.dumps([
    first.{PARTS[part]} is {package}.{PARTS[part]},
    sys.modules["{part}"] is first,
    first.__spec__.loader is first.__loader__ and first.__spec__.origin == first.__file__,
    {package}.__path__,
]))
""") == [True, True, True, run(f"import {package}\nprint(json.dumps({package}.__path__))")]


def test_the_parts_of_a_package_that_waits_are_listed_and_read_again_as_ever() -> None:
    assert run("""
load_openai({})
import asyncio, importlib, pkgutil, idna
names = [module.name for module in pkgutil.iter_modules(asyncio.__path__)]
import idna.core
error = idna.IDNAError
print(json.dumps(["events" in names, importlib.reload(idna.core).IDNAError is not error]))
""") == [True, True]


def test_a_part_that_a_package_which_waits_lacks_is_missing_as_ever() -> None:
    assert run("""
load_openai({})
missing = []
for name in ("asyncio.nonsense", "idna.nonsense", "asyncio.events.nonsense"):
    try:
        __import__(name)
    except ModuleNotFoundError as error:
        missing.append(str(error))
print(json.dumps(missing))
""") == [
        "No module named 'asyncio.nonsense'",
        "No module named 'idna.nonsense'",
        "No module named 'asyncio.events.nonsense'; 'asyncio.events' is not a package",
    ]


def test_a_module_that_waits_tells_its_source_and_its_files_as_any_other() -> None:
    assert run("""
load_openai({})
import idna, importlib.resources, inspect, locale, mimetypes, pkgutil
print(json.dumps([
    importlib.resources.files("idna").joinpath("core.py").is_file(),
    b"def " in pkgutil.get_data("idna", "core.py"),
    inspect.getsource(mimetypes).startswith('\"\"\"'),
    locale.__loader__ is locale.__spec__.loader and bool(locale.__loader__.get_code("locale")),
]))
""") == [True, True, True, True]


@pytest.mark.parametrize(
    "ask",
    ["getattr(asyncio, name)", "exec('from asyncio import ' + name)", "vars(asyncio)['run']"],
    ids=["attribute", "from", "own"],
)
def test_threads_that_ask_at_once_for_what_waited_all_get_it(ask: str) -> None:
    assert (
        run(f"""
import threading
sys.setswitchinterval(1e-5)
load_openai({{}})
import asyncio
names, found = ["sleep", "run", "timeout", "to_thread", "Queue", "Task"], []
together = threading.Barrier(len(names))
def ask(name):
    together.wait()
    asyncio.run
    {ask}
    found.append(name)
threads = [threading.Thread(target=ask, args=(name,)) for name in names]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(json.dumps(sorted(found) == sorted(names)))
""")
        is True
    )


def test_a_package_that_serves_names_of_its_own_stays_a_package() -> None:
    assert run("""
import asyncio
asyncio.__getattr__ = lambda name: name
load_openai({})
print(json.dumps(isinstance(asyncio.__path__, list)))
""")


_HEADERS = """
started = []
sys.addaudithook(lambda event, given: event == "subprocess.Popen" and started.append(given[1]))
headers = load_openai(os.environ).OpenAI(api_key="sk").platform_headers()
print(json.dumps([headers, ["uname", "-p"] in started]))
"""


def test_the_sdk_names_the_system_without_a_process_for_the_processor() -> None:
    plain, _ = run(_HEADERS, PIPECHAT_PLAIN_IMPORT="1")
    assert run(_HEADERS) == [plain, False]


def test_where_the_name_of_the_processor_cannot_be_given_it_is_left_to_python(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(platform, "uname", lambda: ("Linux", "here"))
    put_off.leave_processor_unknown()
    assert tuple(platform.uname()) == ("Linux", "here")


def test_the_proxy_of_socks_stands_where_its_own_import_puts_it() -> None:
    files = """
import httpcore2
proxies = [httpcore2.SOCKSProxy, httpcore2._sync.SOCKSProxy, httpcore2.AsyncSOCKSProxy]
print(json.dumps([proxy.__init__.__code__.co_filename for proxy in proxies]))
"""
    put_in = "load_openai({})\nfrom pipechat.client.put_off import serve_socks\nserve_socks()\n"
    assert run(put_in + files) == run(files)


def test_no_hook_and_no_stand_in_outlives_the_import() -> None:
    hooks = "len(sys.meta_path), 'importlib.metadata' in sys.modules"
    assert run(f"load_openai({{}})\nprint(json.dumps([{hooks}]))") == run(
        f"print(json.dumps([{hooks}]))"
    )


def test_metadata_that_was_imported_before_stays_the_same_module() -> None:
    assert run("""
import importlib.metadata as before
load_openai({})
import importlib.metadata as after
print(json.dumps([after is before, sys.modules["importlib.metadata"] is before]))
""") == [True, True]


@pytest.mark.parametrize(
    "asked", ["PackageNotFoundError", "version('pydantic')", "metadata('h11')['Name']"]
)
def test_who_imported_the_metadata_meanwhile_has_all_of_it_then_and_after(asked: str) -> None:
    assert run(f"""
from pipechat.client.put_off import parts_put_off
with parts_put_off():
    import importlib.metadata
    before = str(importlib.metadata.{asked})
after = str(importlib.metadata.{asked})
import importlib.metadata
print(json.dumps([before, after] == [str(importlib.metadata.{asked})] * 2))
""")


def test_a_pydantic_plugin_that_is_installed_is_not_run(tmp_path: Path) -> None:
    entry = tmp_path / "noisy-1.0.dist-info"
    entry.mkdir()
    (entry / "METADATA").write_text("Name: noisy\nVersion: 1.0\n")
    (entry / "entry_points.txt").write_text("[pydantic]\nnoisy = noisy:plugin\n")
    (tmp_path / "noisy.py").write_text("raise SystemExit(3)\n")
    path = os.pathsep.join((str(tmp_path), str(ROOT)))
    script = (
        "load_openai({})\nimport openai.types.chat.chat_completion\nprint('noisy' in sys.modules)"
    )
    assert run(script.replace("print", "print(json.dumps") + ")", PYTHONPATH=path) is False


@pytest.mark.parametrize("package", ["httpx2", "httpcore2", "openai", "orjson", "h11"])
def test_a_version_looked_up_quickly_is_the_one_of_the_metadata(package: str) -> None:
    assert put_off._version_of(package) == metadata.version(package)


@pytest.mark.parametrize(
    "folders",
    [
        ["thing-1.2.dist-info", "thing-1.3.dist-info"],
        ["thing-1.2rc1.dist-info"],
        ["thing-1.2+local.dist-info"],
        ["thing-1.2.egg-info"],
        [],
    ],
)
def test_a_version_that_no_folder_tells_for_sure_is_read_from_the_metadata(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folders: list[str]
) -> None:
    for folder in folders:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / _METADATA_OF[folder.rpartition(".")[2]]).write_text(
            "Name: thing\nVersion: 9.9\n"
        )
    monkeypatch.setattr(sys, "path", [str(tmp_path / "none"), str(tmp_path)])
    if folders:
        assert put_off._version_of("thing") == "9.9"
    else:
        with pytest.raises(metadata.PackageNotFoundError):
            put_off._version_of("thing")
