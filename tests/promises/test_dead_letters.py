"""Dead letters: how an entry becomes one, what is kept of it, and what can be done with it."""

import base64

import pytest

from client_sdk.wire import frame, names
from client_sdk.wire import worker as wire
from tests.conftest import Serve
from tests.promises.conftest import Client, Peers, Watchers
from tests.promises.operators import Operator
from tests.promises.peer import Peer
from tests.running import ADMIN_TOKEN
from tests.waiting import hold_for, wait_until

PARK: dict[str, object] = {"name": "svc", "max_delivery": 1, "dead_message_policy": "Park"}


@pytest.fixture
def operator(client: Client) -> Operator:
    return Operator(client.session, "")


async def _start(serve: Serve, client: Client, operator: Operator, **fields: object) -> str:
    client.url = operator.url = await serve({**PARK, **fields})
    return client.url


async def _comes(peer: Peer) -> wire.Delivery:
    await wait_until(lambda: peer.held, "an entry comes")
    return next(iter(peer.held.values()))


async def _fail(peer: Peer, code: str = "ValueError", reason: str = "no") -> wire.Delivery:
    """Take the next entry and give it back."""
    delivery = await _comes(peer)
    del peer.held[delivery.index]
    rejection = wire.Rejection(delivery.index, delivery.attempt, code, reason)
    await peer.send(wire.Rejections((rejection,)))
    return delivery


async def _answer(client: Client) -> frame.Frame:
    await wait_until(lambda: client.has_length(1, "/sink"), "it is answered")
    (answer,) = await client.read()
    return answer


async def test_out_of_deliveries_it_is_answered_with_its_last_error_and_kept_whole(
    serve: Serve, client: Client, peers: Peers, operator: Operator
) -> None:
    url = await _start(serve, client, operator, max_delivery=2)
    peer = peers.make(1)
    await peer.connect(url)
    index, request_id = await client.put(b"\xff\x00", colour="red", _priority_="1")
    await _fail(peer, "503", "busy")
    await _fail(peer, "KeyError", "KeyError: 'x'")

    answer = await _answer(client)
    told = {"lastCode": "500", "errorCode": "KeyError", "errorType": "internal"}
    assert (answer.data, answer.tags) == (
        b"KeyError: 'x'",
        {"colour": "red", "requestId": request_id, **told},
    )
    (letter,) = await operator.letters()
    shown = await operator.ask("GET", f"/{index}")
    assert base64.b64decode(shown.pop("data_base64")) == b"\xff\x00"
    assert shown == letter
    assert 0 < letter.pop("stored_at_ms") <= letter.pop("parked_at_ms")
    assert letter == {
        "id": index,
        "request_id": request_id,
        "tags": {"colour": "red", "requestId": request_id},
        "path": "",
        "content_type": "application/octet-stream",
        "priority": 1,
        "size_bytes": 2,
        "reason": "MaxDelivery",
        "code": "KeyError",
        "type": "internal",
        "error": "KeyError: 'x'",
        "attempts": 2,
        "uid": peer.uid,
        "deaths": [],
        "owner": "",
    }
    assert await client.length() == 0
    assert await operator.purge_all() == 1


@pytest.mark.parametrize("way", ["a lost worker", "a lost connection and another user"])
async def test_a_crash_at_the_last_delivery_is_answered_without_any_worker_left(
    serve: Serve, client: Client, peers: Peers, operator: Operator, way: str
) -> None:
    url = await _start(serve, client, operator, sink={"max_length": 1})
    peer = peers.make(2)
    await peer.connect(url)
    await client.put(b"x")
    await _comes(peer)
    await client.put(b"y")
    await peer.vanish()
    if way != "a lost worker":
        await peer.connect(url)
    answer = await _answer(client)
    assert answer.tags["errorCode"] == "WorkerLost"
    (letter,) = await operator.letters(code="WorkerLost")
    assert letter["error"] == "its worker was lost before it answered"
    await operator.purge_all()
    await peer.cut()
    await client.truncate()
    await wait_until(lambda: client.has_length(0), "all is gone")


