"""What receivers get, and what their answers lead to."""

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from tests.queue_service.web.webhooks.conftest import Came, Hooks, Receiver, verify
from tests.waiting import hold_for, wait_until


async def test_the_end_of_a_job_reaches_the_endpoint_signed(
    hooks: Hooks, receiver: Receiver
) -> None:
    secret = await hooks.put("mine", receiver.url())
    await hooks.end("job-1")
    (came,) = await receiver.wait("/hook")
    event = verify(came, secret)
    assert event["type"] == "job.canceled"
    assert event["data"]["id"] == "job-1"
    assert event["data"]["service"] == "svc"
    assert event["data"]["job_path"] == "/v1/services/svc/jobs/job-1"
    assert came.headers["content-type"] == "application/json"
    (delivery,) = await hooks.delivered("mine")
    assert (delivery["webhook_id"], delivery["status"]) == (came.id, 200)
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + "AAAA" * 8).verify(came.body, dict(came.headers))


@pytest.mark.leaves_entries
async def test_a_worker_that_completes_or_fails_a_job_ends_it_once(
    hooks: Hooks, receiver: Receiver
) -> None:
    secret = await hooks.put("mine", receiver.url())
    async with hooks.worker():
        await hooks.jobs("PUT", "/good", data=b"x")
        (came,) = await receiver.wait("/hook")
    event = verify(came, secret)
    assert event["type"] == "job.succeeded"
    assert event["data"]["result_path"] == "/v1/services/svc/jobs/good/result"
    async with hooks.worker(errorCode="BadInput", errorType="bad_input"):
        await hooks.jobs("PUT", "/bad", data=b"x")
        *_, came = await receiver.wait("/hook", 2)
    assert verify(came, secret)["data"]["error"]["code"] == "BadInput"
    assert len(await hooks.delivered("mine", 2)) == 2


async def test_puts_of_eas_clients_trigger_the_endpoint(hooks: Hooks, receiver: Receiver) -> None:
    secret = await hooks.put("mine", receiver.url())
    async with hooks.worker():
        await hooks.eas("POST", "?requestId=by-worker", data=b"x")
        (came,) = await receiver.wait("/hook")
    assert verify(came, secret)["data"]["id"] == "by-worker"
    # A worker that speaks EAS: it reads and deletes the entry, and puts the result.
    await hooks.eas("POST", "?requestId=by-eas", data=b"x")
    await hooks.eas("GET", "?_length_=1")
    await hooks.eas("POST", "/sink?requestId=by-eas", data=b"done")
    *_, came = await receiver.wait("/hook", 2)
    event = verify(came, secret)
    assert (event["data"]["id"], event["type"]) == ("by-eas", "job.succeeded")
    # One that an operator deletes has no result.
    _, put = await hooks.eas("POST", "?requestId=deleted", data=b"x")
    await hooks.eas("DELETE", "?_trunc_=true&_index_=9223372036854775807")
    *_, came = await receiver.wait("/hook", 3)
    event = verify(came, secret)
    assert (event["data"]["id"], event["type"]) == ("deleted", "job.canceled")
    assert event["data"]["error"]["code"] == "Deleted"
    await hooks.eas("DELETE", "/sink?_trunc_=true&_index_=9223372036854775807")
    assert len(await hooks.delivered("mine", 3)) == 3, put


async def test_a_receiver_that_fails_gets_the_same_id_again(
    hooks: Hooks, receiver: Receiver
) -> None:
    receiver.answers("/hook", 500, 302, 503, 200, Location="/elsewhere")
    secret = await hooks.put("mine", receiver.url())
    await hooks.end("job-1")
    came = await receiver.wait("/hook", 4)
    assert len({one.id for one in came}) == 1
    assert len({one.body for one in came}) == 1
    for one in came:
        verify(one, secret)
    assert not receiver.at("/elsewhere"), "a redirect was followed"
    (delivery,) = await hooks.delivered("mine")
    assert delivery["attempts"] >= 4


async def test_attempts_end_and_a_failed_delivery_can_be_sent_again(
    hooks: Hooks, receiver: Receiver
) -> None:
    receiver.answers("/hook", 500)
    await hooks.put("mine", receiver.url())
    await hooks.end("job-1")
    await receiver.wait("/hook", 2)
    (pending,) = await hooks.wait_for("mine", "pending")
    assert (pending["status"], pending["error"]) == (500, "status 500")
    receiver.answers("/hook", 200)
    status, again = await hooks.ask("POST", f"/mine/deliveries/{pending['id']}/redeliver")
    assert (status, again["state"]) == (202, "pending")
    (delivery,) = await hooks.delivered("mine")
    assert delivery["webhook_id"] == pending["webhook_id"]
    assert (await hooks.ask("POST", "/mine/deliveries/dlv_none/redeliver"))[0] == 404


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_retry_after_is_obeyed(hooks: Hooks, receiver: Receiver, form: str) -> None:
    at = datetime.now(UTC) + timedelta(hours=1)
    asked = "3600" if form == "seconds" else format_datetime(at, usegmt=True)
    receiver.answers("/hook", 429, **{"Retry-After": asked})
    await hooks.put("mine", receiver.url())
    await hooks.end("job-1")
    await receiver.wait("/hook")

    async def noted() -> bool:
        (one,) = await hooks.deliveries("mine")
        return "next_attempt_at" in one

    await wait_until(noted, "the next attempt is set")
    (one,) = await hooks.deliveries("mine", "pending")
    next_at = datetime.fromisoformat(one["next_attempt_at"])
    assert timedelta(minutes=59) < next_at - datetime.now(UTC) < timedelta(minutes=61)
    assert (await hooks.ask("DELETE", "/mine"))[0] == 204


