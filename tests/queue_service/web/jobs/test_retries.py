"""A job that waits for its next attempt: what is shown of it, and that everything else finds it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime

import pytest

from client_sdk.wire import worker as wire
from client_sdk.wire.events import Event, Events
from tests.promises.peer import Peer
from tests.queue_service.web.jobs.api import JobsApi, Sent, text_of
from tests.waiting import wait_until

pytestmark = pytest.mark.leaves_entries

#: Longer than any test, and no jitter: the job waits until the test says otherwise.
LONG = {"retry_pause": "60s", "retry_jitter": "0"}
SHORT = {"retry_pause": "300ms", "retry_jitter": "0"}

MakePeer = Callable[[], Peer]


@pytest.fixture
async def peer(api: JobsApi) -> AsyncIterator[Peer]:
    """A worker that says of a failure only what the test wants."""
    peer = Peer(api.session, 4, service=api.service)
    await peer.connect(api.url)
    yield peer
    await peer.cut()


async def fail(
    peer: Peer, kind: str = "transient", *, pause_ms: int = 60_000, attempt: int = 1
) -> wire.Delivery:
    """Take the one delivery of this attempt, and give it back."""

    def handed() -> wire.Delivery | None:
        return next((one for one in peer.held.values() if one.attempt == attempt), None)

    delivery = await wait_until(handed, f"attempt {attempt} is handed out")
    assert delivery is not None
    before = len(peer.outcomes)
    del peer.held[delivery.index]
    rejection = wire.Rejection(
        delivery.index,
        delivery.attempt,
        "503",
        "the server is busy",
        kind,
        pause_ms,
        request_id=delivery.request_id if delivery.events else "",
    )
    await peer.send(wire.Rejections((rejection,)))
    await wait_until(lambda: len(peer.outcomes) > before, "it is given back")
    return delivery


async def test_a_worker_gets_the_pauses_of_a_job(api: JobsApi, peer: Peer) -> None:
    await api.submit(params={"max_attempts": "2", "retry_pause": "7s", "retry_jitter": "0"})
    delivery = await fail(peer)
    assert delivery.max_delivery == 2
    assert delivery.retry is not None
    assert (delivery.retry.first_pause_s, delivery.retry.factor, delivery.retry.jitter) == (7, 2, 0)
    assert delivery.retry.longest_pause_s == 60


async def test_a_job_that_waits_for_its_next_attempt_says_so(api: JobsApi, peer: Peer) -> None:
    job_id = await api.submit(params=LONG)
    await fail(peer)
    job = await api.job(job_id)
    assert (job["state"], job["attempt"], job["position"]) == ("queued", 1, None)
    assert job["error"] == {"type": "transient", "code": "503", "message": "the server is busy"}
    moments = (job["next_attempt_at"], job["started_at"])
    next_at, started_at = (datetime.fromisoformat(moment) for moment in moments)
    assert 59 <= (next_at - started_at).total_seconds() <= 75
    assert job["max_attempts"] == 5
    assert job["retry"] == {
        "first_pause_s": 60,
        "factor": 2,
        "longest_pause_s": 60,
        "jitter": 0,
    }


async def test_the_next_attempt_comes_after_its_pause_and_clears_what_was_reported(
    api: JobsApi, peer: Peer
) -> None:
    job_id = await api.submit(params=SHORT)
    await fail(peer, pause_ms=300)
    waiting = await api.job(job_id)
    await wait_until(lambda: peer.held, "it is handed out again")
    (delivery,) = peer.held.values()
    assert delivery.attempt == 2
    job = await api.job(job_id)
    assert (job["state"], job["next_attempt_at"]) == ("running", None)
    # Until this attempt has ended, the last one is the newest thing to report.
    assert job["error"]["type"] == "transient"
    assert job["started_at"] >= waiting["next_attempt_at"]
    await peer.complete(delivery.index)
    result = await api.call("GET", f"/{job_id}/result", params={"wait": "20s"})
    assert (result.status, (await api.job(job_id))["error"]) == (200, None)


async def test_every_failed_attempt_is_an_event(api: JobsApi, peer: Peer) -> None:
    job_id = await api.submit(params=SHORT)
    for attempt in (1, 2):
        await fail(peer, "oom", pause_ms=200 * attempt, attempt=attempt)
    await wait_until(lambda: peer.held, "the third attempt is handed out")
    await peer.complete(*peer.held)
    told = [event async for event in api.events(job_id)]
    failed = [event for event in told if event.kind == "failed"]
    moments = [event.data.pop("next_attempt_at") for event in failed]
    assert [event.data for event in failed] == [
        {
            "type": "oom",
            "code": "503",
            "message": "the server is busy",
            "pause_s": 0.2 * attempt,
            "attempt": attempt,
        }
        for attempt in (1, 2)
    ]
    assert all(event.id for event in failed)
    assert None not in moments
    assert moments == sorted(moments)
    assert told[-1].kind == "end"
    # The first event is the first that there was: nothing was dropped.
    assert "cut" not in [event.kind for event in told]


async def test_a_failed_event_says_what_the_job_says(api: JobsApi, peer: Peer) -> None:
    job_id = await api.submit(params=LONG)
    await fail(peer)
    job = await api.job(job_id)
    async for event in api.events(job_id):
        if event.kind == "failed":
            break
    assert event.data == {
        **job["error"],
        "pause_s": 60.0,
        "next_attempt_at": job["next_attempt_at"],
        "attempt": job["attempt"],
    }


async def test_the_attempt_that_ends_a_job_is_an_event_too(api: JobsApi, peer: Peer) -> None:
    job_id = await api.submit(params={**SHORT, "max_attempts": "2"})
    await fail(peer, pause_ms=10)
    # The worker asks for one more, which the policy does not permit.
    await fail(peer, pause_ms=10, attempt=2)
    await check_last_failure(api, job_id, attempts=2)


async def check_last_failure(api: JobsApi, job_id: str, *, attempts: int) -> dict[str, object]:
    """Each attempt of a failed job is one event, and the last one says what the job says."""
    told = [event async for event in api.events(job_id)]
    failed = [event.data for event in told if event.kind == "failed"]
    job = await api.job(job_id)
    assert [one["attempt"] for one in failed] == list(range(1, attempts + 1)), told
    assert (job["state"], job["attempt"]) == ("failed", attempts)
    last = {"pause_s": None, "next_attempt_at": None, "attempt": attempts}
    assert failed[-1] == {**job["error"], **last}
    assert told[-1].data["error"] == job["error"]
    result = await api.call("GET", f"/{job_id}/result")
    assert (result.status, result.json["error"]) == (409, job["error"])
    return dict(failed[-1])


async def test_the_input_that_ends_a_job_is_an_event_too(api: JobsApi, peer: Peer) -> None:
    job_id = await api.submit()
    delivery = await wait_until(lambda: next(iter(peer.held.values()), None), "it is handed out")
    assert delivery is not None
    peer.held.clear()
    tags = {"lastCode": "400", "errorCode": "BadInput", "errorType": "bad_input"}
    result = wire.Result(b"no such thing", tags)
    await peer.send(wire.Completions((wire.Completion(delivery.index, 1, result),)))
    await api.call("GET", f"/{job_id}/result", params={"wait": "20s"})
    assert (await check_last_failure(api, job_id, attempts=1))["type"] == "bad_input"


async def test_an_attempt_lost_with_its_worker_is_an_event(api: JobsApi, peer: Peer) -> None:
    job_id = await api.submit(params={"max_attempts": "2"})
    await wait_until(lambda: peer.held, "it is handed out")
    await peer.vanish()
    await peer.connect(api.url)
    await wait_until(lambda: peer.held, "it is handed out again")
    await peer.vanish()
    await api.call("GET", f"/{job_id}/result", params={"wait": "20s"})
    assert (await check_last_failure(api, job_id, attempts=2))["type"] == "engine_lost"


async def test_a_worker_that_names_no_types_has_events_too(api: JobsApi, peer: Peer) -> None:
    """A worker of an older version says only a code and a sentence, and asks for no pause."""
    job_id = await api.submit(params={**SHORT, "max_attempts": "2"})
    for attempt in (1, 2):
        await wait_until(lambda: peer.held, "it is handed out")
        ((index, delivery),) = peer.held.items()
        assert delivery.attempt == attempt
        peer.held.clear()
        await peer.send(wire.Rejections((wire.Rejection(index, attempt, "MemoryError", "big"),)))
    await api.call("GET", f"/{job_id}/result", params={"wait": "20s"})
    last = await check_last_failure(api, job_id, attempts=2)
    assert (last["type"], last["code"], last["message"]) == ("oom", "MemoryError", "big")


async def test_a_delivery_that_was_no_attempt_is_no_failure(api: JobsApi, peer: Peer) -> None:
    job_id = await api.submit()
    await wait_until(lambda: peer.held, "it is handed out")
    ((index, _),) = peer.held.items()
    peer.held.clear()
    await peer.send(wire.Rejections((wire.Rejection(index, 1, "Shutdown", "it leaves"),)))
    await wait_until(lambda: peer.held, "it is handed out again")
    await peer.complete(*peer.held)
    told = [event async for event in api.events(job_id)]
    assert "failed" not in [event.kind for event in told]


async def tell(peer: Peer, delivery: wire.Delivery, *texts: str) -> None:
    """Tell pieces of a text, as the worker of a delivery that has just begun."""
    events = tuple(
        Event(delivery.index, delivery.attempt, delivery.request_id, number, "delta", text.encode())
        for number, text in enumerate(texts, 1)
    )
    await peer.send(Events(events))


async def follow(api: JobsApi, job_id: str, seen: list[Sent]) -> None:
    async for event in api.events(job_id):
        seen.append(event)


async def test_what_a_worker_gives_back_begins_again_for_its_followers(
    api: JobsApi, peer: Peer
) -> None:
    job_id = await api.submit()
    seen: list[Sent] = []
    following = asyncio.create_task(follow(api, job_id, seen))
    await wait_until(lambda: peer.held, "it is handed out")
    ((index, delivery),) = peer.held.items()
    await tell(peer, delivery, "a", "b", "c")
    await wait_until(lambda: text_of(seen) == "abc", "its text has come")
    peer.held.clear()
    await peer.send(wire.Rejections((wire.Rejection(index, 1, "Shutdown", "it leaves"),)))
    await wait_until(lambda: peer.held, "it is handed out again")
    assert peer.held[index].attempt == 1
    await tell(peer, peer.held[index], "d")
    await wait_until(lambda: text_of(seen) == "d", "the text of the second run has come")
    await peer.complete(index)
    await asyncio.wait_for(following, 30)
    assert [event.data["attempt"] for event in seen if event.kind == "attempt"] == [1, 1]
    assert "failed" not in [event.kind for event in seen]


async def test_a_follower_of_a_job_learns_that_it_waits(api: JobsApi, peer: Peer) -> None:
    job_id = await api.submit(params=LONG)
    seen: list[Sent] = []
    async for event in api.events(job_id):
        seen.append(event)
        if event.kind == "state" and event.data["state"] == "running":
            await fail(peer)
        if event.kind == "state" and event.data["next_attempt_at"]:
            break
    assert seen[-1].data["state"] == "queued"


async def test_the_estimate_counts_the_pause(api: JobsApi, peer: Peer) -> None:
    done = await api.submit()
    await wait_until(lambda: peer.held, "one runs, so that run times are known")
    await peer.complete(*peer.held)
    await api.call("GET", f"/{done}/result", params={"wait": "20s"})
    job_id = await api.submit(params=LONG)
    await fail(peer)

    async def estimated() -> bool:
        estimate = (await api.job(job_id))["estimate"]
        return bool(estimate) and estimate["start"]["p50_s"] > 30

    await wait_until(estimated, "the estimate has the pause in it")


async def test_a_job_that_waits_is_canceled_at_once(api: JobsApi, peer: Peer) -> None:
    job_id = await api.submit(params=LONG)
    await fail(peer)
    answer = await api.call("POST", f"/{job_id}/cancel")
    assert (answer.status, answer.json["state"]) == (200, "canceled")
    assert answer.json["error"]["type"] is None


async def test_a_job_that_waits_is_deleted_without_a_trace(api: JobsApi, peer: Peer) -> None:
    job_id = await api.submit(params=LONG)
    await fail(peer)
    assert (await api.call("DELETE", f"/{job_id}")).status == 204
    assert (await api.call("GET", f"/{job_id}")).status == 404


async def test_a_job_that_waits_expires_in_time(api: JobsApi, peer: Peer) -> None:
    job_id = await api.submit(params={**LONG, "finish_by": "700ms"})
    await fail(peer)

    async def expired() -> bool:
        return await api.state(job_id) == "expired"

    await wait_until(expired, "it has expired")
    answer = await api.call("GET", f"/{job_id}/result")
    assert (answer.status, answer.json["error"]["type"]) == (409, "timeout")


async def test_a_truncated_queue_keeps_no_job_that_waits(api: JobsApi, peer: Peer) -> None:
    job_id = await api.submit(params=LONG)
    delivery = await fail(peer)
    query = {"_trunc_": "true", "_index_": str(delivery.index + 1)}
    async with api.session.delete(api.eas, params=query) as answer:
        assert answer.status == 200
    assert await api.state(job_id) == "canceled"


async def test_others_go_out_while_one_waits_and_then_the_older_one_comes_first(
    api: JobsApi, peer: Peer
) -> None:
    first = await api.submit(b"first", params=SHORT)
    await fail(peer, pause_ms=300)

    async def is_at_the_head() -> bool:
        return bool((await api.job(first))["position"] == 0)

    others = [await api.submit(b"other") for _ in range(8)]
    await wait_until(lambda: len(peer.held) == 4, "the others are not held up")
    if not any(delivery.attempt == 2 for delivery in peer.held.values()):
        await wait_until(is_at_the_head, "its pause is over, and it is at the head")
        await peer.complete(min(peer.held))
        await wait_until(lambda: peer.handed[-1].attempt == 2, "it is the next")

    async def all_are_done() -> bool:
        await peer.complete(*peer.held)
        states = {await api.state(job_id) for job_id in (first, *others)}
        return states == {"succeeded"}

    await wait_until(all_are_done, "every job is done")


@pytest.mark.parametrize("kind", ["oom", "gpu_lost", "engine_lost", "timeout", "internal"])
async def test_the_type_of_the_last_failure_is_shown_with_the_job_everywhere(
    api: JobsApi, peer: Peer, kind: str
) -> None:
    job_id = await api.submit(params={"max_attempts": "1"})
    delivery = await wait_until(lambda: next(iter(peer.held.values()), None), "it is handed out")
    assert delivery is not None
    assert delivery.last_attempt
    tags = {"lastCode": "500", "errorCode": "Odd", "errorType": kind}
    failure = wire.Failure("Odd", "no", kind)
    done = wire.Completion(delivery.index, 1, wire.Result(b"no such luck", tags), failure)
    peer.held.clear()
    await peer.send(wire.Completions((done,)))
    answer = await api.call("GET", f"/{job_id}/result", params={"wait": "20s"})
    error = {"type": kind, "code": "Odd", "message": "no such luck"}
    assert (answer.status, answer.json["error"]) == (409, error)
    assert (await api.job(job_id))["error"] == error
    assert [event async for event in api.events(job_id)][-1].data["error"] == error


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("max_attempts", "6", "at most 5"),
        ("max_attempts", "0", "greater than or equal to 1"),
        ("max_attempts", "many", "a whole number"),
        ("retry_pause", "61s", "at most 60s"),
        ("retry_pause", "soon", "a duration such as 5s"),
        ("retry_longest_pause", "2h", "at most 3600s"),
        ("retry_factor", "0.5", "greater than or equal to 1"),
        ("retry_factor", "nan", "less than or equal to 100"),
        ("retry_jitter", "2", "less than or equal to 1"),
    ],
)
async def test_a_policy_that_makes_no_sense_is_refused_and_nothing_is_stored(
    api: JobsApi, option: str, value: str, expected: str
) -> None:
    answer = await api.call("PUT", "/mine", data=b"x", params={option: value})
    assert (answer.status, answer.json["parameter"]) == (400, option)
    assert expected in answer.json["detail"]
    assert (await api.call("GET", "/mine")).status == 404


async def test_a_job_of_a_batch_has_a_policy_of_its_own(api: JobsApi, peer: Peer) -> None:
    line = b'{"input": "x", "id": "one", "max_attempts": 2, "retry_pause": "9s"}\n'
    answer = await api.call("POST", data=line, headers={"Content-Type": "application/x-ndjson"})
    assert answer.status == 200, answer
    assert (await api.job("one"))["max_attempts"] == 2
    assert (await fail(peer)).max_delivery == 2


async def test_a_job_that_was_lost_with_its_worker_as_often_as_it_may_is_answered(
    api: JobsApi, peer: Peer
) -> None:
    job_id = await api.submit(params={"max_attempts": "1"})
    await wait_until(lambda: peer.held, "it is handed out")
    await peer.vanish()
    answer = await api.call("GET", f"/{job_id}/result", params={"wait": "20s"})
    assert (answer.status, answer.json["error"]["type"]) == (409, "engine_lost")
