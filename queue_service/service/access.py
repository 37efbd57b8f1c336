"""Who may do what: tokens with scopes, for one service or for all.

Beside the token of each service, which may do everything there, operators make tokens that may
do less.  A token's text is `pst_<id>_<secret>`; the id finds the record, and of the text only a
digest is kept.  The secret has 256 random bits, so a plain SHA-256 is as good as a slow hash.
"""

import asyncio
import hashlib
import hmac
import json
import logging
import math
import re
import secrets
import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from queue_service.delivery.doorbell import Doorbell
from queue_service.errors import StoreUnavailable
from queue_service.service.admission import Admission, recheck_all
from queue_service.settings.service import ServiceName
from queue_service.settings.windows import read_windows
from queue_service.store.owners import EVERYBODYS, Viewer
from queue_service.store.putter import Putter
from queue_service.store.tokens import TokenStore

log = logging.getLogger(__name__)

#: The word for every service in a token's list.
EVERY_SERVICE = "*"
#: What an owner may be called; empty is the service's own token.
OWNER_PATTERN = r"^([A-Za-z0-9][A-Za-z0-9._-]*)?$"
#: How often the tokens are looked at without a ring, in seconds.
LOOK_S = 0.5
#: The longest timer that the event loop is asked for, in seconds; then it is set again.
LONGEST_TIMER_S = 86_400.0
_TEXT = re.compile(r"pst_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")


class Scope(StrEnum):
    """What a token may do."""

    SUBMIT = "submit"  # put into the input queue, and see how long the line is
    READ = "read"  # read, watch, commit and delete results
    CANCEL = "cancel"  # take entries out of the input queue
    WORK = "work"  # subscribe as a worker and answer
    PRIORITY = "priority"  # put before other tokens' entries, and not only before its own
    ADMIN = "admin"  # services, tokens, metrics: what the admin token may do
    ALL = "all"  # do what the other scopes permit with everybody's jobs, not only with its own


class TokenLimits(BaseModel):
    """What one token may have of each service; None is no limit.

    burst: how many puts may come at once, before the rate applies.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rate_per_s: float | None = Field(None, ge=0.001, le=1_000_000, allow_inf_nan=False)
    burst: int | None = Field(None, ge=1, le=1_000_000)
    in_line: int | None = Field(None, ge=1, le=1_000_000_000)
    running: int | None = Field(None, ge=1, le=1_000_000_000)
    unread: int | None = Field(None, ge=1, le=1_000_000_000)

    @model_validator(mode="after")
    def _burst_of_a_rate(self) -> Self:
        if self.burst is not None and self.rate_per_s is None:
            raise ValueError("burst: expected rate_per_s with it, got none")
        return self

    def burst_of(self) -> int:
        """How many puts may come at once: by default those of one second."""
        return self.burst or max(1, math.ceil(self.rate_per_s or 1))


class WantedToken(BaseModel):
    """What an operator asks for when a token is made."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field("", max_length=128, pattern=r"^[^\x00-\x1f\x7f]*$")
    scopes: frozenset[Scope] = Field(min_length=1)
    services: frozenset[ServiceName | Literal["*"]] = Field(
        frozenset(), description="Names of services; none, or `*`, is every service."
    )
    expires_in_s: int | None = Field(None, ge=1, le=100 * 365 * 86_400)
    limits: TokenLimits = TokenLimits()
    owner: str = Field(
        "",
        max_length=64,
        pattern=OWNER_PATTERN,
        description="Whose jobs it puts and sees: a name that several tokens may share, "
        "or the id of a token; by default its own id.",
    )

    windows: str = Field(
        "", description="When its jobs are delivered; the format is that of a service's `windows`."
    )

    @field_validator("windows")
    @classmethod
    def _are_windows(cls, came: str) -> str:
        read_windows(came)
        return came

    @model_validator(mode="after")
    def _all_of_something(self) -> Self:
        if self.scopes == {Scope.ALL}:
            raise ValueError("scopes: expected another scope beside all, which says for whose jobs")
        return self


