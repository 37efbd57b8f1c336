"""Groups and filters: who sees which entry, and when an entry goes."""

import pytest

from tests.conftest import StartService
from tests.promises.conftest import Client, Peers, Watchers
from tests.waiting import hold_for, wait_until


async def test_what_one_filter_passed_over_comes_to_the_next_subscriber_of_the_group(
    url: str, client: Client, watchers: Watchers
) -> None:
    client.url = url
    narrow, wide = watchers.make(url, uid="narrow"), watchers.make(url, uid="wide")
    await narrow.watch(colour="red")
    blue, _ = await client.put(b"x", colour="blue")
    red, _ = await client.put(b"x", colour="red")
    await wait_until(lambda: narrow.indexes == [red], "the red one arrives")
    await narrow.commit(red)
    await narrow.close()

    await wide.watch()

    await wait_until(lambda: wide.indexes == [blue], "the blue one comes to who wants all")
    await wide.commit(blue)
    assert await client.length() == 0


async def test_a_narrow_subscriber_takes_nothing_from_a_wide_one_of_its_group(
    url: str, client: Client, watchers: Watchers
) -> None:
    client.url = url
    wide, narrow = watchers.make(url), watchers.make(url)
    await wide.watch()
    await narrow.watch(colour="red")

    blues = [(await client.put(b"x", colour="blue"))[0] for _ in range(6)]

    await wait_until(lambda: sorted(wide.indexes) == blues, "every blue one comes")
    await wide.commit(*blues)
    assert await client.length() == 0


async def test_an_entry_that_a_groups_filter_passes_over_is_not_kept_for_that_group(
    url: str, client: Client, watchers: Watchers
) -> None:
    client.url = url
    reader, narrow = watchers.make(url), watchers.make(url, gid="narrow")
    await reader.watch()
    await narrow.watch(colour="red")
    indexes = [(await client.put(b"x", colour="blue"))[0] for _ in range(3)]
    await wait_until(lambda: reader.indexes == indexes, "the reader has all")
    await reader.commit(*indexes)

    async def empty() -> bool:
        return await client.length() == 0

    await wait_until(empty, "results that no client waits for are gone")


@pytest.mark.timeout(60)
async def test_a_filter_finds_its_entry_behind_thousands_of_others_without_ticks(
    start_service: StartService, client: Client, watchers: Watchers
) -> None:
    service = await start_service(tick_ms=20_000)
    client.url = service.url
    for _ in range(2500):
        await client.put(b"x")
    wanted, _ = await client.put(b"x", colour="red")
    watcher = watchers.make(service.url)
    await watcher.watch(colour="red")

    await wait_until(lambda: watcher.indexes == [wanted], "the red one arrives")
    await watcher.close()
    await client.truncate()


async def test_a_rejected_entry_goes_to_the_other_although_that_one_holds_more(
    url: str, client: Client, peers: Peers
) -> None:
    client.url = url
    busy = peers.make(4)
    await busy.connect(url)
    for _ in range(3):
        await client.put(b"x")
    await wait_until(lambda: len(busy.held) == 3, "one is busy")
    free = peers.make(1)
    await free.connect(url)
    index, _ = await client.put(b"x")
    await wait_until(lambda: list(free.held) == [index], "the free one has the new entry")

    await free.reject(index)

    await wait_until(lambda: index in busy.held, "the busy one has it")
    await hold_for(0.2, lambda: not free.held, "the other does not get it back")
    await client.truncate()
