"""The services of one process: those of the environment, and those made at run time.

A service that is made, changed or deleted in one process is so in all of them: the registry
rings, and every process reads it.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

from pydantic import BaseModel, SecretStr

from queue_service.delivery.doorbell import Doorbell
from queue_service.delivery.ring_listener import RingListener
from queue_service.delivery.ticket_bells import TicketBells
from queue_service.errors import (
    NoSuchService,
    RevisionChanged,
    ServiceFixed,
    StoreError,
    StoreUnavailable,
)
from queue_service.process.metrics import Metrics
from queue_service.service import readiness
from queue_service.service.access import LOOK_S, Access
from queue_service.service.description import (
    Description,
    Origin,
    from_registry,
    is_another,
    to_json,
    with_what_stays,
)
from queue_service.service.files import Files
from queue_service.service.opening import Opening
from queue_service.service.replica import Announcement
from queue_service.service.running_limits import RunningLimits
from queue_service.service.service import Service
from queue_service.service.webhooks.desk import WebhookDesk
from queue_service.settings.process import Settings
from queue_service.settings.service import ServiceSettings
from queue_service.store.batching import Batcher
from queue_service.store.entry import Dropped
from queue_service.store.keys import Role
from queue_service.store.registry import (
    SERVICES,
    Registered,
    Registry,
    Replica,
    ServiceState,
    Unreadable,
)
from queue_service.store.scripts import Scripts
from queue_service.store.servers import Servers
from queue_service.store.tokens import TOKENS, TokenStore

log = logging.getLogger(__name__)

#: How often a change is tried again after a concurrent one.
MOST_TRIES = 5


class Changed(NamedTuple):
    """A service that was made, or whose settings were changed."""

    service: Service
    is_new: bool


class Services:
    """The services of one process."""

    def __init__(
        self,
        servers: Servers,
        scripts: Scripts,
        settings: Settings,
        metrics: Metrics,
        files: Files,
        *,
        webhooks: WebhookDesk,
    ) -> None:
        self.draining = False
        self.webhooks = webhooks
        self.access = Access(TokenStore(scripts, key_prefix=settings.key_prefix))
        self.opening = Opening(lambda: self, self.access.tokens)
        self.access.on_change = self.opening.look
        self._settings = settings
        self._metrics = metrics
        self._scripts = scripts
        self._make = partial(
            Service,
            scripts=scripts,
            settings=settings,
            metrics=metrics,
            files=files,
            post=webhooks.post,
        )
        self._registry = Registry(self._scripts, settings.key_prefix)
        self._announcement = Announcement(self._registry, lease_ms=settings.lease_ms)
        self._bell = Doorbell()
        self._bells = {
            self._registry.channel: {SERVICES: self._bell},
            self.access.store.channel: {TOKENS: self.access.bell},
        }
        self._ticket_bells: dict[str, TicketBells] = {}
        tick_s = settings.tick_ms / 1000
        self._ring_listener = RingListener(servers, self._bells, self._ticket_bells, tick_s=tick_s)
        self._group: asyncio.TaskGroup | None = None
        self._running: dict[str, asyncio.Task[None]] = {}
        self._by_name: dict[str, Service] = {}
        #: Deleted services of which something may be left: name and incarnation.
        self._deleted: list[tuple[str, int]] = []
        #: The registry's revision that is served here; before it was read, none.
        self._revision = -1
        #: Reads the registry; concurrent callers share the answer.
        self.look: Batcher[None, None] = Batcher(self._look, most=10_000)
        for wanted in settings.services:
            self._add(Description(wanted))

    def __iter__(self) -> Iterator[Service]:
        return iter(list(self._by_name.values()))

    def get(self, name: str) -> Service | None:
        """The service of this name, as far as this process knows."""
        return self._by_name.get(name)

    def find(self, name: str) -> Service:
        """The service of this name; raises NoSuchService."""
        try:
            return self._by_name[name]
        except KeyError:
            raise NoSuchService(name) from None

    async def seek(self, name: str) -> Service:
        """Return the service of this name, even if another process has just created it.

        Raises NoSuchService, or StoreUnavailable when nobody can tell.
        """
        if name not in self._by_name:
            await self.look(None)
        return self.find(name)

    def first(self) -> Service | None:
        """The service that a bare mount serves: the environment's first, or else the oldest."""
        return min(self, key=_age, default=None)

    async def put(
        self,
        wanted: ServiceSettings,
        *,
        if_new: Mapping[str, SecretStr] = MappingProxyType({}),
        expected: int | None = None,
        adopt: bool = False,
    ) -> Changed:
        """Make a service or change it; its entries stay.

        if_new: tokens of a new service whose settings do not mention them; one that is there keeps
        its own.  expected: the revision that it must have, 0 for none.  adopt: a new service takes
        over the entries and tokens of one that the environment had; once for each name.
        Raises ServiceFixed, RevisionChanged or StoreUnavailable, with nothing changed.
        """

        def decide(known: Service | None) -> tuple[ServiceState, ServiceSettings]:
            if known is None:
                return ServiceState.RUNNING, wanted.model_copy(update=dict(if_new))
            return known.description.state, with_what_stays(known.description.settings, wanted)

        return await self._change(wanted.name, decide, expected=expected, adopt=adopt)

    async def set_scaler(self, name: str, scaler: str, wanted: BaseModel | None) -> Service:
        """Set how many workers a service has, one of SCALERS, or remove that."""

        def decide(known: Service | None) -> tuple[ServiceState, ServiceSettings]:
            if known is None:
                raise NoSuchService(name)
            settings = known.description.settings
            return known.description.state, settings.model_copy(update={scaler: wanted})

        return (await self._change(name, decide)).service

    async def set_state(self, name: str, state: ServiceState) -> Service:
        """Stop a service, which keeps its entries, or start it again."""

        def decide(known: Service | None) -> tuple[ServiceState, ServiceSettings]:
            # What it is at this very try: another process may have changed or deleted it.
            if known is None:
                raise NoSuchService(name)
            return state, known.description.settings

        return (await self._change(name, decide)).service

    async def delete(self, name: str, *, expected: int | None = None) -> dict[Role, Dropped]:
        """Delete a service and its entries; give what there was in each queue."""
        for _ in range(MOST_TRIES):
            await self.look(None)
            known = self._changeable(name)
            if known is None:
                raise NoSuchService(name)
            revision = known.description.revision
            if expected is not None and expected != revision:
                raise RevisionChanged(name, expected, revision)
            # Before, so that a token that was made early never opens the next of this name.
            await self.access.bind(name, known.incarnation)
            if await self._registry.write(name, ServiceState.DELETED, "{}", expected=revision):
                self._retire(known)
                return await known.drop()
        raise RevisionChanged(name, expected, None)

    async def _change(
        self,
        name: str,
        decide: Callable[[Service | None], tuple[ServiceState, ServiceSettings]],
        *,
        expected: int | None = None,
        adopt: bool = False,
    ) -> Changed:
        """Store what is decided about the service as it is then."""
        for _ in range(MOST_TRIES):
            await self.look(None)
            known = self._changeable(name)
            revision = known.description.revision if known else 0
            if expected is not None and expected != revision:
                raise RevisionChanged(name, expected, revision)
            state, settings = decide(known)
            now = known.description if known else None
            if known and now and now.state is state and now.settings is settings:
                return Changed(known, is_new=False)
            description = to_json(settings)
            if await self._registry.write(name, state, description, expected=revision, adopt=adopt):
                await self.look(None)
                return Changed(self.find(name), is_new=known is None)
        raise RevisionChanged(name, expected, None)

    async def replicas(self) -> list[Replica]:
        """The processes of the queue service that live."""
        return await self._registry.replicas()

    async def load(self) -> None:
        """Read the registry for the first time; without a store it is read once there is one."""
        try:
            await self.look(None)
            # Before anything is delivered: tokens may have windows.
            await self.access.refresh()
        except (StoreUnavailable, StoreError) as error:
            log.warning("The services that were made at run time are not served yet: %s", error)

    async def run(self) -> None:
        """Run every queue, and listen to the rings of other processes, until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                self.opening.start()
                group.create_task(self._ring_listener.run())
                group.create_task(self.access.run())
                group.create_task(self._keep_up())
                group.create_task(self._announcement.run())
                for service in self:
                    self._start(service)
                self._see_all_deleted()
        finally:
            self.opening.stop()
            self._group = None

    def drain(self) -> None:
        """Take no new subscribers, end those that are there, answer long polls."""
        self.draining = True
        for service in self:
            for queue in service.queues:
                queue.drain()
            service.ticket_bells.ring_all()

    @property
    def unreadable(self) -> str:
        """Why this version cannot serve what is stored; "" when it can."""
        return self._scripts.newer_format

    async def is_ready(self) -> bool:
        """Say whether the store answers, and every service is served."""
        return await readiness.answers(self._scripts) and self._revision >= 0

    async def check_store(self) -> None:
        """Raise NotDurable when the store is there and not set up for what was asked for."""
        await readiness.check_store(self._scripts, timeout_s=self._settings.store_timeout_s)

    async def _keep_up(self) -> None:
        seen = 0
        while True:
            # Pub/sub may lose a ring, and a replaced token must end within a second.
            seen = await self._bell.wait(seen, timeout_s=LOOK_S)
            try:
                await self.look(None)
            except StoreUnavailable as error:
                log.debug("The registry was not read: %s", error)
            except StoreError:
                log.exception("The registry was not read.")

    async def _look(self, askers: Sequence[None]) -> list[None]:
        if (snapshot := await self._registry.read(self._revision)) is not None:
            self._serve_what_is(snapshot.services)
            await self.webhooks.load(service.webhooks for service in self)
            self._revision = snapshot.revision
            self.opening.look()
        return [None] * len(askers)

    def _serve_what_is(self, found: Mapping[str, Registered | Unreadable]) -> None:
        wanted = {
            name: description
            for name, registered in found.items()
            if isinstance(registered, Registered)
            and registered.state is not ServiceState.DELETED
            and (description := from_registry(name, registered))
        }
        for service in self:
            known = service.description
            if known.origin is Origin.ENVIRONMENT:
                if wanted.pop(service.name, None):
                    log.warning(
                        "Ignoring service %s of the registry: PENSTOCK_SERVICES has it.", known.name
                    )
            elif isinstance(registered := found.get(service.name), Unreadable):
                # It goes on as it was: nothing says that its entries must go.
                continue
            elif is_another(registered, known.incarnation):
                self._retire(service)
        for name, description in wanted.items():
            served = self._by_name.get(name)
            if served is None:
                self._add(description)
            elif served.description.revision != description.revision:
                served.change(description)
        for name, registered in found.items():
            if isinstance(registered, Registered) and registered.state is ServiceState.DELETED:
                self._deleted.append((name, registered.incarnation))
        self._see_all_deleted()

    def _see_all_deleted(self) -> None:
        if self._group is not None:
            for name, incarnation in self._deleted:
                self._group.create_task(self._see_deleted(name, incarnation))
            self._deleted.clear()

    def _add(self, description: Description) -> None:
        service = self._make(description)
        service.webhooks.disable = self.webhooks.disable
        service.scaling.limits = RunningLimits(self.access.tokens)
        self._by_name[service.name] = service
        self._bells[service.keys.channel] = {queue.role: queue.bell for queue in service.queues}
        self._ticket_bells[service.keys.channel] = service.ticket_bells
        if self.draining:
            for queue in service.queues:
                queue.drain()
        if self._group is not None:
            self._start(service)
            self._ring_listener.change_channels()

    def _start(self, service: Service) -> None:
        assert self._group is not None
        self._running[service.name] = self._group.create_task(service.run())

    def _retire(self, service: Service) -> None:
        if self._by_name.get(service.name) is not service:
            return
        del self._by_name[service.name]
        self._bells.pop(service.keys.channel, None)
        self._ticket_bells.pop(service.keys.channel, None)
        self._ring_listener.change_channels()
        service.delete()
        self._metrics.forget(service.name)
        if (task := self._running.pop(service.name, None)) is not None:
            task.cancel()
        if self._group is not None:
            self._group.create_task(service.drop_what_came_late())

    async def _see_deleted(self, name: str, incarnation: int) -> None:
        """Complete a deletion, also one that another process has begun."""
        gone = Description(ServiceSettings(name=name), Origin.REGISTRY, incarnation=incarnation)
        service = self._make(gone)
        if await service.drop_what_came_late():
            try:
                await self.webhooks.forget(name, incarnation)
                await self._registry.forget(name, incarnation)
            except (StoreUnavailable, StoreError) as error:
                log.warning("A deleted service is not forgotten yet: %s", error)

    def _changeable(self, name: str) -> Service | None:
        known = self._by_name.get(name)
        if known is not None and known.description.origin is Origin.ENVIRONMENT:
            raise ServiceFixed(name)
        return known


def _age(service: Service) -> tuple[int, int]:
    """Order services: those of the environment as they are listed, then the oldest first."""
    return service.incarnation, service.description.revision
