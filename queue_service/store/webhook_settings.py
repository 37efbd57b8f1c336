"""The webhooks of all services, as operators set them up.

| key                   | type | holds                                                        |
|-----------------------|------|--------------------------------------------------------------|
| `<prefix>:{*}:webhooks` | hash | service, incarnation -> its endpoints with their secrets (JSON) |

The colon joins the parts of a field.  The secrets are kept as they are, because each delivery is
signed with them.  A change counts as one of the registry, so every process reads this hash when it
reads the services again; nothing else does.
"""

from redis.exceptions import RedisError

from queue_service.errors import StoreUnavailable
from queue_service.store.scripts import Scripts


class WebhookSettings:
    """The records by service; every method raises StoreUnavailable."""

    def __init__(self, scripts: Scripts, key_prefix: str) -> None:
        self._scripts = scripts
        self._services = f"{key_prefix}:{{*}}:services"
        self._key = f"{key_prefix}:{{*}}:webhooks"
        self._channel = f"{key_prefix}:{{*}}:ring"

    async def all(self) -> dict[tuple[str, int], str]:
        """Return every record, by the name and the incarnation of its service."""
        try:
            reply = await self._scripts.command(self._key, "HGETALL", self._key)
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreUnavailable("webhooks", str(error)) from error
        found = {}
        for field, text in zip(reply[::2], reply[1::2], strict=True):
            name, _, incarnation = field.decode().rpartition(":")
            found[name, int(incarnation)] = text.decode()
        return found

    async def read(self, service: str, incarnation: int) -> str:
        """Return one record; "" if there is none."""
        field = _field(service, incarnation)
        try:
            text = await self._scripts.command(self._key, "HGET", self._key, field)
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreUnavailable("webhooks", str(error)) from error
        return "" if text is None else str(text.decode())

    async def write(self, service: str, incarnation: int, known: str, wanted: str) -> bool:
        """Write a record, "" to remove it; False when it is no longer the one that is known."""
        keys = [self._services, self._key]
        arguments = [self._channel, _field(service, incarnation), known, wanted]
        return bool(await self._scripts.ask("write_webhooks", keys, arguments))


def _field(service: str, incarnation: int) -> str:
    return f"{service}:{incarnation}"
