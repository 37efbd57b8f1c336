"""The messages of the worker connection: field numbers, round trips, hostile input."""

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.wire.errors import WireError
from client_sdk.wire.file_ref import FileRef
from client_sdk.wire.load import Load
from client_sdk.wire.retry import AttemptPolicy
from client_sdk.wire.worker import (
    Completion,
    Completions,
    Deliveries,
    Delivery,
    Failure,
    FromWorker,
    Held,
    Hello,
    Leave,
    Outcome,
    Outcomes,
    Rejection,
    Rejections,
    Renew,
    Result,
    SetWindow,
    Taken,
    ToWorker,
    Welcome,
    decode_from_worker,
    decode_to_worker,
    encode_from_worker,
    encode_to_worker,
)

#: What a worker that a hostile job has taken over may say of itself.
HOSTILE = st.floats(width=32)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
tags = st.dictionaries(texts, texts, max_size=3)
indexes = st.integers(0, 2**63 - 1)
attempts = st.integers(0, 2**32 - 1)
helds = st.lists(st.builds(Held, indexes, attempts), max_size=3).map(tuple)
loads = st.builds(
    Load,
    running=attempts,
    memory_bytes=indexes,
    gpu_utilization=st.floats(0, 1, width=32),
)
results = st.none() | st.builds(Result, st.binary(max_size=20), tags, texts)
files = st.builds(FileRef, texts, indexes, texts, texts, texts)
failures = st.none() | st.builds(Failure, texts, texts)

from_worker = st.one_of(
    st.builds(
        Hello,
        uid=texts,
        window=attempts,
        held=helds,
        version=texts,
        engine=texts,
        host=texts,
        gpu=texts,
        protocol=attempts,
        leaves=st.booleans(),
        takes_files=st.booleans(),
    ),
    st.builds(Leave),
    st.lists(st.builds(Completion, indexes, attempts, results, failures), max_size=3)
    .map(tuple)
    .map(Completions),
    st.lists(st.builds(Rejection, indexes, attempts, texts, texts), max_size=3)
    .map(tuple)
    .map(Rejections),
    st.builds(Renew, st.none() | loads),
    st.builds(SetWindow, attempts),
)
deliveries = st.builds(
    Delivery,
    index=indexes,
    attempt=attempts,
    request_id=texts,
    data=st.binary(max_size=20),
    tags=tags,
    max_delivery=attempts,
    path=texts,
    content_type=texts,
    stored_at_ms=indexes,
    priority=attempts,
    deaths=attempts,
    payload_file=st.none() | files,
    files=st.lists(files, max_size=3).map(tuple),
)
to_worker = st.one_of(
    st.builds(Welcome, texts, attempts, helds, attempts, st.booleans(), indexes),
    st.builds(Leave),
    st.lists(deliveries, max_size=3).map(tuple).map(Deliveries),
    st.lists(st.builds(Outcome, indexes, attempts, st.booleans(), texts), max_size=3)
    .map(tuple)
    .map(Outcomes),
    helds.map(Taken),
)


def _empty(message: FromWorker | ToWorker) -> bool:
    return message in (Completions(()), Rejections(()), Deliveries(()), Outcomes(()), Taken(()))


@given(from_worker.filter(lambda message: not _empty(message)))
def test_what_a_worker_says_survives_the_wire(message: FromWorker) -> None:
    assert decode_from_worker(encode_from_worker(message)) == message


@given(to_worker.filter(lambda message: not _empty(message)))
def test_what_the_service_says_survives_the_wire(message: ToWorker) -> None:
    assert decode_to_worker(encode_to_worker(message)) == message


@pytest.mark.parametrize(
    ("message", "encoded"),
    [
        (Renew(), "2200"),
        (Renew(Load(running=3, limit=5)), "22060a0408031805"),
        (SetWindow(0), "2a00"),
        (Leave(), "3a00"),
        (SetWindow(5), "2a020805"),
        (Completions((Completion(7, 1, None),)), "12060a0408071001"),
        (Completions((Completion(7, 1, Result(b"")),)), "12080a06080710011a00"),
        (Completions((Completion(7, 1, Result(b"hi")),)), "120c0a0a080710011a040a026869"),
        (Completions((Completion(7, 1, Result(b"", file="p")),)), "120b0a09080710011a031a0170"),
        (Rejections((Rejection(7, 2, "Shutdown"),)), "1a100a0e080710021a0853687574646f776e"),
        (
            Rejections((Rejection(7, 2, "503", "busy", "transient", 1500, True, "r-1"),)),
            "1a260a24080710021a033530332204627573792a097472616e7369656e7430dc0b38014203722d31",
        ),
        (
            Completions((Completion(7, 1, Result(b"no"), Failure("Odd", "no", "internal")),)),
            "12210a1f080710011a040a026e6f22130a034f646412026e6f1a08696e7465726e616c",
        ),
    ],
)
def test_the_bytes_of_a_workers_messages_stay_what_they_are(
    message: FromWorker, encoded: str
) -> None:
    assert encode_from_worker(message).hex() == encoded
    assert decode_from_worker(bytes.fromhex(encoded)) == message


