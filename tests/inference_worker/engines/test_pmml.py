"""The engine `pmml`: a real model, a real Java, and what is said when one of them is missing."""

import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from inference_worker.engines.engine import Context, Event, Failed, Finished, Job
from inference_worker.engines.load import EngineSpec, load_engine
from inference_worker.engines.pmml import PmmlOptions, read_text
from inference_worker.errors import BadEngine, EngineFailed
from inference_worker.logs import LogSettings
from inference_worker.process import EngineProcess
from tests.inference_worker.test_process import Spawn, spawn

__all__ = ["spawn"]  # a fixture

pytest.importorskip("pypmml", reason="the extra `pmml` is not installed")

MODEL = Path(__file__).parents[3] / "examples" / "pmml_model" / "flowers.pmml"

SETOSA = {"flower": "setosa", "p_setosa": 1.0, "p_versicolor": 0.0, "p_virginica": 0.0}
VIRGINICA = {"flower": "virginica", "p_setosa": 0.0, "p_versicolor": 0.1, "p_virginica": 0.9}
NOTHING = dict.fromkeys(SETOSA)


async def end_of(engine: EngineProcess, value: object) -> Event:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return [event async for event in engine.run(Job("r", data))][-1]


async def test_records_are_evaluated_one_alone_and_many_at_once(spawn: Spawn) -> None:
    engine = await spawn(f"pmml:{MODEL}", capacity=3)
    assert engine.capacity == 3
    short, wide = {"petal_length": 1.4, "petal_width": 0.2}, {"petal_length": 6, "petal_width": 2}
    for value, expected in [
        (short, SETOSA),
        ([short, wide], [SETOSA, VIRGINICA]),
        ([wide] * 500, [VIRGINICA] * 500),
        ({**wide, "colour": "blue", "smell": None}, VIRGINICA),
        # What is missing, or no number, is a missing value: the standard leaves that to the model.
        ([{"petal_length": 6}, {"petal_length": "tall", "petal_width": 2}], [NOTHING, NOTHING]),
    ]:
        end = await end_of(engine, value)
        assert isinstance(end, Finished)
        assert json.loads(end.output) == expected
        assert list(json.loads(end.output)[0] if isinstance(value, list) else SETOSA) == list(
            SETOSA
        )
    for bad in (
        b"",
        b"flower",
        [],
        {},
        [1, 2],
        7,
        "x",
        [short, [1]],
        {"petal_length": [1]},
        b"[NaN]",
    ):
        failed = await end_of(engine, bad)
        assert isinstance(failed, Failed)
        assert (failed.code, failed.retryable) == ("BadInput", False)


@pytest.fixture
def folder_url() -> Iterator[str]:
    """Serve the example's folder over HTTP."""
    handler = partial(_Quiet, directory=str(MODEL.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


async def test_a_model_may_lie_behind_a_url(spawn: Spawn, folder_url: str) -> None:
    engine = await spawn(f"pmml:{folder_url}/flowers.pmml?signature=secret")
    assert engine.name.startswith(f"pmml:{folder_url}/flowers.pmml")
    end = await end_of(engine, {"petal_length": 1.4, "petal_width": 0.2})
    assert isinstance(end, Finished)
    assert json.loads(end.output) == SETOSA


def test_a_model_may_be_given_as_a_file_url_or_in_any_place_that_fsspec_knows() -> None:
    fsspec = pytest.importorskip("fsspec")
    with fsspec.open("memory://models/flowers.pmml", "wb") as copy:
        copy.write(b"\xef\xbb\xbf" + MODEL.read_bytes())
    text = MODEL.read_text()
    assert read_text("memory://models/flowers.pmml", PmmlOptions()) == text
    assert read_text(MODEL.as_uri(), PmmlOptions()) == text


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (None, "FileNotFoundError: "),
        ("<PMML/>", "PMMLError: Required attribute 'version' is missing"),
        ("<PMML", "PMMLError: "),
        ("", "PMMLError: "),
    ],
)
async def test_a_model_that_is_none_does_not_load(
    spawn: Spawn, tmp_path: Path, text: str | None, cause: str
) -> None:
    path = tmp_path / "model.pmml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(EngineFailed) as failed:
        await spawn(f"pmml:{path}")
    assert cause in failed.value.cause
    assert "\n" not in failed.value.cause


@pytest.mark.parametrize("missing", ["pypmml", "fsspec"])
async def test_without_the_extra_it_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, missing: str
) -> None:
    (tmp_path / f"{missing}.py").write_text(
        f"raise ModuleNotFoundError(\"No module named '{missing}'\", name='{missing}')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    where = str(MODEL) if missing == "pypmml" else "s3://bucket/flowers.pmml"
    engine = EngineProcess(EngineSpec(f"pmml:{where}"), logs=LogSettings())
    with pytest.raises(EngineFailed) as failed:
        await engine.start(Context())
    assert (
        failed.value.cause
        == f"No module named '{missing}'; install the extra `pmml` of this package"
    )


def test_a_pmml_engine_needs_a_path_and_knows_its_options() -> None:
    with pytest.raises(BadEngine):
        load_engine(EngineSpec("pmml:"))
    with pytest.raises(BadEngine, match="options that pmml knows"):
        load_engine(EngineSpec("pmml:x", {"colour": 1}))
