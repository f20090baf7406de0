"""What an output file holds of a batch already: which items need not be asked again.

Read once, at the start, as a session file is; of each item no more is kept than two numbers.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Literal

from pipechat import jsonl
from pipechat.store.locked_file import open_to_read, settled_size

Standing = Literal["new", "complete", "double", "other"]


class KnownItems:
    """The items of one output file, and of this run.

    An item is its id and the hash of its request: each is kept as a number of 64 bits, and only
    both together say that two items are the same. The numbers are Python's own, which nobody can
    foresee, and which take a tenth of the time of others: a run that resumes makes four an item.
    """

    def __init__(self) -> None:
        self._complete: dict[int, int] = {}
        self._failed: dict[int, int] = {}
        self._told: set[int] = set()
        self._met: dict[int, int] = {}

    def read(self, path: str) -> None:
        """Take in what `path` holds; a file that is not there holds nothing.

        Raises:
            OSError: it cannot be read; it is no regular file.
        """
        for record in records_at(path):
            self._note(record)

    def _note(self, record: dict[str, object]) -> None:
        item, request = record.get("item"), record.get("request")
        if not isinstance(item, str):
            return
        if not isinstance(request, str):
            error = record.get("error")
            code = error.get("code") if isinstance(error, dict) else None
            self._told.add(hash(f"{code} {item}"))
            return
        key, hashed = hash(item), hash(request)
        if record.get("status") == "complete":
            self._complete[key] = hashed
            if self._failed:
                self._failed.pop(key, None)
        else:
            self._failed[key] = hashed

    def has_failed(self, item_id: str, request: str) -> bool:
        """Whether it failed when it was asked last."""
        return self._failed.get(hash(item_id)) == hash(request)

    def is_told(self, item_id: str, code: str) -> bool:
        """Whether a row that is no item is told of already, for the same reason."""
        return hash(f"{code} {item_id}") in self._told

    def meet(self, item_id: str, request: str) -> Standing:
        """What an item of this run's input is: `new`, `complete` in the output, a `double` of
        one before it in the input, or `other`, with the id of one before it but not its request.
        """
        key, hashed = hash(item_id), hash(request)
        before = self._met.get(key)
        if before is not None:
            return "double" if before == hashed else "other"
        self._met[key] = hashed
        # No longer wanted: an item is kept once.
        return "complete" if self._complete.pop(key, None) == hashed else "new"


def records_at(path: str) -> Iterator[dict[str, object]]:
    """The records of a file of them; one that is not there has none. Raises OSError."""
    try:
        fd = open_to_read(path)
    except FileNotFoundError:
        return
    try:
        for _, line in jsonl.lines_forwards(fd, settled_size(fd)):
            try:
                record = jsonl.loads_line(line)
            except ValueError:
                continue  # torn: what it would have said was not kept
            if isinstance(record, dict):
                yield record
    finally:
        os.close(fd)
