"""Files and Batches: an endpoint that keeps what is uploaded and answers it as a batch.

Owns the API's state, and what is counted of it; each step can be made to go wrong, before or
after its effect. A script of `ChatServer`; what it does not know it leaves to `otherwise`.
"""

import json
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qs

from tests.servers.mirror import mirror
from tests.servers.reply import Reply, cut, http_reply, raw_reply
from tests.servers.request import Request
from tests.servers.sse import completion, error_reply, json_reply
from tests.servers.steps import Reset, Stall

Call = Literal["upload", "list_files", "content", "create", "list_batches", "retrieve", "cancel"]
CALLS: tuple[Call, ...] = (
    "upload", "list_files", "content", "create", "list_batches", "retrieve", "cancel",
)  # fmt: skip

Trouble = Literal[
    "none",
    "500",
    "429",
    "401",
    "403",
    "400",
    "404",
    "reset_before",  # RST, and nothing was done
    "reset_after",  # done, and then RST
    "cut",  # done, and half of the reply, then FIN
    "half",  # done, and half of the reply, then silence
    "garbage",  # done, and an HTML page
    "kill_before",  # `kill` is called, and nothing was done
    "kill_after",  # done, and then `kill` is called
    "unseen",  # of "create": the file is not seen yet
    "tokens",  # of "create": too many tokens are enqueued
]

Line = dict[str, Any]
Result = Callable[[Line], Line | None]
"""What becomes of a request: the line of a result, or None where it has none."""


def answered(request: Line) -> Line:
    """A whole answer: `echo: ` and the question."""
    text = f"echo: {request['body']['messages'][-1]['content']}"
    usage = {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}
    body = completion(text, usage=usage)
    return _line(request, {"status_code": 200, "request_id": f"req-{request['custom_id']}",
                           "body": body})  # fmt: skip


def refused(request: Line) -> Line:
    """A result as the vendor writes it where a request was refused: `error` is null."""
    body = {"error": {"message": "It is refused.", "type": "invalid_request_error", "code": None}}
    return _line(request, {"status_code": 400, "request_id": "req-x", "body": body})


def expired(request: Line) -> Line:
    """A result as the vendor writes it where the batch expired before the request."""
    error = {"code": "batch_expired", "message": "This request could not be executed in time."}
    return _line(request, None, error)


def _line(request: Line, response: Line | None, error: Line | None = None) -> Line:
    return {"id": f"batch_req_{request['custom_id']}", "custom_id": request["custom_id"],
            "response": response, "error": error}  # fmt: skip


@dataclass
class Batch:
    """One batch: the API's object, its requests, and how often it was looked at."""

    made: Line
    requests: list[Line]
    looks: int = 0
    cancelled: bool = False


