"""What pytest makes of each test module, to tell why an `assert` fails, made once for all workers.

It takes 6 s of CPU, in every worker where it is not kept: all go through the modules in one order,
and find none that another has made. Here each begins elsewhere, and finds the rest made.
"""

import sys
import warnings
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import pytest

_HERE = Path(__file__).parent


def import_in_turn(config: pytest.Config) -> None:
    """In a worker that is about to collect all tests: import them, from its own place on. Kept in
    `__pycache__` whatever PYTHONDONTWRITEBYTECODE says, as the compiled package is."""
    worker = getattr(config, "workerinput", None)
    if worker is None or [Path(config.rootpath, each) for each in config.args] != [_HERE]:
        return
    modules = sorted(path.stem for path in _HERE.glob("test_*.py"))
    first = len(modules) * int(worker["workerid"].removeprefix("gw")) // worker["workercount"]
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for module in modules[first:] + modules[:first]:
                with suppress(Exception):  # which comes again, and is told, where it is collected
                    import_module(f"tests.{module}")
    finally:
        sys.dont_write_bytecode = before
