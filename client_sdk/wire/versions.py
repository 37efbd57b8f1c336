"""Which versions of the worker protocol this code speaks."""

#: The newest, and the oldest.  A worker says its newest in Hello, the service answers with the
#: newest that both may know, and either side ends a connection whose version is older than its
#: oldest.
PROTOCOL = 1
OLDEST_PROTOCOL = 1


def versions_differ(came: int) -> str:
    """Say that the other side speaks a version which this one does not."""
    ours = f"{OLDEST_PROTOCOL} to {PROTOCOL}"
    return f"expected a version of the worker protocol from {ours}, got {came}: upgrade the older"