@dataclass
class Batches:
    """A script. `states`: those that a batch has, look by look, the last one for good.

    `late`: for so many looks more the output file of an ended batch is not named. `empty_id`:
    how a file is named that there is not. `errors`: of a batch that failed as a whole. `altered`:
    what is made of each reply to a call.
    """

    result: Result = answered
    states: tuple[str, ...] = ("completed",)
    late: int = 0
    empty_id: str | None = None
    errors: list[Line] = field(default_factory=list)
    backwards: bool = False
    oldest_first: bool = False
    trouble: dict[Call, list[Trouble]] = field(default_factory=dict)
    altered: dict[Call, Callable[[Reply], Reply]] = field(default_factory=dict)
    kill: Callable[[], None] = lambda: None
    otherwise: Callable[[Request], Reply] = field(default_factory=mirror)
    files: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    batches: dict[str, Batch] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    uploads: int = 0

    def __call__(self, request: Request) -> Reply:
        found = self._found(request)
        if found is None:
            return self.otherwise(request)
        call, act = found
        self.calls[call] += 1
        waiting = self.trouble.get(call)
        trouble = waiting.pop(0) if waiting else None
        instead = self._instead(trouble)
        if instead is not None:
            return instead
        reply = self._then(trouble, act())
        alter = self.altered.get(call)
        return reply if alter is None else alter(reply)

    @property
    def asked(self) -> list[Line]:
        """Every request of every batch that was created."""
        return [line for batch in self.batches.values() for line in batch.requests]

    def _found(self, request: Request) -> tuple[Call, Callable[[], Reply]] | None:
        path, _, query = request.path.partition("?")
        path = path[path.index("/v1") + 3 :] if "/v1" in path else path
        asked = {name: values[0] for name, values in parse_qs(query).items()}
        files, batches = re.fullmatch(r"/files(?:/([\w-]+)/content)?", path), path.split("/")
        if files is not None:
            file_id = files[1]
            if file_id is not None:
                return "content", lambda: self._content(file_id)
            if request.method == "POST":
                return "upload", lambda: self._upload(request)
            return "list_files", lambda: self._list_files(asked)
        if batches[1] != "batches":
            return None
        if len(batches) == 2 and request.method == "POST":
            return "create", lambda: self._create(request.body)
        if len(batches) == 2:
            return "list_batches", lambda: self._list_batches(asked)
        if len(batches) == 3:
            return "retrieve", lambda: self._retrieve(batches[2])
        return "cancel", lambda: self._cancel(batches[2])

    def _instead(self, trouble: Trouble | None) -> Reply | None:
        """What comes without any effect."""
        if trouble is None:
            return None
        if trouble.isdigit():
            headers = {"retry-after": "0.05"} if trouble == "429" else {}
            return error_reply(int(trouble), f"The batches say {trouble}.", headers=headers)
        if trouble == "reset_before":
            return raw_reply(Reset())
        if trouble == "kill_before":
            self.kill()
            return raw_reply(Stall())
        if trouble == "unseen":
            return error_reply(400, "Cannot find file with id file-x in this organization.")
        if trouble == "tokens":
            return error_reply(400, "Enqueued token limit reached for m in organization o.")
        return None

    def _then(self, trouble: Trouble | None, reply: Reply) -> Reply:
        """What comes of a reply whose effect was had."""
        if trouble == "reset_after":
            return raw_reply(Reset())
        if trouble == "kill_after":
            self.kill()
            return raw_reply(Stall())
        if trouble in ("cut", "half"):
            half = reply.head_size + (len(reply.wire) - reply.head_size) // 2
            return cut(reply, half, "fin" if trouble == "cut" else "stall")
        if trouble == "garbage":
            return http_reply(200, b"<html>busy</html>", content_type="text/html")
        return reply

    def _upload(self, request: Request) -> Reply:
        boundary = re.search("boundary=(.*)", request.headers["content-type"])
        assert boundary is not None
        parts = request.raw_body.split(b"--" + boundary[1].encode())
        purpose = next(part for part in parts if b'name="purpose"' in part)
        assert purpose.endswith(b"\r\n\r\nbatch\r\n")
        head, _, content = next(part for part in parts if b"filename=" in part).partition(
            b"\r\n\r\n"
        )
        name = re.search(rb'filename="(.*?)"', head)
        assert name is not None
        self.uploads += 1
        return json_reply(200, self._file(self._keep(name[1].decode(), content[:-2])))

    def _keep(self, name: str, content: bytes) -> str:
        file_id = f"file-{len(self.files) + 1}"
        self.files[file_id] = (name, content)
        return file_id

    def _file(self, file_id: str) -> Line:
        name, content = self.files[file_id]
        return {"id": file_id, "object": "file", "bytes": len(content), "filename": name,
                "created_at": int(time.time()), "purpose": "batch"}  # fmt: skip

    def _content(self, file_id: str) -> Reply:
        if file_id not in self.files:
            return error_reply(404, "No such File object.")
        return http_reply(200, self.files[file_id][1], content_type="application/octet-stream")

    def _list_files(self, asked: dict[str, str]) -> Reply:
        files = [self._file(each) for each in self.files]
        return _page(files if self.oldest_first else files[::-1], asked)

    def _list_batches(self, asked: dict[str, str]) -> Reply:
        made = [batch.made for batch in self.batches.values()]
        return _page(made if self.oldest_first else made[::-1], asked)

    def _create(self, body: Line) -> Reply:
        assert body["endpoint"] == "/v1/chat/completions"
        assert body["completion_window"] == "24h"
        _, content = self.files[body["input_file_id"]]
        requests = [json.loads(line) for line in content.splitlines()]
        ids = [request["custom_id"] for request in requests]
        assert len(set(ids)) == len(ids), "a custom_id is there twice"
        assert len({request["body"]["model"] for request in requests}) == 1
        batch_id = f"batch_{len(self.batches) + 1}"
        made = {
            "id": batch_id, "object": "batch", "created_at": int(time.time()),
            "expires_at": int(time.time()) + 86400, "status": "validating",
            "input_file_id": body["input_file_id"], "metadata": body["metadata"],
            "output_file_id": None, "error_file_id": None,
            "request_counts": {"total": 0, "completed": 0, "failed": 0},
        }  # fmt: skip
        self.batches[batch_id] = Batch(made, requests)
        return json_reply(200, made)

    def _retrieve(self, batch_id: str) -> Reply:
        if batch_id not in self.batches:
            return error_reply(404, f"No batch found with id {batch_id!r}.")
        batch = self.batches[batch_id]
        state = self.states[min(batch.looks, len(self.states) - 1)]
        if batch.cancelled and state != "completed":
            state = "cancelled"
        first = batch.looks - len(self.states) + 1
        batch.looks += 1
        ended = state in ("completed", "expired", "cancelled")
        shown = {**batch.made, "status": state}
        if ended:
            shown |= self._outcome(batch)
        if ended and first < self.late:
            shown["output_file_id"] = self.empty_id
        if state == "failed":
            shown["errors"] = {"object": "list", "data": self.errors}
        return json_reply(200, shown)

    def _outcome(self, batch: Batch) -> Line:
        """The files of a batch at its end, made once, and its counts."""
        if "outcome" not in batch.made:
            results = [self.result(request) for request in batch.requests]
            lines = [line for line in results if line is not None]
            lines = lines[::-1] if self.backwards else lines
            is_good = [(line["response"] or {}).get("status_code") == 200 for line in lines]
            good = [line for line, good in zip(lines, is_good, strict=True) if good]
            bad = [line for line, good in zip(lines, is_good, strict=True) if not good]
            batch.made["outcome"] = {
                "output_file_id": self._results(good),
                "error_file_id": self._results(bad),
                "request_counts": {
                    "total": len(results), "completed": len(good), "failed": len(bad),
                },
            }  # fmt: skip
        outcome: Line = batch.made["outcome"]
        return outcome

    def _results(self, lines: list[Line]) -> str | None:
        content = "".join(json.dumps(line) + "\n" for line in lines).encode()
        return self._keep("results.jsonl", content) if lines else self.empty_id

    def _cancel(self, batch_id: str) -> Reply:
        batch = self.batches[batch_id]
        batch.cancelled = True
        return json_reply(200, {**batch.made, "status": "cancelling"})


def _page(things: list[Line], asked: dict[str, str]) -> Reply:
    """A page of a list, newest first."""
    ids = [thing["id"] for thing in things]
    start = ids.index(asked["after"]) + 1 if "after" in asked else 0
    page = things[start : start + int(asked.get("limit", "20"))]
    more = start + len(page) < len(things)
    return json_reply(200, {"object": "list", "data": page, "has_more": more})
