"""A service: a name, a token, and its pair of queues."""

import asyncio
import hashlib
import hmac
import logging
from collections.abc import Callable, Mapping

from client_sdk.wire.retry import AttemptPolicy
from queue_service.delivery.subscriber import Ended
from queue_service.delivery.ticket_bells import TicketBells
from queue_service.errors import StoreError, StoreUnavailable
from queue_service.process.metrics import Metrics
from queue_service.service.activity import ActivityLog
from queue_service.service.admission import Admission, recheck_all
from queue_service.service.description import Description
from queue_service.service.files import Files
from queue_service.service.interfaces import Interfaces
from queue_service.service.leaving import Leavers
from queue_service.service.payload_files import PayloadFiles
from queue_service.service.queues import Queue
from queue_service.service.scaling import Scaling
from queue_service.service.tickets import Tickets
from queue_service.service.webhooks.post import Post
from queue_service.service.webhooks.webhooks import Webhooks
from queue_service.settings.process import Settings
from queue_service.settings.retry import fewest, policy_of
from queue_service.settings.service import capacity, place_bytes
from queue_service.settings.windows import Windows, read_windows
from queue_service.store.activity import ActivityStore
from queue_service.store.artifacts import ArtifactStore
from queue_service.store.entry import Dropped
from queue_service.store.file_holders import FileHolders
from queue_service.store.interfaces import InterfaceStore
from queue_service.store.keys import Keys, Role
from queue_service.store.registry import ServiceState
from queue_service.store.rules import Limits, Rules
from queue_service.store.scripts import Scripts
from queue_service.store.store import Store
from queue_service.store.ticket import Seen, read_retry
from queue_service.store.usage import UsageStore

log = logging.getLogger(__name__)

#: From the end of a deleted service to the last look for what a late put may have left, in s.
LATE_S = 1.0
#: The length of an owner's mark.
MARK_BYTES = 8