class Token(BaseModel):
    """One token as it is kept.

    services: names; empty is every service.  created_at_ms, expires_at_ms: since 1970.
    incarnations: which service of each name is meant, so that the token opens no later one.  A
        name has none until its service is made; then it is the one that is deleted first.
    owner: as it was asked for; `owned_by` is who owns what it puts.
    """

    # A newer version of the service may have written more than this one knows.
    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str
    name: str
    scopes: frozenset[Scope]
    services: frozenset[str]
    digest: str = Field(repr=False)
    created_at_ms: int
    expires_at_ms: int | None = None
    limits: TokenLimits = TokenLimits()
    owner: str = ""
    incarnations: Mapping[str, int] = {}
    windows: str = ""

    @property
    def account(self) -> str:
        """What counts in the fair order: the owner, or a token with windows by itself.

        In one line the jobs of a closed token would be in front of those of an open one.
        """
        return self.id if self.windows else viewer_of(self).owner or self.id

    @property
    def owned_by(self) -> str:
        return self.owner or self.id

    @classmethod
    def make(
        cls, wanted: WantedToken, *, now_ms: int, incarnations: Mapping[str, int] | None = None
    ) -> tuple[Self, str]:
        """Return a new token and its text, which nobody can tell again."""
        token_id = secrets.token_hex(6)
        text = f"pst_{token_id}_{secrets.token_urlsafe(32)}"
        lifetime_s = wanted.expires_in_s
        return cls(
            id=token_id,
            name=wanted.name,
            scopes=wanted.scopes,
            services=wanted.services,
            digest=hashlib.sha256(text.encode()).hexdigest(),
            created_at_ms=now_ms,
            expires_at_ms=None if lifetime_s is None else now_ms + lifetime_s * 1000,
            limits=wanted.limits,
            owner=wanted.owner,
            windows=wanted.windows,
            incarnations=incarnations or {},
        ), text

    def allows(self, scope: Scope, service: str, incarnation: int) -> bool:
        """Say whether this token may do this on the service."""
        if scope not in self.scopes:
            return False
        if not self.services:
            return True
        return service in self.services and incarnation == self.incarnations.get(
            service, incarnation
        )

    def is_over(self, now_ms: int) -> bool:
        """Say whether it has expired."""
        return self.expires_at_ms is not None and now_ms >= self.expires_at_ms

    def is_text(self, text: str) -> bool:
        """Say whether this is its text, in a time that tells nothing about it."""
        came = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
        return hmac.compare_digest(came, self.digest)

    def described(self) -> dict[str, object]:
        """What operators see of it: everything but the digest."""
        return {
            "id": self.id,
            "name": self.name,
            "owner": self.owned_by,
            "scopes": sorted(self.scopes),
            "services": sorted(self.services) or [EVERY_SERVICE],
            "created_at_ms": self.created_at_ms,
            "expires_at_ms": self.expires_at_ms,
            "limits": self.limits.model_dump(exclude_none=True),
            "windows": self.windows,
        }


def viewer_of(token: Token | None) -> Viewer:
    """Whose jobs this token sees and changes; None is the service's own."""
    if token is None or Scope.ALL in token.scopes:
        return EVERYBODYS
    return Viewer(token.owned_by)


def putter_of(token: Token) -> Putter:
    """Return what the store needs of a token that puts.

    Its entries are counted even if they are delivered in the order of their indexes, because the
    space that it must leave for others depends on it.
    """
    limits = token.limits
    return Putter(
        token_id=token.id,
        in_line=limits.in_line or 0,
        running=limits.running or 0,
        unread=limits.unread or 0,
        rate_per_s=limits.rate_per_s or 0.0,
        burst=limits.burst_of(),
        urgent=Scope.PRIORITY in token.scopes,
        owner=viewer_of(token).owner,
        account=token.account,
    )


def now_ms() -> int:
    """Milliseconds since 1970."""
    return int(time.time() * 1000)


