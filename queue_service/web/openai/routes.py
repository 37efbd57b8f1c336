"""The table of the OpenAI API."""

from queue_service.service.access import Scope
from queue_service.web.openai import completions, models
from queue_service.web.openai.asked import Kind
from queue_service.web.openai.refusals import ERRORS
from queue_service.web.routing import Api, OnSomeService, Route

# The service is the model that the body names, and a stranger may not send a body.
_ASK = OnSomeService(Scope.SUBMIT, refuse_when_draining=True)
_LIST = OnSomeService(Scope.SUBMIT, open_when_empty=True)

API = Api(
    (
        *(
            Route("POST", f"/v1/{kind}", _ASK, completions.answer(kind), lasts=True)
            for kind in Kind
        ),
        Route("GET", "/v1/models", _LIST, models.list_models),
        Route("GET", "/v1/models/{model}", OnSomeService(Scope.SUBMIT), models.show_model),
    ),
    ERRORS,
)
