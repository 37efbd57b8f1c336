"""An entry waits for its next attempt in the store: who gets it, when, and what no kill changes."""

import time
from pathlib import Path

import pytest
from redis.asyncio import Redis

from client_sdk.wire import worker as wire
from deploy.local.redis_server import RedisServer
from tests.conftest import Serve, StartService
from tests.promises.conftest import Client, Peers, Watchers
from tests.promises.operators import Operator
from tests.promises.peer import Peer
from tests.running import TOKEN
from tests.waiting import wait_until

LEASE_MS = 2000
RETRY = {"first_pause_s": 0.4, "factor": 1, "jitter": 0}


async def give_back(peer: Peer, index: int, *, pause_ms: int = 0, alone: bool = False) -> None:
    """Say that a delivery failed, and what follows."""
    delivery = peer.held.pop(index)
    rejection = wire.Rejection(
        index, delivery.attempt, "Odd", "no", "oom", pause_ms=pause_ms, alone=alone
    )
    before = len(peer.outcomes)
    await peer.send(wire.Rejections((rejection,)))
    await wait_until(lambda: len(peer.outcomes) > before, "it is given back")
    assert peer.outcomes[-1].accepted


async def test_after_its_pause_another_worker_has_it_and_the_window_is_free_meanwhile(
    serve: Serve, client: Client, peers: Peers
) -> None:
    client.url = url = await serve({"name": "svc", "retry": {}})
    first, other = peers.make(1), peers.make(1)
    await first.connect(url)
    index, _ = await client.put(b"x")
    await wait_until(lambda: index in first.held, "the first has it")
    await other.connect(url)
    given_back_at = time.monotonic()
    await give_back(first, index, pause_ms=600)
    await client.put(b"y")
    await client.put(b"z")
    await wait_until(lambda: first.held and other.held, "both work on something else")
    await other.complete(*other.held)
    await wait_until(lambda: index in other.held, "the other has it")
    assert time.monotonic() - given_back_at >= 0.6
    assert other.held[index].attempt == 2
    for peer in (first, other):
        await peer.complete(*peer.held)
    await wait_until(lambda: client.has_length(3, "/sink"), "all are answered")
    await client.truncate("/sink")


async def test_one_that_is_to_run_alone_goes_to_the_same_worker_with_that_mark(
    serve: Serve, client: Client, peers: Peers
) -> None:
    client.url = url = await serve({"name": "svc", "retry": {}})
    first, other = peers.make(2), peers.make(2)
    await first.connect(url)
    index, _ = await client.put(b"x")
    await wait_until(lambda: index in first.held, "the first has it")
    assert not first.held[index].alone
    await other.connect(url)
    await give_back(first, index, alone=True)
    await wait_until(lambda: index in first.held, "the first has it again")
    assert (first.held[index].attempt, first.held[index].alone) == (2, True)
    # And then elsewhere, with others again.
    await give_back(first, index, pause_ms=50)
    await wait_until(lambda: index in other.held, "the other has it")
    assert (other.held[index].attempt, other.held[index].alone) == (3, False)
    await other.complete(index)
    await wait_until(lambda: client.has_length(1, "/sink"), "it is answered")
    await client.truncate("/sink")


async def test_one_that_is_to_run_alone_does_not_wait_for_a_worker_that_takes_nothing(
    serve: Serve, client: Client, peers: Peers
) -> None:
    client.url = url = await serve({"name": "svc", "retry": {}})
    first, other = peers.make(1), peers.make(1)
    await first.connect(url)
    index, _ = await client.put(b"x")
    await wait_until(lambda: index in first.held, "the first has it")
    await other.connect(url)
    await first.send(wire.SetWindow(0))
    await give_back(first, index, alone=True)
    await wait_until(lambda: index in other.held, "the other has it")
    assert other.held[index].alone
    await other.complete(index)
    await wait_until(lambda: client.has_length(1, "/sink"), "it is answered")
    await client.truncate("/sink")


async def test_a_negative_commit_goes_out_again_at_once_unless_the_service_has_a_policy(
    serve: Serve, client: Client, watchers: Watchers
) -> None:
    client.url = url = await serve({"name": "svc", "max_delivery": 2})
    watcher = watchers.make(url)
    await watcher.watch(window=1)
    index, _ = await client.put(b"x")
    await wait_until(lambda: watcher.indexes == [index], "it is handed out")
    await watcher.reject(index)
    await wait_until(lambda: watcher.indexes == [index, index], "it is handed out again")
    # At max_delivery it goes to the rear, under another index, as ever.
    await watcher.reject(index)
    await wait_until(
        lambda: watcher.indexes == [index, index, index + 1], "it has gone to the rear"
    )
    await watcher.commit(index + 1)
    await wait_until(lambda: client.has_length(0), "it is gone")


