"""A large payload is a file: which handlers get its path, and which its bytes."""

from pathlib import Path

import pytest

from inference_worker.engines.engine import Job
from inference_worker.engines.handler import HandlerEngine
from inference_worker.engines.job_content import BEGINNING_BYTES, may_be_json
from inference_worker.engines.shape import handler_shape

HANDLERS = "tests.inference_worker.handlers"


@pytest.mark.parametrize(
    ("target", "takes_path"),
    [
        ("tests.inference_worker.large_file_handler:same", True),
        (f"{HANDLERS}:typed_files", False),
        (f"{HANDLERS}:reverse_part", False),
        (f"{HANDLERS}:Upper", False),
    ],
)
def test_a_handler_whose_only_required_input_is_a_path_takes_the_path(
    target: str, takes_path: bool
) -> None:
    assert handler_shape(target).takes_path is takes_path


@pytest.mark.parametrize(
    ("content", "kind", "path", "is_doubtful"),
    [
        (b"\x89PNG", "image/png", "", False),
        (b"[1, 2]", "", "", False),
        (b' {"film": "data:,x"}', "", "", True),
        (b'"data:,x"', "text/plain", "", True),
        (b"\x89PNG", "application/json; charset=utf-8", "", True),
        (b"\x89PNG", "image/png", "/v1/images/edits", True),
        (b" " * BEGINNING_BYTES + b"{}", "", "", True),
    ],
)
def test_a_payload_that_may_be_json_is_read(
    content: bytes, kind: str, path: str, is_doubtful: bool, tmp_path: Path
) -> None:
    payload = tmp_path / "payload"
    payload.write_bytes(content)
    job = Job("one", b"", payload_path=str(payload), content_type=kind, path=path)
    assert may_be_json(job) is is_doubtful


def test_before_its_start_a_handler_takes_no_path() -> None:
    engine = HandlerEngine("tests.inference_worker.large_file_handler:same")
    assert not engine.takes_path(Job("one", b"", payload_path="/nowhere"))
