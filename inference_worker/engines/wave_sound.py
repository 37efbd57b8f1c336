"""Sounds in WAV files: to and from arrays of numpy, without another program."""

import io
import wave
from typing import Any

#: The largest number of each size of a sample, in bytes.
_FULL = {1: 1 << 7, 2: 1 << 15, 3: 1 << 23, 4: 1 << 31}


def read_wave(data: bytes) -> tuple[int, Any] | None:
    """Return the rate and the samples, mono, from -1 to 1; None if this is no plain WAV file."""
    try:
        with wave.open(io.BytesIO(data), "rb") as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            frames = file.readframes(file.getnframes())
    except (wave.Error, EOFError, ValueError):
        return None
    if width not in _FULL or rate < 1 or not (frames := frames[: len(frames) // width * width]):
        return None
    return rate, _mono(_samples(frames, width), channels)


def write_wave(samples: Any, rate: int) -> bytes:
    """Return a WAV file of 16 bits; several channels are the columns of a two-dimensional array."""
    import numpy  # noqa: PLC0415 - an extra

    array = numpy.asarray(samples)
    if numpy.issubdtype(array.dtype, numpy.floating):
        array = numpy.clip(numpy.nan_to_num(array), -1.0, 1.0) * (_FULL[2] - 1)
    array = numpy.atleast_1d(array.squeeze())
    if array.ndim > 1 and array.shape[0] < array.shape[1]:
        # Models put the channels first.
        array = array.T
    written = io.BytesIO()
    with wave.open(written, "wb") as file:
        file.setnchannels(array.shape[1] if array.ndim > 1 else 1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(numpy.ascontiguousarray(array.astype("<i2")).tobytes())
    return written.getvalue()


def _samples(frames: bytes, width: int) -> Any:
    import numpy  # noqa: PLC0415 - an extra

    if width == 1:
        return (numpy.frombuffer(frames, numpy.uint8).astype(numpy.float32) - _FULL[1]) / _FULL[1]
    if width == 3:  # numpy has no such numbers: shifted, they are the upper part of larger ones
        wide = numpy.zeros((len(frames) // 3, 4), numpy.uint8)
        wide[:, 1:] = numpy.frombuffer(frames, numpy.uint8).reshape(-1, 3)
        numbers, width = wide.view("<i4").reshape(-1), 4
    else:
        numbers = numpy.frombuffer(frames, f"<i{width}")
    return numbers.astype(numpy.float32) / _FULL[width]


def _mono(samples: Any, channels: int) -> Any:
    if channels == 1:
        return samples
    whole = samples[: len(samples) // channels * channels].reshape(-1, channels)
    return whole.mean(axis=1, dtype=samples.dtype)
