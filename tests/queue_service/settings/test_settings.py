"""Settings: read from the environment, checked, and turned into the capacity of a queue."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from queue_service.settings.process import Settings
from queue_service.settings.service import (
    DeadMessagePolicy,
    QueueSettings,
    ServiceSettings,
    capacity,
    place_bytes,
)


def _service(**fields: object) -> ServiceSettings:
    return ServiceSettings.model_validate({"name": "svc", **fields})


def test_settings_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_PORT", "9000")
    monkeypatch.setenv("PENSTOCK_LEASE_MS", "2500")
    monkeypatch.setenv(
        "PENSTOCK_SERVICES",
        '[{"name": "demo", "sink": {"max_length": 7}, "dead_message_policy": "Drop"}]',
    )
    settings = Settings()
    assert (settings.port, settings.lease_ms) == (9000, 2500)
    (service,) = settings.services
    assert (service.name, service.sink.max_length) == ("demo", 7)
    assert service.dead_message_policy is DeadMessagePolicy.DROP


def test_the_defaults_are_those_of_eas() -> None:
    service = _service()
    assert capacity(service, "input") == capacity(service, "sink") == (230_399, 8192)
    assert service.max_delivery == 5
    assert service.dead_message_policy is DeadMessagePolicy.REAR
    assert not service.input.auto_evict


def test_the_ratio_divides_the_memory_between_the_queues() -> None:
    service = _service(sink_memory_ratio=0.25)
    assert capacity(service, "input") == (345_599, 8192)
    assert capacity(service, "sink") == (115_199, 8192)


def test_a_length_leaves_the_rest_of_the_memory_to_each_payload() -> None:
    service = _service(input={"max_length": 999}, memory=1000, sink_memory_ratio=0.5)
    length, payload = capacity(service, "input")
    assert length == 999
    assert payload == 1000 * 1024 * 1024 * 9 // 10 // 2 // 1000


def test_a_large_payload_size_leaves_as_many_places() -> None:
    service = _service(sink={"max_payload_size_kb": 1024})
    assert capacity(service, "sink") == (230_399, 1024 * 1024)
    service = _service(sink={"max_payload_size_kb": 1})
    assert capacity(service, "sink") == (1_843_199, 1024)


@given(
    memory=st.integers(1, 1_000_000),
    ratio=st.floats(0.001, 0.999),
    queue=st.one_of(
        st.builds(QueueSettings, max_length=st.integers(1, 10**7)),
        st.builds(QueueSettings, max_payload_size_kb=st.integers(1, 1024)),
        st.just(QueueSettings()),
    ),
    role=st.sampled_from(["input", "sink"]),
)
def test_every_queue_holds_something(
    memory: int, ratio: float, queue: QueueSettings, role: str
) -> None:
    service = ServiceSettings(
        name="svc", memory=memory, sink_memory_ratio=ratio, input=queue, sink=queue
    )
    length, payload = capacity(service, role)
    assert length >= 1
    assert payload >= 1
    usable = memory * 1024 * 1024 * 9 / 10 * (ratio if role == "sink" else 1 - ratio)
    # The floor of one entry and one byte is the only way above the memory.
    # An entry with more data than one place has takes several.
    place = place_bytes(queue) or payload
    assert length * place <= usable * 1.001 or 1 in (length, payload)


def test_length_and_payload_size_are_not_set_together() -> None:
    with pytest.raises(ValidationError, match="not both"):
        _service(input={"max_length": 10, "max_payload_size_kb": 10})


def test_two_services_of_one_name_are_refused() -> None:
    with pytest.raises(ValidationError, match="same name"):
        Settings(services=(_service(), _service()))


@pytest.mark.parametrize("name", ["", "a/b", "{svc}", "-a", ".a", "a b", "a\n", "x" * 129])
def test_a_name_that_is_no_path_segment_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        _service(name=name)


@pytest.mark.parametrize("name", ["svc", "test_group.qservice", "a-b_c.9", "x" * 128])
def test_names_that_eas_allows_are_allowed(name: str) -> None:
    assert _service(name=name).name == name


@pytest.mark.parametrize(
    "fields",
    [
        {"max_lenght": 5},
        {"memory": 0},
        {"sink_memory_ratio": 1.0},
        {"max_delivery": -1},
        {"dead_message_policy": "Burn"},
        {"input": {"max_length": 0}},
    ],
    ids=str,
)
def test_a_misspelt_or_impossible_service_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        _service(**fields)


def test_tokens_are_not_shown() -> None:
    service = _service(token="a-secret-of-ours")
    settings = Settings(services=(service,), admin_token="another-secret")
    shown = f"{settings!r} {settings} {settings.model_dump_json()}"
    assert "a-secret-of-ours" not in shown
    assert "another-secret" not in shown


def test_what_is_kept_of_a_token_tells_tokens_apart_and_is_no_token() -> None:
    one, same, other = (_service(token=token) for token in ("one", "one", "other"))
    assert one.token_digest() == same.token_digest() != other.token_digest()
    assert b"one" not in one.token_digest()


@pytest.mark.process
def test_services_that_are_no_json_stop_it_with_a_sentence() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "queue_service"],
        env={**os.environ, "PENSTOCK_SERVICES": "[{bad"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith("setting PENSTOCK_SERVICES: expected JSON: Expecting")
    assert "Traceback" not in ended.stderr
