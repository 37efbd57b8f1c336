"""The versions of the worker protocol that this code supports."""

#: The newest and the oldest.  A worker sends its newest in Hello, the service replies with the
#: newest common one, and either side closes a connection whose version is below its oldest.
PROTOCOL = 1
OLDEST_PROTOCOL = 1


def versions_differ(came: int) -> str:
    """Return the sentence for a version that this side does not support."""
    ours = f"{OLDEST_PROTOCOL} to {PROTOCOL}"
    return f"worker protocol {came} is not supported (supported: {ours}): upgrade the older side"
