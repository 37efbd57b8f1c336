"""The description of a service: its settings, and what else is true of it as a whole.

Those of the environment are there as long as the process is.  Those of the registry were made at
run time: their settings are kept as JSON, in which there is a digest in place of the token.
"""

import json
import logging
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import ValidationError

from queue_service.settings.service import ServiceSettings
from queue_service.store.registry import Registered, ServiceState

log = logging.getLogger(__name__)

#: The version of the JSON in the registry.  A field that an older version can do without is no new
#: format; one that makes another of what is there already is.
FORMAT = 1


#: The settings that say how many workers a service has.
SCALERS = ("autoscaler", "cronscaler")


class Origin(StrEnum):
    """Who says that a service is there."""

    ENVIRONMENT = "environment"
    REGISTRY = "registry"


@dataclass(frozen=True, slots=True)
class Description:
    """One service as it is wanted.

    revision, incarnation: as in the registry; 0 for one of the environment.
    """

    settings: ServiceSettings
    origin: Origin = Origin.ENVIRONMENT
    revision: int = 0
    incarnation: int = 0
    state: ServiceState = ServiceState.RUNNING

    @property
    def name(self) -> str:
        return self.settings.name


def to_json(settings: ServiceSettings) -> str:
    """Return settings as the registry keeps them."""
    fields = settings.model_dump(mode="json", exclude={"token", "worker_token"})
    fields["token_sha256"] = settings.kept_of_token()
    # Older versions ignore what they do not know; a service without such a token stays as it was.
    if kept := settings.kept_of_worker_token():
        fields["worker_token_sha256"] = kept
    else:
        del fields["worker_token_sha256"]
    for name in (*SCALERS, "max_file_mb"):
        if fields[name] is None:
            del fields[name]
    return json.dumps({"format": FORMAT, "settings": fields})


def with_what_stays(now: ServiceSettings, wanted: ServiceSettings) -> ServiceSettings:
    """Keep those tokens and scalers of a service that its new settings do not mention."""
    mentioned = wanted.model_fields_set
    kept: dict[str, object] = {
        name: getattr(now, name) for name in SCALERS if name not in mentioned
    }
    if not mentioned & {"token", "token_sha256"}:
        kept["token_sha256"] = now.kept_of_token()
    if not mentioned & {"worker_token", "worker_token_sha256"}:
        kept["worker_token_sha256"] = now.kept_of_worker_token()
    return wanted.model_copy(update=dict(kept))


def from_registry(name: str, found: Registered) -> Description | None:
    """Read one service of the registry; None, with a line in the log, when it makes no sense."""
    try:
        document = json.loads(found.description)
        _check_format(document)
        settings = read_settings(name, document["settings"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        log.error("Service %s is not served: its description cannot be read: %s", name, error)
        return None
    return Description(
        settings, Origin.REGISTRY, found.revision, found.incarnation, state=found.state
    )


def _check_format(document: object) -> None:
    if not isinstance(document, dict):
        raise TypeError(f"expected an object, got {type(document).__name__}")
    # The first one is also that of a description that does not say.
    written = document.get("format", 1)
    if not isinstance(written, int) or written > FORMAT:
        raise ValueError(f"expected format {FORMAT} or an older one, got {written!r}")


def is_another(found: Registered | None, incarnation: int) -> bool:
    """Say whether the service that is served is not the one that was found."""
    return found is None or found.state is ServiceState.DELETED or found.incarnation != incarnation


def read_settings(name: str, fields: dict[str, Any]) -> ServiceSettings:
    """Read settings, without what a newer version may have written; raises ValidationError."""
    wanted = {**fields, "name": name}
    try:
        return ServiceSettings.model_validate(wanted)
    except ValidationError as error:
        unknown = {
            problem["loc"] for problem in error.errors() if problem["type"] == "extra_forbidden"
        }
        if not unknown:
            raise
        log.warning("Service %s has settings that this version does not know: %s", name, unknown)
        return ServiceSettings.model_validate(_without(wanted, unknown))


def _without(fields: dict[str, Any], places: set[tuple[int | str, ...]]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in fields.items():
        if (key,) in places:
            continue
        below = {place[1:] for place in places if place[0] == key and len(place) > 1}
        kept[key] = _without(value, below) if below and isinstance(value, dict) else value
    return kept
