"""How much a queue takes: the documented arithmetic, and what happens at its edge."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import aiohttp
import pytest

from client_sdk.wire import names
from client_sdk.wire.codes import Code
from tests.running import TOKEN, QueueServiceProcess, running_service

KEY_PREFIX = "test-capacity"
KIB = 1024


@dataclass(frozen=True)
class Case:
    """Settings of a service, and what its attributes promise: (entries, payload in bytes)."""

    name: str
    input: tuple[int, int]
    sink: tuple[int, int]
    settings: dict[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


#: 90 % of this number of MB, in bytes, shared equally by the two queues.
HALF_OF_4000 = 4000 * KIB * KIB * 9 // 10 // 2
HALF_OF_1000 = 1000 * KIB * KIB * 9 // 10 // 2

CASES = [
    Case("defaults", (230_399, 8 * KIB), (230_399, 8 * KIB)),
    Case("memory-4096", (235_929, 8 * KIB), (235_929, 8 * KIB), {"memory": 4096}),
    Case("memory-1000", (57_599, 8 * KIB), (57_599, 8 * KIB), {"memory": 1000}),
    Case("memory-1", (57, 8 * KIB), (57, 8 * KIB), {"memory": 1}),
    Case("ratio-a-quarter", (345_599, 8 * KIB), (115_199, 8 * KIB), {"sink_memory_ratio": 0.25}),
    Case("ratio-three-tenths", (322_559, 8 * KIB), (138_239, 8 * KIB), {"sink_memory_ratio": 0.3}),
    Case("ratio-nine-tenths", (46_079, 8 * KIB), (414_719, 8 * KIB), {"sink_memory_ratio": 0.9}),
    Case(
        "payload-of-one",
        (1_843_199, KIB),
        (230_399, 8 * KIB),
        {"input": {"max_payload_size_kb": 1}},
    ),
    Case(
        "payload-of-both",
        (230_399, 64 * KIB),
        (230_399, KIB * KIB),
        {"input": {"max_payload_size_kb": 64}, "sink": {"max_payload_size_kb": 1024}},
    ),
    Case(
        "length-of-one",
        (230_399, 8 * KIB),
        (10_000, HALF_OF_4000 // 10_001),
        {"sink": {"max_length": 10_000}},
    ),
    Case(
        "length-of-the-default",
        (230_399, 8 * KIB),
        (230_399, 8 * KIB),
        {"input": {"max_length": 230_399}, "sink": {"max_length": 230_399}},
    ),
    Case("length-one", (1, HALF_OF_4000 // 2), (230_399, 8 * KIB), {"input": {"max_length": 1}}),
    Case(
        "length-and-payload",
        (999, HALF_OF_1000 // 1000),
        (57_599, 32 * KIB),
        {"memory": 1000, "input": {"max_length": 999}, "sink": {"max_payload_size_kb": 32}},
    ),
    Case(
        "ratio-and-payload",
        (368_639, 16 * KIB),
        (92_159, 8 * KIB),
        {"sink_memory_ratio": 0.2, "input": {"max_payload_size_kb": 16}},
    ),
]

#: What fills up at once: five entries in each queue, and a payload of 1 KiB.
FULL_AT = 5
EDGES: list[dict[str, object]] = [
    {"name": "edge", "input": {"max_length": FULL_AT}, "sink": {"max_length": FULL_AT}},
    {
        "name": "evicting",
        "input": {"max_length": FULL_AT, "auto_evict": True},
        "sink": {"max_length": FULL_AT, "auto_evict": True},
    },
    {"name": "sized", "input": {"max_payload_size_kb": 1}, "sink": {"max_payload_size_kb": 1}},
]

QUEUES = ["", "/sink"]


@pytest.fixture(scope="module")
def capacities(
    redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[QueueServiceProcess]:
    """Run one queue service with a service for each row of the table."""
    with running_service(
        tmp_path_factory.mktemp("capacity") / "service.log",
        redis_url=redis_url,
        key_prefix=KEY_PREFIX,
        services=[*({"name": case.name, **case.settings} for case in CASES), *EDGES],
    ) as service:
        yield service


class Queues:
    """All queues of the service, by `service` or `service/sink`."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = f"{url}{names.EAS_PREFIX}"

    async def attributes(self, queue: str) -> dict[str, str]:
        async with self._session.get(f"{self._url}/{queue}?_attrs_=true") as answer:
            read: dict[str, str] = await answer.json()
            return read

    async def put(self, queue: str, data: bytes) -> tuple[int, str, str]:
        """Put; give status, error code and text of the answer."""
        async with self._session.post(f"{self._url}/{queue}", data=data) as answer:
            code = answer.headers.get(names.ERROR_CODE_HEADER, "")
            return answer.status, code, await answer.text()

    async def all(self, queue: str) -> list[bytes]:
        """Return the data of every entry, in order, and leave them there."""
        indexes = await self.attributes(queue)
        first, last = int(indexes["stream.firstEntry"]), int(indexes["stream.lastEntry"])
        found = []
        for index in range(first, last + 1):
            query = {names.INDEX: str(index), names.AUTO_DELETE: "false"}
            async with self._session.get(f"{self._url}/{queue}", params=query) as answer:
                found.append(await answer.read())
        return found

    async def empty(self, queue: str) -> None:
        query = {names.TRUNCATE: "true", names.INDEX: str(2**62)}
        async with self._session.delete(f"{self._url}/{queue}", params=query) as answer:
            assert answer.status == 200


