"""Signals that are told to the tests' processes, however the tests were started."""

import signal

ENDING = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM)


def hear_signals() -> None:
    """Have signals that this process was started to ignore (`scripts/test &` in a script: SIGINT;
    nohup: SIGHUP) heard by it, and by the processes of the tests, which inherit that."""
    for signum in ENDING:
        if signal.getsignal(signum) is signal.SIG_IGN:
            heard = signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL
            signal.signal(signum, heard)
