"""A class that computes many inputs at once: handler:examples.batched:Sentiment."""

from penstock.worker import BadInput, Context

GOOD = {"good", "great", "kind", "love", "quick"}
BAD = {"awful", "bad", "broken", "hate", "slow"}


class Sentiment:
    """Tells how friendly texts are; a real one would hand all of them to a model in one call."""

    max_batch_size = 16
    batch_timeout = 0.02  # seconds that the first text waits for others

    def setup(self, ctx: Context) -> None:
        self.weights = {word: 1 for word in GOOD} | {word: -1 for word in BAD}
        ctx.progress(1.0, "the weights are loaded")

    def preprocess(self, text: str) -> list[str]:
        if not text.strip():
            raise BadInput("the text is empty")  # fails this one and not its batch
        return text.lower().split()

    def predict_batch(self, inputs: list[list[str]]) -> list[int]:
        return [sum(self.weights.get(word, 0) for word in words) for words in inputs]

    def postprocess(self, score: int) -> dict[str, object]:
        return {"score": score, "label": "friendly" if score >= 0 else "unfriendly"}

    def health(self) -> bool:
        return bool(self.weights)
