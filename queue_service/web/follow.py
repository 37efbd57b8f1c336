"""Follows a job for a request that waits: until the job, the client or the credential ends."""

from collections.abc import Callable

from aiohttp import web

from queue_service.service.follow import Follow
from queue_service.service.service import Service
from queue_service.service.tickets import LONGEST_WAIT_S
from queue_service.web.connection import has_left, leaving
from queue_service.web.tokens import admission_of


def follow(
    request: web.Request,
    service: Service,
    name: str,
    *,
    longest_wait_s: Callable[[], float] = lambda: LONGEST_WAIT_S,
    looks_in_silence: bool = True,
    ends_only: bool = False,
    watches_position: bool = False,
    least_pause_s: float = 0.0,
) -> Follow:
    """Follow the job that is stored under this name; see Follow and Tickets.follow.

    It ends early when the client has disconnected, or may have.  It raises CredentialEnded when the
    token has ended, in the same moment: nothing that is found afterwards may be shown.
    """
    admission = admission_of(request)

    def given_up() -> bool:
        if has_left(request):
            return True
        admission.check()
        return False

    return service.tickets.follow(
        name,
        also=(leaving(request), admission.bell),
        given_up=given_up,
        longest_wait_s=longest_wait_s,
        looks_in_silence=looks_in_silence,
        ends_only=ends_only,
        watches_position=watches_position,
        least_pause_s=least_pause_s,
    )
