"""The endpoints of a service, as operators set them up.

One record of a service has all of its endpoints, so a change is one compare-and-set.
"""

import base64
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from queue_service.service.webhooks.messages import EVENTS, OF_REQUESTS

#: Standard Webhooks: 24 to 64 bytes.
SECRET_BYTES, SECRET_PREFIX = 32, "whsec_"
#: After a rotation both secrets sign for this time, in ms.
OLD_SECRET_MS = 24 * 3600 * 1000
MOST_ENDPOINTS = 32


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A receiver of the ends of jobs.

    url: "" for OF_REQUESTS, the endpoint of the webhooks that jobs bring along.  events: names.
    old_secret: signs too until `old_until_ms`.  disabled: why nothing is sent, "" while it is.
    """

    name: str
    url: str
    events: tuple[str, ...]
    secret: str
    created_at_ms: int
    old_secret: str = ""
    old_until_ms: int = 0
    disabled: str = ""

    @property
    def is_of_requests(self) -> bool:
        return self.name == OF_REQUESTS

    @property
    def states(self) -> frozenset[str]:
        """The final states that it reports."""
        return frozenset(EVENTS[event] for event in self.events if event in EVENTS)

    def secrets(self, now_ms: int) -> list[str]:
        """The secrets that sign now, the newest first."""
        return [self.secret, *([self.old_secret] if now_ms < self.old_until_ms else [])]

    def rotated(self, now_ms: int) -> "Endpoint":
        """Return it with a new secret."""
        return replace(
            self,
            secret=new_secret(),
            old_secret=self.secret,
            old_until_ms=now_ms + OLD_SECRET_MS,
        )

    def without(self, reason: str) -> "Endpoint":
        """Return it disabled."""
        return replace(self, disabled=reason)

    def described(self, now_ms: int) -> dict[str, object]:
        """Describe it without its secrets."""
        return {
            "name": self.name,
            **({} if self.is_of_requests else {"url": self.url}),
            "events": list(self.events),
            "enabled": not self.disabled,
            **({"disabled_reason": self.disabled} if self.disabled else {}),
            "created_at_ms": self.created_at_ms,
            "secrets": len(self.secrets(now_ms)),
        }


@dataclass(frozen=True, slots=True)
class Endpoints:
    """All endpoints of one service; `text` is the record that they were read from."""

    text: str = ""
    by_name: Mapping[str, Endpoint] = field(default_factory=dict)

    @classmethod
    def from_text(cls, text: str) -> "Endpoints":
        """Read a record; raises ValueError for what this version cannot read."""
        if not text:
            return cls()
        try:
            found = [_endpoint(fields) for fields in json.loads(text)["endpoints"]]
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"a record of webhooks that cannot be read: {error!r}") from None
        return cls(text, {one.name: one for one in found})

    @property
    def states(self) -> frozenset[str]:
        """The final states that some endpoint reports."""
        wanted = (one.states for one in self.all() if not one.disabled and not one.is_of_requests)
        return frozenset[str]().union(*wanted)

    def all(self) -> Iterable[Endpoint]:
        return self.by_name.values()

    def wanting(self, state: str) -> list[Endpoint]:
        """Return the endpoints that report a state."""
        return [
            one
            for one in self.all()
            if state in one.states and not one.disabled and not one.is_of_requests
        ]

    def with_one(self, endpoint: Endpoint) -> str:
        """Return the record with another endpoint, or another version of one."""
        return _to_text({**self.by_name, endpoint.name: endpoint}.values())

    def without(self, name: str) -> str:
        """Return the record without an endpoint."""
        return _to_text(one for one in self.all() if one.name != name)


def new_secret() -> str:
    """Return a new secret, as Standard Webhooks writes it."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def _to_text(endpoints: Iterable[Endpoint]) -> str:
    listed = [asdict(one) for one in endpoints]
    return json.dumps({"endpoints": listed}) if listed else ""


def _endpoint(fields: Mapping[str, Any]) -> Endpoint:
    # A field that a newer version has added is ignored.
    known = {name: fields[name] for name in Endpoint.__dataclass_fields__ if name in fields}
    return Endpoint(**{**known, "events": tuple(fields["events"])})
