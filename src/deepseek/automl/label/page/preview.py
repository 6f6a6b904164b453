"""What the page shows of files that a browser does not: curves of a series, the course of a sound, slices of a scan.

    preview_file(path, "series")["channels"][0]["high"]       # as JSON: at most NUM_BINS numbers, whatever the length
    read_slice(path, 12, (-1350.0, 150.0))                    # one slice as PNG

Of each bin the least and the highest value are kept, so that a peak of one moment is seen. BrokenError and
TooLargeError for files that are not what they should be.
"""

from __future__ import annotations

import base64
import io
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32, Float64, JsonObject
from deepseek.data.media.scan_volume import Scan
from deepseek.data.media.source import Limits, Source
from deepseek.data.samples.preparer import open_cell
from deepseek.errors import InputError
from deepseek.extras import need

KINDS = ("series", "audio", "volume")  # that have a preview
NUM_BINS = 600  # points of a curve
MAX_CHANNELS = 24  # curves that are drawn
NUM_MELS, NUM_COLUMNS = 64, 600  # of a spectrogram
LEAST_HOP_MS, MAX_FRAMES = 10.0, 2_400  # between frames; of a long sound fewer are looked at
RANGE_DB = 60.0  # below the loudest that is still told from silence
WINDOW_SHARES = (0.005, 0.995)  # of the values of a scan, between black and white
NUM_WINDOW_SLICES = 5
NUM_OPEN_SCANS = 2  # that are kept in memory, so that a slice takes no more than a slice
#: Of CT in Hounsfield units, as radiologists look: lung, soft tissue, bone.
CT_WINDOWS = {"lung": (-1350.0, 150.0), "soft": (-160.0, 240.0), "bone": (-500.0, 1300.0)}


def preview_file(path: Path, kind: str) -> JsonObject:
    """A file as JSON that the page draws."""
    if kind == "series":
        return _preview_series(_open(path, kind))
    if kind == "audio":
        return _preview_sound(_open(path, kind))
    if kind == "volume":
        return _preview_scan(path)
    raise InputError(f"there is no preview of {kind}", expected=", ".join(KINDS), fix="ask for /media/ITEM/COLUMN")


def read_slice(path: Path, place: int, window: tuple[float, float]) -> bytes:
    """Slice `place` of a scan (from 0) as a gray PNG, black and white at the ends of the window."""
    scan, (low, high) = _open_scan(path), window
    if not 0 <= place < scan.size[0]:
        raise InputError(f"slice {place} of {scan.size[0]}", expected=f"0 to {scan.size[0] - 1}", fix="ask for these")
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise InputError(f"the window is {low} to {high}", expected="two numbers, the lower first", fix="mend it")
    plane = np.nan_to_num(scan.plane(place).astype(np.float64), nan=low, posinf=high, neginf=low)
    return _encode_png(_turn_upright(np.clip((plane - low) / (high - low), 0, 1), scan))


def _open_scan(path: Path) -> Scan:
    """A scan, opened once for all of its slices while nobody changes the file."""
    state = path.stat()
    return _open_scan_of(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=NUM_OPEN_SCANS)
def _open_scan_of(path: Path, _mtime_ns: int, _size: int) -> Scan:
    from deepseek.data.media.scan import open_scan

    return open_scan(_open(path, "volume"))


def _turn_upright(plane: NDArray[np.float64], scan: Scan) -> NDArray[np.float64]:
    """A slice as radiologists look at it: the head or the front above, the patient's right side on the left. Where the
    file does not say how the patient lay, as it is stored."""
    if not scan.oriented:
        return plane
    for shown, (axis, is_backwards) in enumerate(scan.axes[1:]):
        # Axes of the volume run from foot to head, front to back, right to left: only the first runs upwards.
        if (axis == 0) != is_backwards:
            plane = np.flip(plane, shown)
    return plane


