"""The rules about owners and their tokens; as those of rules.py."""

from collections.abc import Iterator

from tests.faults.cells import Victim
from tests.faults.history import History, Violation, owner_of

#: From a token's revocation until no replica takes anything by it: a second is promised, and a
#: machine whose cores are all busy may take two more.
REVOKED_S = 3.0


def foreign(history: History) -> Iterator[Violation]:
    """No team is given what another one has put, or kept from an id, although both use the same."""
    for request_id, request in history.requests.items():
        if request.in_use:
            sentence = f"the id of {request_id} was refused, and only another team has used it"
            yield Violation("foreign", sentence, request_id)
        for reads in request.reads.values():
            for read in reads:
                if owner_of(read.code) not in {"", owner_of(request_id)}:
                    sentence = f"who asked for {request_id} was given {read.code}"
                    yield Violation("foreign", sentence, request_id)


def revoked(history: History) -> Iterator[Violation]:
    """Nothing is accepted that was asked with a token whose revocation is over.

    A replica that is frozen, or cut off from Redis, cannot know of it: what was accepted around
    such a time says nothing.
    """
    hurt = history.spells(Victim.SERVICE.partition(",")[0], Victim.REDIS)
    for request_id, request in history.requests.items():
        ended = history.revoked.get(request.token) if request.token else None
        if ended is None or request.asked is None or request.accepted is None:
            continue
        if request.asked <= ended + REVOKED_S:
            continue
        if any(
            began < request.accepted and healed + REVOKED_S > request.asked - REVOKED_S
            for began, healed in hurt
        ):
            continue
        sentence = (
            f"{request_id} was accepted with a token that had been revoked "
            f"{request.asked - ended:.1f} s before"
        )
        yield Violation("revoked", sentence, request_id)
