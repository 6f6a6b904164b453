"""One file -> small pictures and lines, as arrays: what a page can show of it.

    preview = make_preview(source, "volume")       # three planes through the middle, (H, W) uint8, 160 px at most

Pictures are (H, W) or (H, W, 3) uint8; a line is (2, N): the lowest and the highest value of each of N parts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32, Float64
from deepseek.data.media.mel import log_mel
from deepseek.data.media.source import Source

SIDE_PX: Final = 160  # pixels of a picture's longer side, at most
NUM_LINE_PARTS: Final = 240  # parts of a line
MAX_SOUND_S: Final = 30.0  # of a sound that are shown
MAX_FRAMES: Final = 6
FRAME_SIDE_PX: Final = 96
PLANE_SIDE_PX: Final = 128
MAX_CURVES: Final = 4  # channels of a series
RANGE_DB: Final = 80.0  # below the loudest point, what a spectrogram shows
MEL_HZ: Final = 16_000  # the highest rate of a spectrogram: speech and most of music lie below half of it
_MIN_FFT_POINTS: Final = 1_024
Pixels = NDArray[np.uint8]
#: Points of viridis, evenly spaced; between them colors are mixed.
_VIRIDIS: Final = ("440154", "472d7b", "3b528b", "2c728e", "21918c", "28ae80", "5ec962", "addc30", "fde725")


@dataclass(frozen=True)
class Preview:
    """The pictures and lines that show one file."""

    pictures: tuple[Pixels, ...] = ()
    lines: tuple[Float64, ...] = ()
    names: tuple[str, ...] = ()  # of the lines, as many
    num_hidden: int = 0  # lines that are not shown
    shown_s: float | None = None  # seconds shown of a sound that is longer; None: all of it


def make_preview(source: Source, kind: str) -> Preview:
    """The preview of a file from a column of this kind. Raises the BrokenError and TooLargeError of its reader."""
    return _PREVIEWS[kind](source)


def envelope(values: NDArray[Any], num_parts: int = NUM_LINE_PARTS) -> Float64:
    """(T,) -> (2, N): lowest and highest of each of N = min(T, num_parts) equal parts, NaN where nothing was measured.

    >>> envelope(np.array([1.0, 5.0, np.nan, 2.0]), 2).tolist()
    [[1.0, 2.0], [5.0, 2.0]]
    """
    num = min(len(values), num_parts)
    starts = np.arange(num) * len(values) // num
    exact = np.asarray(values, np.float64)
    return np.stack([np.fmin.reduceat(exact, starts), np.fmax.reduceat(exact, starts)])


def fit_size(height: float, width: float, side: int = SIDE_PX) -> tuple[int, int]:
    """Height and width in the same ratio, scaled down to at most `side` and at least one pixel.

    >>> fit_size(600, 300), fit_size(8, 8)
    ((160, 80), (8, 8))
    """
    scale = min(1.0, side / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def viridis(levels: Float64) -> Pixels:
    """(...) in 0..1 -> (..., 3).

    >>> viridis(np.array([0.0, 1.0])).tolist()
    [[68, 1, 84], [253, 231, 37]]
    """
    stops = np.array([[int(stop[k : k + 2], 16) for k in (0, 2, 4)] for stop in _VIRIDIS])
    at = np.linspace(0, 1, len(stops))
    channels = [np.interp(levels, at, stops[:, channel]) for channel in range(3)]
    colors: Pixels = np.rint(np.stack(channels, -1)).astype(np.uint8)
    return colors


def _preview_image(source: Source) -> Preview:
    from deepseek.data.media.image import ImageReader, describe

    facts = describe(source)
    reader = ImageReader.fit([source])  # finds how white a picture of 16 bits is
    pixels = replace(reader, size=fit_size(facts["height_px"], facts["width_px"])).read(source)
    return Preview((_channels_last(pixels),))


def _preview_audio(source: Source) -> Preview:
    from deepseek.data.media.audio import AudioReader, describe

    facts = describe(source)
    seconds = min(MAX_SOUND_S, facts["seconds"])
    rate_hz = min(MEL_HZ, facts["rate_hz"])
    waveform = AudioReader(rate_hz=rate_hz, seconds=max(seconds, 1 / rate_hz)).read(source)[0]
    shown_s = seconds if facts["seconds"] > MAX_SOUND_S else None
    return Preview((spectrogram(waveform, rate_hz),), (envelope(waveform),), ("",), shown_s=shown_s)


def spectrogram(waveform: Float32, rate_hz: int) -> Pixels:
    """(64, NUM_LINE_PARTS, 3): the lowest band below, the loudest of the windows that fall on one pixel."""
    hop_ms = max(1.0, min(10.0, 1000 * len(waveform) / rate_hz / NUM_LINE_PARTS))
    bands = log_mel(waveform, rate_hz, hop_ms=hop_ms, least_points=_MIN_FFT_POINTS)
    starts = np.arange(NUM_LINE_PARTS) * bands.shape[1] // NUM_LINE_PARTS
    bands = np.maximum.reduceat(bands, starts, axis=1) if bands.shape[1] >= NUM_LINE_PARTS else bands[:, starts]
    decibels = bands * (10 / math.log(10))
    levels = np.clip((decibels - decibels.max()) / RANGE_DB + 1, 0, 1)
    return viridis(levels[::-1] if np.ptp(decibels) > 0 else np.zeros_like(levels))


def _preview_video(source: Source) -> Preview:
    from deepseek.data.media.video import VideoReader, describe

    facts = describe(source)
    size = fit_size(facts["height_px"], facts["width_px"], FRAME_SIDE_PX)
    frames = VideoReader(num_frames=min(MAX_FRAMES, facts["frames"]), size=size).read(source)
    return Preview(tuple(_channels_last(frame) for frame in frames))


def _preview_scan(source: Source) -> Preview:
    """A single slice; of a volume the axial, the coronal and the sagittal plane through its middle, head up, of one
    scale in all directions where the file says its spacing."""
    from deepseek.data.media.scan import ScanReader, open_scan

    scan = open_scan(source)
    extents = [
        n * (step if step is not None and (k or scan.size[0] > 1) else 1.0)
        for k, (n, step) in enumerate(zip(scan.size, scan.spacing_mm, strict=True))
    ]
    order = np.argsort([axis for axis, _ in scan.axes])
    scale = PLANE_SIDE_PX / max(extents[1:] if scan.size[0] == 1 else extents)
    size = [max(2 if scan.size[0] > 1 else 1, round(extents[k] * scale)) for k in order]
    if scan.size[0] == 1:
        size[0] = 1  # a slice by itself stays as it is stored
    reader = ScanReader.fit([source], size=(size[0], size[1], size[2]))
    volume = _to_gray(replace(reader, spacing_mm=None).read(source)[0])
    if scan.size[0] == 1:
        return Preview((volume[0],))
    depth, height, width = (n // 2 for n in volume.shape)
    return Preview((volume[depth], volume[::-1, height], volume[::-1, :, width]))


def _preview_series(source: Source) -> Preview:
    from deepseek.data.media.series import parse_series

    names, values = parse_series(source)
    names = names or tuple(f"channel {k}" for k in range(values.shape[1]))
    lines = tuple(envelope(values[:, k]) for k in range(min(MAX_CURVES, values.shape[1])))
    return Preview((), lines, names[: len(lines)], num_hidden=values.shape[1] - len(lines))


def _to_gray(volume: NDArray[Any]) -> Pixels:
    """Gray levels of measured values: the 1st to the 99th percentile become 0 to 255."""
    if volume.dtype == np.uint8:
        return volume
    low, high = np.percentile(volume, [1, 99])
    scaled = (volume - low) / max(float(high - low), 1e-12)
    gray: Pixels = np.rint(np.clip(scaled, 0, 1) * 255).astype(np.uint8)
    return gray


def _channels_last(pixels: Pixels) -> Pixels:
    """Pixels (C, H, W) as Pillow takes them: (H, W) of one channel, (H, W, 3) of three."""
    return pixels[0] if pixels.shape[0] == 1 else pixels.transpose(1, 2, 0)


_PREVIEWS: Final[dict[str, Callable[[Source], Preview]]] = {
    "image": _preview_image, "audio": _preview_audio, "video": _preview_video, "volume": _preview_scan,
    "series": _preview_series,
}  # fmt: skip