@pytest.fixture
async def queues(capacities: QueueServiceProcess) -> AsyncIterator[Queues]:
    async with aiohttp.ClientSession(headers={"Authorization": TOKEN}) as session:
        found = Queues(session, capacities.url)
        yield found
        for edge in EDGES:
            for queue in QUEUES:
                await found.empty(f"{edge['name']}{queue}")


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_the_attributes_promise_what_the_documented_arithmetic_gives(
    case: Case, queues: Queues
) -> None:
    for queue, (entries, payload_bytes) in zip(QUEUES, (case.input, case.sink), strict=True):
        attributes = await queues.attributes(f"{case.name}{queue}")
        assert attributes["stream.approxMaxLength"] == str(entries)
        assert attributes["meta.maxPayloadBytes"] == str(payload_bytes)


@pytest.mark.parametrize("queue", QUEUES)
async def test_a_queue_takes_as_many_as_it_says_and_refuses_one_more(
    queue: str, queues: Queues
) -> None:
    name = f"edge{queue}"
    for number in range(FULL_AT):
        assert (await queues.put(name, b"%d" % number))[0] == 200
    before = await queues.attributes(name)
    status, code, sentence = await queues.put(name, b"one too many")
    assert (status, code) == (429, Code.QUEUE_FULL)
    assert f"at most {FULL_AT} entries" in sentence
    assert await queues.attributes(name) == before
    assert await queues.all(name) == [b"%d" % number for number in range(FULL_AT)]


@pytest.mark.parametrize("queue", QUEUES)
async def test_an_evicting_queue_drops_its_oldest_for_a_new_one(queue: str, queues: Queues) -> None:
    name = f"evicting{queue}"
    for number in range(FULL_AT + 2):
        assert (await queues.put(name, b"%d" % number))[0] == 200
    assert (await queues.attributes(name))["stream.length"] == str(FULL_AT)
    assert await queues.all(name) == [b"%d" % number for number in range(2, FULL_AT + 2)]


@pytest.mark.parametrize("queue", QUEUES)
async def test_a_payload_may_be_as_long_as_the_limit_and_not_a_byte_longer(
    queue: str, queues: Queues
) -> None:
    name = f"sized{queue}"
    sizes = (KIB - 1, KIB, KIB + 1)
    answers = [(await queues.put(name, b"x" * size))[:2] for size in sizes]
    assert answers == [(200, ""), (200, ""), (413, Code.FRAME_TOO_BIG)]
    assert [len(data) for data in await queues.all(name)] == [KIB - 1, KIB]
