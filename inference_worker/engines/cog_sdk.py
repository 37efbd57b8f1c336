"""The module that `import cog` finds: replaces Cog's public names, so that predictors run
unchanged.

Cog need not be installed.  Its server, metrics and downloads are missing on purpose: the worker is
the server, metrics are logged, and files are part of the job.
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

#: The attribute with the number of calls of a function that may run at once.
CONCURRENT_MAX = "__cog_concurrent_max__"

MISSING = inspect.Parameter.empty

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class FieldInfo:
    """The default of a parameter, and the rules for its values."""

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
    """Replace `cog.Input`; arguments of newer versions of Cog are accepted and ignored."""
    known = {field.name for field in dataclasses.fields(FieldInfo)}
    return FieldInfo(default, **{name: value for name, value in more.items() if name in known})


class _InModels:
    """Lets pydantic accept only instances for a field of this type, never text."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> core_schema.CoreSchema:
        taken = pathlib.PurePath if issubclass(cls, pathlib.PurePath) else cls
        return core_schema.is_instance_schema(io.IOBase if cls is File else taken)


class Path(_InModels, type(pathlib.Path())):  # type: ignore[misc]
    """A file of a job, or of its output."""


class File(_InModels, io.IOBase):
    """The annotation of an input that is passed as an open file."""


@dataclasses.dataclass(frozen=True)
class Secret(_InModels):
    """A text that is not shown in logs."""

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

    Trailing fields that may be None are optional, as in older versions of Cog, which used pydantic.
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
    """The same for an async generator."""


class CancelationException(BaseException):
    """Raised by Cog in a canceled predict."""


class ExperimentalFeatureWarning(FutureWarning):
    """A warning of older versions of Cog, which predictors filter out."""


class Opaque:
    """Marks an input, inside `Annotated`, that is any JSON."""


class Metrics(dict[str, Any]):
    """The numbers that a predict records."""

    def record(self, name: str, value: Any, mode: str = "replace") -> None:
        """Set a number, add to it with `incr`, or collect values with `append`."""
        if value is None:
            self.pop(name, None)
        elif mode == "incr":
            self[name] = self.get(name, 0) + value
        elif mode == "append":
            self[name] = [*self.get(name, ()), value]
        else:
            self[name] = value


class Scope:
    """The state of one job.  context: the `context` of its request."""

    def __init__(self, context: Mapping[str, Any] | None = None) -> None:
        self.metrics = Metrics()
        self.context = dict(context or {})

    def record_metric(self, name: str, value: Any, mode: str = "replace") -> None:
        """Record a number; the worker logs it at level DEBUG."""
        self.metrics.record(name, value, mode)
        log.debug("metric %s: %r", name, self.metrics.get(name))


_scope: ContextVar[Scope | None] = ContextVar("cog_scope", default=None)


def enter_scope(context: Mapping[str, Any] | None) -> None:
    """Start the scope of a job in this thread or task."""
    _scope.set(Scope(context))


def current_scope() -> Scope:
    """Return the scope of the current job; outside of a job, an empty one."""
    return _scope.get() or Scope()


def emit_metric(name: str, value: Any) -> None:
    """Record a number."""
    current_scope().record_metric(name, value)


class BaseRunner:
    """Replaces `cog.BaseRunner` as a base class."""

    @property
    def scope(self) -> Scope:
        """The scope of the current job."""
        return current_scope()

    def record_metric(self, key: str, value: Any, mode: str = "replace") -> None:
        """Record a number."""
        current_scope().record_metric(key, value, mode)


class BasePredictor(BaseRunner):
    """The old name of BaseRunner."""


def streaming(function: Function | None = None) -> Any:
    """Do nothing: every generator is streamed."""
    return function if function is not None else lambda inner: inner


def concurrent(function: Function | None = None, *, max: int = 1) -> Any:
    """Set how many calls of an async function may run at once."""

    def decorate(inner: Function) -> Function:
        setattr(inner, CONCURRENT_MAX, max)
        return inner

    return decorate(function) if function is not None else decorate


#: The names of `cog`, and of each of its modules that predictors import from.
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
    """Make `import cog` find the names above."""
    for name in _MODULES:
        module = types.ModuleType(name, __doc__)
        vars(module).update(NAMES)
        sys.modules[name] = module
    # A package, so that its modules can be imported.
    vars(sys.modules["cog"])["__path__"] = []