async def test_a_failure_for_good_is_the_workers_answer_and_a_letter_but_no_bad_input(
    serve: Serve, client: Client, peers: Peers, operator: Operator
) -> None:
    url = await _start(serve, client, operator)
    peer = peers.make(2)
    await peer.connect(url)
    for failure in (wire.Failure("ValueError", "no"), None):
        await client.put(b"x")
        delivery = await _comes(peer)
        del peer.held[delivery.index]
        tags = {"errorCode": "BadInput", "lastCode": "400"}
        done = wire.Completion(delivery.index, 1, wire.Result(b"said", tags), failure)
        await peer.send(wire.Completions((done,)))
        assert (await _answer(client)).data == b"said"
    (letter,) = await operator.letters()
    assert (letter["reason"], letter["code"], letter["error"]) == ("Failed", "ValueError", "no")
    await operator.purge_all()


@pytest.mark.parametrize("policy", ["Rear", "Drop", "Park"])
async def test_an_entry_that_kills_the_engines_of_two_workers_is_parked_by_every_policy(
    serve: Serve, client: Client, peers: Peers, operator: Operator, policy: str
) -> None:
    url = await _start(serve, client, operator, max_delivery=0, dead_message_policy=policy)
    one, other = peers.make(1), peers.make(1)
    await client.put(b"x")
    for peer in (one, other):
        await peer.connect(url)
        await _fail(peer, "EngineDied", "exit status -9")
        await peer.cut()
    answer = await _answer(client)
    assert answer.tags["errorCode"] == "PoisonJob"
    assert answer.data == b"the engines of 2 workers died while they ran it"
    (letter,) = await operator.letters(reason="PoisonJob")
    assert letter["deaths"] == [one.uid, other.uid]
    assert (letter["code"], letter["error"]) == ("EngineDied", "exit status -9")
    await operator.purge_all()


async def test_the_only_worker_is_killed_three_times_and_then_no_more(
    serve: Serve, client: Client, peers: Peers, operator: Operator
) -> None:
    url = await _start(serve, client, operator, max_delivery=0, dead_message_policy="Rear")
    peer = peers.make(1)
    await peer.connect(url)
    await client.put(b"x")
    for _ in range(3):
        await _fail(peer, "EngineDied")
    answer = await _answer(client)
    assert answer.data == b"the engine of the only worker died 3 times while it ran it"
    await hold_for(0.2, lambda: len(peer.handed) == 3, "it is not handed out again")
    await operator.purge_all()


async def test_a_negative_commit_tells_code_and_reason_and_shutdown_is_not_counted(
    serve: Serve, client: Client, watchers: Watchers, operator: Operator
) -> None:
    url = await _start(serve, client, operator)
    watcher = watchers.make(url)
    await watcher.watch()
    index, _ = await client.put(b"x")
    for count, code in ((1, "Shutdown"), (2, "Broken.Disk")):
        await wait_until(lambda: len(watcher.frames) == count, "it comes")  # noqa: B023
        async with client.session.put(
            watcher.address,
            params={names.INDEXES: str(index), names.NEGATIVE: "true"},
            data={names.CODE: code, names.REASON: "no space+left"},
            headers=watcher.headers,
        ) as answer:
            assert (answer.status, await answer.text()) == (200, "OK")
    told = await _answer(client)
    assert (told.data, told.tags["errorCode"]) == (b"no space+left", "Broken.Disk")
    (letter,) = await operator.letters()
    assert (letter["attempts"], letter["code"]) == (1, "Broken.Disk")
    assert letter["error"] == "no space+left"
    await operator.purge_all()


async def test_a_result_that_nobody_commits_is_parked_and_can_be_put_back(
    serve: Serve, client: Client, watchers: Watchers, operator: Operator
) -> None:
    url = await _start(serve, client, operator)
    operator.queue = "sink"
    watcher = watchers.make(url, queue="/sink")
    await watcher.watch()
    index, _ = await client.put(b"result", queue="/sink", requestId="r")
    await wait_until(lambda: watcher.frames, "it comes")
    await watcher.reject(index)
    await wait_until(lambda: operator.has_letters(1), "it is parked")
    assert await client.length("/sink") == 0
    await watcher.close()
    told = await operator.ask("POST", f"/{index}/replay")
    assert told == {"id": index, "index": index + 1, "request_id": "r"}
    (result,) = await client.read()
    assert (result.data, result.tags) == (b"result", {"requestId": "r"})


