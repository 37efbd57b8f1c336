"""Advice about an error: what you can do about it."""

import asyncio
import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from client_sdk.errors import NoSuchService, QueueError
from deploy.admin import AdminApi
from deploy.errors import DeployError
from deploy.local.data_dir import DataDir

#: Seconds to wait for the list of services, which is only a hint.
LIST_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What a command asked for, and where; url is "" for the local mode of the directory."""

    service: str
    url: str
    token: str
    data_dir: Path


async def advice(error: QueueError, asked: Asked | None) -> str:
    """Return what helps against an error, or ""."""
    # A queue service that names a similar service says so in its own sentence.
    is_explained = "meant" in error.fields
    if isinstance(error, NoSuchService) and asked is not None and not is_explained:
        return alike(asked.service, await _names(asked))
    return ""


def alike(service: str, names: Iterable[str]) -> str:
    """Suggest services with a similar name, or list those that exist; "" when there are none."""
    known = sorted(set(names) - {service})
    near = difflib.get_close_matches(service, known, n=3, cutoff=0.5)
    if near:
        return f"Did you mean {' or '.join(near)}?"
    return f"Services here: {', '.join(known[:10])}." if known else ""


async def _names(asked: Asked) -> list[str]:
    """Return the services that the caller may see; [] when the list is not available."""
    try:
        async with asyncio.timeout(LIST_TIMEOUT_S):
            if not asked.url:
                running = DataDir(asked.data_dir).running()
                api = AdminApi(running.url, running.admin_token)
                listed = (await api.ask_async("GET", "/v1/services"))["services"]
                return [str(one["name"]) for one in listed]
            # Only those that this token opens.
            listed = (await AdminApi(asked.url, asked.token).ask_async("GET", "/v1/models"))["data"]
            return [str(one["id"]) for one in listed]
    except (DeployError, TimeoutError, KeyError, TypeError):
        return []
