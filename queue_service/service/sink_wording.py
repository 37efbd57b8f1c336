"""Why jobs wait for room in the sink, in words (pure)."""

from queue_service.store.outcomes import SinkState

#: The largest number of seconds and of minutes that is not shown in the next larger unit.
_MOST_S, _MOST_MIN = 120, 120
#: What helps, as a clause.
_WHAT_HELPS = "read results or delete their jobs, and waiting jobs run"


def why_full(state: SinkState) -> str:
    """Return the sentence for a client whose jobs wait for room, with what to do.

    It does not tell one owner how many results others have.
    """
    return f"{_holds(state)}; {_expiry(state)}; {_WHAT_HELPS}"


def in_units(ms: int) -> str:
    """Return a time in its largest unit, rounded up, such as `3 h`."""
    seconds = -(-ms // 1000)
    if seconds <= _MOST_S:
        return f"{seconds} s"
    minutes = -(-seconds // 60)
    return f"{minutes} min" if minutes <= _MOST_MIN else f"{-(-minutes // 60)} h"


def _holds(state: SinkState) -> str:
    results = f"{state.unread:,} unread result{'' if state.unread == 1 else 's'}"
    if not state.owner:
        return f"the sink holds {results}"
    if state.full:
        return f"the sink is full of unread results, and holds {results} of yours"
    return f"the sink holds {results} of yours, which is your share of it"


def _expiry(state: SinkState) -> str:
    what = "the next one" if not state.owner else "the next of yours"
    if state.next_ms is None:
        return "none of them expires soon" if state.unread else "they are not yours"
    return f"{what} expires in {in_units(state.next_ms)}"
