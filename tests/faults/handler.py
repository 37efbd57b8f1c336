"""What the workers of a run compute: the input again, after the time that it asks for.

A payload is `<request id> <delay in ms>`, and behind it a word for what becomes of each attempt,
in their order; an attempt without a word succeeds.

| word   | what becomes of the attempt                               |
|--------|-----------------------------------------------------------|
| `t`    | it fails as a network does that is away                   |
| `r250` | it asks for another one after 250 ms                      |
| `i`    | it fails with an error that says nothing                  |
| `o`    | it has no memory                                          |
| `h`    | it never ends                                             |
| `b`    | it refuses the input, for good                            |

A large payload begins with that text (see contents.py), and has two more numbers: the bytes of the
result, and how many artifacts there are beside it.
"""

from typing import Any

from inference_worker import BadInput, Retryable
from tests.faults import contents
from tests.waiting import let_pass

#: An hour, which no attempt may run.
FOR_EVER_S = 3600.0
#: The tag of a large job that says of which request it is.
NAME_TAG = "of"
#: Bytes of an artifact.
ARTIFACT_BYTES = 80_000
#: How the result begins of a large payload that is not what was sent.
WRONG = b"wrong bytes: "


def encode(request_id: str, delay_ms: int, failures: tuple[str, ...] = ()) -> bytes:
    """Return the payload of a request that takes this long, and first fails like this."""
    return " ".join((request_id, str(delay_ms), *failures)).encode()


def request_of(data: bytes) -> str:
    """Return whose data these are."""
    return contents.text_of(data).partition(" ")[0]


def attempt_of(result: bytes) -> int:
    """Return the attempt that made this result."""
    return int(contents.text_of(result).rpartition(" ")[2])


async def predict(data: bytes, ctx: Any) -> bytes:
    """Take the time, and give the input back with the number of the attempt, or fail."""
    if contents.is_large(data) and (wrong := contents.what_is_wrong(data)):
        return WRONG + wrong.encode()
    text = contents.text_of(data)
    _, delay_ms, *failures = text.split(" ")
    if int(delay_ms):
        await let_pass(int(delay_ms) / 1000)
    for word in failures[ctx.attempt - 1 : ctx.attempt]:
        await _fail(word)
    if not contents.is_large(data):
        return b"%s %d" % (data, ctx.attempt)
    size_bytes, artifacts = contents.numbers_of(data)
    for number in range(artifacts):
        made = contents.large(f"{text} {ctx.attempt} {number}", ARTIFACT_BYTES)
        ctx.artifact(f"part-{number}.bin", made)
    return contents.large(f"{text} {ctx.attempt}", size_bytes, artifacts)


async def _fail(word: str) -> None:
    match word[0]:
        case "t":
            raise ConnectionError("a server is away")
        case "r":
            raise Retryable("in a moment", after_s=int(word[1:]) / 1000)
        case "o":
            raise MemoryError
        case "h":
            await let_pass(FOR_EVER_S)
        case "b":
            raise BadInput("nothing will help")
        case _:
            raise ValueError("something is wrong")
