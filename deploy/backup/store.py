"""The Redis of a backup or a restore, as the settings of a queue service name it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import ValidationError
from redis.exceptions import RedisError

from deploy.backup.client import Client
from deploy.backup.errors import BackupFailed
from queue_service.settings.process import Settings
from queue_service.settings.redis_address import BadRedisUrl, read_redis_url
from queue_service.settings.wrong_fields import wrong_fields
from queue_service.store.connection import confirmation_for, connect


def settings_of(redis_url: str = "") -> Settings:
    """Return the settings of the environment, with this Redis; raises BackupFailed."""
    try:
        settings = Settings(redis_url=redis_url) if redis_url else Settings()
        address = read_redis_url(settings.redis_url)
    except ValidationError as error:
        wrong = next(wrong_fields(error, Settings, whole="the settings"))
        raise BackupFailed(f"PENSTOCK_{wrong.name.upper()}: expected {wrong.expected}") from None
    except BadRedisUrl as error:
        raise BackupFailed(f"the address of Redis: {error}") from None
    if address.kind == "cluster":
        raise BackupFailed(
            "expected a Redis with one master, got a cluster: use the backups of your Redis"
        )
    return settings


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Client]:
    """Connect to the Redis, the master where there are several; raises BackupFailed."""
    servers = connect(settings, confirmation_for(settings))
    try:
        redis = Client(await servers.any_pool())
        try:
            await redis.ask("PING")
        except (RedisError, OSError, TimeoutError) as error:
            raise BackupFailed(f"Redis does not answer: {error}") from error
        yield redis
    finally:
        await servers.aclose()
