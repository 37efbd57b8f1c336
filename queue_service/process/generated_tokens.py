"""Tokens that nobody has named: made on the first start, kept in files of their owner.

    <token_dir>/<service>          the token of a service that names none        (0600)
    <worker_token_dir>/<service>   the token of its workers, which can only work  (0600)

Two folders, because workers run models and are given the second one alone.  Several processes and
replicas may share the folders: the first one makes a file, and all read it.
"""

import contextlib
import logging
import os
import secrets
from pathlib import Path

from pydantic import SecretStr

from client_sdk.wire.tokens import new_token
from queue_service.settings.process import Settings
from queue_service.settings.service import ServiceSettings

log = logging.getLogger(__name__)


def with_generated_tokens(settings: Settings, *, tell: bool) -> Settings:
    """Return the settings with the tokens that the folders have; raises OSError.

    tell: whether the log says where they are.
    """
    services = []
    for service in settings.services:
        tokens: dict[str, SecretStr] = {}
        for name, path in _missing(service, settings).items():
            tokens[name] = SecretStr(_kept(path))
            if tell:
                whose = "its workers" if name == "worker_token" else "its clients"
                log.info("Service %s: the token of %s is in %s.", service.name, whose, path)
        services.append(service.model_copy(update=dict(tokens)))
    return settings.model_copy(update={"services": tuple(services)})


def _missing(service: ServiceSettings, settings: Settings) -> dict[str, Path]:
    """Where the tokens are that the settings of a service do not name."""
    paths = {}
    if settings.token_dir and service.is_open:
        paths["token"] = Path(settings.token_dir) / service.name
    if settings.worker_token_dir and not service.worker_digest():
        paths["worker_token"] = Path(settings.worker_token_dir) / service.name
    return paths


def _kept(path: Path) -> str:
    """Return the token in this file, which is made when it is not there."""
    with contextlib.suppress(FileNotFoundError):
        return _read(path)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(new_token() + "\n")
            file.flush()
            os.fsync(file.fileno())
        # A link fails when another process was first, and never leaves half a file.
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(draft)
    finally:
        draft.unlink(missing_ok=True)
    return _read(path)


def _read(path: Path) -> str:
    token = path.read_text(encoding="utf-8").strip()
    if not token:
        # An empty token would open the service to everybody.
        raise OSError(f"{path}: expected a token, got an empty file; write one or remove the file")
    return token