class Service:
    """One service.

    workers_gid: the group of its workers, named after the service as PAI EAS does it.
    """

    def __init__(
        self,
        description: Description,
        *,
        scripts: Scripts,
        settings: Settings,
        metrics: Metrics,
        files: Files,
        post: Post,
    ) -> None:
        self.name = description.name
        self.workers_gid = description.name
        self.keys = Keys(settings.key_prefix, description.name, description.incarnation)
        self.ticket_bells = TicketBells()
        #: Requests under way that the service's own token has admitted.
        self._admitted: set[Admission] = set()
        self._settings = settings
        self._usage = UsageStore(scripts, settings.key_prefix)
        self._is_open = True
        self._closed_accounts: frozenset[str] = frozenset()
        self._windows_of_accounts: Mapping[str, Windows] = {}
        self._take(description)
        self.webhooks = self._make_webhooks(scripts, post, metrics)
        self.files = PayloadFiles(
            files,
            FileHolders(scripts, self.keys),
            self.ticket_bells.files,
            service=description.name,
            incarnation=description.incarnation,
        )

        self.input = self._make_queue("input", scripts, metrics)
        self.sink = self._make_queue("sink", scripts, metrics)
        self.tickets = Tickets(
            self.input,
            self.keys,
            self.ticket_bells,
            settings,
            gid=self.workers_gid,
            sink=self.sink,
        )
        self.activity = ActivityLog(ActivityStore(self.input.store, self.keys))
        self.artifacts = ArtifactStore(scripts, self.keys)
        self.interfaces = Interfaces(
            InterfaceStore(scripts, self.keys),
            self.input,
            gid=self.workers_gid,
            bell=self.ticket_bells.interfaces,
        )
        self.leavers = Leavers(self.input, self.tickets, gid=self.workers_gid)
        self.scaling = Scaling(
            self.input.store, self.keys, self.tickets.run_times, gid=self.workers_gid
        )
        if self.stopped:
            self._close(Ended.SERVICE_STOPPED)

    def _make_webhooks(self, scripts: Scripts, post: Post, metrics: Metrics) -> Webhooks:
        webhooks = Webhooks(
            scripts,
            self.keys,
            post,
            metrics,
            self.ticket_bells.webhooks,
            incarnation=self.incarnation,
            path_prefix=self._settings.root_path.rstrip("/"),
        )
        webhooks.on_change = self._follow_webhooks
        return webhooks

    def _make_queue(self, role: Role, scripts: Scripts, metrics: Metrics) -> Queue:
        return Queue(
            Store(scripts, self.keys, role, self._rules(role)),
            service=self.name,
            settings=self._settings,
            metrics=metrics.queue(self.name, role),
            files=self.files,
            ticket_bells=self.ticket_bells if role == "input" else None,
        )

    @property
    def queues(self) -> tuple[Queue, Queue]:
        return self.input, self.sink

    @property
    def artifact_bytes(self) -> int:
        """The most bytes of all artifacts of one job; 0 if this process keeps no files."""
        return self.sink.limits.payload_bytes if self.files.are_kept else 0

    @property
    def stopped(self) -> bool:
        """True while it refuses everybody and keeps its entries."""
        return self.description.state is ServiceState.STOPPED

    @property
    def incarnation(self) -> int:
        """Which service of its name it is; 0 for one of the environment."""
        return self.description.incarnation

    @property
    def is_open(self) -> bool:
        """True while it has no token and admits everybody."""
        return self._open

    def retry_of(self, own: str, *, has_ticket: bool) -> tuple[AttemptPolicy | None, int]:
        """The retry policy of an entry, as its ticket keeps its own, and its largest number of
        deliveries."""
        settings = self.description.settings.retry
        policy = policy_of(settings, read_retry(own), has_ticket=has_ticket)
        return policy, fewest(self.max_delivery, policy.max_attempts if policy else 0)

    def mark_of(self, owner: str) -> bytes:
        """Return a mark that a worker gets in place of the owner; every process makes the same."""
        if not owner:
            return b""
        key = self._token_digest
        return hashlib.blake2b(owner.encode(), key=key, digest_size=MARK_BYTES).digest()

    def admits(self, token: str) -> bool:
        """Say whether this token opens the service, in a time that tells nothing about it."""
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        return self._open or hmac.compare_digest(digest, self._token_digest)

    def admits_worker(self, token: str) -> bool:
        """Say whether this is the token of the service's workers."""
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        return bool(self._worker_digest) and hmac.compare_digest(digest, self._worker_digest)

    def admit(self, token: str, cut: Callable[[], None]) -> Admission:
        """Admit a request by a token of the service, its own or its workers', while it is that."""
        holder = f"service {self.name}"
        still = self.admits if self.admits(token) else self.admits_worker
        return Admission(holder, self._admitted, lambda: still(token), cut)

    async def run(self) -> None:
        """Run both queues, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for queue in self.queues:
                group.create_task(queue.run())
            group.create_task(self.tickets.run())
            group.create_task(self.activity.run())
            group.create_task(self.files.run())
            group.create_task(self.webhooks.run())

    def change(self, description: Description) -> None:
        """Go on with other settings; entries stay, and subscribers whose token is still valid."""
        was_stopped = self.stopped
        self._take(description)
        # Another token, or a token where there was none.
        recheck_all(self._admitted)
        for queue in self.queues:
            queue.change(self._rules(queue.role))
        if self.stopped and not was_stopped:
            self._close(Ended.SERVICE_STOPPED)
        if was_stopped and not self.stopped:
            for queue in self.queues:
                queue.reopen_to_all()

    def set_open(self, now_ms: int, of_accounts: Mapping[str, Windows]) -> None:
        """Deliver its jobs or not, and those of tokens, as the windows are now.

        of_accounts: the windows of tokens, by account.
        """
        self._windows_of_accounts = of_accounts
        is_open = self.windows.is_open(now_ms)
        closed = frozenset(one for one, its in of_accounts.items() if not its.is_open(now_ms))
        if (is_open, closed) == (self._is_open, self._closed_accounts):
            return
        self._is_open, self._closed_accounts = is_open, closed
        self.input.change(self._rules("input"))

    @property
    def is_in_window(self) -> bool:
        """Whether its time windows let its jobs out; without any they do."""
        return self._is_open

    def windows_for(self, seen: Seen) -> list[Windows]:
        """Return the windows that a waiting request must meet: the service's and its token's."""
        known = (self.windows, self._windows_of_accounts.get(seen.account, Windows()))
        return [one for one in known if one.windows]

    def delete(self) -> None:
        """Take nothing any more and end every subscriber."""
        self._close(Ended.SERVICE_DELETED)

    async def drop(self) -> dict[Role, Dropped]:
        """Remove every key and file of the service; give what each queue had."""
        entries, results = await self.input.store.drop()
        await self.webhooks.deliveries.remove_all()
        await self.files.remove_all()
        # Followers learn of it now, and not at the next tick.
        self.ticket_bells.ring_all()
        return {"input": entries, "sink": results}

    async def drop_what_came_late(self) -> bool:
        """Remove what a put has left that was under way while the service was deleted.

        Returns False when that failed, and something may be left.
        """
        await asyncio.sleep(LATE_S)
        try:
            await self._usage.depart(self.name, self.incarnation, self._settings.usage_ms)
            await self.drop()
        except (StoreUnavailable, StoreError, OSError) as error:
            log.warning("Something is left of the deleted service %s: %s", self.name, error)
            return False
        return True

    def _follow_webhooks(self) -> None:
        for queue in self.queues:
            queue.change(self._rules(queue.role))

    def _close(self, reason: Ended) -> None:
        for queue in self.queues:
            queue.close(reason)

    def _take(self, description: Description) -> None:
        self.description = description
        self.max_delivery = description.settings.most_attempts
        self.windows = read_windows(description.settings.windows)
        self._token_digest = description.settings.token_digest()
        self._worker_digest = description.settings.worker_digest()
        self._open = description.settings.is_open

    def _limits(self, role: Role) -> Limits:
        wanted, process = self.description.settings, self._settings
        queue = wanted.sink if role == "sink" else wanted.input
        entries, payload_bytes = capacity(wanted, role)
        if not process.keeps_files:
            return Limits(entries, payload_bytes, place_bytes=place_bytes(queue))
        inline_bytes = process.inline_kb * 1024
        if queue.max_length is not None:
            # Each entry has its share of the memory.
            inline_bytes = min(inline_bytes, payload_bytes)
        if queue.max_payload_size_kb is None:
            most_mb = min(wanted.max_file_mb or process.max_file_mb, process.max_file_mb)
            payload_bytes = most_mb * 1024 * 1024
        return Limits(entries, payload_bytes, inline_bytes, place_bytes(queue))

    def _rules(self, role: Role) -> Rules:
        wanted, process = self.description.settings, self._settings
        limits, sink = self._limits(role), self._limits("sink")
        # A file's worth of places is not kept for each result, only what may come inline.
        large = sink.stored_bytes > process.inline_kb * 1024
        return Rules(
            limits=limits,
            evicts=(wanted.sink if role == "sink" else wanted.input).auto_evict,
            sink_capacity=sink.capacity,
            sink_evicts=wanted.sink.auto_evict,
            sink_place_bytes=sink.place_bytes,
            result_places=sink.places_of(sink.stored_bytes) if large else 1,
            max_delivery=wanted.most_attempts,
            retry=wanted.retry.policy() if wanted.retry else None,
            dead_message_policy=wanted.dead_message_policy,
            max_dead_letters=wanted.dead_letters_max_length,
            max_idle_ms=wanted.max_idle_ms,
            fair=wanted.fair,
            idempotency_ms=process.idempotency_ttl_ms,
            max_events=process.max_events,
            max_event_bytes=process.max_event_bytes,
            max_log_bytes=process.max_log_bytes,
            events_ms=process.events_ttl_ms,
            workers_gid=self.workers_gid,
            open=self._is_open,
            closed_accounts=self._closed_accounts,
            webhooks=self.webhooks.endpoints.states,
            usage_ms=process.usage_ms,
        )
