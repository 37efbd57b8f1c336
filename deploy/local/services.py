"""The services of a local mode: the one of `penstock up`, and those of `penstock create`.

Each has a file in the data directory, which owns the settings of its workers: they are children of
this process.  The registry of the queue service owns the settings of its queues: the admin API
creates, changes and deletes them, and a restart of the local mode changes nothing, except what the
options of `up` ask for.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError

from client_sdk.wire.tokens import new_token
from deploy.admin import AdminApi, service_path
from deploy.errors import (
    AdminRefused,
    BadServiceFile,
    DeployError,
    NoSuchLocalService,
    OneOnly,
    penstock,
)
from deploy.local.child import Child
from deploy.local.data_dir import Running, write_private
from deploy.local.gpus import check_free, gpu_settings
from deploy.local.keeper import WORKER_SLACK_S, Keeper
from deploy.local.own_service import OwnService
from deploy.local.service import LocalService
from deploy.local.wish import Wish, environment_of
from deploy.local.workers import connected_here

log = logging.getLogger(__name__)

#: Seconds that a worker has when its service is deleted: nobody will read its results.
DELETED_GRACE_S = 2.0

#: What the names of the workers begin with that `penstock up` starts.
OWN_WORKER = "worker"

#: Starts a child: name, environment, folder.
Spawn = Callable[[str, Mapping[str, str], Path], Child]


class LocalServices:
    """The services, by name."""

    def __init__(
        self,
        folder: Path,
        running: Running,
        spawn: Spawn,
        *,
        on_line: Callable[[str, str], None],
        grace_s: float,
    ) -> None:
        self._folder = folder
        self._running = running
        self._spawn = spawn
        self._on_line = on_line
        self._grace_s = grace_s
        self._admin = AdminApi(running.url, running.admin_token)
        self._by_name: dict[str, LocalService] = {}
        self._work: set[asyncio.Task[None]] = set()

    def __iter__(self) -> Iterator[LocalService]:
        return iter(list(self._by_name.values()))

    def find(self, name: str) -> LocalService:
        """Return the service of this name; raises NoSuchLocalService."""
        try:
            return self._by_name[name]
        except KeyError:
            raise NoSuchLocalService(name) from None

    async def begin(self, own: OwnService) -> LocalService:
        """Create or change the service of `penstock up`, and start its workers.

        Raises BadServiceFile, AdminRefused, OneOnly or NoAnswer.
        """
        path = self._path(own.name)
        kept = None
        if path.exists():
            try:
                kept = Wish.model_validate_json(path.read_bytes())
            except ValidationError as error:
                raise BadServiceFile(
                    f"{path} cannot be read; remove it, and the options of `up` make it again: "
                    f"{error}"
                ) from None
        wish = own.wish(kept)
        _check_count(wish)
        known = await self._begin_queues(own, wish, kept)
        wish = wish.model_copy(update={"stopped": known["state"] == "stopped"})
        if wish != kept:
            self._keep(wish)
        if overridden := ", ".join(own.overridden(wish, known["settings"])):
            self._say(own.name, f"keeps earlier changes ({overridden}); give an option to override")
        service = self._serve(wish, worker_name=OWN_WORKER)
        await service.begin()
        return service

    async def load(self) -> None:
        """Load the other services of the data directory, and start their workers."""
        for path in sorted(self._folder.glob("*.json")):
            try:
                wish = Wish.model_validate_json(path.read_bytes())
            except ValidationError as error:
                self._say(path.stem, f"not started: {path} cannot be read: {error}")
                continue
            if wish.name in self._by_name:
                continue
            if wish.up is not None:
                # Its model may need the memory that the service of this `up` uses.
                start = f"`{penstock()} start {wish.name}` starts them"
                self._say(wish.name, f"an earlier `up` made it; its workers do not run: {start}")
                self._serve(wish, dormant=True)
                continue
            if not wish.worker_token.get_secret_value():
                # Written by a version whose workers had the service's own token.
                wish = _with_tokens(wish)
                self._keep(wish)
            self._say(wish.name, f"starting {wish.instances} instances")
            try:
                await self._bring_back_queues(wish)
            except DeployError as error:
                self._say(wish.name, f"not started: {error}")
                continue
            service = self._serve(wish)
            self._later(service, service.fit())

    async def put(self, wish: Wish, *, new: bool) -> LocalService:
        """Create or change a service; raises AdminRefused, OneOnly or NoAnswer.

        new: fail when there is one of this name.
        """
        known = self._by_name.get(wish.name)
        if known is not None:
            kept = {"stopped": known.wish.stopped, "up": known.wish.up}
            wish = wish.model_copy(update=kept)
        wish = _with_tokens(wish, known.wish if known else None)
        _check_count(wish)
        await self._check_gpus(wish, known)
        await self._put_queues(wish, new=new)
        self._keep(wish)
        if known is None:
            service = self._serve(wish)
            self._later(service, service.fit())
            return service
        known.dormant = False
        before = known.wish
        is_other = known.has_failed or _runs(before) != _runs(wish)
        known.wish = wish
        self._later(known, _replaced_and_fit(known) if is_other else known.fit())
        return known

    async def scale(self, name: str, instances: int) -> LocalService:
        """Change the number of workers."""
        service = self.find(name)
        wish = service.wish.model_copy(update={"instances": instances})
        _check_count(wish)
        await self._check_gpus(wish, service)
        await self._wake(service)
        self._change(service, wish)
        self._later(service, service.fit())
        return service

    async def grow(self, name: str, *, by: int, to: int) -> None:
        """Start more workers, for the autoscaler."""
        service = self.find(name)
        wish = service.wish.model_copy(update={"instances": to})
        _check_count(wish)
        self._change(service, wish)
        await service.add(by)

    def note_leaving(self, name: str, pids: Collection[int], *, to: int) -> None:
        """Note which workers the queue service has asked to leave: they end by themselves."""
        service = self.find(name)
        service.note_leaving(pids)
        self._change(service, service.wish.model_copy(update={"instances": to}))

    async def stop_service(self, name: str) -> LocalService:
        """Stop the workers, then the queues, which keep their entries."""
        service = self.find(name)
        self._change(service, service.wish.model_copy(update={"stopped": True}))
        self._later(service, self._stop_all_of(service))
        return service

    async def start_service(self, name: str) -> LocalService:
        """Start the queues, then the workers."""
        service = self.find(name)
        await self._wake(service)
        await self._ask("POST", name, "/start")
        self._change(service, service.wish.model_copy(update={"stopped": False}))
        self._later(service, service.fit())
        return service

    async def restart(self, name: str) -> LocalService:
        """Replace the workers; the queues stay in use."""
        service = self.find(name)
        await self._wake(service)
        self._later(service, _replaced_and_fit(service))
        return service

    async def delete(self, name: str) -> dict[str, object]:
        """Delete a service with its queues; return the response of the queue service."""
        service = self.find(name)
        service.hurry(grace_s=DELETED_GRACE_S)
        await service.stop()
        said: dict[str, object] = await self._ask("DELETE", name)
        del self._by_name[name]
        self._path(name).unlink(missing_ok=True)
        return said

    async def stop(self) -> None:
        """Stop every worker, each with its grace; the services stay for the next start."""
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)
        await asyncio.gather(*(service.stop() for service in self._by_name.values()))

    def hurry(self, *, grace_s: float) -> None:
        """Make a `stop` that waits return soon."""
        for service in self._by_name.values():
            service.hurry(grace_s=grace_s)

    def _serve(self, wish: Wish, *, worker_name: str = "", dormant: bool = False) -> LocalService:
        service = LocalService(
            wish,
            self._make_keeper,
            self._ready,
            worker_name=worker_name or wish.name,
            dormant=dormant,
        )
        self._by_name[wish.name] = service
        return service

    async def _wake(self, service: LocalService) -> None:
        if service.dormant:
            await self._bring_back_queues(service.wish)
            service.dormant = False

    def _change(self, service: LocalService, wish: Wish) -> None:
        self._keep(wish)
        service.wish = wish

    def _keep(self, wish: Wish) -> None:
        self._folder.mkdir(exist_ok=True, mode=0o700)
        write_private(self._path(wish.name), wish.to_json() + "\n")

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    async def _put_queues(self, wish: Wish, *, new: bool = False, **query: str) -> Any:
        fields = {
            **wish.settings,
            "token": wish.token.get_secret_value(),
            "worker_token": wish.worker_token.get_secret_value(),
        }
        only = "*" if new else ""
        path = service_path(wish.name)
        return await self._admin.ask_async("PUT", path, fields, if_none_match=only, **query)

    async def _begin_queues(self, own: OwnService, wish: Wish, kept: Wish | None) -> Any:
        """Create or change the queues of the service of `up`; return what they are then."""
        known = await self._known(wish.name)
        if known is None:
            # An older version had this service in the environment of the queue service.
            return await self._put_queues(wish, adopt="true")
        settings = own.settings(known["settings"], kept)
        tokens = {"worker_token": wish.worker_token.get_secret_value()}
        if own.changes_token(kept):
            tokens["token"] = wish.token.get_secret_value()
        missing = {
            name: token
            for name, token in tokens.items()
            if not await self._admits(wish.name, token)
        }
        if settings == known["settings"] and not missing:
            return known
        path = service_path(wish.name)
        return await self._admin.ask_async("PUT", path, {**settings, **missing})

    async def _known(self, name: str) -> Any:
        """Return what the registry has of a service, or None."""
        try:
            return await self._ask("GET", name)
        except AdminRefused as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            return None

    async def _bring_back_queues(self, wish: Wish) -> None:
        """Create the queues if they are gone; otherwise keep the settings of the registry.

        The registry may be newer than the file, because the admin API can change it.  Only the
        worker token comes from the file: the workers that start here use it.
        """
        known = await self._known(wish.name)
        if known is None:
            await self._put_queues(wish)
            return
        worker_token = wish.worker_token.get_secret_value()
        if not await self._admits(wish.name, worker_token):
            fields = {**known["settings"], "worker_token": worker_token}
            await self._admin.ask_async("PUT", service_path(wish.name), fields)

    async def _admits(self, name: str, worker_token: str) -> bool:
        """Say whether the queue service lets a worker with this token in."""
        asking = AdminApi(self._running.url, worker_token)
        try:
            await asking.ask_async("GET", service_path(name, "/workers"))
        except AdminRefused as error:
            # A stopped service refuses all requests, but checks the token first.
            return error.status not in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
        return True

    async def _ask(self, method: str, name: str, verb: str = "") -> Any:
        return await self._admin.ask_async(method, service_path(name, verb))

    async def _stop_all_of(self, service: LocalService) -> None:
        # The workers first: they still deliver results.
        await service.fit()
        service.doing = "stopping its queues"
        try:
            await self._ask("POST", service.wish.name, "/stop")
        finally:
            service.doing = ""

    def _later(self, service: LocalService, work: Coroutine[Any, Any, None]) -> None:
        service.doing = service.doing or "waiting for an earlier change"
        task = asyncio.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._work.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("A change of a service failed.", exc_info=error)

    async def _check_gpus(self, wish: Wish, service: LocalService | None) -> None:
        """Raise GpusRefused if the workers of a service would have to wait for GPUs."""
        running = [one.pid for one in service.instances if one.pid] if service else []
        await asyncio.to_thread(check_free, wish, own_pids=running)

    def _make_keeper(self, name: str, wish: Wish) -> Keeper:
        env = environment_of(wish, self._running.url, name=name, grace_s=self._grace_s)

        async def start() -> Child:
            # At each start: a driver may have been installed, or may have broken, meanwhile.
            gpus = await asyncio.to_thread(gpu_settings, wish.gpus) if wish.gpus.count else {}
            return self._spawn(name, {**env, **gpus}, Path(wish.folder))

        return Keeper(
            name,
            start,
            on_event=partial(self._on_line, name),
            grace_s=self._grace_s + WORKER_SLACK_S,
            may_leave=True,
        )

    async def _ready(self, wish: Wish) -> Collection[int] | None:
        try:
            workers = await connected_here(self._admin, wish.name)
        except DeployError:
            return None
        return [pid for pid, worker in workers.items() if worker.window]

    def _say(self, name: str, sentence: str) -> None:
        self._on_line("penstock", f"{name}: {sentence}")


def _runs(wish: Wish) -> tuple[object, ...]:
    """Return what its workers have to be replaced for, when it changes."""
    return wish.worker, wish.worker_token, wish.folder, wish.gpus


def _with_tokens(wish: Wish, known: Wish | None = None) -> Wish:
    """Fill in missing tokens: the known ones, or new ones."""
    tokens = {}
    for name in ("token", "worker_token"):
        if not getattr(wish, name).get_secret_value():
            before = getattr(known, name) if known else SecretStr("")
            tokens[name] = before if before.get_secret_value() else SecretStr(new_token())
    return wish.model_copy(update=dict(tokens))


async def _replaced_and_fit(service: LocalService) -> None:
    await service.replace()
    await service.fit()


def _check_count(wish: Wish) -> None:
    if wish.instances > 1 and wish.worker.one_only:
        raise OneOnly(wish.name, wish.instances, wish.worker.one_only)
