"""What is told of a turn beside its answer: that it is tried again, and that it never began."""

from pipechat.environment import Environment
from pipechat.errors import PipechatError
from pipechat.events import Error, Event, Retry, Sink


class TellingSink:
    """Tells on stderr, with -v, of each retry as it happens; all goes on to the sink."""

    def __init__(self, env: Environment, sink: Sink) -> None:
        self._env = env
        self._sink = sink

    def emit(self, *events: Event) -> None:
        for event in events:
            if isinstance(event, Retry):
                self._env.stderr.note(
                    f"{event.code}: trying again in {event.wait_s:g} s (retry {event.attempt})"
                )
        self._sink.emit(*events)


def failed_before_start(error: PipechatError) -> Error:
    """The terminal event of a turn that never started."""
    return Error(
        status="failed",
        code=error.code,
        exit_code=int(error.exit_code),
        retryable=error.retryable,
        message=error.message,
        answer="",
        usage=None,
        finish_reason=None,
        first_token_s=None,
        total_s=0.0,
        request_id=None,
    )
