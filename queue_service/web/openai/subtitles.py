"""Transcripts in each of OpenAI's formats.  Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


class NoTimes(ValueError):
    """The format needs times, and the engine returned none."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of the text, with its times in seconds."""

    start_s: float
    end_s: float
    text: str
    more: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Heard:
    """What an engine has made of a sound.

    about: what else it said, such as the language and the usage.
    """

    text: str
    segments: Sequence[Segment]
    about: Mapping[str, Any]

    @property
    def duration_s(self) -> float | None:
        """How long the sound is, as far as the engine says so."""
        said = self.about.get("duration")
        if isinstance(said, int | float):
            return float(said)
        return max((one.end_s for one in self.segments), default=None)


def heard_in(output: bytes) -> Heard:
    """Read a result: a text, or an object with a text and maybe segments.

    Segments are OpenAI's, `{"start", "end", "text"}`, or a pipeline's `chunks`,
    `{"timestamp": [0.0, 1.5], "text"}`.
    """
    try:
        made = json.loads(output)
    except (ValueError, RecursionError):
        made = output.decode("utf-8", "replace")
    if isinstance(made, dict) and isinstance(made.get("text"), str):
        listed = made.get("segments", made.get("chunks"))
        parts = listed if isinstance(listed, list) else []
        segments = [one for part in parts if (one := _segment(part)) is not None]
        return Heard(made["text"], segments, made)
    if not isinstance(made, str):
        made = output.decode("utf-8", "replace")
    return Heard(made, (), {})


def as_json(heard: Heard) -> Json:
    """Return the format `json`."""
    usage = heard.about.get("usage")
    return {"text": heard.text, **({} if usage is None else {"usage": usage})}


def as_verbose_json(heard: Heard, task: str) -> Json:
    """Return the format `verbose_json`; raises NoTimes."""
    if (duration_s := heard.duration_s) is None:
        raise NoTimes
    more = {name: heard.about[name] for name in ("words", "usage") if name in heard.about}
    return {
        "task": task,
        "language": str(heard.about.get("language", "")),
        "duration": duration_s,
        "text": heard.text,
        "segments": [
            {**one.more, "id": number, "start": one.start_s, "end": one.end_s, "text": one.text}
            for number, one in enumerate(heard.segments)
        ],
        **more,
    }


def as_srt(heard: Heard) -> str:
    """Return the format `srt`; raises NoTimes."""
    return "\n".join(
        f"{number}\n{_time(one.start_s, ',')} --> {_time(one.end_s, ',')}\n{one.text.strip()}\n"
        for number, one in enumerate(_timed(heard), 1)
    )


def as_vtt(heard: Heard) -> str:
    """Return the format `vtt`; raises NoTimes."""
    parts = [
        f"{_time(one.start_s, '.')} --> {_time(one.end_s, '.')}\n{one.text.strip()}\n"
        for one in _timed(heard)
    ]
    return "\n".join(["WEBVTT\n", *parts])


def _timed(heard: Heard) -> Sequence[Segment]:
    if heard.text.strip() and not heard.segments:
        raise NoTimes
    return heard.segments


def _segment(part: Any) -> Segment | None:
    if not isinstance(part, dict) or not isinstance(part.get("text"), str):
        return None
    times = part.get("timestamp", (part.get("start"), part.get("end")))
    if not isinstance(times, list | tuple) or len(times) != 2:
        return None
    start, end = times
    if not isinstance(start, int | float):
        return None
    # A sound that is cut off has no end of its last part.
    end = end if isinstance(end, int | float) else start
    more = {name: part[name] for name in part if name not in ("timestamp", "start", "end", "text")}
    return Segment(float(start), float(end), part["text"], more)


def _time(at_s: float, point: str) -> str:
    at_ms = max(0, round(at_s * 1000))
    seconds, ms = divmod(at_ms, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{point}{ms:03}"
