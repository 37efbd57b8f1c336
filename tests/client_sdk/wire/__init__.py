"""The contract: bytes pinned by the protocol's own, round trips, hostile input."""
