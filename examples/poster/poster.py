"""A photo becomes a poster: an engine whose form, checks and pictures come from its annotations."""

from typing import Annotated, Literal

from PIL import Image, ImageChops, ImageFilter, ImageOps
from pydantic import Field

from penstock.worker import Context

#: The longest side of a poster, in pixels: a larger photo is made smaller first.
LONGEST = 1600


class Poster:
    """Turns a photo into a poster of a few flat colours."""

    concurrency = 1

    def predict(
        self,
        ctx: Context,
        photo: Annotated[Image.Image, Field(description="JPEG, PNG or WebP.")],
        colours: Annotated[int, Field(ge=2, le=32, description="Fewer look bolder.")] = 8,
        smoothness: Annotated[int, Field(ge=0, le=4, description="Removes small details.")] = 2,
        *,
        style: Literal["flat", "outlined", "ink"] = "flat",
    ) -> Image.Image:
        picture = (
            ImageOps.contain(photo, (LONGEST, LONGEST)) if max(photo.size) > LONGEST else photo
        )
        for step in range(smoothness):
            picture = picture.filter(ImageFilter.ModeFilter(7)).filter(ImageFilter.SMOOTH_MORE)
            ctx.progress((step + 1) / (smoothness + 1), f"smoothing, {step + 1} of {smoothness}")
        ctx.artifact("smooth.png", picture)
        outlines = ImageOps.invert(_edges(picture))
        flat = picture.quantize(colours, dither=Image.Dither.NONE).convert("RGB")
        ctx.artifact("outlines.png", outlines)
        outlined = ImageChops.multiply(flat, outlines.convert("RGB"))
        return {"flat": flat, "outlined": outlined, "ink": outlines}[style]


def _edges(picture: Image.Image) -> Image.Image:
    edges = ImageOps.grayscale(picture).filter(ImageFilter.FIND_EDGES)
    # The filter takes the border of the picture for an edge; and most pixels are no edge.
    inner = ImageOps.autocontrast(ImageOps.crop(edges, 2), cutoff=(90, 1))
    return ImageOps.expand(inner, 2, fill=0)
