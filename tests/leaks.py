"""What a test must not leave behind: Redis keys, held entries, asyncio tasks.

The rule for keys: a key has a TTL, or an owner that will remove it.  The tables below
are all keys of a queue and their owners; a key in none of them is a leak.  On top of that, the
sums that the store keeps beside its sets must be the sums.
"""

import asyncio
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import cast

import pytest
from redis import Redis

from tests.leaks_of_contents import (
    differences_of_contents,
    differences_of_listed,
    differences_of_read_results,
)
from tests.leaks_of_usage import differences_of_usage, is_usage
from tests.leaks_of_webhooks import WEBHOOK_KEYS, leaks_of_webhooks
from tests.waiting import wait_until_blocking

#: Owned by the service: what an idle queue may keep, and why.
IDLE_KEYS: Mapping[str, str] = {
    "lane:0": "an empty stream stays a key",
    "lane:1": "an empty stream stays a key",
    "meta": "the last index outlives every entry",
    "groups": "a group keeps its place for some time after its last member",
    "members": "as long as the group: how many it has, which is 0",
}

#: Owned by operators, by the end of the key: they end what they made.
OPERATORS_KEYS = ("tokens", "adopted", "interfaces")

#: Owned by entries: gone with the last of them.
ENTRY_KEYS = {"request_ids", "repeated_ids", "deliveries", "released", "skipped", "done", "taken"}
ENTRY_KEYS |= {"dead", "dead_data", "dead_order", "pauses", "holders"}

#: A service's own, owned by entries of tokens: gone with the last that waits or runs.
LINE_KEYS = {"lines", "shares", "running"}

#: A service's own, owned by jobs with a deadline: gone when the last of them starts or ends.
DUE_KEYS = {"due"}

#: The lane of `lines` with what waits for another attempt.
BACK = "b"

#: A service's own, owned by entries with files, and by the service until it has removed those.
FILE_KEYS = {"file_holders", "unneeded", "artifacts", "dead_logs"}

#: Owned by subscribers, each of which has a lease that ends: gone with the last of them.
SUBSCRIBER_KEYS = {"leases", "subscribers", "holds", "deadlines"}

#: The mark of a test that leaves entries in its queues on purpose.
LEAVES_ENTRIES = "leaves_entries"

#: The mark of a test that ends while a subscriber still holds a lease, or with no service running.
LEAVES_SUBSCRIBERS = "leaves_subscribers"

#: Seconds until everything is released that a closed connection held: a grace and a tick.
RELEASED_S = 15.0

#: Seconds between two looks, each of which reads every key of a test.
LOOK_S = 0.1

#: Joins the names in a field or a member.
SEPARATOR = "\x1f"

#: Joins an owner and a name.
OWNED = "\x1e"

#: A service's own, of which each ticket has a time or an entry with which it ends.
TICKET_KEYS = {"tickets", "times", "delayed", "listed"}

#: A service's own, owned by results that were read: gone with the last of them.
READ_KEYS = {"read_results"}

#: A service's own: bounded, and gone at the first look at an empty input queue.
COUNTING_KEYS = {"gaps", "owned"}

_KEY = re.compile(
    r"(?P<queue>[^:]+:\{(?P<service>[^}]+)\}(?::\d+)?:(?:input|sink)):(?P<name>.+)", re.DOTALL
)


@dataclass(frozen=True)
class Allowed:
    """What a test may leave."""

    entries: bool = False
    subscribers: bool = False


@dataclass
class _Books:
    """The keys of one queue, read."""

    sorted_sets: dict[str, list[str]] = field(default_factory=dict)
    hashes: dict[str, dict[str, str]] = field(default_factory=dict)

    def differences(self) -> Iterator[str]:
        """Say where a sum is not what it sums up."""
        holds = self._by_group(self.sorted_sets.get("holds", []))
        sums = {
            "held": holds,
            "skipped": self._by_group(self.sorted_sets.get("skipped", [])),
            "paused": self._by_group(self.sorted_sets.get("pauses", [])),
            "done": self._by_group(self.hashes.get("done", {})),
        }
        if (held := int(self.hashes.get("meta", {}).get("held", 0))) != holds.total():
            yield f"meta says that {held} are held, holds has {holds.total()}"
        for name, value in self.hashes.get("groups", {}).items():
            group, _, what = name.rpartition(SEPARATOR)
            if what in sums and int(value) != sums[what][group]:
                yield f"group {group} says {value} {what}, there are {sums[what][group]}"
        letters = {
            len(self.sorted_sets.get("dead_order", [])),
            len(self.hashes.get("dead", {})),
            len(self.hashes.get("dead_data", {})),
        }
        if len(letters) > 1:
            yield f"dead, dead_data and dead_order have not the same letters: {letters}"
        leases = self._by_group(self.sorted_sets.get("leases", []))
        for group, members in self.hashes.get("members", {}).items():
            if int(members) != leases[group]:
                yield f"group {group} says {members} members, there are {leases[group]} leases"

    @staticmethod
    def _by_group(members: "list[str] | dict[str, str]") -> "Counter[str]":
        return Counter(member.partition(SEPARATOR)[0] for member in members)


