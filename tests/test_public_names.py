"""The package `penstock`: what users import and start, whatever the packages below are called."""

import subprocess
import sys
from importlib.metadata import version

import pytest

import client_sdk
import inference_worker
import penstock
import penstock.worker


def test_the_client_has_every_public_name_of_the_sdk() -> None:
    assert penstock.Client is client_sdk.QueueClient
    assert penstock.AsyncClient is client_sdk.AsyncQueueClient
    assert {*client_sdk.__all__, "Client", "AsyncClient"} == set(penstock.__all__)
    assert all(getattr(penstock, name) is getattr(client_sdk, name) for name in client_sdk.__all__)


def test_a_worker_of_your_own_needs_no_other_package() -> None:
    for name in ("Completion", "Delivery", "Failure", "Lost", "Outcome", "Rejection", "Result"):
        assert name in penstock.__all__
    assert issubclass(penstock.LeaseLost, penstock.QueueError)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'penstock' has no attribute 'Clent'"):
        penstock.Clent  # type: ignore[attr-defined]  # noqa: B018


def test_a_handler_imports_from_penstock_worker() -> None:
    assert set(penstock.worker.__all__) == set(inference_worker.__all__)
    assert penstock.worker.BadInput is inference_worker.BadInput


def test_the_module_is_the_command() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "penstock", "version"], capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == version("penstock")


def test_the_client_needs_nothing_of_the_service_the_worker_or_the_command() -> None:
    look = "import sys, penstock; print(*{name.partition('.')[0] for name in sys.modules})"
    told = subprocess.run(
        [sys.executable, "-c", look], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "penstock" in told
    assert not {"redis", "torch", "typer", "queue_service", "inference_worker"} & set(told)