async def test_a_bystanders_failure_takes_no_job_from_the_workers(
    serve: Serve, client: Client, watchers: Watchers, peers: Peers, operator: Operator
) -> None:
    url = await _start(serve, client, operator)
    peer, watcher = peers.make(1), watchers.make(url)
    await peer.connect(url)
    await watcher.watch()
    index, _ = await client.put(b"x")
    await _comes(peer)
    await wait_until(lambda: watcher.frames, "the bystander has it too")
    await watcher.reject(index)
    await peer.complete(index)
    assert (await _answer(client)).data == b"x"
    assert await operator.letters() == []
    assert await client.length() == 0


async def test_a_replay_takes_the_unread_error_back_and_ends_with_one_result(
    serve: Serve, client: Client, peers: Peers, operator: Operator
) -> None:
    url = await _start(serve, client, operator)
    peer = peers.make(1)
    await peer.connect(url)
    index, request_id = await client.put(b"bad", colour="red", shape="round")
    await _fail(peer)
    await wait_until(lambda: client.has_length(1, "/sink"), "it is answered")

    edit = {"data": "good", "tags": {"colour": "blue", "shape": None}}
    shown = await operator.ask("PATCH", f"/{index}", json=edit)
    assert (shown["data"], shown["size_bytes"]) == ("good", 4)
    assert shown["tags"] == {"colour": "blue", "requestId": request_id}
    told = await operator.ask("POST", f"/{index}/replay")
    assert told["request_id"] == request_id

    delivery = await _comes(peer)
    assert (delivery.index, delivery.attempt) == (told["index"], 1)
    assert delivery.tags == {"colour": "blue", "requestId": request_id}
    assert await client.length("/sink") == 0
    await peer.complete(delivery.index)
    answer = await _answer(client)
    assert (answer.data, "errorCode" in answer.tags) == (b"good", False)
    for path in ("", "/replay"):
        await operator.ask("POST" if path else "GET", f"/{index}{path}", status=404)
    assert (await operator.sums())["replayed"] == 1


async def test_some_are_replayed_by_filter_and_a_full_queue_says_what_was_done_before(
    serve: Serve, client: Client, peers: Peers, operator: Operator
) -> None:
    url = await _start(serve, client, operator, input={"max_length": 3})
    peer = peers.make(1)
    await peer.connect(url)
    indexes = []
    for number in range(6):
        indexes.append((await client.put(b"x"))[0])
        await _fail(peer, "Odd" if number % 2 else "Even")
        await wait_until(lambda: operator.has_letters(len(indexes)), "it is parked")
    await peer.cut()
    assert len(await client.read(9)) == 6

    told = await operator.ask("POST", "/replay", code="Odd")
    assert [item["id"] for item in told["replayed"]] == indexes[1::2]
    await client.truncate()
    await client.put(b"in the way")
    refused = await operator.ask("POST", "/replay", status=429, all="true")
    assert [item["id"] for item in refused["replayed"]] == [indexes[0], indexes[2]]
    assert "2 were put back before" in refused["message"]
    (left,) = await operator.letters()
    await operator.ask("POST", f"/{left['id']}/replay", status=429)
    assert left["id"] == indexes[4]
    await client.truncate()
    ids = f"{indexes[4]},{indexes[0]}"
    told = await operator.ask("POST", "/replay", ids=ids)
    assert ([item["id"] for item in told["replayed"]], told["absent"]) == (
        [indexes[4]],
        [indexes[0]],
    )
    await client.truncate()


async def test_a_letter_whose_request_id_was_put_again_is_not_replayed(
    serve: Serve, client: Client, peers: Peers, operator: Operator
) -> None:
    url = await _start(serve, client, operator, input={"max_length": 9})
    peer = peers.make(1)
    await peer.connect(url)
    index, _ = await client.put(b"x", requestId="r")
    await _fail(peer)
    await wait_until(lambda: operator.has_letters(1), "it is parked")
    await peer.cut()
    # By another idempotency key: the first put's is still remembered.
    async with client.session.post(
        f"{url}/api/predict/svc",
        params={"requestId": "r"},
        headers={names.IDEMPOTENCY_HEADER: "another"},
    ) as answer:
        assert answer.status == 200
    refused = await operator.ask("POST", f"/{index}/replay", status=409)
    assert refused["code"] == "REQUEST_ID_IN_USE"
    assert await operator.purge_all() == 1
    await client.truncate()
    await client.truncate("/sink")


