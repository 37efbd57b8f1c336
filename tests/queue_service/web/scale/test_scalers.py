"""The settings of an autoscaler and of a schedule, in the formats of PAI EAS."""

from typing import Any

import aiohttp
import pytest

from tests.conftest import Serve
from tests.queue_service.web.scale.api import Caller
from tests.waiting import wait_until

AUTOSCALER: dict[str, Any] = {
    "min": 0,
    "max": 10,
    "scaleStrategies": [{"metricName": "queue[avgbacklog]", "threshold": 10.0, "service": ""}],
    "behavior": {
        "scaleUp": {"stabilizationWindowSeconds": 0},
        "scaleDown": {"stabilizationWindowSeconds": 300},
        "onZero": {"scaleDownGracePeriodSeconds": 600, "scaleUpActivationReplicas": 1},
    },
}
CRONSCALER: dict[str, Any] = {
    "ExcludeDates": ["* * * * * 6,0"],
    "ScaleJobs": [{"Name": "", "Schedule": "0 15,45 * * * *", "TargetSize": 6}],
    "TimeZone": "UTC",
}
SERVICE = "/v1/services/made"
BOTH = pytest.mark.parametrize(
    ("name", "settings"), [("autoscaler", AUTOSCALER), ("cronscaler", CRONSCALER)]
)


async def _make(serve: Serve, session: aiohttp.ClientSession) -> Caller:
    caller = Caller(session, await serve())
    assert (await caller.call("PUT", path=SERVICE, json={"token": "t" * 20}))[0] == 201
    return caller


async def _remove(caller: Caller) -> None:
    assert (await caller.call("DELETE", path=SERVICE))[0] == 200


@BOTH
async def test_settings_are_stored_for_every_replica_and_removed(
    serve: Serve, session: aiohttp.ClientSession, name: str, settings: dict[str, Any]
) -> None:
    caller = await _make(serve, session)
    path = f"{SERVICE}/{name}"
    status, refused = await caller.call("GET", path=path)
    assert (status, refused["code"]) == (404, "NOT_FOUND")
    assert await caller.call("PUT", path=path, json=settings) == (200, settings)
    other = Caller(session, await serve())
    assert await other.call("GET", path=path, token="t" * 20) == (200, settings)
    assert (await other.call("GET", path=f"{SERVICE}/scale"))[1][name] == settings

    # A change of the service that does not mention them leaves them; null removes them.
    assert (await caller.call("PUT", path=SERVICE, json={"memory": 100}))[0] == 200
    assert await caller.call("GET", path=path) == (200, settings)
    assert (await caller.call("POST", path=f"{SERVICE}/stop"))[0] == 200
    assert await caller.call("GET", path=path) == (200, settings)
    assert (await caller.call("POST", path=f"{SERVICE}/start"))[0] == 200
    assert (await caller.call("PUT", path=SERVICE, json={name: None}))[0] == 200
    assert (await caller.call("GET", path=path))[0] == 404
    assert (await caller.call("PUT", path=SERVICE, json={name: settings}))[0] == 200
    assert await caller.call("DELETE", path=path) == (204, None)
    assert await caller.call("DELETE", path=path) == (204, None)

    async def is_gone() -> bool:
        return (await other.call("GET", path=path))[0] == 404

    await wait_until(is_gone, "the other replica knows")
    await _remove(caller)


