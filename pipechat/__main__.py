"""`python -m pipechat`, and the entry point of the `pipechat` command."""

import gc

from pipechat.signals import default_interrupts

# A run makes little garbage in cycles, and the imports make none: collecting while they go on
# costs a tenth of the start-up.
_COLLECT_AFTER = 100_000


def main() -> None:
    """Run the program with this process's arguments and streams; does not return."""
    default_interrupts()  # before the imports: an interrupt during one must just end the process
    gc.set_threshold(_COLLECT_AFTER)
    from pipechat.main import run_and_exit

    run_and_exit()


if __name__ == "__main__":
    main()
