"""What a process imports before it does anything: a command must not wait for all the others."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import client_sdk
from deploy.cli import COMMANDS, app

_PROGRAM = (
    "import sys, json, {}; print(json.dumps(sorted({{m.partition('.')[0] for m in sys.modules}})))"
)


def _imported_with(module: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(module)], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout))


@pytest.mark.parametrize(
    ("module", "needless"),
    [
        ("deploy.cli", {"aiohttp", "redis", "pydantic", "queue_service", "inference_worker"}),
        ("deploy.commands.ls", {"redis", "queue_service", "inference_worker"}),
        ("client_sdk.wire", {"aiohttp"}),
        ("penstock", {"aiohttp", "pydantic"}),
        ("inference_worker.engine_main", {"aiohttp", "torch", "transformers", "queue_service"}),
        ("inference_worker.__main__", {"torch", "transformers", "queue_service", "redis"}),
    ],
)
def test_a_process_imports_only_what_it_needs(module: str, needless: set[str]) -> None:
    assert not _imported_with(module) & needless


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_where_the_table_says(name: str) -> None:
    result = CliRunner().invoke(app, [name, "--help"])

    assert result.exit_code == 0
    assert name in result.stdout


def test_every_public_name_of_the_sdk_can_be_imported() -> None:
    assert all(getattr(client_sdk, name) is not None for name in client_sdk.__all__)


def test_an_unknown_name_of_the_sdk_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Clent'"):
        client_sdk.Clent  # type: ignore[attr-defined]  # noqa: B018
