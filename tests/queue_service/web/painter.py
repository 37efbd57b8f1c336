"""A handler with types: a picture in, a picture out."""

from PIL import Image


class Painter:
    """Turns pictures."""

    def predict(self, image: Image.Image, angle: int) -> Image.Image:
        return image.rotate(angle, expand=True)
