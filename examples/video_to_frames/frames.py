"""Takes a video apart: every n-th frame becomes a picture, with the time at which it is shown."""

from pathlib import Path
from typing import Annotated, Any

import av
from pydantic import Field

from penstock.worker import BadInput, Context


class Frames:
    """One video at a time; `av` has its own decoders, so the machine needs no ffmpeg."""

    concurrency = 1

    def predict(
        self,
        video: Path,
        every: Annotated[int, Field(ge=1, description="Take every n-th frame.")] = 1,
        most: Annotated[int, Field(ge=1, le=1000, description="The most frames.")] = 100,
        *,
        ctx: Context,
    ) -> dict[str, Any]:
        frames: list[dict[str, Any]] = []
        try:
            # The format must be one of a single file: playlists name other files and addresses.
            with av.open(str(video), format=_format_of(video)) as container:
                stream = container.streams.video[0]
                for number, frame in enumerate(container.decode(stream)):
                    ctx.raise_if_cancelled()
                    if stream.frames:
                        ctx.progress(number / stream.frames)
                    if number % every == 0:
                        frames.append({"at_s": frame.time, "image": frame.to_image()})
                    if len(frames) >= most:
                        break
        except (av.FFmpegError, IndexError) as error:
            raise BadInput(f"video: expected a video, got other bytes ({error})") from None
        return {"frames": frames}


def _format_of(video: Path) -> str:
    begin = video.open("rb").read(12)
    if begin[4:8] == b"ftyp":
        return "mp4"
    if begin.startswith(b"\x1a\x45\xdf\xa3"):
        return "matroska"
    if begin[:4] == b"RIFF" and begin[8:12] == b"AVI ":
        return "avi"
    raise BadInput("video: expected MP4, Matroska, WebM or AVI, got other bytes")