def find_leaks(
    redis_url: str, prefix: str, *, service: str | None = None, allowed: Allowed = Allowed()
) -> list[str]:
    """Return, in words, what is left under `prefix`, of one service or of all."""
    leaks: list[str] = []
    queues: defaultdict[str, _Books] = defaultdict(_Books)
    # Some values are packed, and are no text.
    readable = {"decode_responses": True, "encoding_errors": "replace"}
    with closing(Redis.from_url(redis_url, **readable)) as redis:
        for key in redis.scan_iter(match=f"{prefix}:*", count=1000):
            parts = _KEY.fullmatch(key)
            # -1 is a key without an end; -2 one that came to it since the scan.
            if redis.pttl(key) != -1 or (parts and service and parts["service"] != service):
                continue
            if key.startswith(f"{prefix}:{{*batches}}:"):
                # What has ended is removed after its time; what is open, nobody may have left.
                if key.endswith(":open"):
                    leaks.append(f"{key}: has open batches")
                continue
            if (
                key.startswith(f"{prefix}:{{*files}}:")
                or WEBHOOK_KEYS.fullmatch(key)
                or is_usage(key)
            ):
                continue
            if key == f"{prefix}:{{*}}:services":
                # The count of changes outlives every service that was made at run time.
                left = set(cast(dict[str, str], redis.hgetall(key))) - {"#revision"}
                leaks += [f"{key}: service {name} is left" for name in left]
                continue
            name = parts["name"] if parts else key
            leaks += [f"{key}: {why}" for why in _leaks_of_key(redis, key, name, allowed)]
            if parts and (kind := redis.type(key)) != "stream":
                books = queues[parts["queue"]]
                if kind == "zset":
                    books.sorted_sets[name] = cast(list[str], redis.zrange(key, 0, -1))
                elif kind == "hash":
                    books.hashes[name] = cast(dict[str, str], redis.hgetall(key))
        leaks += _leaks_of_tickets(redis, prefix, allowed)
        leaks += _leaks_of_files(redis, prefix, service=service, allowed=allowed)
        leaks += leaks_of_webhooks(redis, prefix, service=service, may_wait=allowed.entries)
        leaks += differences_of_lines(redis, prefix)
        leaks += differences_of_owned(redis, prefix)
        leaks += differences_of_contents(redis, prefix)
        leaks += differences_of_read_results(redis, prefix)
        leaks += differences_of_listed(redis, prefix)
        leaks += differences_of_usage(redis, prefix)
    for queue, books in queues.items():
        leaks += [f"{queue}: {difference}" for difference in books.differences()]
    return sorted(leaks)


def _leaks_of_key(redis: "Redis", key: str, name: str, allowed: Allowed) -> Iterator[str]:
    if redis.type(key) == "stream" and (length := redis.xlen(key)) and not allowed.entries:
        yield f"has {length} entries"
    if name.rpartition("}:")[2] in TICKET_KEYS or name.rpartition(":")[2] in COUNTING_KEYS:
        return
    if name.rpartition(":")[2] in LINE_KEYS:
        if not allowed.entries:
            yield "belongs to entries of tokens, and none should be left"
        return
    if name.rpartition(":")[2] in DUE_KEYS | FILE_KEYS | READ_KEYS:
        if not allowed.entries:
            yield "belongs to jobs with a deadline, files or read results: none should be left"
        return
    if name in IDLE_KEYS or name.rpartition(":")[2] in OPERATORS_KEYS:
        return
    if name in ENTRY_KEYS:
        if not allowed.entries:
            yield "belongs to entries, and none should be left"
    elif name in SUBSCRIBER_KEYS:
        if not allowed.subscribers:
            yield "belongs to subscribers, and none should be left"
    else:
        yield "has no TTL, and nobody owns it"


