"""Predictors as Cog's users write them: inputs, outputs, and no file of this machine."""

import base64
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from inference_worker.engines.engine import Context, EngineState, Failed
from inference_worker.engines.handler import HandlerEngine
from inference_worker.errors import BadEngine
from tests.inference_worker.written_handlers import Written, load, read

Cog = Callable[..., Awaitable[Written]]

PNG = "data:image/png;base64," + base64.b64encode(b"an image").decode()
TEXT = "data:text/plain,hello%20there"
NO_FILES = [
    "/etc/hostname",
    "file:///etc/hostname",
    "http://169.254.169.254/latest",
    "https://example.com/x.png",
    "../secret",
    "",
    7,
    {"path": "/etc/hostname"},
]


@pytest.fixture
async def cog(tmp_path: Path) -> AsyncIterator[Cog]:
    started: list[Written] = []

    async def start(source: str, name: str = "Predictor") -> Written:
        written = await load(tmp_path, "cog", name, source)
        started.append(written)
        return written

    yield start
    for written in started:
        await written.engine.stop(1.0)


def left_behind() -> set[str]:
    return {path.name for path in Path(tempfile.gettempdir()).glob("penstock-input-*")}


FILES = """
    from typing import List, Optional
    from cog import BasePredictor, File, Input, Path

    class Predictor(BasePredictor):
        def predict(
            self,
            one: Path = Input(description="one"),
            many: list[Path] = Input(description="many", default=None),
            maybe: Optional[Path] = None,
            older: Path = Input(default=None),
            opened: File = Input(default=None),
            named: Optional[dict[str, Path]] = Input(default=None),
        ) -> list[str]:
            assert opened is None or opened.read() == b"hello there", opened
            files = [one, *(many or []), *(named or {}).values()]
            assert all(isinstance(file, Path) for file in files)
            return [f"{file.suffix} {file.read_text()}" for file in files] + [
                str(maybe), str(older)
            ]
"""


async def test_files_come_as_data_urls_with_their_suffix(cog: Cog) -> None:
    before = left_behind()
    predictor = await cog(FILES)
    named = "data:application/octet-stream;name=weights.ckpt;base64,YWJj"
    assert await predictor.ask(
        one=PNG,
        many=[TEXT, named, "data:image/webp;base64,YWJj"],
        maybe=None,
        older=None,
        opened=TEXT,
        named={"a": PNG},
    ) == [
        ".png an image",
        ".txt hello there",
        ".ckpt abc",
        ".webp abc",
        ".png an image",
        "None",
        "None",
    ]
    assert await predictor.ask(one=TEXT) == [".txt hello there", "None", "None"]
    assert left_behind() <= before


@pytest.mark.parametrize("value", NO_FILES)
async def test_no_path_and_no_address_is_opened_at_any_depth(cog: Cog, value: object) -> None:
    before = left_behind()
    predictor = await cog(FILES)
    for inputs in (
        {"one": value},
        {"one": PNG, "many": [PNG, value]},
        {"one": PNG, "maybe": value},
        {"one": PNG, "older": value},
        {"one": PNG, "opened": value},
        {"one": PNG, "named": {"a": value}},
    ):
        end = await predictor.ask(**inputs)
        assert isinstance(end, Failed), inputs
        assert (end.code, end.retryable) == ("BadInput", False)
    assert left_behind() <= before


async def test_files_in_structured_inputs_are_data_urls_too(cog: Cog) -> None:
    predictor = await cog(
        """
        from pathlib import Path as PlainPath
        from typing import NewType, TypedDict
        import pydantic
        from cog import BaseModel, BasePredictor, Path

        class Options(BaseModel):
            mask: Path
            strength: float = 1.0

        class Other(pydantic.BaseModel):
            mask: PlainPath

        class Third(TypedDict):
            mask: Path

        Image = NewType("Image", PlainPath)

        class Fourth(pydantic.BaseModel):
            mask: Image
            inner: "Fourth | None" = None

        class Predictor(BasePredictor):
            def predict(
                self, a: Options = None, b: Other = None, c: Third = None, d: Fourth = None
            ) -> str:
                given = a or b or c or d
                mask = given["mask"] if isinstance(given, dict) else given.mask
                return mask.read_text()
        """
    )
    for name in "abcd":
        assert await predictor.ask(**{name: {"mask": TEXT}}) == b"hello there"
        end = await predictor.ask(**{name: {"mask": "/etc/hostname"}})
        assert isinstance(end, Failed)
        assert end.code == "BadInput"


