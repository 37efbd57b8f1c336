"""TCP ports of 127.0.0.1: a free one, and whether one is free."""

import socket


def free_port() -> int:
    """Return a port that nobody listens on now; somebody else may be faster to take it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Say whether a server could listen there now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        # As servers do it: connections that are only dying away do not count. SO_REUSEPORT is
        # left out on purpose, so that a second queue service is seen and not quietly joined.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True
