"""The retry options of one job, within the limits of its service."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from client_sdk.errors import BadParameter


@dataclass(frozen=True, slots=True)
class JobRetry:
    """The retry options of a job; None leaves a value to the service.

    max_attempts: the total number of attempts; 1 means no retry.  first_pause_s: seconds from the
    first failure to the second attempt.  factor: multiplies each further pause.  longest_pause_s:
    the longest pause, without jitter.  jitter: up to this share of a pause, 0 to 1, is added at
    random.
    """

    max_attempts: int | None = None
    first_pause_s: float | None = None
    factor: float | None = None
    longest_pause_s: float | None = None
    jitter: float | None = None

    def options(self) -> dict[str, object]:
        """Return the corresponding options of the jobs API."""
        wanted: dict[str, object] = {
            "max_attempts": self.max_attempts,
            "retry_pause": _duration(self.first_pause_s),
            "retry_factor": self.factor,
            "retry_longest_pause": _duration(self.longest_pause_s),
            "retry_jitter": self.jitter,
        }
        return {name: value for name, value in wanted.items() if value is not None}


def retry_options(retry: JobRetry | Mapping[str, float] | None) -> dict[str, object]:
    """Return the options of a JobRetry, or of its fields by name.  Raises BadParameter."""
    if retry is None or isinstance(retry, JobRetry):
        return retry.options() if retry else {}
    known = [field.name for field in fields(JobRetry)]
    if unknown := sorted(set(retry) - set(known)):
        raise BadParameter(f"retry: expected {', '.join(known)}, got {', '.join(unknown)}")
    return JobRetry(**retry).options()  # type: ignore[arg-type]


def _duration(seconds: float | None) -> str | None:
    return None if seconds is None else f"{seconds:f}s"
