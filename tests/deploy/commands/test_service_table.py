"""What `penstock ls` prints of a service whose sink is full."""

from typing import Any

import pytest

from deploy.commands.service_table import in_units, show_services

WHY = "the sink holds 5 unread results; the next one expires in 3 h"


def service(**sink: Any) -> dict[str, Any]:
    queue = {"length": 5, "capacity": 5, "groups": [], "subscribers": [], "now_ms": 0}
    return {
        "name": "svc",
        "state": "running",
        "local": None,
        "lease_ms": 1000,
        "input": {**queue, "bytes": 2_000_000, "file_bytes": 0},
        "sink": {**queue, **sink},
    }


def test_a_full_sink_is_a_state_with_its_reason_and_the_bytes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_services([service(full=True, full_because=WHY, bytes=900, file_bytes=3_100_000)])
    said = " ".join(capsys.readouterr().out.split())
    assert "sink full" in said
    assert "5, 2.0 MB" in said
    assert "5, 3.1 MB" in said
    assert WHY in said


def test_an_older_queue_service_says_nothing_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    show_services([service()])
    said = capsys.readouterr().out
    assert "running" in said
    assert "full" not in said


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (12_000_000, "12 MB"), (3e15, "3000 TB")],
)
def test_bytes_in_few_characters(size: int, text: str) -> None:
    assert in_units(int(size)) == text
