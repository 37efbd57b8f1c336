"""The rules of a queue: each call of a script carries them, by name, and a change swaps them."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from queue_service.errors import StoreError
from queue_service.store.entry import NewEntry
from queue_service.store.outcomes import NotStored, Refusal, Stored
from queue_service.store.rules import Limits
from tests.fair.conftest import shop
from tests.fair.shop import Shop

# The fixture of those tests, here too.
__all__ = ["shop"]


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda rules: rules.pop("fair"), "rule fair: expected a boolean, got nil"),
        (lambda rules: rules.update(max_delivery="3"), "rule max_delivery: expected a number"),
        (lambda rules: rules.update(max_retries=3), "rule max_retries: prelude/rules.lua does not"),
    ],
)
async def test_a_script_refuses_rules_that_it_does_not_expect(
    shop: Shop, edit: Callable[[dict[str, Any]], object], says: str
) -> None:
    rules = json.loads(shop.store.rules.to_json())
    edit(rules)
    scripts, keys = shop.scripts, shop.keys
    names = keys.queue("input") + keys.queue("sink") + keys.shared()
    with pytest.raises(StoreError, match=says):
        await scripts.ask("deliver", names, [keys.channel, "input", json.dumps(rules), "g", 1])


async def test_a_change_reaches_what_already_holds_the_store(shop: Shop) -> None:
    put = shop.store.put
    shop.change(limits=Limits(capacity=1, payload_bytes=10))
    assert isinstance(await put(NewEntry("first", b"x")), Stored)
    gathered = put(NewEntry("second", b"x"))
    # The batch goes out after this turn of the loop, with the rules of then.
    shop.store.change(replace(shop.store.rules, limits=Limits(capacity=2, payload_bytes=10)))
    assert isinstance(await gathered, Stored)
    assert await put(NewEntry("third", b"x")) == NotStored(Refusal.FULL)
