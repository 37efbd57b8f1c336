"""The service of `penstock up`: what its options change about a service that may exist already.

An option changes the service if you give it, or if its value differs from that of the last start.
Everything else stays, because `scale`, `modify` or the admin API may have changed it since.  The
functions here only decide; `services.py` applies what they return.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from deploy.local.wish import Asked, Wish


@dataclass(frozen=True, slots=True)
class OwnService:
    """What one `penstock up` asks for.

    given: names of the options that the command line or the environment sets: workers, engine,
        engine_options, window, gpus, token, and the settings of the queues.
    worker_token: the generated one.
    """

    name: str
    asked: Asked
    given: Collection[str]
    worker_token: str

    def wish(self, kept: Wish | None) -> Wish:
        """Return the wanted state.  kept: the state before; None if there is no such service."""
        asked = self.asked
        if kept is None:
            return Wish(
                name=self.name,
                token=SecretStr(asked.token),
                worker_token=SecretStr(self.worker_token),
                settings=asked.settings,
                instances=asked.instances,
                worker=asked.worker,
                folder=asked.folder,
                gpus=asked.gpus,
                up=asked,
            )
        now: dict[str, Any] = {"up": asked, "settings": self.settings(kept.settings, kept)}
        if self._changes("workers", kept, lambda one: one.instances):
            now["instances"] = asked.instances
        if self._changes("gpus", kept, lambda one: one.gpus):
            now["gpus"] = asked.gpus
        if self.changes_token(kept):
            now["token"] = SecretStr(asked.token)
        if kept.up is not None:
            now["worker_token"] = SecretStr(self.worker_token)
        return kept.model_copy(update=now | self._worker(kept))

    def settings(self, known: Mapping[str, Any], kept: Wish | None) -> dict[str, Any]:
        """Return the settings of its queues.  known: those before."""
        now = dict(known)
        for name, value in self.asked.settings.items():
            if self._changes(name, kept, _setting(name)):
                # An option says nothing about the rest of a queue's settings.
                now[name] = {**known.get(name, {}), **value} if isinstance(value, dict) else value
        return now

    def changes_token(self, kept: Wish | None) -> bool:
        """Say whether the service must get the token that was asked for."""
        return self._changes("token", kept, lambda one: one.token)

    def overridden(self, wish: Wish, settings: Mapping[str, Any]) -> Iterator[str]:
        """Yield what earlier changes have set to something else than the options."""
        asked = self.asked
        if wish.instances != asked.instances:
            yield f"{wish.instances} workers"
        if wish.worker.engine != asked.worker.engine:
            yield f"the engine {wish.worker.engine}"
        elif wish.worker.window != asked.worker.window:
            yield f"a window of {wish.worker.window}"
        for name, value in asked.settings.items():
            if _differs(settings.get(name), value):
                yield f"the setting {name}"

    def _worker(self, kept: Wish) -> dict[str, Any]:
        asked = self.asked
        if self._changes("engine", kept, lambda one: one.worker.engine) or self._changes(
            "engine_options", kept, lambda one: one.worker.engine_options
        ):
            # What a service.json says of its engine is not for the engine of the command line.
            return {"worker": asked.worker, "folder": asked.folder}
        now: dict[str, Any] = {}
        if kept.worker.engine == asked.worker.engine:
            now["folder"] = asked.folder
        if self._changes("window", kept, lambda one: one.worker.window):
            now["worker"] = kept.worker.model_copy(update={"window": asked.worker.window})
        return now

    def _changes(self, option: str, kept: Wish | None, part: Callable[[Asked], object]) -> bool:
        # A service of `penstock create` has no options of a last start to compare with.
        last = kept.up if kept and kept.up else self.asked
        return option in self.given or part(self.asked) != part(last)


def _setting(name: str) -> Callable[[Asked], object]:
    return lambda one: one.settings.get(name)


def _differs(known: Any, asked: Any) -> bool:
    """Compare a setting; of a queue, only what has an option."""
    if isinstance(asked, dict):
        return any((known or {}).get(name) != value for name, value in asked.items())
    return bool(known != asked)
