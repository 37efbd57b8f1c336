"""What `import cog` finds: stand-ins for Cog's public names, so that a predictor runs unchanged.

Cog itself need not be installed.  Its server, its metrics and its downloads are not here: the
worker is the server, metrics are logged, and files come inside the job.
"""

import dataclasses
import inspect
import io
import logging
import pathlib
import sys
import types
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, Generic, TypeVar, get_args

from pydantic_core import core_schema

T = TypeVar("T")
Function = TypeVar("Function", bound=Callable[..., Any])

#: Where a function says how many of its calls may run at once.
CONCURRENT_MAX = "__cog_concurrent_max__"

MISSING = inspect.Parameter.empty

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class FieldInfo:
    """The default of a parameter, and what its values may be."""

    default: Any = MISSING
    description: str | None = None
    ge: float | None = None
    le: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    regex: str | None = None
    choices: list[Any] | None = None
    deprecated: bool | None = None
    accept: str | None = None


def Input(default: Any = MISSING, **more: Any) -> Any:
    """Stand for `cog.Input`; what a newer Cog adds is accepted and left alone."""
    known = {field.name for field in dataclasses.fields(FieldInfo)}
    return FieldInfo(default, **{name: value for name, value in more.items() if name in known})


class _InModels:
    """What pydantic takes for a field of such a type: an instance, and never a text."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> core_schema.CoreSchema:
        taken = pathlib.PurePath if issubclass(cls, pathlib.PurePath) else cls
        return core_schema.is_instance_schema(io.IOBase if cls is File else taken)


class Path(_InModels, type(pathlib.Path())):  # type: ignore[misc]
    """A file of a job, or of its output."""


class File(_InModels, io.IOBase):
    """The annotation of an input that is given as an open file."""


@dataclasses.dataclass(frozen=True)
class Secret(_InModels):
    """A text that does not show itself."""

    secret_value: str | None = None

    def __repr__(self) -> str:
        return f"Secret({self})"

    def __str__(self) -> str:
        return "" if self.secret_value is None else "**********"

    def get_secret_value(self) -> str | None:
        """Return the text."""
        return self.secret_value


class BaseModel:
    """A base class whose subclasses become dataclasses, for structured outputs.

    Trailing fields that may be None need not be given, as when Cog's own was one of pydantic's.
    """

    def __init_subclass__(cls, *, auto_dataclass: bool = True, **options: Any) -> None:
        super().__init_subclass__()
        if not auto_dataclass:
            return
        for name, hint in reversed(list(inspect.get_annotations(cls).items())):
            if name in vars(cls):
                continue
            if type(None) not in get_args(hint) and "None" not in str(hint):
                break
            setattr(cls, name, None)
        dataclasses.dataclass(**options)(cls)

    def dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]

    model_dump = dict


class ConcatenateIterator(Iterator[T], Generic[T]):
    """The annotation of an output whose pieces are one text."""


class AsyncConcatenateIterator(AsyncIterator[T], Generic[T]):
    """The same, of an async generator."""


class CancelationException(BaseException):
    """What Cog raises in a predict that is canceled."""


class ExperimentalFeatureWarning(FutureWarning):
    """A warning that Cog does not give any more, and that predictors filter out."""


class Opaque:
    """Marks an input, inside `Annotated`, that is any JSON."""


class Metrics(dict[str, Any]):
    """The numbers that a predict records."""

    def record(self, name: str, value: Any, mode: str = "replace") -> None:
        """Set a number, add to it with `incr`, or gather values with `append`."""
        if value is None:
            self.pop(name, None)
        elif mode == "incr":
            self[name] = self.get(name, 0) + value
        elif mode == "append":
            self[name] = [*self.get(name, ()), value]
        else:
            self[name] = value


class Scope:
    """What belongs to one job.  context: the `context` beside its input."""

    def __init__(self, context: Mapping[str, Any] | None = None) -> None:
        self.metrics = Metrics()
        self.context = dict(context or {})

    def record_metric(self, name: str, value: Any, mode: str = "replace") -> None:
        """Record a number; the worker logs it at level DEBUG."""
        self.metrics.record(name, value, mode)
        log.debug("metric %s: %r", name, self.metrics.get(name))


_scope: ContextVar[Scope | None] = ContextVar("cog_scope", default=None)


def enter_scope(context: Mapping[str, Any] | None) -> None:
    """Begin the scope of a job in this thread, or in this task."""
    _scope.set(Scope(context))


def current_scope() -> Scope:
    """Return the scope of the job that runs here; outside of one, an empty one."""
    return _scope.get() or Scope()


def emit_metric(name: str, value: Any) -> None:
    """Record a number."""
    current_scope().record_metric(name, value)


class BaseRunner:
    """What `cog.BaseRunner` is to a class that derives from it."""

    @property
    def scope(self) -> Scope:
        """The scope of the job that runs here."""
        return current_scope()

    def record_metric(self, key: str, value: Any, mode: str = "replace") -> None:
        """Record a number."""
        current_scope().record_metric(key, value, mode)


class BasePredictor(BaseRunner):
    """The older name."""


def streaming(function: Function | None = None) -> Any:
    """Do nothing: whatever yields is streamed."""
    return function if function is not None else lambda inner: inner


def concurrent(function: Function | None = None, *, max: int = 1) -> Any:
    """Say how many calls of an async function may run at once."""

    def decorate(inner: Function) -> Function:
        setattr(inner, CONCURRENT_MAX, max)
        return inner

    return decorate(function) if function is not None else decorate


#: What `cog` gives, and each of its modules that predictors import from.
NAMES: dict[str, Any] = {
    "AsyncConcatenateIterator": AsyncConcatenateIterator,
    "BaseModel": BaseModel,
    "BasePredictor": BasePredictor,
    "BaseRunner": BaseRunner,
    "CancelationException": CancelationException,
    "ConcatenateIterator": ConcatenateIterator,
    "ExperimentalFeatureWarning": ExperimentalFeatureWarning,
    "FieldInfo": FieldInfo,
    "File": File,
    "Input": Input,
    "Opaque": Opaque,
    "Path": Path,
    "Secret": Secret,
    "URLFile": File,
    "URLPath": Path,
    "__version__": "0.0.0+penstock",
    "concurrent": concurrent,
    "current_scope": current_scope,
    "emit_metric": emit_metric,
    "streaming": streaming,
}

_MODULES = ("cog", "cog.types", "cog.input", "cog.model", "cog.predictor", "cog.errors")


def install() -> None:
    """Let `import cog` find what is above."""
    for name in _MODULES:
        module = types.ModuleType(name, __doc__)
        vars(module).update(NAMES)
        sys.modules[name] = module
    # A package, so that its modules can be imported.
    vars(sys.modules["cog"])["__path__"] = []
