"""Films as PyAV writes them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

SIZE = (48, 64)  # height, width


def grey(level: int) -> NDArray[np.uint8]:
    return np.full((*SIZE, 3), level, np.uint8)


def film(
    times: Sequence[float],
    paint: Callable[[int], NDArray[Any]],
    *,
    form: str = "mp4",
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    sound: NDArray[np.float32] | None = None,
    sound_start_s: float = 0.0,
    pause_s: float = 0.0,
    layout: str = "mono",
    turn: int = 0,
    container_options: dict[str, str] | None = None,
) -> bytes:
    """Frame k, paint(k), is shown at times[k] seconds. `sound`: one channel, 48,000 samples a second, with a
    pause in the middle in which nothing is recorded."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film"  # not io.BytesIO: "faststart" opens what it writes a second time
        with av.open(str(path), "w", format=form, container_options=container_options or {}) as container:
            first = paint(0)
            video = container.add_stream(codec, rate=25)
            video.height, video.width = first.shape[:2]
            video.pix_fmt = "yuv420p"
            video.codec_context.time_base = Fraction(1, 1000)
            video.options = options or {}
            if turn:
                video.set_display_rotation(turn)
            track: Any = None
            if sound is not None:
                track = container.add_stream("libopus" if form == "webm" else "aac", rate=48_000)
                track.layout = layout
                track.bit_rate = 128_000
            container.start_encoding()
            for k, time in enumerate(times):
                frame = av.VideoFrame.from_ndarray(paint(k), format="rgb24")
                frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
                container.mux(video.encode(frame))
            container.mux(video.encode())
            for start in range(0, 0 if sound is None else sound.size, 960):
                channels = np.repeat(sound[None, start : start + 960], 1 + (layout == "stereo"), 0)
                piece = av.AudioFrame.from_ndarray(channels, format="fltp", layout=layout)  # type: ignore[index]
                piece.rate, piece.time_base = 48_000, Fraction(1, 48_000)
                piece.pts = start + round((sound_start_s + pause_s * (start >= sound.size // 2)) * 48_000)  # type: ignore[union-attr]
                container.mux(track.encode(piece))
            if track is not None:
                container.mux(track.encode())
        return path.read_bytes()
