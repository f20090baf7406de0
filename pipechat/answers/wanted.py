"""What an answer has to be, beyond text: of a schema, with a part to be taken out. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from pipechat import jsonl
from pipechat.answers.extract import first_code_block, first_json
from pipechat.answers.short_schema import Schema
from pipechat.answers.strict_subset import why_not_strict, without_annotations
from pipechat.answers.validation import AnswerSchema, compile_schema
from pipechat.errors import MismatchError, UsageError
from pipechat.events import Judged
from pipechat.messages import AnswerFormat

_EXTRACTED = {
    "code": (first_code_block, "fenced block of code that is closed"),
    "json": (first_json, "JSON value"),
}


class WantedAnswer:
    """The Wanted of a conversation: what is taken out first, then the schema that it must match.

    Args:
        extract: `code`, `json` or None.
        mode: how the schema is asked for: `auto`, `strict`, `json` or `prompt`.

    Raises:
        UsageError: `not_strict`: the mode is `strict`, and the schema is outside its subset.
    """

    def __init__(
        self, schema: AnswerSchema | None = None, extract: str | None = None, mode: str = "auto"
    ) -> None:
        self._schema = schema
        self._extract = extract
        self._mode = mode
        self.why_not_strict = ""
        self.formats: Sequence[AnswerFormat] = ()
        self.schema_hash: str | None = None
        if schema is not None:
            self.formats = self._formats(schema.schema, mode)
            content = jsonl.dumps_ordered(schema.schema)
            self.schema_hash = hashlib.sha256(content).hexdigest()

    def judge(self, answer: str) -> Judged:
        """What `answer`, a whole one, is."""
        text = answer
        if self._extract is not None:
            take, what = _EXTRACTED[self._extract]
            taken = take(answer)
            if taken is None:
                message = f"the answer holds no {what}"
                hint = "--output-format json shows it, and a session keeps it."
                return Judged(MismatchError("nothing_extracted", message, hint))
            text = taken
        if self._schema is None:
            return Judged(None, text, jsonl.loads_line(text.encode()) if self._is_json else None)
        value, violation = self._schema.judge(text)
        if violation is not None:
            what = str(violation) if violation.pointer else violation.message
            message = f"the answer does not match the schema: {what}"
            hint = "Ask again, or more often with --schema-retries; --output-format json shows it."
            return Judged(MismatchError("schema_mismatch", message, hint))
        return Judged(None, jsonl.dumps(value).decode(), value)

    def record(self) -> dict[str, Any]:
        """What it was made of, to be kept; `wanted_of` makes it again."""
        schema = self._schema.schema if self._schema is not None else None
        return {"schema": schema, "extract": self._extract, "mode": self._mode}

    @property
    def _is_json(self) -> bool:
        return self._extract == "json"

    def _formats(self, schema: Schema, mode: str) -> Sequence[AnswerFormat]:
        bare = without_annotations(schema)
        reasons = why_not_strict(bare)
        if reasons:
            self.why_not_strict = str(reasons[0])
        if mode == "strict" and reasons:
            message = f"the schema cannot be asked for strictly: {reasons[0]}"
            raise UsageError("not_strict", message, "Leave --schema-mode at auto.")
        first = AnswerFormat("json_schema", schema if reasons else bare, strict=not reasons)
        by_mode = {
            "strict": [first],
            "json": [AnswerFormat("json_object", schema)],
            "prompt": [AnswerFormat("prompt", schema)],
        }
        if mode == "auto":
            return [*by_mode["strict"], *by_mode["json"], *by_mode["prompt"]]
        return by_mode[mode]


def wanted_of(record: Mapping[str, Any]) -> WantedAnswer:
    """What `WantedAnswer.record` told of. Raises UsageError: as `compile_schema`."""
    schema = record["schema"]
    compiled = compile_schema(schema) if schema is not None else None
    return WantedAnswer(compiled, record["extract"], record["mode"])
