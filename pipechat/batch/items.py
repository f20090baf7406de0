"""Items: what a row of a batch's input asks, in the words of a request. Pure.

Three shapes: an object with a `question`; any object, of which a template makes the question;
a line of the Batch API's own files (`custom_id`, `method`, `url`, `body`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from pipechat import jsonl
from pipechat.batch.row_names import UnreadNames, other_names
from pipechat.batch.rows import Row
from pipechat.errors import UsageError
from pipechat.messages import AnswerFormat, ChatRequest, Message
from pipechat.settings.json_values import DEEPEST
from pipechat.settings.resolve import TOKEN_FIELDS, Settings
from pipechat.settings.values import fields as read_fields
from pipechat.store.names import check_name
from pipechat.turn.prompt import compose_messages
from pipechat.turn.request_hash import HashesOf, request_hash
from pipechat.turn.template import Template

_LONGEST_ID = 512
_REPLACED = "\ufffd"
_BATCH_PATHS = ("/v1/chat/completions", "/chat/completions")  # the latter is Azure's


class Item(NamedTuple):
    """One question of a batch, from line `number` of its input.

    `request` is what is asked without a session's earlier turns, and `hash` its hash. `id`: as
    it was given, else the hash. `system`: the item's own. `size`: of its row, in bytes.
    """

    number: int
    id: str
    hash: str
    question: str
    request: ChatRequest
    session: str | None = None
    system: str | None = None
    own_system: str | None = None
    size: int = 0


class BadItemError(UsageError):
    """A row that is no item: nothing can be asked. `id`: its own where it could be read. `is_told`:
    the output says so already."""

    is_told = False

    def __init__(
        self, number: int, code: str, message: str, item_id: str | None, hint: str = ""
    ) -> None:
        super().__init__(code, f"line {number}: {message}", hint)
        self.id = item_id or f"line {number}"


class ItemReader:
    """Makes items of rows, by what holds for all of them.

    Args:
        template: makes the question of each row, which is then any object.
        tell: is told what of a row nobody reads.
    """

    def __init__(
        self,
        settings: Settings,
        dialect: str,
        formats: Sequence[AnswerFormat] = (),
        template: Template | None = None,
        variables: Mapping[str, str] | None = None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._dialect = dialect
        self._formats = formats
        self._template = template
        self._variables = dict(variables or {})
        self._unread = UnreadNames(tell)
        system = settings.system if settings.system is not None else settings.default_system
        self._system = system
        self._plain = ChatRequest(
            model=settings.model,
            messages=(),
            stream=settings.stream,
            options=settings.options,
            formats=formats,
            system_role=settings.system_role,
        )
        self._hashes = HashesOf(dialect, self._plain)
        self._alike = self._plain[2:]  # all but the model and the messages

    def item(self, row: Row) -> Item:
        """The item of a row.

        Raises:
            BadItemError
        """
        item_id: str | None = None
        value = row.value
        try:
            if isinstance(value, UsageError):
                raise value
            if not isinstance(value, Mapping):
                raise UsageError("bad_item", "it is no JSON object")
            is_batch_line = "custom_id" in value and "body" in value
            name = "custom_id" if is_batch_line else "id"
            item_id = _id_of(value.get(name), mended=row.mended)
            if is_batch_line and self._template is None:
                return self._of_batch_line(row, item_id, value)
            if self._template is None:
                self._unread.look_at(row.number, value)
            return self._of_object(row, item_id, value)
        except UsageError as error:
            raise BadItemError(
                row.number, error.code, error.message, item_id, error.hint
            ) from error

    def _of_object(self, row: Row, item_id: str | None, value: Mapping[str, Any]) -> Item:
        question = self._question(value)
        # A row that a template reads is anything: its `model` may be that of a car.
        own = value if self._template is None else {}
        session, system, model = _text(own, "session"), _text(own, "system"), _text(own, "model")
        if session is not None:
            check_name(session)
        holding = system if system is not None else self._system
        messages = compose_messages(holding, (), question)
        request = ChatRequest(self._model(model), messages, *self._alike)
        if "options" in own:
            request = request._replace(options=self._merged(_options(own["options"])))
        is_alike = model is None and "options" not in own
        hashed = self._hashes.of(request) if is_alike else request_hash(self._dialect, request)
        return Item(
            row.number, item_id or hashed, hashed, question, request, session, holding, system,
            row.size,
        )  # fmt: skip

    def _question(self, row: Mapping[str, Any]) -> str:
        if self._template is not None:
            question = self._template.render({**self._variables, **row})
        else:
            if "question" not in row:
                raise UsageError("bad_item", "it has no question", other_names(row))
            question = row["question"]
        if not isinstance(question, str):
            raise UsageError("bad_item", "its question is no text")
        if not question.strip():
            raise UsageError("empty_question", "its question is empty")
        return question

    def _model(self, given: str | None) -> str:
        # Offline, the model that answers is the only one.
        return self._plain.model if given is None or self._settings.offline else given

    def _merged(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """The options of all items and those of this one, which are stronger."""
        if not options:
            return self._plain.options
        said = TOKEN_FIELDS if not options.keys().isdisjoint(TOKEN_FIELDS) else ()
        general = {key: each for key, each in self._plain.options.items() if key not in said}
        return {**general, **options}

    def _of_batch_line(self, row: Row, item_id: str | None, value: Mapping[str, Any]) -> Item:
        body = value["body"]
        url, method = value.get("url", _BATCH_PATHS[0]), value.get("method", "POST")
        if url not in _BATCH_PATHS or method != "POST":
            said = f"it is for {str(method)[:16]} {str(url)[:80]}"
            raise UsageError("bad_item", f"{said}, and only POST {_BATCH_PATHS[0]} is asked")
        if not isinstance(body, Mapping):
            raise UsageError("bad_item", "its body is no object")
        rest = {key: each for key, each in body.items() if key not in ("model", "messages")}
        if rest.pop("stream", False):
            raise UsageError("bad_item", "its body asks for a stream")
        rest.pop("stream_options", None)
        messages: Any = body.get("messages")
        question = _last_question(messages)
        model = self._model(_text(body, "model"))
        merged = self._merged(_options(rest))
        request = self._plain._replace(messages=messages, model=model, options=merged)
        hashed = request_hash(self._dialect, request)
        system = _system_of(messages)
        return Item(
            row.number, item_id or hashed, hashed, question, request, None, system, size=row.size
        )


def _id_of(value: object, *, mended: bool) -> str | None:
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value or len(value) > _LONGEST_ID:
        raise UsageError("bad_item", f"its id is no text of 1 to {_LONGEST_ID} characters")
    if mended and _REPLACED in value:  # else two of them may be one
        raise UsageError("bad_item", "its id holds what is no text (a lone surrogate, or a byte)")
    return value


def _text(row: Mapping[str, Any], key: str) -> str | None:
    value = row.get(key)
    if value is None or (isinstance(value, str) and (value or key == "system")):
        return value
    raise UsageError("bad_item", f"its {key} is no text")


def _options(value: object) -> dict[str, Any]:
    if value is None:
        return {}
    try:
        if isinstance(value, str):  # a cell of a table
            value = jsonl.loads(value, to_the_digit=True)
        return read_fields(value)
    except ValueError as error:
        raise UsageError("bad_item", f"its options: {error}") from error


def _last_question(messages: object) -> str:
    if not isinstance(messages, list) or not messages:
        raise UsageError("bad_item", "its body has no messages")
    if _is_deeper(messages, DEEPEST):
        raise UsageError("bad_item", f"its messages are nested more than {DEEPEST} levels deep")
    for message in messages:
        if not isinstance(message, Mapping) or "role" not in message:
            raise UsageError("bad_item", "one of its messages is none")
    for message in reversed(messages):
        content: Any = message.get("content")
        if message["role"] == "user" and content:
            return content if isinstance(content, str) else _texts(content)
    raise UsageError("bad_item", "none of its messages is a user's")


def _is_deeper(value: object, levels: int) -> bool:
    """Whether `value` is nested deeper than so many levels."""
    if not isinstance(value, Mapping | list):
        return False
    parts = value.values() if isinstance(value, Mapping) else value
    return levels == 0 or any(_is_deeper(part, levels - 1) for part in parts)


def _texts(content: object) -> str:
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, Mapping)]
    return "\n".join(text for text in texts if isinstance(text, str))


def _system_of(messages: Sequence[Message]) -> str | None:
    first = messages[0]
    content = first.get("content")
    return content if first["role"] == "system" and isinstance(content, str) else None
