"""Failures of every kind at once, and replays in between: one answer for each request, always."""

import asyncio
import random
from collections import Counter

import pytest

from client_sdk.wire import names
from client_sdk.wire import worker as wire
from tests.conftest import Serve
from tests.promises.conftest import Client, Peers
from tests.promises.operators import Operator
from tests.promises.peer import Peer
from tests.waiting import wait_until

REQUESTS = 150
SINK = 200
FIELDS: dict[str, object] = {
    "name": "svc",
    "max_delivery": 2,
    "dead_message_policy": "Park",
    "max_idle": "500ms",
    "sink": {"max_length": SINK},
}


async def _misbehave(peer: Peer, urls: list[str], chance: random.Random) -> None:
    """Do one thing that workers do."""
    if not peer.connected:
        await peer.connect(chance.choice(urls))
        return
    held = list(peer.held)
    match chance.randrange(10):
        case 0:
            await peer.vanish()
        case 1:
            await peer.cut()
            await peer.connect(chance.choice(urls))
        case 2 | 3 | 4 if held:
            code = chance.choice(["ValueError", "EngineDied", "Shutdown", "503"])
            await peer.reject(held[0], code)
        case 5 if held:
            delivery = peer.held.pop(held[0])
            tags = {names.ERROR_CODE_TAG: "Odd", names.LAST_CODE_TAG: "500"}
            done = wire.Completion(
                delivery.index,
                delivery.attempt,
                wire.Result(b"no", tags),
                wire.Failure("Odd", "no"),
            )
            await peer.send(wire.Completions((done,)))
        case 6:
            pass  # What it holds becomes too old, perhaps.
        case _ if held:
            await peer.complete(*held)


@pytest.mark.parametrize("seed", [1, 2])
async def test_whatever_fails_and_is_replayed_there_is_one_answer_for_each_request(
    serve: Serve, client: Client, peers: Peers, seed: int
) -> None:
    chance = random.Random(seed)
    urls = [await serve(FIELDS, lease_ms=1000), await serve(FIELDS, lease_ms=1000)]
    client.url = urls[0]
    operators = [Operator(client.session, url) for url in urls]
    made = [peers.make(4) for _ in range(4)]
    put: set[str] = set()

    async def end() -> bool:
        for peer in made:
            try:
                await _misbehave(peer, urls, chance)
            except (ConnectionError, RuntimeError):
                await peer.vanish()
        if len(put) < REQUESTS:
            for _ in range(10):
                put.add((await client.put(b"x"))[1])
        if chance.random() < 0.2:
            await asyncio.gather(*(one.ask("POST", "/replay", all="true") for one in operators))
        assert await client.length("/sink") <= SINK
        return len(put) == REQUESTS and await client.length() == 0

    await wait_until(end, "everything is answered", 50)
    answers = Counter(frame.tags["requestId"] for frame in await client.read(1000))
    assert answers == Counter(put)
    sums = await operators[0].sums()
    assert sums["parked"] > 0
    assert sums["replayed"] > 0
    letters = await operators[0].letters(length="1000")
    assert sums["now"] == len(letters) == sums["parked"] - sums["replayed"]
    assert {letter["request_id"] for letter in letters} <= put
    await operators[1].ask("DELETE", all="true")
