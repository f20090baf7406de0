"""Answers are judged as the public JSON Schema test suite says, draft 2020-12 as a whole."""

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipechat.answers.validation import compile_schema
from pipechat.errors import UsageError

_HOLDS_THE_SUITE = "jsonschema==4.23.0"
_PLACE = "/json/tests/draft2020-12/"

pytestmark = pytest.mark.storm


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, dict[str, Any]]]:
    """Its groups, each with the name of its file, from the sources of a library that carries it:
    the index that installed the tests' environment has them."""
    folder = tmp_path_factory.mktemp("suite")
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:"]
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [*pip, "-d", str(folder), _HOLDS_THE_SUITE]
    subprocess.run(command, env=environ, capture_output=True, timeout=200, check=True)
    (archive,) = folder.glob("*.tar.gz")
    return list(_groups(archive))


def _groups(archive: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with tarfile.open(archive) as tar:
        for member in tar:
            _, there, name = member.name.partition(_PLACE)
            file = tar.extractfile(member) if there and name.endswith(".json") else None
            if file is not None and "/" not in name:
                for group in json.load(file):
                    yield name, group


def test_every_answer_is_judged_as_the_suite_says_but_that_formats_count(
    suite: list[tuple[str, dict[str, Any]]],
) -> None:
    agreed, other, refused = 0, [], []
    for name, group in suite:
        # A schema that is only `true` or `false` asks for nothing; --schema takes objects.
        if isinstance(group["schema"], bool):
            continue
        try:
            schema = compile_schema(group["schema"])
        except UsageError as error:
            refused.append((group["description"], error.message))
            continue
        for each in group["tests"]:
            if (schema.violation(each["data"]) is None) == each["valid"]:
                agreed += 1
            else:
                other.append((name, each["description"]))
    assert agreed > 1_100
    # In the suite a format is a note; for an answer that a script reads, it is a promise.
    assert [each for each in other if each[0] != "format.json"] == []
    # What stands elsewhere is never fetched.
    assert [each for each in refused if "is not fetched" not in each[1]] == []
    assert len(refused) < 30
