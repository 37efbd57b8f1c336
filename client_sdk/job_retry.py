"""How one job is retried after a failure, within the limits of its service."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from client_sdk.errors import BadParameter


@dataclass(frozen=True, slots=True)
class JobRetry:
    """What a job asks for; None leaves it as the service has it.

    max_attempts: attempts in all; 1 never tries again.  first_pause_s: seconds from the first
    failure to the second attempt.  factor: how much longer each further pause is.
    longest_pause_s: no pause is longer, but for jitter, the share of a pause that is added at
    random, from 0 to 1.
    """

    max_attempts: int | None = None
    first_pause_s: float | None = None
    factor: float | None = None
    longest_pause_s: float | None = None
    jitter: float | None = None

    def options(self) -> dict[str, object]:
        """The options of the jobs API that say the same."""
        wanted: dict[str, object] = {
            "max_attempts": self.max_attempts,
            "retry_pause": _duration(self.first_pause_s),
            "retry_factor": self.factor,
            "retry_longest_pause": _duration(self.longest_pause_s),
            "retry_jitter": self.jitter,
        }
        return {name: value for name, value in wanted.items() if value is not None}


def retry_options(retry: JobRetry | Mapping[str, float] | None) -> dict[str, object]:
    """The same of a wish, of its fields by name, or of none.  Raises BadParameter for others."""
    if retry is None or isinstance(retry, JobRetry):
        return retry.options() if retry else {}
    known = [field.name for field in fields(JobRetry)]
    if unknown := sorted(set(retry) - set(known)):
        raise BadParameter(f"retry: expected {', '.join(known)}, got {', '.join(unknown)}")
    return JobRetry(**retry).options()  # type: ignore[arg-type]


def _duration(seconds: float | None) -> str | None:
    return None if seconds is None else f"{seconds:f}s"
