"""`penstock autoscale` and `penstock cronscale`, as eascmd has them, and what `ls` shows of it."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from typer.testing import CliRunner, Result

from deploy.cli import app
from deploy.errors import AdminRefused, BadAutoscaler, penstock
from tests.conftest import Serve
from tests.queue_service.web.scale.api import Caller
from tests.running import ADMIN_TOKEN

EAS = ["-Dmin=0", "-Dmax=10", "-Dstrategies.queue[avgbacklog]=10"]
WEEKDAYS = {
    "ExcludeDates": ["* * * * * 6,0"],
    "ScaleJobs": [{"Schedule": "0 15,45 * * * *", "TargetSize": 6}],
}


@pytest.fixture
async def url(serve: Serve) -> AsyncIterator[str]:
    """A service that was made at run time."""
    url = await serve()
    async with aiohttp.ClientSession() as session:
        caller = Caller(session, url)
        assert (await caller.call("PUT", path="/v1/services/made", json={}))[0] == 201
        yield url
        assert (await caller.call("DELETE", path="/v1/services/made"))[0] == 200


async def _penstock(*arguments: str, url: str) -> Result:
    """Run the command in a thread: it has an event loop of its own."""
    command = [*arguments, "--url", url, "--admin-token", ADMIN_TOKEN]
    return await asyncio.to_thread(lambda: CliRunner().invoke(app, command))


async def _settings(command: str, url: str) -> Any:
    found = json.loads((await _penstock(command, "made", "--json", url=url)).stdout)
    return found["autoscaler"] if command == "autoscale" else found


async def test_the_command_line_of_eas_works(url: str) -> None:
    shown = await _penstock("autoscale", "made", *EAS, url=url)
    assert shown.exit_code == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert lines[:4] == [
        "made: 0 to 10 workers",
        "  queue[avgbacklog]: threshold 10, now 0",
        "  more workers at once, fewer after 300 s",
        "  none after 600 s without a job; the first job starts 1",
    ]
    assert "  jobs: 0 waiting, 0 running" in lines
    assert "  no autoscaler is running for this service" in lines
    assert f"an autoscaler must run: {penstock()} autoscale run" in " ".join(lines)
    # Without options it shows the same; with a region as eascmd has it, too.
    assert (await _penstock("autoscale", "made", url=url)).stdout == shown.stdout
    assert (await _penstock("autoscale", "cn-shanghai/made", url=url)).stdout == shown.stdout


async def test_an_option_changes_what_it_names_and_a_file_replaces_all(
    url: str, tmp_path: Path
) -> None:
    # The options may come first.
    await _penstock("autoscale", *EAS, "-Dstrategies.qps=5", "made", url=url)
    await _penstock("autoscale", "made", "-D", "max=20", "-Dstrategies.qps=6", url=url)
    settings = await _settings("autoscale", url)
    assert (settings["min"], settings["max"]) == (0, 20)
    assert [(one["metricName"], one["threshold"]) for one in settings["scaleStrategies"]] == [
        ("queue[avgbacklog]", 10),
        ("qps", 6),
    ]
    file = tmp_path / "scaler.json"
    file.write_text(json.dumps({"min": 1, "max": 5, "strategies": {"queue[wait]": 30}}))
    assert (await _penstock("autoscale", "made", "-s", str(file), url=url)).exit_code == 0
    settings = await _settings("autoscale", url)
    assert (settings["min"], settings["max"]) == (1, 5)
    (strategy,) = settings["scaleStrategies"]
    assert (strategy["metricName"], strategy["threshold"]) == ("queue[wait]", 30)

    removed = await _penstock("autoscale", "rm", "made", url=url)
    assert removed.stdout == "made: the autoscaler was removed\n"
    again = await _penstock("autoscale", "rm", "made", url=url)
    assert (again.exit_code, again.stdout) == (0, "made: it had no autoscaler\n")
    assert (await _penstock("autoscale", "made", url=url)).stdout.startswith("made: no autoscaler")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-Dmin=0"], "max: expected a value, got nothing"),
        (["-Dmin=3", "-Dmax=2"], "min: expected at most max, which is 2, got 3"),
        (
            ["-Dmin=0", "-Dmax=2", "-Dqps=3"],
            "qps: expected one of the names min, max, scaleStrategies, behavior, got an unknown",
        ),
        (
            ["-Dmin=0", "-Dmax=2", "-Dstrategies.queue[avgbaklog]=1"],
            "strategies.queue[avgbaklog]: expected one of queue[avgbacklog], queue[backlog], "
            "queue[wait], qps, cpu; did you mean queue[avgbacklog]?",
        ),
        (
            ["-Dmin=0", "-Dmax=2", "-Dstrategies.cpu=50", "-Dstrategies.qps=fast"],
            "strategies.qps: expected a number, got 'fast'",
        ),
        (["-Dmin"], "-D: expected KEY=VALUE, such as min=0 or strategies.qps=5, got 'min'"),
    ],
)
async def test_wrong_options_are_refused_before_anything_is_sent(
    url: str, arguments: list[str], sentence: str
) -> None:
    refused = await _penstock("autoscale", "made", *arguments, url=url)
    assert isinstance(refused.exception, BadAutoscaler)
    assert sentence in str(refused.exception)
    assert await _settings("autoscale", url) is None


async def test_an_unknown_service_and_one_of_the_environment_are_named(url: str) -> None:
    for name, sentence in (("absent", "'absent'"), ("svc", "PENSTOCK_SERVICES")):
        refused = await _penstock("autoscale", name, *EAS, url=url)
        assert isinstance(refused.exception, AdminRefused)
        assert sentence in str(refused.exception)


async def test_the_schedule_of_eas_works(url: str, tmp_path: Path) -> None:
    file = tmp_path / "cronscale.json"
    file.write_text(json.dumps(WEEKDAYS))
    shown = await _penstock("cronscale", "made", "-s", str(file), url=url)
    assert shown.exit_code == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert lines[0].startswith("made: 6 workers scheduled since ")
    assert lines[1:] == [
        "  0 15,45 * * * *: 6",
        "  not on * * * * * 6,0",
        "  times are in UTC",
    ]
    assert (await _settings("cronscale", url))["ScaleJobs"][0]["TargetSize"] == 6
    assert (await _penstock("cronscale", "rm", "made", url=url)).exit_code == 0
    assert await _settings("cronscale", url) is None
    file.write_text("{")
    refused = await _penstock("cronscale", "made", "-s", str(file), url=url)
    assert isinstance(refused.exception, BadAutoscaler)


async def test_a_service_json_has_both_and_one_without_leaves_them(
    url: str, tmp_path: Path
) -> None:
    file = tmp_path / "service.json"
    document: dict[str, Any] = {
        "metadata": {"name": "made", "instance": 1},
        "processor": "echo",
        "autoscaler": {"min": 0, "max": 4, "strategies": {"queue[avgbacklog]": 3}},
        "cronscaler": WEEKDAYS,
    }
    file.write_text(json.dumps(document))
    assert (await _penstock("modify", str(file), url=url)).exit_code == 0
    assert (await _settings("autoscale", url))["max"] == 4
    described = (await _penstock("desc", "made", url=url)).stdout
    assert 'autoscaler: {"min": 0, "max": 4' in described
    del document["autoscaler"], document["cronscaler"]
    file.write_text(json.dumps(document))
    assert (await _penstock("modify", str(file), url=url)).exit_code == 0
    assert (await _settings("autoscale", url))["max"] == 4
    file.write_text(json.dumps({**document, "autoscaler": None}))
    assert (await _penstock("modify", str(file), url=url)).exit_code == 0
    assert await _settings("autoscale", url) is None
    assert (await _settings("cronscale", url))["ScaleJobs"]


async def test_ls_shows_what_is_wanted_and_why_a_driver_fails(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        caller = Caller(session, url)
        report = {"holder": "a", "lease_ms": 60_000, "existing": 2, "wanted": 4}
        reason = "37 jobs waiting (queue[avgbacklog] is 18.5, its threshold is 10)"
        await caller.report(**report, reason=reason, driver_error="docker: no space left")
        shown = (await _penstock("ls", url=url)).stdout
        assert "0/4 (wanted 4: 37 waiting)" in shown
        assert "svc: the autoscaler cannot change the workers: docker: no space left" in shown
        one = (await _penstock("autoscale", "svc", url=url)).stdout
        assert "wanted: 4, decided " in one
        assert f" s ago: {reason}" in one
        assert "docker: no space left" in one
        # As many are ready as are wanted: then there is nothing to explain.
        await caller.report(**{**report, "wanted": 0}, reason="nothing waits or runs")
        assert "wanted" not in (await _penstock("ls", url=url)).stdout
        await caller.report(**report, reason=reason)
        await caller.call("DELETE", params={"holder": "a"})
    assert "wanted" not in (await _penstock("ls", url=url)).stdout
