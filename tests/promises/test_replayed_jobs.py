"""Dead letters of requests that are seen as jobs: what uses their ids, and takes up room."""

from client_sdk.wire import worker as wire
from tests.conftest import Serve
from tests.promises.conftest import Client, Peers
from tests.promises.operators import Operator
from tests.waiting import wait_until


async def test_a_job_before_its_start_time_takes_room_and_its_id_from_a_replay(
    serve: Serve, client: Client, peers: Peers
) -> None:
    client.url = url = await serve(
        {
            "name": "svc",
            "max_delivery": 1,
            "dead_message_policy": "Park",
            "input": {"max_length": 2},
        }
    )
    operator = Operator(client.session, url)
    peer = peers.make(1)
    await peer.connect(url)
    jobs = f"{url}/v1/services/svc/jobs"
    index, _ = await client.put(b"x", requestId="r")
    await wait_until(lambda: peer.held, "an entry comes")
    delivery = peer.held.popitem()[1]
    rejection = wire.Rejection(delivery.index, delivery.attempt, "ValueError", "no")
    await peer.send(wire.Rejections((rejection,)))
    await wait_until(lambda: operator.has_letters(1), "it is parked")
    await peer.cut()
    await client.truncate("/sink")
    delayed = []
    for job_id in ("r", "another"):
        async with client.session.put(
            f"{jobs}/{job_id}", params={"not_before": "1h"}, data=b"x"
        ) as answer:
            assert answer.status == 202
            delayed.append(f"{jobs}/{job_id}")
    refused = await operator.ask("POST", f"/{index}/replay", status=409)
    assert refused["code"] == "REQUEST_ID_IN_USE"
    async with client.session.delete(delayed[0]) as answer:
        assert answer.status == 204
    async with client.session.put(
        f"{jobs}/third", params={"not_before": "1h"}, data=b"x"
    ) as answer:
        assert answer.status == 202
    delayed[0] = f"{jobs}/third"
    await operator.ask("POST", f"/{index}/replay", status=429)
    for job in delayed:
        async with client.session.delete(job) as answer:
            assert answer.status == 204
    assert await operator.purge_all() == 1
