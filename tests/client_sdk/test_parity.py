"""The blocking client offers what the asyncio client offers, argument by argument."""

import inspect
from collections.abc import AsyncIterable, Callable, Iterable
from typing import Any

import pytest

import client_sdk
from client_sdk import (
    AsyncBatches,
    AsyncFiles,
    AsyncJobs,
    AsyncQueue,
    AsyncQueueClient,
    Batches,
    Files,
    Jobs,
    Queue,
    QueueClient,
    Subscription,
    Watch,
)
from client_sdk.mapping import Item

#: The same thing under its two names.
TWINS = {"Subscription": "Watch", "AsyncGenerator": "Iterator"}
#: What the asyncio client takes beside it.
TAKEN = {Iterable[Item] | AsyncIterable[Item]: Iterable[Item]}
ITERATION = {"__aiter__": "__iter__", "__anext__": "__next__"}


def public(kind: type) -> dict[str, Any]:
    return {name: value for name, value in vars(kind).items() if not name.startswith("_")}


def shape(function: Callable[..., object]) -> tuple[list[tuple[str, object, object]], str]:
    signature = inspect.signature(function)
    returned = str(getattr(signature.return_annotation, "__name__", signature.return_annotation))
    return (
        [
            (p.name, p.default, TAKEN.get(p.annotation, p.annotation))
            for p in signature.parameters.values()
        ],
        TWINS.get(returned, returned),
    )


@pytest.mark.parametrize(
    ("asynchronous", "blocking"),
    [
        (AsyncQueue, Queue),
        (AsyncQueueClient, QueueClient),
        (Subscription, Watch),
        (AsyncJobs, Jobs),
        (AsyncFiles, Files),
        (AsyncBatches, Batches),
    ],
)
def test_both_clients_have_the_same_verbs_with_the_same_arguments(
    asynchronous: type, blocking: type
) -> None:
    ours, theirs = public(blocking), public(asynchronous)
    assert set(ours) == set(theirs)
    for name, value in theirs.items():
        if callable(value):
            assert shape(ours[name]) == shape(value), name


def test_both_clients_are_made_with_the_same_arguments() -> None:
    assert shape(AsyncQueueClient.__init__) == shape(QueueClient.__init__)


def test_every_public_name_is_there_once_and_in_order() -> None:
    assert client_sdk.__all__ == sorted(set(client_sdk.__all__))
    for name in client_sdk.__all__:
        assert getattr(client_sdk, name).__doc__, name