async def test_letters_are_listed_in_pages_and_the_oldest_are_crowded_out(
    serve: Serve, client: Client, peers: Peers, operator: Operator
) -> None:
    url = await _start(serve, client, operator, dead_letters_max_length=4)
    peer = peers.make(1)
    await peer.connect(url)
    indexes = []
    for _ in range(6):
        indexes.append((await client.put(b"x"))[0])
        await _fail(peer)
    await wait_until(lambda: client.has_length(6, "/sink"), "all are answered")
    page = await operator.ask("GET", length="3")
    assert ([one["id"] for one in page["dead_letters"]], page["total"]) == (indexes[2:5], 4)
    page = await operator.ask("GET", length="3", after=page["next"])
    assert ([one["id"] for one in page["dead_letters"]], page["next"]) == (indexes[5:], None)
    sums = await operator.sums()
    assert (sums["parked"], sums["crowded_out"], sums["now"]) == (6, 2, 4)
    assert (await operator.ask("DELETE", f"/{indexes[5]}"))["purged"] == 1
    await operator.ask("DELETE", f"/{indexes[5]}", status=404)
    assert (await operator.ask("DELETE", ids=f"{indexes[2]},{indexes[5]}"))["purged"] == 1
    assert await operator.purge_all() == 2
    await client.truncate("/sink")


@pytest.mark.parametrize(
    ("method_and_path", "query", "body"),
    [
        ("GET ", {"queue": "both"}, None),
        ("GET ", {"length": "0"}, None),
        ("GET /x", {}, None),
        ("DELETE ", {}, None),
        ("POST /replay", {}, None),
        ("POST /replay", {"ids": "1,x"}, None),
        ("POST /replay", {"ids": "1", "code": "X"}, None),
        ("PATCH /1", {}, {"data": 7}),
        ("PATCH /1", {}, {"colour": "red"}),
        ("PATCH /1", {}, {"tags": {"_priority_": "1"}}),
        ("PATCH /1", {}, {"data": "x", "data_base64": "eA=="}),
        ("PATCH /1", {}, {"data_base64": "x"}),
    ],
)
async def test_what_makes_no_sense_is_refused(
    url: str, operator: Operator, method_and_path: str, query: dict[str, str], body: object
) -> None:
    operator.url = url
    method, path = method_and_path.split(" ")
    refused = await operator.ask(method, path, status=400, json=body, **query)
    assert refused["code"] == "BAD_PARAMETER"
    assert "expected" in refused["message"]


async def test_the_metrics_tell_how_many_there_are_and_what_became_of_others(
    serve: Serve, client: Client, peers: Peers, operator: Operator
) -> None:
    url = await _start(serve, client, operator)
    peer = peers.make(1)
    await peer.connect(url)
    for _ in range(3):
        await client.put(b"x")
        await _fail(peer)
        await _answer(client)
    await peer.cut()
    first, second, _ = await operator.letters()
    await operator.ask("POST", f"/{first['id']}/replay")
    await operator.ask("DELETE", f"/{second['id']}")
    async with client.session.get(
        f"{url}/metrics", headers={"Authorization": ADMIN_TOKEN}
    ) as answer:
        lines = (await answer.text()).splitlines()
    for name, count in {
        "dead_letters": 1,
        "dead_letters_parked": 3,
        "dead_letters_replayed": 1,
        "dead_letters_purged": 1,
        "dead_letters_dropped": 0,
    }.items():
        assert f'penstock_queue_{name}{{queue="input",service="svc"}} {count}.0' in lines
    await operator.purge_all()
    await client.truncate()


async def test_dead_letters_are_for_operators_only(url: str, client: Client) -> None:
    async with client.session.get(f"{url}/v1/services/svc/dead-letters") as answer:
        assert answer.status in {401, 403}
