"""Routes that have answered before a credential can end."""

_JOBS = "/v1/services/{service}/jobs"
_DEAD = "/v1/services/{service}/dead-letters"

#: What is answered at once, or serves files that are open to everybody.
SHORT = {
    *(("GET", path) for path in ("/healthz", "/readyz", "/metrics", "/openapi.json")),
    *(("GET", path) for path in ("/chat", "/chat/chat.css", "/chat/chat.js", "/chat/jobs.js")),
    *(("GET", path) for path in ("/v1/models", "/v1/models/{model}", "/v1/services")),
    ("GET", "/api/v1/servicediscovery/upstreams/{service}"),
    *((verb, "/v1/services/{service}") for verb in ("GET", "DELETE")),
    *(("POST", f"/v1/services/{{service}}/{verb}") for verb in ("stop", "start")),
    ("GET", "/v1/services/{service}/workers"),
    ("GET", "/v1/tokens"),
    ("DELETE", "/v1/tokens/{token}"),
    ("GET", _JOBS),
    *((verb, f"{_JOBS}/{{job}}") for verb in ("GET", "DELETE")),
    *((verb, path) for verb in ("GET", "DELETE") for path in (_DEAD, f"{_DEAD}/{{id}}")),
    *(("POST", f"{path}/replay") for path in (_DEAD, f"{_DEAD}/{{id}}")),
}
