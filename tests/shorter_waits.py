"""Waits of the program made shorter, so that a test of what comes after one need not sit it out."""

from importlib import import_module


def shorten(wait: str, seconds: float) -> None:
    """Set `module.NAME` to fewer seconds, also where it is the default of a function there."""
    module_name, name = wait.rsplit(".", 1)
    module = import_module(module_name)
    longer = getattr(module, name)
    assert seconds < longer, f"{wait} is {longer} s"
    setattr(module, name, seconds)
    for each in vars(module).values():
        defaults = getattr(each, "__defaults__", None) or ()
        if any(value is longer for value in defaults):
            each.__defaults__ = tuple(seconds if value is longer else value for value in defaults)