def _leaks_of_tickets(redis: "Redis", prefix: str, allowed: Allowed) -> Iterator[str]:
    """Say which tickets nothing will ever end."""
    for key in redis.scan_iter(match=f"{prefix}:*:tickets", count=1000):
        times = redis.zrange(key.removesuffix("tickets") + "times", 0, -1)
        timed = {cast(str, member).partition(SEPARATOR)[2] for member in times}
        for request_id, text in cast(dict[str, str], redis.hgetall(key)).items():
            is_open = '"state":' not in text
            if is_open and not allowed.entries:
                yield f"{key}: {request_id} is still open"
            elif not is_open and request_id not in timed and not allowed.entries:
                yield f"{key}: {request_id} has ended and is never forgotten"


def _leaks_of_files(
    redis: "Redis", prefix: str, *, service: str | None, allowed: Allowed
) -> Iterator[str]:
    """Say which files nothing removes soon, and where the index of files is not what it sums up.

    A file of an entry goes with it.  One that nothing names, and a client's, stay until they
    expire, which no test waits for.
    """
    base = f"{prefix}:{{*files}}:"
    texts = cast(dict[str, str], redis.hgetall(f"{base}files"))
    files = {file_id: json.loads(text) for file_id, text in texts.items()}
    if (timed := set(redis.zrange(f"{base}expiry", 0, -1))) != files.keys():
        yield f"{base}expiry: has {sorted(timed)}, there are {sorted(files)}"
    sums: Counter[str] = Counter()
    owners: defaultdict[str, set[str]] = defaultdict(set)
    for file_id, file in files.items():
        sums["="] += file["size_bytes"]
        sums[f"={file['owner']}"] += file["size_bytes"]
        owners[file["owner"]].add(file_id)
    said = cast(dict[str, str], redis.hgetall(f"{base}bytes"))
    found = {name: int(size) for name, size in said.items() if name != "#number" and int(size)}
    if found != +sums or (said and not files):
        yield f"{base}bytes: says {said}, there are {dict(sums)}"
    listed = {key.removeprefix(f"{base}of:") for key in redis.scan_iter(f"{base}of:*", count=1000)}
    for owner in listed | owners.keys():
        if (of_owner := set(redis.zrange(f"{base}of:{owner}", 0, -1))) != owners[owner]:
            yield f"{base}of:{owner}: has {sorted(of_owner)}, there are {sorted(owners[owner])}"
    for owner, ids in owners.items():
        of_entries, name, incarnation = [*owner.split(":"), "", ""][:3]
        if service and (of_entries, name) != ("entry", service):
            continue
        named: set[str] = set()
        if of_entries == "entry":
            key = f"{prefix}:{{{name}}}:{incarnation}:".replace(":0:", ":") + "file_holders"
            named = set(cast(list[str], redis.hkeys(key)))
        if ids - named:
            yield f"{base}files: nothing names {sorted(ids - named)} of {owner}"
        if ids & named and not allowed.entries:
            yield f"{base}files: {sorted(ids & named)} belong to entries, and none should be left"


def differences_of_lines(redis: "Redis", prefix: str) -> Iterator[str]:
    """Say where the account of an owner is not what `lines` and `running` have of it."""
    for meta in redis.scan_iter(match=f"{prefix}:*:input:meta", count=1000):
        base = cast(str, meta).removesuffix("input:meta")
        if redis.hexists(meta, "lined") != (redis.exists(f"{base}lines", f"{base}shares") > 0):
            yield f"{base}: lines are open without shares, or the other way round"
        accounts: dict[str, list[int]] = {}
        for owner, text in cast(dict[str, str], redis.hgetall(f"{base}shares")).items():
            if owner.startswith(SEPARATOR):
                _, normal, urgent, runs, since, _ = map(int, text.split())
                accounts[owner[1:]] = [normal, urgent, runs, since]
        found: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
        for member in redis.zrange(f"{base}lines", 0, -1):
            owner, lane, index = cast(str, member).split(SEPARATOR)
            if lane == BACK:
                yield from _wrongly_back(redis, base, index)
            else:
                found[owner][int(lane)] += 1
        for text in cast(dict[str, str], redis.hgetall(f"{base}running")).values():
            began, _, owner = text.partition(" ")
            found[owner][2] += 1
            found[owner][3] += int(began)
        for owner in accounts.keys() | found.keys():
            account = accounts.get(owner, [0, 0, 0, 0])
            if account != found[owner]:
                yield f"{base}: the account of {owner!r} says {account}, there are {found[owner]}"


