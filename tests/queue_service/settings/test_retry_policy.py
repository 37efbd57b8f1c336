"""Which retry policy an entry has: the service's, its own within it, the default, or PAI EAS's."""

import pytest
from pydantic import ValidationError

from client_sdk.wire.failures import FailureType
from client_sdk.wire.retry import AttemptPolicy
from queue_service.errors import BadParameter
from queue_service.service.rejections import decide
from queue_service.settings.retry import (
    DEFAULT,
    RetrySettings,
    Wish,
    own_policy,
    pauses_ms,
    policy_of,
)
from queue_service.settings.service import ServiceSettings
from queue_service.store.entry import Rejected
from queue_service.store.ticket import read_retry, write_retry

SERVICE = RetrySettings(max_attempts=4, first_pause_s=2, longest_pause_s=20)


@pytest.mark.parametrize(
    ("settings", "own", "has_ticket", "expected"),
    [
        # A client of PAI EAS's protocol with PAI EAS's settings has PAI EAS's rules.
        (None, None, False, None),
        (None, None, True, DEFAULT),
        (SERVICE, None, False, SERVICE.policy()),
        (SERVICE, None, True, SERVICE.policy()),
        (None, AttemptPolicy(2, 5, 3, 30, 0), True, AttemptPolicy(2, 5, 3, 30, 0)),
        # The service has become stricter since.
        (SERVICE, AttemptPolicy(9, 25, 3, 50, 0), True, AttemptPolicy(4, 20, 3, 20, 0)),
        (SERVICE, AttemptPolicy(0, 1, 2, 10, 0), True, AttemptPolicy(4, 1, 2, 10, 0)),
    ],
)
def test_the_policy_of_an_entry(
    settings: RetrySettings | None,
    own: AttemptPolicy | None,
    has_ticket: bool,
    expected: AttemptPolicy | None,
) -> None:
    assert policy_of(settings, own, has_ticket=has_ticket) == expected


def test_what_a_job_does_not_say_is_as_the_service_has_it() -> None:
    assert own_policy(SERVICE, Wish(), max_delivery=5) is None
    own = own_policy(SERVICE, Wish(first_pause_s=3), max_delivery=5)
    assert own == AttemptPolicy(4, 3, 2, 20, 0.2)
    own = own_policy(SERVICE, Wish(max_attempts=1, longest_pause_s=1), max_delivery=5)
    assert own == AttemptPolicy(1, 1, 2, 1, 0.2)


@pytest.mark.parametrize(
    ("wish", "name"),
    [
        (Wish(max_attempts=5), "max_attempts"),
        (Wish(first_pause_s=21), "retry_pause"),
        (Wish(longest_pause_s=21), "retry_longest_pause"),
        (Wish(longest_pause_s=3, first_pause_s=4), "retry_pause"),
    ],
)
def test_a_job_has_no_more_than_its_service_permits(wish: Wish, name: str) -> None:
    with pytest.raises(BadParameter) as error:
        own_policy(SERVICE, wish, max_delivery=5)
    assert error.value.name == name
    with pytest.raises(BadParameter):
        own_policy(None, Wish(max_attempts=4), max_delivery=3)
    assert own_policy(None, Wish(max_attempts=900), max_delivery=0)


@pytest.mark.parametrize(
    "fields",
    [
        {"first_pause_s": -1},
        {"first_pause_s": 3601},
        {"first_pause_s": float("nan")},
        {"longest_pause_s": float("inf")},
        {"first_pause_s": 70},
        {"factor": 0.5},
        {"jitter": 1.5},
        {"max_attempts": -1},
        {"max": 3},
    ],
)
def test_settings_that_make_no_sense_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        ServiceSettings.model_validate({"name": "svc", "retry": fields})


@pytest.mark.parametrize(
    ("max_delivery", "max_attempts", "most"), [(5, 0, 5), (5, 3, 3), (3, 9, 3), (0, 7, 7)]
)
def test_no_policy_permits_more_attempts_than_max_delivery(
    max_delivery: int, max_attempts: int, most: int
) -> None:
    settings = ServiceSettings.model_validate(
        {"name": "svc", "max_delivery": max_delivery, "retry": {"max_attempts": max_attempts}}
    )
    assert settings.most_attempts == most


def test_a_ticket_keeps_a_policy_to_the_last_digit() -> None:
    policy = AttemptPolicy(3, 0.1 + 0.2, 1.7, 59.999, 1 / 3)
    assert read_retry(write_retry(policy)) == policy
    assert read_retry("") is None


def test_a_negative_commit_is_followed_by_the_pauses_of_the_service() -> None:
    item = Rejected("g", "u", 1, 0, "503", "busy")
    assert decide(item, None).pauses_ms == ()
    policy = AttemptPolicy(max_attempts=3, jitter=0)
    assert decide(item, policy).pauses_ms == (1000, 2000, None)
    assert pauses_ms(policy, FailureType.BAD_INPUT, draw=0) == (None,)
    for code in ("Shutdown", "Canceled"):
        assert decide(Rejected("g", "u", 1, 0, code), policy).pauses_ms == ()