async def test_a_gone_endpoint_gets_nothing_more(hooks: Hooks, receiver: Receiver) -> None:
    receiver.answers("/hook", 410)
    await hooks.put("mine", receiver.url())
    await hooks.end("job-0")

    async def disabled() -> bool:
        return not (await hooks.ask("GET", "/mine"))[1]["enabled"]

    await wait_until(disabled, "the endpoint is disabled")
    before = len(receiver.came)
    for number in range(5):
        await hooks.end(f"later-{number}")
    assert len(receiver.came) == before
    _, described = await hooks.ask("GET", "/mine")
    assert described["disabled_reason"] == "the endpoint answered 410 Gone"
    receiver.answers("/hook", 200)
    status, _ = await hooks.ask("PUT", "/mine", json={"url": receiver.url()})
    assert status == 200
    await hooks.end("new")
    *_, came = await receiver.wait("/hook", before + 1)
    assert came.job == "new"


async def test_a_receiver_that_hangs_or_disconnects_delays_no_other(
    hooks: Hooks, receiver: Receiver
) -> None:
    free = asyncio.Event()

    async def hang(_: Came) -> web.StreamResponse:
        await free.wait()
        return web.Response()

    async def disconnect(_: Came) -> web.StreamResponse:
        raise ConnectionResetError

    receiver.behaviours["/hang"] = hang
    receiver.behaviours["/cut"] = disconnect
    await hooks.put("hangs", receiver.url("/hang"))
    await hooks.put("cuts", receiver.url("/cut"))
    await hooks.put("well", receiver.url("/well"))
    for number in range(30):
        await hooks.end(f"job-{number}")
    await receiver.wait("/well", 30)
    assert len({one.job for one in receiver.at("/well")}) == 30
    waiting = await hooks.deliveries("hangs", "pending")
    assert len(waiting) == 30, "a hanging receiver has nothing delivered"
    free.set()
    receiver.answers("/cut", 200)
    await hooks.delivered("hangs", 30)
    for name in ("hangs", "cuts"):
        assert (await hooks.ask("DELETE", f"/{name}"))[0] == 204


async def test_only_wanted_events_are_sent(hooks: Hooks, receiver: Receiver) -> None:
    await hooks.put("failures", receiver.url("/failures"), events=["job.failed"])
    await hooks.put("all", receiver.url("/all"))
    await hooks.end("job-1")
    await receiver.wait("/all")
    await hooks.delivered("all")
    assert not receiver.at("/failures")


async def test_both_secrets_sign_after_a_rotation(hooks: Hooks, receiver: Receiver) -> None:
    old = await hooks.put("mine", receiver.url())
    status, rotated = await hooks.ask("POST", "/mine/rotate")
    assert (status, rotated["secrets"]) == (200, 2)
    await hooks.end("job-1")
    (came,) = await receiver.wait("/hook")
    verify(came, old)
    verify(came, rotated["secret"])
    assert rotated["secret"] != old


async def test_a_job_brings_its_own_webhook(hooks: Hooks, receiver: Receiver) -> None:
    url = receiver.url("/of-job")
    status, refused = await hooks.jobs("POST", data=b"x", params={"webhook": url})
    assert status == 400
    assert "PUT /v1/services/svc/webhooks/jobs" in refused["detail"]
    status, made = await hooks.ask("PUT", "/jobs", json={})
    assert status == 201
    await hooks.end("job-1", webhook=url)
    await hooks.end("job-2", webhook=url, webhook_events="job.failed")
    await hooks.end("job-3")
    (came,) = await receiver.wait("/of-job")
    assert verify(came, made["secret"])["data"]["id"] == "job-1"
    (delivery,) = await hooks.delivered("jobs")
    assert delivery["url"] == url
    assert not await hooks.deliveries("jobs", "pending")


async def test_what_nobody_wants_is_not_stored(hooks: Hooks, receiver: Receiver) -> None:
    await hooks.end("before")
    await hooks.put("mine", receiver.url())
    await hooks.end("after")
    (came,) = await receiver.wait("/hook")
    assert came.job == "after"
    assert (await hooks.ask("DELETE", "/mine"))[0] == 204
    await hooks.end("later")
    await hold_for(0.2, lambda: len(receiver.came) == 1, "nothing more arrives")