class Access:
    """The tokens, as this process knows them; `run` keeps them true."""

    def __init__(self, store: TokenStore) -> None:
        self.store = store
        self.bell = Doorbell()
        #: Called when the tokens have changed.
        self.on_change: Callable[[], None] = lambda: None
        self._tokens: dict[str, Token] = {}
        self._revision = -1
        #: Requests under way by the id of the token that admitted them.
        self._admitted: dict[str, set[Admission]] = {}
        #: The next moment at which one of those tokens expires, and the timer for it.
        self._expiry_ms = math.inf
        self._expiry: asyncio.TimerHandle | None = None

    def find(self, text: str) -> Token | None:
        """The token with this text, unless there is none or it has expired."""
        shaped = _TEXT.fullmatch(text)
        token = self._tokens.get(shaped[1]) if shaped else None
        if token is None or not token.is_text(text) or token.is_over(now_ms()):
            return None
        return token

    def under_way(self, token: Token) -> int:
        """How many requests this token has in this process."""
        return len(self._admitted.get(token.id, ()))

    def admit(
        self, token: Token, permits: Callable[[Token], bool], cut: Callable[[], None]
    ) -> Admission:
        """Admit a request by this token, for as long as it is valid and permits the request."""

        def is_valid() -> bool:
            # As it is now: it may have been revoked, or written again with other rights.
            known = self._tokens.get(token.id)
            return (
                known is not None
                and known.digest == token.digest
                and not known.is_over(now_ms())
                and permits(known)
            )

        among = self._admitted.setdefault(token.id, set())
        admission = Admission(f"token {token.id}", among, is_valid, cut)
        if token.expires_at_ms is not None:
            self._recheck_at(token.expires_at_ms)
        return admission

    def tokens(self) -> Mapping[str, Token]:
        """The tokens by id, also those that have expired; after a change it is another mapping."""
        return self._tokens

    def is_owner(self, owner: str) -> bool:
        """Say whether a token, as far as this process knows, puts for this owner."""
        return any(token.owned_by == owner for token in self._tokens.values())

    async def make(self, wanted: WantedToken, incarnations: Mapping[str, int]) -> tuple[Token, str]:
        """Make a token; return it and its text.  incarnations: those of the wanted services."""
        token, text = Token.make(wanted, now_ms=now_ms(), incarnations=incarnations)
        await self.store.write(token.id, token.model_dump_json(exclude_none=True).encode())
        await self.refresh()
        log.info("Token %s (%s) was made: %s.", token.id, token.name, ", ".join(token.scopes))
        return token, text

    async def bind(self, service: str, incarnation: int) -> None:
        """Bind the tokens for a service to this one of its name, which is about to be deleted."""
        _, kept = await self.store.all()
        for token_id, text in kept.items():
            token = _read((token_id, text))
            if token and service in token.services and service not in token.incarnations:
                bound = {**token.incarnations, service: incarnation}
                wanted = token.model_copy(update={"incarnations": bound})
                # A newer version may have written more than this one knows, and that stays.
                fields = {**json.loads(text), **wanted.model_dump(mode="json")}
                await self.store.rewrite(token_id, text, json.dumps(fields).encode())

    async def revoke(self, token_id: str) -> bool:
        """Revoke a token and end its connections; False when there was none."""
        removed = await self.store.remove(token_id)
        await self.refresh()
        log.info("Token %s was revoked.", token_id)
        return removed

    async def list(self) -> list[Token]:
        """Every token, the oldest first."""
        await self.refresh()
        return sorted(self._tokens.values(), key=lambda token: token.created_at_ms)

    async def run(self) -> None:
        """Follow what other processes do, until cancelled."""
        seen = -1
        while True:
            # Pub/sub may lose a ring, and a revoked token must end within a second.
            seen = await self.bell.wait(seen, timeout_s=LOOK_S)
            try:
                await self.refresh()
            except StoreUnavailable as error:
                # What was admitted before is admitted still.
                log.debug("The tokens were not read: %s", error)
            # The clock may have been set.
            self._recheck()

    async def refresh(self) -> None:
        """Read the tokens when they have changed; raises StoreUnavailable."""
        if await self.store.revision() == self._revision:
            return
        self._revision, kept = await self.store.all()
        self._tokens = {token.id: token for token in map(_read, kept.items()) if token is not None}
        self.on_change()
        self._recheck()

    def _recheck(self) -> None:
        """End the requests whose token no longer permits them; forget tokens without any."""
        for token_id, admissions in list(self._admitted.items()):
            recheck_all(admissions)
            if not admissions:
                del self._admitted[token_id]

    def _recheck_at(self, expires_at_ms: int) -> None:
        """Recheck when a token expires; one timer, for the token that expires first."""
        if expires_at_ms >= self._expiry_ms:
            return
        if self._expiry is not None:
            self._expiry.cancel()
        self._expiry_ms = expires_at_ms
        # A millisecond more, so that it has expired when we look.
        wait_s = min(LONGEST_TIMER_S, max(0, expires_at_ms + 1 - now_ms()) / 1000)
        self._expiry = asyncio.get_running_loop().call_later(wait_s, self._recheck_expired)

    def _recheck_expired(self) -> None:
        self._expiry, self._expiry_ms = None, math.inf
        self._recheck()
        for token_id in self._admitted:
            token = self._tokens.get(token_id)
            # An expired one is here until its requests have left.
            if token and token.expires_at_ms and not token.is_over(now_ms()):
                self._recheck_at(token.expires_at_ms)


def _read(item: tuple[str, bytes]) -> Token | None:
    token_id, text = item
    try:
        return Token.model_validate_json(text)
    except ValidationError as error:
        log.error("The record of token %s cannot be read and admits nobody: %s", token_id, error)
        return None