@pytest.mark.parametrize(
    ("message", "encoded"),
    [
        # As services before failure types said it, and now.
        (
            Deliveries((Delivery(7, 2, "r-1", b"hi", max_delivery=5),)),
            "12110a0f0807100218052203722d3132026869",
        ),
        (
            Deliveries(
                (
                    Delivery(
                        index=7,
                        attempt=2,
                        request_id="r-1",
                        data=b"hi",
                        max_delivery=5,
                        retry=AttemptPolicy(5, 1.5, 2.0, 60.0, 0.25),
                        alone=True,
                    ),
                )
            ),
            "122e0a2c0807100218052203722d3132026869"
            "721908dc0b11000000000000004018e0d40321000000000000d03f7801",
        ),
        (
            Deliveries(
                (Delivery(7, 2, "r-1", b"", payload_file=FileRef("p", 3, "ab", "a/b", "x.y")),)
            ),
            "12210a1f080710022203722d319201130a017010031a0261622203612f622a03782e79",
        ),
    ],
)
def test_the_bytes_of_a_delivery_stay_what_they_are(message: ToWorker, encoded: str) -> None:
    assert encode_to_worker(message).hex() == encoded
    assert decode_to_worker(bytes.fromhex(encoded)) == message


def test_a_side_without_files_and_a_side_with_them_understand_each_other() -> None:
    """An older side sends none of the new fields: then nothing says that it takes files."""
    hello = decode_from_worker(encode_from_worker(Hello(uid="w", window=1)))
    assert isinstance(hello, Hello)
    assert not hello.takes_files
    welcome = decode_to_worker(encode_to_worker(Welcome(service="demo", lease_ms=1)))
    assert isinstance(welcome, Welcome)
    assert welcome.inline_bytes == 0
    delivered = decode_to_worker(encode_to_worker(Deliveries((Delivery(1, 1, "r", b"x"),))))
    assert isinstance(delivered, Deliveries)
    assert delivered.deliveries[0].payload_file is None
    assert delivered.deliveries[0].files == ()


def test_no_result_and_an_empty_result_are_different_things() -> None:
    for result in (None, Result(b"")):
        message = Completions((Completion(1, 1, result),))
        assert decode_from_worker(encode_from_worker(message)) == message


def test_messages_laid_end_to_end_are_one_message_with_all_their_answers() -> None:
    first, second = Completion(1, 1, Result(b"a")), Completion(2, 1, None)
    joined = b"".join(encode_from_worker(Completions((item,))) for item in (first, second))
    assert decode_from_worker(joined) == Completions((first, second))


@given(st.binary(max_size=200))
def test_foreign_bytes_are_a_message_or_a_wire_error(data: bytes) -> None:
    decoders: tuple[Callable[[bytes], object], ...] = (decode_from_worker, decode_to_worker)
    for decode in decoders:
        with contextlib.suppress(WireError):
            decode(data)


def test_a_message_without_content_is_a_wire_error() -> None:
    with pytest.raises(WireError, match="one of hello, complete, reject, renew, window"):
        decode_from_worker(b"")
    with pytest.raises(WireError, match="one of welcome, deliver, outcome"):
        decode_to_worker(b"")


def test_the_last_attempt_is_known_only_under_a_limit() -> None:
    assert Delivery(1, 5, "r", b"", max_delivery=5).last_attempt
    assert not Delivery(1, 4, "r", b"", max_delivery=5).last_attempt
    assert not Delivery(1, 99, "r", b"", max_delivery=0).last_attempt


@given(st.floats(), HOSTILE, HOSTILE, st.text(st.characters(exclude_categories=["Cs"])))
def test_a_load_has_only_numbers_that_can_be(
    load_s: float, utilization: float, cpu_percent: float, state: str
) -> None:
    said = Load(
        load_s=load_s, gpu_utilization=utilization, cpu_percent=cpu_percent, state=state * 50
    )
    read = decode_from_worker(encode_from_worker(Renew(said)))
    assert isinstance(read, Renew)
    assert read.load is not None
    assert 0 <= read.load.load_s <= 86_400
    assert 0 <= read.load.gpu_utilization <= 1
    assert read.load.cpu_percent is not None
    assert 0 <= read.load.cpu_percent <= 1000
    assert len(read.load.state) <= 64
