"""Films with sound for multimodal.py: which way it moves, and which way its tone goes; figures of one seed.

    rows = films(num_rows=600, seed=0, part="train")

A bright square comes near or goes away: it has the same sizes in both, so every frame is as likely in one as in the
other, and only the order tells. A tone rises or falls, in noise. The label is both: 2 x way + tone, of four; eyes or
ears alone are right in half of the rows. Each film is an MP4 with H.264 and AAC, read as any other.
"""

from __future__ import annotations

import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from multimodal_data import PARTS, Part, Rows
from numpy.typing import NDArray

from deepseek.data.media.video import VideoReader
from deepseek.data.samples.preparer import PRESENT_SUFFIX, MediaColumn, SamplePreparer
from deepseek.train.multimodal.fusion import MultimodalConfig, fit_multimodal, predict_margins

SIDE, NUM_FRAMES, FRAME_RATE, SECONDS = 32, 8, 8, 1.0
NEAR, STEP = 18, 2  # pixels: the largest side of the square, and by how much it changes from frame to frame
RATE_HZ, HEARD_HZ = 48_000, 8_000  # as recorded, and as read
NUM_TRAIN, NUM_TEST = 600, 400
FILMS = MultimodalConfig(epochs=12, batch_size=32)
LOW_HZ, HIGH_HZ, NOISE = 300.0, 1_500.0, 0.1


def preparer() -> SamplePreparer:
    """One column, two modalities: film and film.sound."""
    reader = VideoReader(NUM_FRAMES, (SIDE, SIDE), SECONDS, HEARD_HZ)
    return SamplePreparer((MediaColumn("film", "video", reader),))


def films_of(seed: int) -> dict[str, float]:
    """Percent right by film and sound together, by nets that have one of them, and with frames in any order."""
    train, test = films(num_rows=NUM_TRAIN, seed=seed, part="train"), films(num_rows=NUM_TEST, seed=seed, part="test")
    rows, test_rows = np.arange(NUM_TRAIN), np.arange(NUM_TEST)
    figures = {}
    for name, gone in (("fused", ()), ("film", ("film.sound",)), ("sound", ("film",))):
        masks = {each + PRESENT_SUFFIX: np.zeros(NUM_TRAIN, bool) for each in gone}
        net = fit_multimodal(
            preparer(), {**train.arrays, **masks}, train.labels, num_outputs=4, rows=rows, config=FILMS, seed=seed
        ).net
        arrays = {**test.arrays, **{each + PRESENT_SUFFIX: np.zeros(NUM_TEST, bool) for each in gone}}
        figures[name] = 100 * float((predict_margins(net, arrays, test_rows).argmax(1) == test.labels).mean())
        if not gone:
            orders = np.random.default_rng(seed).permuted(np.tile(np.arange(NUM_FRAMES), (NUM_TEST, 1)), axis=1)
            mixed = predict_margins(net, {**arrays, "film": test.arrays["film"][test_rows[:, None], orders]}, test_rows)
            figures["shuffled"] = 100 * float((mixed.argmax(1) == test.labels).mean())
    return figures


def films(*, num_rows: int, seed: int, part: Part) -> Rows:
    """As the reader gives them."""
    rng = np.random.default_rng([seed, 20 + PARTS.index(part)])
    ways, tones = rng.integers(2, size=(2, num_rows))
    with tempfile.TemporaryDirectory() as folder:
        records = [
            {"film": _encoded(_seen(way, rng), _heard(tone, rng), Path(folder))}
            for way, tone in zip(ways, tones, strict=True)
        ]
    return Rows(dict(preparer().rows(records).arrays), (2 * ways + tones).astype(np.int64))


def _seen(way: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """(frames, side, side, 3)."""
    frames = rng.integers(40, 90, size=(NUM_FRAMES, SIDE, SIDE, 1)).astype(np.uint8).repeat(3, 3)
    column, row = rng.integers(NEAR // 2, SIDE - NEAR // 2, size=2)
    for k in range(NUM_FRAMES):
        half = (NEAR - STEP * (NUM_FRAMES - 1 - k if way else k)) // 2
        frames[k, row - half : row + half, column - half : column + half] = 230
    return frames


def _heard(tone: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """A second."""
    share = np.arange(RATE_HZ) / RATE_HZ
    hz = LOW_HZ + (HIGH_HZ - LOW_HZ) * (share if tone else 1 - share)
    wave = 0.3 * np.sin(2 * np.pi * np.cumsum(hz) / RATE_HZ + rng.uniform(0, 6))
    return (wave + NOISE * rng.normal(size=RATE_HZ)).astype(np.float32)


def _encoded(frames: NDArray[np.uint8], sound: NDArray[np.float32], folder: Path) -> bytes:
    path = folder / "film.mp4"
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream("libx264", rate=FRAME_RATE, options={"preset": "ultrafast", "crf": "18"})
        video.height, video.width, video.pix_fmt = SIDE, SIDE, "yuv420p"
        track: Any = container.add_stream("aac", rate=RATE_HZ)
        track.layout = "mono"
        for k, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = k, Fraction(1, FRAME_RATE)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        for start in range(0, len(sound), 1_024):
            piece = av.AudioFrame.from_ndarray(sound[None, start : start + 1_024], format="fltp", layout="mono")
            piece.sample_rate, piece.pts = RATE_HZ, start
            container.mux(track.encode(piece))
        container.mux(track.encode())
    return path.read_bytes()
