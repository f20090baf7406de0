"""What makes a terminal the one whose keys are signals; run by a process as it begins."""

import fcntl
import termios


def take_terminal() -> None:
    """Make stderr the controlling terminal of the new session, so that Ctrl-C is a signal."""
    fcntl.ioctl(2, termios.TIOCSCTTY, 0)
