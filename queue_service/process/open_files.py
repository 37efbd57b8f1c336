"""How many files, and so how many connections, this process may have open."""

import resource

#: Files that are no client's connection: Redis, listening sockets, logs.
KEPT = 512


def raise_limit() -> int:
    """Raise the soft limit of open files to the hard one, and return what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):
        # Some systems name a hard limit that they do not grant.
        return soft
    return hard


def connections_within(open_files: int, wanted: int) -> int:
    """Return how many connections, of those wanted, a limit of open files leaves room for."""
    if open_files == resource.RLIM_INFINITY:
        return wanted
    return max(1, min(wanted, open_files - min(KEPT, open_files // 2)))
