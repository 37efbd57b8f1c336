"""Whose files a request sees and adds."""

from queue_service.service.access import Scope, Token
from queue_service.service.files import FileOwner
from queue_service.service.service import Service


def owner_of(admitted: Service | Token) -> FileOwner:
    """Return whose files a token sees; a service is admitted by its own token."""
    if isinstance(admitted, Service):
        # Another service of this name, later, has another incarnation, and must not see them.
        return FileOwner(f"service:{admitted.name}:{admitted.incarnation}")
    everybody = Scope.ALL in admitted.scopes and not admitted.services
    return FileOwner(f"owner:{admitted.owned_by}", sees_all=everybody)
