"""Reads the webhooks of all services from the registry, and changes them there."""

from collections.abc import Callable, Iterable

from queue_service.errors import RevisionChanged
from queue_service.service.webhooks.endpoints import Endpoint, Endpoints
from queue_service.service.webhooks.post import Post
from queue_service.service.webhooks.webhooks import Webhooks
from queue_service.store.webhook_settings import WebhookSettings

#: How often a change is tried again after a concurrent one.
MOST_TRIES = 8


class WebhookDesk:
    """Sets webhooks up, for every process.

    post: sends them.
    """

    def __init__(self, store: WebhookSettings, post: Post) -> None:
        self.post = post
        self._store = store

    async def load(self, of_services: Iterable[Webhooks]) -> None:
        """Give every service the endpoints that it has now; raises StoreUnavailable."""
        records = await self._store.all()
        for webhooks in of_services:
            webhooks.take(records.get(webhooks.service, ""))

    async def refresh(self, webhooks: Webhooks) -> Endpoints:
        """Return the endpoints of a service, also if another process has just changed them."""
        webhooks.take(await self._store.read(*webhooks.service))
        return webhooks.endpoints

    async def put(
        self, webhooks: Webhooks, name: str, decide: Callable[[Endpoints], Endpoint]
    ) -> Endpoint:
        """Set up an endpoint, or change it; `decide` may raise.

        Raises RevisionChanged or StoreUnavailable, with nothing changed.
        """
        for _ in range(MOST_TRIES):
            known = await self.refresh(webhooks)
            wanted = decide(known)
            # First: what was made for it in the meantime is claimed only once it is enabled.
            if not wanted.disabled:
                await webhooks.deliveries.open_endpoint(name)
            if await self._write(webhooks, known, known.with_one(wanted)):
                return wanted
        raise RevisionChanged(f"the webhooks of {webhooks.service[0]}", 0, None)

    async def remove(self, webhooks: Webhooks, name: str) -> bool:
        """Remove an endpoint, with its waiting messages; False when there is none."""
        for _ in range(MOST_TRIES):
            known = await self.refresh(webhooks)
            if name not in known.by_name:
                return False
            if await self._write(webhooks, known, known.without(name)):
                await webhooks.deliveries.forget(name)
                return True
        raise RevisionChanged(f"the webhooks of {webhooks.service[0]}", 0, None)

    async def disable(self, webhooks: Webhooks, name: str, reason: str) -> None:
        """Send nothing more to an endpoint until it is set up again."""
        for _ in range(MOST_TRIES):
            known = await self.refresh(webhooks)
            endpoint = known.by_name.get(name)
            if endpoint is None or endpoint.disabled:
                return
            if await self._write(webhooks, known, known.with_one(endpoint.without(reason))):
                return

    async def forget(self, service: str, incarnation: int) -> None:
        """Remove the endpoints of a service that was deleted."""
        if known := await self._store.read(service, incarnation):
            await self._store.write(service, incarnation, known, "")

    async def _write(self, webhooks: Webhooks, known: Endpoints, wanted: str) -> bool:
        if wanted == known.text:
            return True
        if not await self._store.write(*webhooks.service, known.text, wanted):
            return False
        webhooks.take(wanted)
        return True