async def test_inputs_are_checked_as_their_fields_say(cog: Cog) -> None:
    predictor = await cog(
        """
        from cog import BaseRunner, Input, Secret

        class Predictor(BaseRunner):
            def run(
                self,
                key: Secret,
                most: int = Input(default=5, ge=1, le=10, deprecated=True),
                name: str = Input(default="ab", min_length=2, max_length=4, regex="^[a-z]+$"),
                style: str = Input(default="fast", choices=["fast", "slow"]),
                tags: list[str] = Input(default=[], choices=["x", "y"]),
                url: str | None = None,
                required_or_not: "str | None" = Input(description="no default"),
            ) -> list:
                assert "hunter2" not in f"{key} {key!r}"
                return [key.get_secret_value(), most, name, style, tags, url, required_or_not]
        """
    )
    assert await predictor.ask(key="hunter2", url="https://example.com") == [
        *("hunter2", 5, "ab", "fast", [], "https://example.com", None)
    ]
    for inputs, sentence in (
        ({}, "the input key is missing"),
        ({"key": "k", "most": 0}, "the input most is below 1"),
        ({"key": "k", "most": 11}, "the input most is above 10"),
        ({"key": "k", "most": "many"}, "the input most: Input should be a valid integer"),
        ({"key": "k", "name": "a"}, "the input name is shorter than 2"),
        ({"key": "k", "name": "abcde"}, "the input name is longer than 4"),
        ({"key": "k", "name": "AB"}, "the input name does not match"),
        ({"key": "k", "style": "loud"}, "the input style is none of"),
        ({"key": "k", "tags": ["x", "z"]}, "the input tags is none of"),
        ({"key": None}, "the input key: Input should be a valid string"),
    ):
        end = await predictor.ask(**inputs)
        assert isinstance(end, Failed)
        assert sentence in end.message


async def test_files_in_an_output_are_data_urls_and_a_file_alone_is_itself(cog: Cog) -> None:
    predictor = await cog(
        """
        import io, tempfile
        from typing import Any, List, Optional
        import pydantic
        from cog import BaseModel, BasePredictor, Path

        class Output(BaseModel):
            image: Path
            score: float
            note: Optional[str]

        class Plain(pydantic.BaseModel):
            images: List[Path]

        def made(name, text):
            path = Path(tempfile.mkdtemp()) / name
            path.write_text(text)
            return path

        class Predictor(BasePredictor):
            def predict(self, kind: str) -> Any:
                match kind:
                    case "one": return made("a.png", "a")
                    case "list": return [made("a.png", "a"), made("b.txt", "b")]
                    case "dict": return {"x": made("a.png", "a"), "y": [made("b.txt", "b")]}
                    case "model": return Output(image=made("a.png", "a"), score=0.5)
                    case "pydantic": return Plain(images=[made("a.png", "a")])
                    case "opened": return io.BytesIO(b"bytes")
                    case "none": return None
        """
    )
    a, b = "data:image/png;base64,YQ==", "data:text/plain;base64,Yg=="
    assert await predictor.ask(kind="one") == b"a"
    assert await predictor.ask(kind="list") == [a, b]
    assert await predictor.ask(kind="dict") == {"x": a, "y": [b]}
    assert await predictor.ask(kind="model") == {"image": a, "score": 0.5, "note": None}
    assert await predictor.ask(kind="pydantic") == {"images": [a]}
    assert await predictor.ask(kind="opened") == b"bytes"
    assert await predictor.ask(kind="none") == b""


