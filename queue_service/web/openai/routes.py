"""The routes of the OpenAI face."""

from aiohttp import web

from queue_service.web.openai import completions, models
from queue_service.web.openai.asked import Kind


def routes() -> list[web.RouteDef]:
    """The routes of this face."""
    return [
        *(web.post(f"/v1/{kind}", completions.serve(kind)) for kind in Kind),
        web.get("/v1/models", models.list_models),
        web.get("/v1/models/{model}", models.show_model),
    ]
