"""The lists of OpenAI's API, of files and of batches: pages that name where the next one begins."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

from client_sdk.calls import Answer, Call
from client_sdk.wire.errors import WireError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list; last_id: the `after` of the next one, "" if there is none."""

    items: tuple[T, ...]
    last_id: str


def page_call(read: Callable[[Any], T], *, limit: int, after: str, **filters: str) -> Call[Page[T]]:
    """Return the request of one page.  read: one object of it; raises WireError."""
    query = {"limit": str(limit), "after": after, **filters}
    return Call(
        "list",
        "GET",
        lambda answer: _page(answer, read),
        query=urlencode({name: value for name, value in query.items() if value}),
    )


def object_of(answer: Answer) -> dict[str, Any]:
    """Return the JSON object of an answer; raises WireError."""
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise WireError("a JSON object", repr(answer.body[:80]))
    return found


def _page(answer: Answer, read: Callable[[Any], T]) -> Page[T]:
    found = object_of(answer)
    objects = found.get("data")
    if not isinstance(objects, list):
        raise WireError("a list with `data`", repr(answer.body[:80]))
    items = tuple(read(one) for one in objects)
    return Page(items, str(objects[-1]["id"]) if objects and found.get("has_more") else "")
