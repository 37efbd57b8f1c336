"""One look at the GPUs of a worker: what the probe answered, or that it did not.  Pure."""

import json
from dataclasses import dataclass
from enum import StrEnum


class Cause(StrEnum):
    """What a look found wrong; the label of a metric."""

    NONE = ""
    CUDA = "cuda"
    NVML = "nvml"
    XID = "xid"
    MEMORY = "memory"
    SILENT = "silent"
    PROBE = "probe"


@dataclass(frozen=True, slots=True)
class Reading:
    """What one look found.

    cause, fault: of a library that does not work.  xids: errors that the driver has reported since
    the last look.  used_bytes, total_bytes: memory of all GPUs.  utilization: of the busiest.
    complete: it has started CUDA and NVML from the beginning.
    """

    cause: Cause = Cause.NONE
    fault: str = ""
    xids: tuple[int, ...] = ()
    used_bytes: int = 0
    total_bytes: int = 0
    utilization: float = 0.0
    complete: bool = False


def read_answer(line: bytes, *, complete: bool, ended: str = "") -> Reading:
    """Return the reading of a probe's line; ended: how the probe ended, if it gave none."""
    try:
        fields = json.loads(line)
        return Reading(
            cause=Cause(fields.get("cause", "")),
            fault=str(fields.get("fault", "")),
            xids=tuple(int(xid) for xid in fields.get("xids", ())),
            used_bytes=int(fields.get("used_bytes", 0)),
            total_bytes=int(fields.get("total_bytes", 0)),
            utilization=float(fields.get("utilization", 0)),
            complete=complete,
        )
    except (ValueError, TypeError, AttributeError):
        sentence = f"the probe of the GPUs gave no answer{f', it {ended}' if ended else ''}"
        return Reading(Cause.PROBE, sentence, complete=complete)


def silent(limit_s: float, *, complete: bool) -> Reading:
    """Return the reading of a probe that did not answer in time."""
    sentence = f"the driver gave no answer within {limit_s:g} s"
    return Reading(Cause.SILENT, sentence, complete=complete)
