"""Retry policies: of a service, of a job, and the one that applies to an entry.  Pure.

If a service has no retry settings, entries of EAS clients follow the rules of PAI EAS: they are
delivered again at once, up to `max_delivery` times.  Jobs of the other APIs use the default policy.
"""

from dataclasses import dataclass, fields
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from client_sdk.wire.failures import FailureType
from client_sdk.wire.retry import MOST_ATTEMPTS, MOST_PAUSE_S, AttemptPolicy, next_attempt
from queue_service.errors import BadParameter

#: The policy of a job whose service has no retry settings.
DEFAULT = AttemptPolicy()
#: Number of pauses that are computed for the store in advance; the last one repeats.
MOST_PAUSES = 16

_PauseS = Annotated[float, Field(ge=0, le=MOST_PAUSE_S)]


class RetrySettings(BaseModel):
    """How the failed entries of a service are retried."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    max_attempts: int = Field(
        DEFAULT.max_attempts,
        ge=0,
        le=MOST_ATTEMPTS,
        description=(
            "Maximum attempts of one entry, at most `max_delivery`; 0 means `max_delivery`."
        ),
    )
    first_pause_s: _PauseS = Field(
        DEFAULT.first_pause_s, description="Seconds between the first failure and the next attempt."
    )
    factor: float = Field(DEFAULT.factor, ge=1, le=100, description="Factor between pauses.")
    longest_pause_s: _PauseS = Field(
        DEFAULT.longest_pause_s, description="Longest pause, before `jitter`."
    )
    jitter: float = Field(
        DEFAULT.jitter, ge=0, le=1, description="Up to this share of a pause is added at random."
    )

    @model_validator(mode="after")
    def _is_in_order(self) -> Self:
        if self.first_pause_s > self.longest_pause_s:
            raise ValueError(
                f"first_pause_s: expected at most longest_pause_s ({self.longest_pause_s:g}), "
                f"got {self.first_pause_s:g}"
            )
        return self

    def policy(self) -> AttemptPolicy:
        """Return these settings as a policy."""
        return AttemptPolicy(
            self.max_attempts,
            self.first_pause_s,
            self.factor,
            self.longest_pause_s,
            self.jitter,
        )


@dataclass(frozen=True, slots=True)
class Wish:
    """Retry options of a job; None means the value of its service."""

    max_attempts: int | None = None
    first_pause_s: float | None = None
    factor: float | None = None
    longest_pause_s: float | None = None
    jitter: float | None = None


def fewest(*limits: int) -> int:
    """Return the smallest limit, where 0 means no limit."""
    return min((limit for limit in limits if limit), default=0)


def policy_of(
    settings: RetrySettings | None, own: AttemptPolicy | None, *, has_ticket: bool
) -> AttemptPolicy | None:
    """Return the policy of an entry; None if the rules of PAI EAS apply.

    own: the policy stored with the job.  The limits of the service may be tighter now than when the
    job was put, so they are applied again.
    """
    service = settings.policy() if settings else DEFAULT
    if own is not None:
        return _within(own, service)
    return service if settings or has_ticket else None


def own_policy(
    settings: RetrySettings | None, wish: Wish, *, max_delivery: int
) -> AttemptPolicy | None:
    """Return the policy of a job with retry options; None without any.

    Raises BadParameter if they exceed what the service allows.
    """
    if wish == Wish():
        return None
    service = settings.policy() if settings else DEFAULT
    most = fewest(service.max_attempts, max_delivery)
    if wish.max_attempts is not None and most and wish.max_attempts > most:
        raise BadParameter(
            "max_attempts", f"at most {most}, the limit of the service", str(wish.max_attempts)
        )
    longest_s = service.longest_pause_s
    for name, pause_s in (
        ("retry_longest_pause", wish.longest_pause_s),
        ("retry_pause", wish.first_pause_s),
    ):
        if pause_s is not None and pause_s > longest_s:
            raise BadParameter(name, f"at most {longest_s:g}s", f"{pause_s:g}s")
        longest_s = longest_s if pause_s is None else pause_s
    wished = {field.name: getattr(wish, field.name) for field in fields(wish)}
    given = {name: value for name, value in wished.items() if value is not None}
    merged = {field.name: getattr(service, field.name) for field in fields(service)} | given
    return _within(AttemptPolicy(**merged), service)


def _within(own: AttemptPolicy, service: AttemptPolicy) -> AttemptPolicy:
    longest_s = min(own.longest_pause_s, service.longest_pause_s)
    return AttemptPolicy(
        max_attempts=fewest(own.max_attempts, service.max_attempts),
        first_pause_s=min(own.first_pause_s, longest_s),
        factor=own.factor,
        longest_pause_s=longest_s,
        jitter=own.jitter,
    )


def pauses_ms(
    policy: AttemptPolicy | None, failure: FailureType, *, draw: float
) -> tuple[int | None, ...]:
    """Return the pause after each attempt, for a subscriber that does not choose pauses itself.

    None means that no further attempt follows.  Without a policy there are no pauses.
    """
    if policy is None:
        return ()
    pauses: list[int | None] = []
    for attempt in range(1, MOST_PAUSES + 1):
        # Such a subscriber cannot run a job alone either.
        again = next_attempt(policy, failure, attempt=attempt, was_alone=True, draw=draw)
        pauses.append(None if again is None else round(again.pause_s * 1000))
        if again is None:
            break
    return tuple(pauses)
