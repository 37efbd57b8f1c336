"""The videos of an owner in several services, as one list in the order of their creation.

The store lists them by time, so a page costs what it shows, and not what a service has.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import islice

from queue_service.service.service import Service
from queue_service.store.batching import all_of
from queue_service.store.ticket import Listed, Seen
from queue_service.web.openai import video_jobs


@dataclass(frozen=True, slots=True)
class Shelf:
    """The videos of an owner in one service."""

    service: Service
    owner: str


async def page(
    shelves: Sequence[Shelf], after: Listed | None, *, newest_first: bool, most: int
) -> list[tuple[Service, Seen]]:
    """Return the videos after a place."""
    found: list[tuple[Service, Seen]] = []
    while len(found) < most:
        places = await _places(shelves, after, newest_first=newest_first, most=most)
        looks = [shelf.service.tickets.look(place.name) for place, shelf in places]
        for (_, shelf), seen in zip(places, await all_of(looks), strict=True):
            # Those that are deleted while they run are gone at their end.
            if video_jobs.is_video(seen) and seen.owner == shelf.owner:
                found.append((shelf.service, seen))
        if len(places) < most:
            break
        after = places[-1][0]
    return found[:most]


async def _places(
    shelves: Sequence[Shelf], after: Listed | None, *, newest_first: bool, most: int
) -> list[tuple[Listed, Shelf]]:
    listed = [
        shelf.service.tickets.listed(
            video_jobs.LIST, shelf.owner, after=after, newest_first=newest_first, most=most
        )
        for shelf in shelves
    ]
    sorted_places = [
        [(place, shelf) for place in places]
        for shelf, places in zip(shelves, await asyncio.gather(*listed), strict=True)
    ]
    merged = merge(*sorted_places, key=lambda one: one[0], reverse=newest_first)
    return list(islice(merged, most))
