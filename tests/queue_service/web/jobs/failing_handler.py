"""A handler whose first attempts fail, each kind of job in its own way."""

from inference_worker import BadInput, Context, Retryable


class Handler:
    """Fails as its input says, and then answers with the number of the attempt."""

    concurrency = 4

    def predict(self, kind: str, ctx: Context) -> str:
        if kind == "bad":
            raise BadInput("no such thing")
        if ctx.attempt == 1 and kind == "oom":
            raise MemoryError("too much")
        if ctx.attempt == 1 and kind == "asks":
            raise Retryable("later", after_s=1.5)
        if ctx.attempt == 1 and kind == "breaks":
            raise KeyError("x")
        return f"{kind} {ctx.attempt}"