def envelope(values: Float64, num_bins: int = NUM_BINS) -> tuple[list[float | None], list[float | None]]:
    """Least and highest value of each of at most `num_bins` stretches of a curve (T,); None where nothing is there.

    >>> envelope(np.array([1.0, 5.0, np.nan, np.nan]), 2)
    ([1.0, None], [5.0, None])
    """
    edges = np.linspace(0, len(values), min(num_bins, len(values)) + 1).astype(int)
    lows = np.minimum.reduceat(np.where(np.isfinite(values), values, np.inf), edges[:-1])
    highs = np.maximum.reduceat(np.where(np.isfinite(values), values, -np.inf), edges[:-1])
    return [_plain(low) for low in lows.tolist()], [_plain(high) for high in highs.tolist()]


def _plain(value: float) -> float | None:
    return float(f"{value:.6g}") if np.isfinite(value) else None


def _open(path: Path, kind: str) -> Source:
    return open_cell(path.name, kind, root=path.parent, row=0, column=kind, limits=Limits())


def _preview_series(source: Source) -> JsonObject:
    from deepseek.data.media.series import parse_series

    names, values = parse_series(source)
    channels = []
    for place in range(min(values.shape[1], MAX_CHANNELS)):
        low, high = envelope(values[:, place])
        channels.append({"name": names[place] if names else f"{place + 1}", "low": low, "high": high})
    return {
        "kind": "series", "num_moments": values.shape[0], "num_channels": values.shape[1], "channels": channels,
        "num_missing": int(np.isnan(values).sum()),
    }  # fmt: skip


def _preview_sound(source: Source) -> JsonObject:
    from deepseek.data.media.audio import AudioReader, describe
    from deepseek.data.media.mel import log_mel

    facts = describe(source)
    rate_hz = facts["rate_hz"]
    samples, length = AudioReader(rate_hz=rate_hz, seconds=facts["seconds"]).read_with_length(source)
    sound = samples.mean(axis=0)[: max(length, 1)].astype(np.float64)
    low, high = envelope(sound)
    hop_ms = max(LEAST_HOP_MS, 1000 * facts["seconds"] / MAX_FRAMES)
    bands = log_mel(sound.astype(np.float32), rate_hz, num_mels=NUM_MELS, hop_ms=hop_ms, least_points=512)
    edges = np.linspace(0, bands.shape[1], min(NUM_COLUMNS, bands.shape[1]) + 1).astype(int)[:-1]
    shown = np.maximum.reduceat(np.asarray(bands, np.float64), edges, axis=1)[::-1]  # high notes at the top
    least = shown.max() - RANGE_DB * np.log(10) / 10
    picture = _encode_png(np.clip((shown - least) / max(shown.max() - least, 1e-9), 0, 1))
    return {
        "kind": "audio", "seconds": round(facts["seconds"], 3), "rate_hz": rate_hz, "low": low, "high": high,
        "spectrogram": f"data:image/png;base64,{base64.b64encode(picture).decode()}",
    }  # fmt: skip


def _preview_scan(path: Path) -> JsonObject:
    scan = _open_scan(path)
    places = np.unique(np.linspace(0, scan.size[0] - 1, NUM_WINDOW_SLICES).astype(int)).tolist()
    low, high = _find_window([scan.plane(place) for place in places])
    windows = {"all": (low, high)} | (CT_WINDOWS if scan.modality == "CT" else {})
    return {
        "kind": "volume", "num_slices": scan.size[0], "size": list(scan.size), "spacing_mm": list(scan.spacing_mm),
        "modality": scan.modality, "windows": {name: list(window) for name, window in windows.items()},
    }  # fmt: skip


def _find_window(planes: list[Float32]) -> tuple[float, float]:
    """Between which values most of a scan lies."""
    values = np.concatenate([plane[np.isfinite(plane)].ravel() for plane in planes])
    if not len(values):
        return 0.0, 1.0
    low, high = (float(f"{edge:.6g}") for edge in np.quantile(values.astype(np.float64), WINDOW_SHARES))
    return (low, high) if low < high else (low, low + 1.0)


def _encode_png(shares: NDArray[np.float64]) -> bytes:
    """(H, W) of 0..1 as gray."""
    buffer = io.BytesIO()
    pixels = np.round(255 * shares).astype(np.uint8)
    need("PIL.Image", extra="media").fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