def _wrongly_back(redis: "Redis", base: str, index: str) -> Iterator[str]:
    group = base.rpartition("{")[2].removesuffix("}:")
    member = f"{group}{SEPARATOR}{index}"
    waits = [
        redis.zscore(f"{base}input:{key}", member) for key in ("released", "pauses", "skipped")
    ]
    if all(score is None for score in waits):
        yield f"{base}: entry {index} is in line for another attempt, and does not wait"


def differences_of_owned(redis: "Redis", prefix: str) -> Iterator[str]:
    """Say where `owned` is not what the owners have in the queues and among the tickets."""

    def entries_of(key: str) -> list[tuple[str, dict[str, str]]]:
        return cast("list[tuple[str, dict[str, str]]]", redis.xrange(key))

    for meta in redis.scan_iter(match=f"{prefix}:*:input:meta", count=1000):
        base = cast(str, meta).removesuffix("input:meta")
        names: list[tuple[str, str, str]] = []
        for role, lane in (("input", 0), ("input", 1), ("sink", 0), ("sink", 1)):
            for entry_id, fields in entries_of(f"{base}{role}:lane:{lane}"):
                index = entry_id.partition("-")[0].rjust(20, "0")
                names.append((fields["r"], f"{role[0]}{lane}", index))
        for entry_id, fields in entries_of(f"{base}delayed"):
            at, _, number = entry_id.partition("-")
            names.append((fields["r"], "d", f"{at.rjust(20, '0')}-{number.rjust(20, '0')}"))
        for role, places in (("input", ("i0", "i1", "d")), ("sink", ("s0", "s1"))):
            held = Counter(
                name.partition(OWNED)[0]
                for name, place, _ in names
                if OWNED in name and place in places
            )
            if held:
                held[""] = -held.total()
            scores = cast(
                list[tuple[str, float]],
                redis.zrange(f"{base}{role}:holders", 0, -1, withscores=True),
            )
            if (noted := {owner: int(count) for owner, count in scores}) != held:
                yield f"{base}{role}:holders: says {noted}, there are {dict(held)}"
        tickets = cast(list[str], redis.hkeys(f"{base}tickets"))
        names += [(name, "t", name.rpartition(OWNED)[2]) for name in tickets]
        expected = set()
        for name, place, what in names:
            owner, is_owned, plain = name.partition(OWNED)
            if is_owned:
                expected.add(SEPARATOR.join((owner, place, what)))
                expected.add(SEPARATOR.join(("", plain, owner, place, what)))
        found = set(cast(list[str], redis.zrange(f"{base}owned", 0, -1)))
        if found != expected:
            more, less = sorted(found - expected), sorted(expected - found)
            yield f"{base}owned: has {more} too much, {less} is missing"


def wait_for_no_leaks(
    redis_url: str, prefix: str, *, service: str | None = None, allowed: Allowed = Allowed()
) -> None:
    """Give the running services time to release what was held; fail with what is left then.

    Called after the clients and workers of a test have gone and before its services stop: what
    a closed connection held is released by a service that runs.
    """

    def nothing_left() -> bool:
        leaks = find_leaks(redis_url, prefix, service=service, allowed=allowed)
        assert not leaks, "left in Redis:\n" + "\n".join(leaks)
        return True

    wait_until_blocking(nothing_left, "nothing is left in Redis", RELEASED_S, interval_s=LOOK_S)


def forget(redis_url: str, prefix: str) -> None:
    """Delete every key under `prefix`."""
    with closing(Redis.from_url(redis_url)) as redis:
        if keys := list(redis.scan_iter(match=f"{prefix}:*", count=1000)):
            redis.unlink(*keys)


def allowed_by(node: pytest.Item) -> Allowed:
    """Read a test's marks."""
    return Allowed(
        entries=node.get_closest_marker(LEAVES_ENTRIES) is not None,
        subscribers=node.get_closest_marker(LEAVES_SUBSCRIBERS) is not None,
    )


def tasks_left() -> list[str]:
    """Return the asyncio tasks of the running loop, less the one that asks."""
    current = asyncio.current_task()
    return [repr(task) for task in asyncio.all_tasks() if task is not current and not task.done()]
