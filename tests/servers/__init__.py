"""Loopback servers for the tests: real sockets, byte-level scripts, every fault of FAULTS.md.

`background` and `peer` own the thread and the sockets, `steps` and `reply` the scripts, `request`
and `chat` the HTTP endpoint, `sse` what it says, `mirror` an endpoint that answers by itself,
`faults`, `tls`, `proxy`, `socks` and `tunnel` what stands in the way. They know
nothing of pipechat.
"""

from tests.servers.chat import ChatServer, Script, by_path
from tests.servers.faults import FullBacklog, RawServer, RefusedPort
from tests.servers.mirror import Fault, by_hash, echo, first_tries, mirror, usage_of
from tests.servers.proxy import HttpProxy, ProxyRequest
from tests.servers.reply import (
    ENDINGS,
    FRAMINGS,
    Ending,
    Framing,
    Reply,
    cut,
    http_reply,
    raw_reply,
    resegment,
)
from tests.servers.request import Request
from tests.servers.socks import SocksProxy, SocksRequest
from tests.servers.sse import (
    USAGE,
    answer,
    answer_events,
    chunk,
    completion,
    done,
    error_reply,
    event,
    json_reply,
    redirect,
    sse,
    stream_reply,
    text_reply,
    usage_chunk,
)
from tests.servers.steps import (
    Close,
    Mark,
    Raw,
    Reset,
    Send,
    Stall,
    Step,
    UntilClientLeaves,
    Wait,
    WaitFor,
    drip,
    flatten,
    keep_alives,
    repeat,
)
from tests.servers.tls import self_signed, write_certificate

__all__ = [
    "ENDINGS",
    "FRAMINGS",
    "USAGE",
    "ChatServer",
    "Close",
    "Ending",
    "Fault",
    "Framing",
    "FullBacklog",
    "HttpProxy",
    "Mark",
    "ProxyRequest",
    "Raw",
    "RawServer",
    "RefusedPort",
    "Reply",
    "Request",
    "Reset",
    "Script",
    "Send",
    "SocksProxy",
    "SocksRequest",
    "Stall",
    "Step",
    "UntilClientLeaves",
    "Wait",
    "WaitFor",
    "answer",
    "answer_events",
    "by_hash",
    "by_path",
    "chunk",
    "completion",
    "cut",
    "done",
    "drip",
    "echo",
    "error_reply",
    "event",
    "first_tries",
    "flatten",
    "http_reply",
    "json_reply",
    "keep_alives",
    "mirror",
    "raw_reply",
    "redirect",
    "repeat",
    "resegment",
    "self_signed",
    "sse",
    "stream_reply",
    "text_reply",
    "usage_chunk",
    "usage_of",
    "write_certificate",
]