async def test_with_a_policy_a_negative_commit_pauses_and_its_attempts_end(
    serve: Serve, client: Client, watchers: Watchers
) -> None:
    client.url = url = await serve({"name": "svc", "retry": {**RETRY, "max_attempts": 2}})
    watcher = watchers.make(url)
    await watcher.watch(window=1)
    index, _ = await client.put(b"x")
    await wait_until(lambda: watcher.indexes == [index], "it is handed out")
    rejected_at = time.monotonic()
    await watcher.reject(index)
    await wait_until(lambda: watcher.indexes == [index, index], "it is handed out again")
    assert time.monotonic() - rejected_at >= 0.4
    await watcher.reject(index)
    # Not to the rear, where its attempts would be counted from 0.
    await wait_until(lambda: client.has_length(1, "/sink"), "it is answered")
    (answer,) = await client.read()
    assert answer.tags["errorType"] == "internal"
    assert await client.length() == 0


#: What a worker before failure types sends: Hello("old", window 1); entry 1 given back after its
#: attempts 1 and 2 with ("503", "busy"); and entry 1 answered for good after the third.
OLD_HELLO = "0a09080112036f6c641801"
OLD_REJECTIONS = [f"1a110a0f080110{attempt:02x}1a03353033220462757379" for attempt in (1, 2)]
OLD_COMPLETION = (
    "123c0a3a080110031a290a0462757379120f0a086c617374436f6465120335303312100a096572726f72436f6465"
    "120335303322090a0335303312026e6f"
)


async def test_a_worker_of_an_older_version_has_the_pauses_of_the_service(
    serve: Serve, client: Client
) -> None:
    client.url = url = await serve({"name": "svc", "max_delivery": 3, "retry": RETRY})
    index, request_id = await client.put(b"x")
    assert index == 1
    answered_at: list[float] = []
    async with client.session.ws_connect(
        f"{url}/v1/services/svc/work", headers={"Authorization": TOKEN}
    ) as socket:
        await socket.send_bytes(bytes.fromhex(OLD_HELLO))
        async for message in socket:
            said = wire.decode_to_worker(message.data)
            if not isinstance(said, wire.Deliveries):
                continue
            (delivery,) = said.deliveries
            if answered_at:
                assert time.monotonic() - answered_at[-1] >= RETRY["first_pause_s"]
            answered_at.append(time.monotonic())
            assert delivery.attempt == len(answered_at)
            if delivery.last_attempt:
                break
            await socket.send_bytes(bytes.fromhex(OLD_REJECTIONS[delivery.attempt - 1]))
        await socket.send_bytes(bytes.fromhex(OLD_COMPLETION))
        await wait_until(lambda: client.has_length(1, "/sink"), "it is answered")
    assert len(answered_at) == 3
    async with client.session.get(f"{url}/v1/services/svc/jobs/{request_id}") as answer:
        job = await answer.json()
    assert job["state"] == "failed"
    assert job["error"] == {"type": "transient", "code": "503", "message": "busy"}
    await client.truncate("/sink")


@pytest.mark.parametrize("wish", ["", "?max_attempts=2", "?max_attempts=1"])
@pytest.mark.parametrize("policy", ["Rear", "Park"])
async def test_a_job_whose_workers_are_lost_has_no_more_attempts_than_it_may_have(
    serve: Serve, client: Client, peers: Peers, wish: str, policy: str
) -> None:
    # Nor does it go to the tail, where its attempts would count from 0 again.
    service = {"name": "svc", "max_delivery": 2, "dead_message_policy": policy}
    client.url = url = await serve(service, release_grace_ms=0)
    peer = peers.make(1)
    await peer.connect(url)
    job = f"{url}/v1/services/svc/jobs/a"
    async with client.session.put(job + wish, data=b"x") as answer:
        assert answer.status == 202, await answer.text()
    for attempt in range(1, 2 if "=1" in wish else 3):
        await wait_until(lambda: peer.held, "it is handed out")
        assert [item.attempt for item in peer.held.values()] == [attempt]
        await peer.vanish()
        await peer.connect(url)
    await wait_until(lambda: client.has_length(0), "it has ended")
    async with client.session.get(job) as answer:
        told = await answer.json()
    assert (told["state"], told["error"]["type"]) == ("failed", "engine_lost")
    assert not peer.held
    async with client.session.delete(job) as answer:
        assert answer.status == 204
    if policy == "Park":
        await Operator(client.session, url).purge_all()


async def test_what_waits_takes_up_capacity(serve: Serve, client: Client, peers: Peers) -> None:
    client.url = url = await serve({"name": "svc", "input": {"max_length": 1}, "retry": {}})
    peer = peers.make(1)
    await peer.connect(url)
    index, _ = await client.put(b"x")
    await wait_until(lambda: index in peer.held, "it is handed out")
    await give_back(peer, index, pause_ms=60_000)
    with pytest.raises(AssertionError, match="the input queue is full"):
        await client.put(b"y")
    assert await client.length() == 1
    await client.truncate()
    await client.put(b"z")
    await wait_until(lambda: len(peer.handed) == 2, "there is room again")
    await client.truncate()


