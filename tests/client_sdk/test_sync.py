"""The blocking client: for scripts, for threads, after a fork, and not inside an event loop."""

import multiprocessing
import os
import threading
from collections.abc import Iterator

import pytest

from client_sdk import QueueClient, errors
from tests.running import TOKEN, running_service
from tests.waiting import wait_until_blocking


@pytest.fixture(scope="module")
def service_url(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run one queue service for all tests of this file."""
    log_path = tmp_path_factory.mktemp("sync") / "service.log"
    with running_service(
        log_path, redis_url=redis_url, key_prefix="test-sync", services=[{"name": "svc"}]
    ) as service:
        yield service.url


@pytest.fixture
def client(service_url: str) -> Iterator[QueueClient]:
    with QueueClient(service_url, "svc", token=TOKEN) as client:
        yield client
        for queue in (client, client.sink):
            queue.truncate(2**63 - 1)


def test_a_script_puts_gets_searches_and_deletes(client: QueueClient) -> None:
    receipt = client.put("text", tags={"a": "b"})
    position = client.search(receipt.index)
    assert position is not None
    assert not position.pending
    assert client.attributes()["stream.length"] == "1"
    assert client.count() == 1
    (frame,) = client.get(request_id=receipt.request_id, auto_delete=False)
    assert (frame.data, frame.tags["a"]) == (b"text", "b")
    client.delete(frame)
    assert client.get() == []


def test_a_script_watches_in_a_for_loop(client: QueueClient) -> None:
    for number in range(10):
        client.sink.put(str(number))
    seen = []
    with client.sink.watch(window=3) as frames:
        for frame in frames:
            seen.append(frame.data)
            client.sink.commit(frame)
            if len(seen) == 10:
                break
    assert seen == [str(number).encode() for number in range(10)]
    assert client.sink.count() == 0


def test_a_rejected_frame_comes_again(client: QueueClient) -> None:
    client.put(b"x")
    with client.watch() as frames:
        client.reject(next(frames), code="Broken")
        client.commit(next(frames))


def test_errors_are_those_of_the_asyncio_client(service_url: str) -> None:
    with QueueClient(service_url, "svc", token="wrong") as client:
        with pytest.raises(errors.Unauthorized):
            client.put(b"")
        with pytest.raises(errors.Unauthorized):
            next(client.watch())


def test_threads_share_one_client(client: QueueClient) -> None:
    def work() -> None:
        for _ in range(10):
            client.put(b"x")

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.count() == 50


async def test_inside_an_event_loop_it_says_what_to_use_instead(service_url: str) -> None:
    client = QueueClient(service_url, "svc", token=TOKEN)
    with pytest.raises(RuntimeError, match="use AsyncQueueClient here"):
        client.put(b"")
    client.close()


def test_a_closed_client_says_so(service_url: str) -> None:
    client = QueueClient(service_url, "svc", token=TOKEN)
    client.count()
    watch = client.watch()
    client.close()
    client.close()
    with pytest.raises(errors.Closed):
        client.put(b"")
    with pytest.raises(errors.Closed):
        next(watch)
    watch.close()


def test_a_client_that_was_never_used_closes_without_a_thread() -> None:
    before = threading.active_count()
    with QueueClient("http://127.0.0.1:1", "svc"):
        assert threading.active_count() == before


def test_closing_ends_the_calls_of_other_threads(service_url: str) -> None:
    client = QueueClient(service_url, "svc", token=TOKEN)
    client.count()
    ended: list[object] = []

    def wait() -> None:
        try:
            ended.append(list(client.watch()))
        except errors.QueueError as error:
            ended.append(error)

    thread = threading.Thread(target=wait)
    thread.start()

    def watched() -> bool:
        with QueueClient(service_url, "svc", token=TOKEN) as operator:
            attributes = operator.attributes()
        return any(client_uid in value for value in attributes.values())

    client_uid = client.uid
    wait_until_blocking(watched, "the watch is there")
    client.close()
    thread.join(timeout=60)
    assert len(ended) == 1


def _use_in_child(client: QueueClient, parent_uid: str) -> None:
    client.put(b"from the child", tags={"other uid": str(client.uid != parent_uid)})
    client.close()
    os._exit(0)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_gets_a_connection_and_a_name_of_its_own(client: QueueClient) -> None:
    client.put(b"from the parent")
    child = multiprocessing.get_context("fork").Process(
        target=_use_in_child, args=(client, client.uid)
    )
    child.start()
    child.join(timeout=60)
    assert child.exitcode == 0
    frames = client.get(length=2, auto_delete=False)
    assert [frame.data for frame in frames] == [b"from the parent", b"from the child"]
    assert frames[1].tags["other uid"] == "True"
