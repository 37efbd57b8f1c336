"""A predictor as Cog runs it, unchanged: cog:examples.cog_predictor:Predictor."""

from cog import BasePredictor, Input, Path


class Predictor(BasePredictor):
    """Counts the words of a text, or of a file."""

    def setup(self):
        self.separators = {"words": None, "lines": "\n"}

    def predict(
        self,
        text: str = Input(description="The text", default=""),
        file: Path = Input(description="A file in its place", default=None),
        of: str = Input(description="What to count", default="words", choices=["words", "lines"]),
        most: int = Input(description="Count no further", default=1000, ge=1, le=100000),
    ) -> int:
        if file is not None:
            text = file.read_text()
        return min(most, len(text.split(self.separators[of])))