@pytest.mark.timeout(120)
async def test_kills_of_redis_and_of_the_queue_service_lose_no_pause(
    start_service: StartService, client: Client, peers: Peers, tmp_path: Path
) -> None:
    redis = RedisServer(tmp_path / "redis")
    await redis.start()
    try:
        service = await start_service({"name": "svc", "retry": {}}, redis_url=redis.url)
        client.url = service.url
        peer = peers.make(20)
        await peer.connect(service.url)
        for _ in range(20):
            await client.put(b"x")
        await wait_until(lambda: len(peer.held) == 20, "all are handed out")
        given_back_at = time.monotonic()
        for index in sorted(peer.held):
            await give_back(peer, index, pause_ms=6000)
        await redis.kill()
        await redis.restart()
        service.kill()
        await peer.cut()
        successor = await start_service({"name": "svc", "retry": {}}, redis_url=redis.url)
        client.url = successor.url
        await peer.connect(successor.url)
        await wait_until(lambda: len(peer.held) == 20, "all are delivered again")
        assert time.monotonic() - given_back_at >= 6
        assert [delivery.attempt for delivery in peer.held.values()] == [2] * 20
        assert list(peer.held) == sorted(peer.held)
        await peer.complete(*peer.held)
        await wait_until(lambda: client.has_length(20, "/sink"), "all are answered")
    finally:
        await redis.stop()


async def test_a_pause_goes_on_while_no_queue_service_runs(
    start_service: StartService, client: Client, peers: Peers
) -> None:
    service = await start_service({"name": "svc", "retry": {}}, lease_ms=LEASE_MS)
    client.url = service.url
    peer = peers.make(1)
    await peer.connect(service.url)
    index, _ = await client.put(b"x")
    await wait_until(lambda: index in peer.held, "it is handed out")
    await give_back(peer, index, pause_ms=500)
    service.kill()
    await peer.cut()
    successor = await start_service({"name": "svc", "retry": {}}, lease_ms=LEASE_MS)
    client.url = successor.url
    await peer.connect(successor.url)
    await wait_until(lambda: index in peer.held, "it is handed out again")
    await peer.complete(index)
    await wait_until(lambda: client.has_length(1, "/sink"), "it is answered")
    await client.truncate("/sink")


async def test_what_an_older_version_removed_while_it_waited_is_not_waited_for(
    serve: Serve, client: Client, peers: Peers, redis_url: str, key_prefix: str
) -> None:
    client.url = url = await serve({"name": "svc", "retry": {}})
    peer = peers.make(1)
    await peer.connect(url)
    index, _ = await client.put(b"x")
    await wait_until(lambda: index in peer.held, "it is handed out")
    await give_back(peer, index, pause_ms=500)
    key = f"{key_prefix}:{{svc}}:input"
    async with Redis.from_url(redis_url) as redis:
        # An older replica truncates: it knows nothing of pauses, and leaves this one behind.
        (member,) = await redis.zrange(f"{key}:pauses", 0, -1)
        assert member == b"svc\x1f%020d" % index
        await redis.xdel(f"{key}:lane:0", f"{index}-0")
        await redis.hdel(f"{key}:deliveries", f"svc\x1f{index}", f"svc\x1f{index}\x1ferror")
        await redis.delete(f"{key}:request_ids")

        async def forgotten() -> bool:
            paused = await redis.hget(f"{key}:groups", "svc\x1fpaused")
            return not await redis.exists(f"{key}:pauses") and paused == b"0"

        await wait_until(forgotten, "nothing waits any more")
    await client.put(b"y")
    await wait_until(lambda: peer.held, "the next one is handed out")
    await peer.complete(*peer.held)
    await wait_until(lambda: client.has_length(1, "/sink"), "it is answered")
    await client.truncate("/sink")


async def test_how_an_older_version_has_noted_a_failure_is_still_read(
    serve: Serve, client: Client, peers: Peers, redis_url: str, key_prefix: str
) -> None:
    client.url = url = await serve({"name": "svc", "dead_message_policy": "Park", "retry": {}})
    peer = peers.make(1)
    await peer.connect(url)
    index, request_id = await client.put(b"x")
    await wait_until(lambda: index in peer.held, "it is handed out")
    await give_back(peer, index)
    await wait_until(lambda: index in peer.held, "it is handed out again")
    field = f"svc\x1f{index}\x1ferror"
    async with Redis.from_url(redis_url) as redis:
        # MessagePack of {"code": "503", "sentence": "busy", "uid": "u"}, without a type.
        old = b"\x83\xa4code\xa3503\xa8sentence\xa4busy\xa3uid\xa1u"
        await redis.hset(f"{key_prefix}:{{svc}}:input:deliveries", field, old)
    job = f"{url}/v1/services/svc/jobs/{request_id}"
    async with client.session.get(job) as answer:
        told = await answer.json()
    assert told["error"] == {"type": "transient", "code": "503", "message": "busy"}
    await peer.complete(index)
    await wait_until(lambda: client.has_length(1, "/sink"), "it is answered")
    await client.truncate("/sink")
