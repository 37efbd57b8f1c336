"""What the batches of one process share."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from queue_service.service.batches.folder import BatchFolders
from queue_service.service.batches.lines import LineFormat
from queue_service.service.files import Files
from queue_service.service.service import Service
from queue_service.service.services import Services
from queue_service.store.batch import About
from queue_service.store.batch_index import BatchIndex


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """What batches may take.

    lines: of one batch.  open_batches: of one owner.  kept_ms: how long a batch is known after its
    end.
    """

    lines: int
    open_batches: int
    kept_ms: int


@dataclass(frozen=True, slots=True)
class Desk:
    """What runs batches.

    folders: None if this service keeps no files.  planning: held while lines are checked.
    """

    index: BatchIndex
    folders: BatchFolders | None
    files: Files
    services: Services
    format: LineFormat
    limits: BatchLimits
    now_ms: Callable[[], int]
    planning: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def service_of(self, about: About) -> Service | None:
        """Return the service that runs a batch; None when it was deleted."""
        found = self.services.get(about.service)
        if found is None or found.incarnation != about.incarnation:
            # Another process may just have made it.
            await self.services.look(None)
            found = self.services.get(about.service)
        if found is None or found.incarnation != about.incarnation:
            return None
        return found
