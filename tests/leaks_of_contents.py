"""What the store counts beside its entries: files, places, results that were read, lists."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import cast

from redis import Redis

#: Joins the names in a member, and an owner and a name.
SEPARATOR, OWNED = "\x1f", "\x1e"


def differences_of_contents(redis: "Redis", prefix: str) -> Iterator[str]:
    """Say where files and places are not those that entries and dead letters name."""
    for meta in redis.scan_iter(match=f"{prefix}:*:input:meta", count=1000):
        base = cast(str, meta).removesuffix("input:meta")
        named: Counter[str] = Counter()
        for role in ("input", "sink"):
            places = size = 0
            streams = [f"{base}{role}:lane:0", f"{base}{role}:lane:1"]
            for key in streams + ([f"{base}delayed"] if role == "input" else []):
                for _, fields in cast("list[tuple[str, dict[str, str]]]", redis.xrange(key)):
                    tags = json.loads(fields["t"])
                    places += int(tags.get("_places_", "1")) - 1
                    files = json.loads(tags.get("_files_", "[]"))
                    named.update(file["id"] for file in files)
                    size += sum(file["bytes"] for file in files)
            if (said := int(redis.hget(f"{base}{role}:meta", "places") or 0)) != places:
                yield f"{base}{role}: says {said} more places, there are {places}"
            if (said := int(redis.hget(f"{base}{role}:meta", "file_bytes") or 0)) != size:
                yield f"{base}{role}: says {said} bytes of files, there are {size}"
            named.update(_files_of_letters(redis, f"{base}{role}:dead"))
        for listed in cast(list[str], redis.hvals(f"{base}artifacts")):
            named.update(file["id"] for file in json.loads(listed))
        counts = cast(dict[str, str], redis.hgetall(f"{base}file_holders"))
        if (held := {file: int(count) for file, count in counts.items()}) != named:
            yield f"{base}file_holders: says {held}, there are {dict(named)}"
        if both := named.keys() & set(cast(list[str], redis.zrange(f"{base}unneeded", 0, -1))):
            yield f"{base}unneeded: has {sorted(both)}, which are needed"


def differences_of_read_results(redis: "Redis", prefix: str) -> Iterator[str]:
    """Say where `read_results` is not what the tickets say of results that are still there."""
    for meta in redis.scan_iter(match=f"{prefix}:*:input:meta", count=1000):
        base = cast(str, meta).removesuffix("input:meta")
        expected = set()
        for name, text in cast(dict[str, str], redis.hgetall(f"{base}tickets")).items():
            ticket = json.loads(text)
            if "read_of" not in ticket:
                continue
            if redis.hget(f"{base}sink:request_ids", name) is None:
                yield f"{base}tickets: the result of {name} was read and is gone"
            owner, is_owned, _ = name.partition(OWNED)
            stamp = str(ticket["read_at"]).rjust(20, "0")
            expected.add(f"{SEPARATOR}{stamp}{SEPARATOR}{name}")
            if is_owned:
                expected.add(f"{owner}{SEPARATOR}{stamp}{SEPARATOR}{name}")
        found = set(cast(list[str], redis.zrange(f"{base}read_results", 0, -1)))
        if found != expected:
            more, less = sorted(found - expected), sorted(expected - found)
            yield f"{base}read_results: has {more} too much, {less} is missing"


def differences_of_listed(redis: "Redis", prefix: str) -> Iterator[str]:
    """Say where `listed` is not what the tickets say."""
    for meta in redis.scan_iter(match=f"{prefix}:*:input:meta", count=1000):
        base = cast(str, meta).removesuffix("input:meta")
        expected = set()
        for name, text in cast(dict[str, str], redis.hgetall(f"{base}tickets")).items():
            ticket = json.loads(text)
            if kind := ticket.get("listed"):
                owner = name.partition(OWNED)[0] if OWNED in name else ""
                stamp = str(ticket["put_at"]).rjust(20, "0")
                expected.add(SEPARATOR.join((owner, kind, stamp, name)))
        found = set(cast(list[str], redis.zrange(f"{base}listed", 0, -1)))
        if found != expected:
            more, less = sorted(found - expected), sorted(expected - found)
            yield f"{base}listed: has {more} too much, {less} is missing"


def _files_of_letters(redis: "Redis", key: str) -> Iterator[str]:
    """Yield the ids in dead letters, which are MessagePack: the JSON in it stands as it is."""
    for text in cast("dict[str, str]", redis.hgetall(key)).values():
        yield from re.findall(r'\\"id\\": ?\\"(payload_\w+)\\"', text)
