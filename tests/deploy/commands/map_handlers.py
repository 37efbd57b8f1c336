"""A handler with a file among its inputs."""

from pathlib import Path

from inference_worker import BadInput


class Sizes:
    """Says how large the file `image` is; one that begins with "fail" fails."""

    def predict(self, *, image: Path) -> dict[str, object]:
        data = image.read_bytes()
        if data.startswith(b"fail"):
            raise BadInput("as it was asked to")
        return {"size": len(data), "suffix": image.suffix}
