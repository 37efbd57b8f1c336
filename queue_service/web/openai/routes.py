"""The table of the OpenAI API."""

from queue_service.service.access import Scope
from queue_service.web.openai import completions, media, models, videos
from queue_service.web.openai.asked import Kind
from queue_service.web.openai.refusals import ERRORS
from queue_service.web.routing import Api, OnBatches, OnSomeService, Route

# The service is the model that the body names, and a stranger may not send a body.
_ASK = OnSomeService(Scope.SUBMIT, refuse_when_draining=True)
_LIST = OnSomeService(Scope.SUBMIT, open_when_empty=True)
_SEE = OnSomeService(Scope.SUBMIT, Scope.READ)
_VIDEO = "/v1/videos/{video}"

API = Api(
    (
        *(
            Route("POST", f"/v1/{kind}", _ASK, completions.answer(kind), lasts=True)
            for kind in Kind
        ),
        *(
            Route("POST", f"/{path}", OnBatches(), media.answer(path), lasts=True)
            for path in media.ANSWERED
        ),
        Route("POST", "/v1/videos", OnBatches(), videos.create_video, lasts=True),
        Route("GET", "/v1/videos", _SEE, videos.list_videos),
        Route("GET", _VIDEO, _SEE, videos.get_video),
        Route("DELETE", _VIDEO, OnSomeService(Scope.SUBMIT), videos.delete_video),
        Route("GET", f"{_VIDEO}/content", _SEE, videos.get_content),
        Route("POST", f"{_VIDEO}/remix", OnSomeService(Scope.SUBMIT), videos.refuse_remix),
        Route("GET", "/v1/models", _LIST, models.list_models),
        Route("GET", "/v1/models/{model}", OnSomeService(Scope.SUBMIT), models.show_model),
    ),
    ERRORS,
)