async def test_an_iterator_is_a_list_and_a_concatenate_iterator_is_one_text(cog: Cog) -> None:
    source = """
        import tempfile
        from typing import AsyncIterator, Iterator
        from cog import AsyncConcatenateIterator, BasePredictor, ConcatenateIterator, Path
        from cog import concurrent, streaming

        class Files(BasePredictor):
            def predict(self) -> Iterator[Path]:
                for name in ("a.png", "b.txt"):
                    path = Path(tempfile.mkdtemp()) / name
                    path.write_text(name[0])
                    yield path

        class Texts(BasePredictor):
            @streaming
            def run(self) -> Iterator[str]:
                yield from ("a", "b")

        class Joined(BasePredictor):
            def predict(self) -> ConcatenateIterator[str]:
                yield from ("a", "b")

        class AsyncTexts(BasePredictor):
            async def setup(self): pass
            async def predict(self) -> AsyncIterator[str]:
                for text in ("a", "b"): yield text

        class AsyncJoined(BasePredictor):
            @concurrent(max=3)
            async def run(self) -> AsyncConcatenateIterator[str]:
                for text in ("a", "b"): yield text
    """
    files = await cog(source, "Files")
    images = ["data:image/png;base64,YQ==", "data:text/plain;base64,Yg=="]
    assert await files.ask() == images
    assert files.pieces == [image.encode() for image in images]
    for name, output in (
        ("Texts", ["a", "b"]),
        ("Joined", b"ab"),
        ("AsyncTexts", ["a", "b"]),
        ("AsyncJoined", b"ab"),
    ):
        predictor = await cog(source, name)
        assert await predictor.ask() == output, name
        assert predictor.pieces == [b"a", b"b"]
        assert predictor.engine.capacity == (3 if name == "AsyncJoined" else 1)


async def test_functions_scopes_and_the_rest_of_the_package(cog: Cog) -> None:
    source = """
        import warnings
        import cog
        from cog import CancelationException, ExperimentalFeatureWarning, Input, Opaque
        from cog import BasePredictor, __version__, current_scope, emit_metric
        from cog.types import Path
        from typing import Annotated

        warnings.filterwarnings("ignore", category=ExperimentalFeatureWarning)

        def run(text: str = Input(description="a text"), more: Annotated[dict, Opaque] = None):
            scope = current_scope()
            scope.record_metric("count", 1, mode="incr")
            scope.record_metric("count", 2, mode="incr")
            scope.record_metric("tags", "x", mode="append")
            emit_metric("tokens", 3)
            cog.emit_metric("more", 4)
            return {"context": scope.context, "metrics": scope.metrics, "text": text}

        class Predictor(BasePredictor):
            def setup(self, weights=None):
                self.weights = weights
            def predict(self) -> str:
                self.record_metric("a", 1)
                return f"{self.weights} {self.scope.metrics['a']}"
            def healthcheck(self) -> bool:
                return False

        def train(n: int) -> str:
            raise SystemExit("not called")
    """
    function = await cog(source, "run")
    body = {"input": {"text": "x"}, "context": {"region": "eu"}}
    end = await function.end(body)
    assert not isinstance(end, Failed), end
    assert await function.ask(text="x") == {
        "context": {},
        "metrics": {"count": 3, "tags": ["x"], "tokens": 3, "more": 4},
        "text": "x",
    }
    assert b'"region": "eu"' in end.output
    # A module without a name gives its Runner or Predictor; no input needs no payload.
    predictor = await cog(source, "")
    end = await predictor.end(b"")
    assert not isinstance(end, Failed), end
    assert end.output == b"None 1"
    assert (await predictor.engine.health()).state is EngineState.DEAD


async def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    engine = HandlerEngine(f"{tmp_path}/none_there.py:Predictor", kind="cog")
    with pytest.raises(BadEngine, match=r"expected a Python file .*none_there\.py, got none"):
        await engine.start(Context())
    await engine.stop(1.0)


async def test_a_request_of_cogs_server_without_inputs_is_one(cog: Cog) -> None:
    predictor = await cog(
        """
        from cog import BasePredictor, current_scope

        class Predictor(BasePredictor):
            def predict(self, name: str = "nobody") -> str:
                return f"{name} {current_scope().context}"
        """
    )
    request = {"id": "one", "webhook": "http://x/", "webhook_events_filter": ["completed"]}
    for body, expected in (
        (request, b"nobody {}"),
        ({**request, "context": {"a": "b"}}, b"nobody {'a': 'b'}"),
        ({"name": "me"}, b"me {}"),
        ({}, b"nobody {}"),
    ):
        assert read(await predictor.end(body)) == expected
    refused = await predictor.end({"name": "me", "webhook": "http://x/"})
    assert isinstance(refused, Failed)
    assert "no such input: webhook" in refused.message
