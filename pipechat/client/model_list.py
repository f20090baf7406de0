"""The list of an endpoint's models, page by page, to its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipechat.client.api_calls import ApiCalls
from pipechat.wire.api_errors import malformed, stream_error
from pipechat.wire.model_list import ServedModel, entries_of, read_model

PATH = "/models"
_MOST_PAGES = 100
_MOST_MODELS = 100_000


def list_models(calls: ApiCalls) -> list[ServedModel]:
    """The models, sorted by id, each once.

    Raises:
        PipechatError: `malformed_stream`: it is no list of models; `incomplete_list`: it does
            not come to its end.
    """
    found: dict[str, ServedModel] = {}
    params: dict[str, Any] | None = None
    any_entry = False
    for _ in range(_MOST_PAGES):
        page = calls.document("GET", PATH, params=params)
        entries = entries_of(page)
        if entries is None:
            if isinstance(page, Mapping) and page.get("error"):
                raise stream_error(page["error"], host=calls.host)
            raise malformed("no list of models where one is due")
        any_entry = any_entry or bool(entries)
        models = [model for entry in entries if (model := read_model(entry))]
        is_new = any(model.id not in found for model in models)
        for model in models:
            found.setdefault(model.id, model)
        if len(found) > _MOST_MODELS:
            break
        if not (isinstance(page, Mapping) and page.get("has_more") is True):
            if any_entry and not found:
                raise malformed("a list in which nothing names a model")
            return sorted(found.values())
        if not is_new:
            break
        # Of one name here and of another there; a server leaves alone what it does not know.
        params = {"after": models[-1].id, "after_id": models[-1].id}
    raise calls.never_ends(PATH)