@pytest.mark.parametrize(
    ("name", "fields", "sentence"),
    [
        ("autoscaler", {}, "min: expected a value, got nothing"),
        ("autoscaler", {"min": 0}, "max: expected a value, got nothing"),
        ("autoscaler", {"min": 3, "max": 2}, "min: expected at most max, which is 2, got 3"),
        ("autoscaler", {"min": 0, "max": 1001}, "max: expected a value less than or equal to 1000"),
        ("autoscaler", {"min": "few", "max": 2}, "min: expected a whole number"),
        ("autoscaler", {"min": 0, "max": 2, "maximum": 3}, "maximum: expected one of the names"),
        (
            "autoscaler",
            {"min": 0, "max": 2, "strategies": {"depth": 1}},
            "scaleStrategies.0.metricName: expected 'queue[avgbacklog]'",
        ),
        (
            "autoscaler",
            {"min": 0, "max": 2, "scaleStrategies": [{"metricname": "qps", "threshold": 1}]},
            "scaleStrategies.0.metricName: expected a value, got nothing",
        ),
        (
            "autoscaler",
            {"min": 0, "max": 2, "scaleStrategies": [{"metricName": "qps", "limit": 1}]},
            "scaleStrategies.0.threshold: expected a value, got nothing",
        ),
        (
            "autoscaler",
            {"min": 0, "max": 2, "behavior": {"scaleUp": {"window": 1}}},
            "behavior.scaleUp.stabilizationWindowSeconds: expected a value, got nothing",
        ),
        ("autoscaler", {"min": 0, "max": 2, "strategies": [1]}, "strategies: expected an object"),
        ("autoscaler", [], "the body: expected an object of settings, got list"),
        ("cronscaler", {}, "ScaleJobs: expected a value, got nothing"),
        ("cronscaler", {"ScaleJobs": []}, "ScaleJobs: expected at least 1 item"),
        (
            "cronscaler",
            {"ScaleJobs": [{"Schedule": "0 8 * * *", "TargetSize": 1}]},
            "ScaleJobs.0.Schedule: expected six fields, seconds first",
        ),
        (
            "cronscaler",
            {**CRONSCALER, "TimeZone": "Mars/Olympus"},
            "TimeZone: expected the name of a time zone",
        ),
        (
            "cronscaler",
            {"ScaleJobs": CRONSCALER["ScaleJobs"] * 101},
            "ScaleJobs: expected at most 100 items",
        ),
    ],
)
async def test_wrong_settings_are_refused_and_change_nothing(
    serve: Serve, session: aiohttp.ClientSession, name: str, fields: Any, sentence: str
) -> None:
    caller = await _make(serve, session)
    before = AUTOSCALER if name == "autoscaler" else CRONSCALER
    assert (await caller.call("PUT", path=f"{SERVICE}/{name}", json=before))[0] == 200
    status, refused = await caller.call("PUT", path=f"{SERVICE}/{name}", json=fields)
    assert (status, refused["code"]) == (400, "BAD_PARAMETER")
    assert refused["message"].startswith(sentence)
    if isinstance(fields, dict):
        # As a setting of the service it is refused in the same words.
        status, refused = await caller.call("PUT", path=SERVICE, json={name: fields})
        assert status == 400
        assert refused["message"].startswith(f"{name}.{sentence}")
    assert await caller.call("GET", path=f"{SERVICE}/{name}") == (200, before)
    await _remove(caller)


@BOTH
async def test_a_service_of_the_environment_has_them_there(
    serve: Serve, session: aiohttp.ClientSession, name: str, settings: dict[str, Any]
) -> None:
    caller = Caller(session, await serve({"name": "svc", name: settings}))
    path = f"/v1/services/svc/{name}"
    assert await caller.call("GET", path=path) == (200, settings)
    status, refused = await caller.call("PUT", path=path, json=settings)
    assert (status, refused["code"]) == (409, "CONFLICT")
    assert "PENSTOCK_SERVICES" in refused["message"]


async def test_services_show_what_their_autoscaler_wants(
    serve: Serve, session: aiohttp.ClientSession
) -> None:
    caller = Caller(session, await serve())
    report = {"holder": "a", "lease_ms": 60_000, "existing": 2, "wanted": 4, "reason": "37 waiting"}
    await caller.report(**report, driver_error="no space left")
    _, found = await caller.call("GET", path="/v1/services")
    (service,) = found["services"]
    shown = service["scale"]
    assert shown.pop("decided_s_ago") >= 0
    assert shown == {
        "wanted": 4,
        "existing": 2,
        "reason": "37 waiting",
        "driver_error": "no space left",
    }
