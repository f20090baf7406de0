"""What the tests are started in, made the same wherever that is: signals, time zone, proxies."""

import os
import re
import signal
import time

ENDING = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM)
# A proxy is used by whatever asks by HTTP; with SOURCE_DATE_EPOCH, which builders of packages
# set, Python compiles to modules of another kind.
_LEFT_BEHIND = re.compile(r"(?i:\w+_proxy)|SOURCE_DATE_EPOCH")


def settle() -> None:
    """Make this process, in which tests are run, and those that it starts the same everywhere."""
    hear_signals()
    for name in filter(_LEFT_BEHIND.fullmatch, list(os.environ)):
        del os.environ[name]
    os.environ["TZ"] = "UTC"
    time.tzset()


def hear_signals() -> None:
    """Have signals that this process was started to ignore (`scripts/test &` in a script: SIGINT;
    nohup: SIGHUP) heard by it, and by the processes of the tests, which inherit that."""
    for signum in ENDING:
        if signal.getsignal(signum) is signal.SIG_IGN:
            heard = signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL
            signal.signal(signum, heard)
