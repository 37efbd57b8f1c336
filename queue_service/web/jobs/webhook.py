"""The webhook of a single job."""

from aiohttp import web

from queue_service.errors import BadParameter
from queue_service.service.service import Service
from queue_service.service.webhooks.address import Refused, read_url
from queue_service.service.webhooks.messages import EVENTS
from queue_service.store.ticket import OwnWebhook
from queue_service.web.jobs.options import Options
from queue_service.web.keys import SERVICES


async def webhook_of(request: web.Request, service: Service, options: Options) -> OwnWebhook | None:
    """Return where the end of a job is reported; raises BadParameter.

    A service takes such webhooks once its owner has set up their secret: before that, nobody
    could verify one, and nobody has said that jobs may choose where this machine sends requests.
    """
    if not options.webhook:
        if options.webhook_events:
            raise BadParameter("webhook_events", "a webhook with it", "none")
        return None
    desk = request.app[SERVICES].webhooks
    endpoint = service.webhooks.of_requests
    if endpoint is None:
        # Another process may just have set it up.
        await desk.refresh(service.webhooks)
        endpoint = service.webhooks.of_requests
    if endpoint is None:
        raise BadParameter(
            "webhook",
            f"none, as service {service.name!r} takes no webhooks of jobs; its owner can allow "
            f"them with PUT /v1/services/{service.name}/webhooks/jobs",
            "one",
        )
    try:
        await desk.post.check(read_url(options.webhook), of_requests=True)
    except Refused as error:
        raise BadParameter("webhook", error.expected, error.came) from None
    except (OSError, TimeoutError, ValueError):
        came = repr(options.webhook[:64])
        raise BadParameter("webhook", "a host name that resolves", came) from None
    events = options.webhook_events or endpoint.events
    states = frozenset(EVENTS[event] for event in events if event in EVENTS)
    return OwnWebhook(options.webhook, states)
