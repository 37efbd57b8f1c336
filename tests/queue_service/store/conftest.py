"""Servers of the test's own, and the clients of the promises."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.fair.conftest import shop
from tests.promises.conftest import client, peers, session
from tests.queue_service.store.binaries import Binary, newest
from tests.queue_service.store.node import Node

# Fixtures of other folders, here too.
__all__ = ["client", "peers", "session", "shop"]

MakeNode = Callable[..., Node]


@pytest.fixture
async def make_node(tmp_path: Path) -> AsyncIterator[MakeNode]:
    """Make servers that are not started yet; what was started is stopped after the test."""
    made: list[Node] = []

    def make(
        *lines: str, binary: Binary | None = None, sentinel: bool = False, password: str = ""
    ) -> Node:
        folder = tmp_path / f"redis-{len(made)}"
        node = Node(binary or newest(), folder, *lines, sentinel=sentinel, password=password)
        made.append(node)
        return node

    yield make
    for node in reversed(made):
        await node.kill()
