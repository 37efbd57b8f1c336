"""The options of a job: in the query of one job, or in the line of one of many."""

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from client_sdk.wire import names
from client_sdk.wire.duration import parse_duration
from client_sdk.wire.errors import WireError
from client_sdk.wire.retry import MOST_ATTEMPTS, MOST_PAUSE_S
from queue_service.errors import BadParameter
from queue_service.service.webhooks.address import MOST_URL
from queue_service.service.webhooks.messages import EVENTS
from queue_service.settings.retry import Wish
from queue_service.settings.wrong_fields import wrong_fields

#: The furthest time that an option may name, in ms from now: ten years.
MOST_AHEAD_MS = 10 * 365 * 86_400_000
MAX_TAGS = 64
MAX_TEXT = 256
#: Engines write these texts into their own requests.
_NO_CONTROLS = r"^[^\x00-\x1f\x7f]*$"
_ID = re.compile(r"[\x21-\x7e]{1,256}")


def _moment(value: object) -> int:
    """Read a time (RFC 3339) or a duration from now; return ms since 1970."""
    if not isinstance(value, str):
        raise ValueError("a time such as 2030-01-31T12:00:00Z, or a duration such as 90s")
    now_ms = int(time.time() * 1000)
    try:
        at_ms = now_ms + round(parse_duration(value) * 1000)
    except WireError:
        at_ms = _timestamp(value)
    if not 0 < at_ms <= now_ms + MOST_AHEAD_MS:
        raise ValueError("a time within ten years")
    return at_ms


def time_before(text: str) -> int:
    """Read a time (RFC 3339) or a duration before now; return ms since 1970."""
    try:
        return max(1, int(time.time() * 1000) - round(parse_duration(text) * 1000))
    except WireError:
        return max(1, _timestamp(text))


def _timestamp(value: str) -> int:
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return round(moment.timestamp() * 1000)
    except (ValueError, OverflowError):
        sentence = "a time such as 2030-01-31T12:00:00Z, or a duration such as 90s"
        raise ValueError(sentence) from None


def _milliseconds(value: object) -> int:
    """Read a duration; return ms."""
    try:
        seconds = parse_duration(value if isinstance(value, str) else "-")
    except WireError as error:
        raise ValueError(error.expected) from None
    if not 0 < seconds * 1000 <= MOST_AHEAD_MS:
        raise ValueError("a duration above zero and below ten years")
    return max(1, round(seconds * 1000))


def _tags(value: object) -> dict[str, str]:
    """Read tags: texts, with names that the protocol does not reserve."""
    if not isinstance(value, dict) or len(value) > MAX_TAGS:
        raise ValueError(f"at most {MAX_TAGS} tags")
    for name, text in value.items():
        if not isinstance(name, str) or not isinstance(text, str):
            raise ValueError("tags whose values are strings")
        if not name or names.is_reserved(name) or name == names.REQUEST_ID_TAG:
            raise ValueError("names of tags that are not reserved, such as _name_")
        if len(name) > MAX_TEXT or len(text) > 4 * MAX_TEXT or not (name + text).isprintable():
            raise ValueError(f"printable tags of at most {MAX_TEXT} and {4 * MAX_TEXT} characters")
    return value


def _id(value: object) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise ValueError("1 to 256 printable ASCII characters")
    if value in (".", ".."):
        raise ValueError("an id other than . and .., which a path cannot contain")
    return value


def _events(value: object) -> tuple[str, ...]:
    """Read names of events: a list, or text with commas."""
    named = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
    if not isinstance(named, list | tuple) or not all(one in EVENTS for one in named):
        raise ValueError(f"some of {', '.join(EVENTS)}, separated by commas")
    return tuple(dict.fromkeys(named))


def _pause(value: object) -> float:
    """Read a duration; return seconds."""
    expected = f"a duration such as 5s, of at most {MOST_PAUSE_S:g}s"
    try:
        seconds = parse_duration(value if isinstance(value, str) else "-")
    except WireError:
        raise ValueError(expected) from None
    if seconds > MOST_PAUSE_S:
        raise ValueError(expected)
    return seconds


Moment = Annotated[int, BeforeValidator(_moment)]
Milliseconds = Annotated[int, BeforeValidator(_milliseconds)]
Pause = Annotated[float, BeforeValidator(_pause)]
JobId = Annotated[str, BeforeValidator(_id)]


class Options(BaseModel):
    """The options of one job; times in ms since 1970, 0 for none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    priority: int = Field(0, ge=0, le=2**31 - 1)
    tags: Annotated[dict[str, str], BeforeValidator(_tags)] = Field(default_factory=dict)
    path: str = Field("", max_length=2048, pattern=_NO_CONTROLS)
    content_type: str = Field("", max_length=MAX_TEXT, pattern=_NO_CONTROLS)
    not_before: Moment = 0
    start_by: Moment = 0
    finish_by: Moment = 0
    run_timeout: Milliseconds = 0
    events: bool = True
    max_attempts: int | None = Field(None, ge=1, le=MOST_ATTEMPTS)
    retry_pause: Pause | None = None
    retry_factor: float | None = Field(None, ge=1, le=100)
    retry_longest_pause: Pause | None = None
    retry_jitter: float | None = Field(None, ge=0, le=1)
    webhook: str = Field("", max_length=MOST_URL)
    webhook_events: Annotated[tuple[str, ...], BeforeValidator(_events)] = ()
    id: JobId | None = None
    idempotency_key: JobId | None = None

    def retry(self) -> Wish:
        """Return what the job says of its retries."""
        return Wish(
            self.max_attempts,
            self.retry_pause,
            self.retry_factor,
            self.retry_longest_pause,
            self.retry_jitter,
        )


def read_options(given: Mapping[str, Any], *, most_not_before_s: float) -> Options:
    """Check options; raises BadParameter for the first invalid one.

    most_not_before_s: how far ahead `not_before` may be, because the job counts towards the queue's
        capacity until then.
    """
    try:
        options = Options.model_validate(given)
    except ValidationError as error:
        first = next(wrong_fields(error, Options, whole="options"))
        raise BadParameter(first.name[:64], first.expected, first.came) from None
    ahead_s = options.not_before / 1000 - time.time()
    if ahead_s > most_not_before_s:
        expected = f"a time within {most_not_before_s:.0f} s (PENSTOCK_MAX_NOT_BEFORE_S)"
        raise BadParameter("not_before", expected, f"one in {ahead_s:.0f} s")
    for name, at_ms in (("start_by", options.start_by), ("finish_by", options.finish_by)):
        if 0 < at_ms <= options.not_before:
            raise BadParameter(name, "a time after not_before", "one before it")
    return options


def from_query(query: "Mapping[str, str]", tags: list[str]) -> dict[str, Any]:
    """Return the options in a query; raises BadParameter.  tags: each `name:value`."""
    given: dict[str, Any] = {name: value for name, value in query.items() if name != "tag"}
    if tags:
        for tag in tags:
            if not tag.partition(":")[0] or ":" not in tag:
                raise BadParameter("tag", "the form name:value", repr(tag[:64]))
        pairs = [tag.partition(":") for tag in tags]
        given["tags"] = {name: value for name, _, value in pairs}
    return given
