"""A bundle of pictures in an engine process: encoded files in, answers as JSON out.

arrays = pack_pictures([(png, None)])                           # rows: the picture's bytes, and those of its reference
ServedDetector(runtime).run(arrays)["answers"]                  # (N,) JSON, "" where "faults" says why
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Arrays, Float32, JsonObject
from deepseek.data.media.source import Source
from deepseek.engines.detector.config import DetectorConfig
from deepseek.engines.detector.inspection import Inspection
from deepseek.engines.detector.runtime import DetectorRuntime
from deepseek.errors import InputError
from deepseek.extras import need

PicturePair = tuple[bytes, bytes | None]  # a picture, and its reference where the model compares


def pack_pictures(rows: Sequence[PicturePair]) -> dict[str, NDArray[np.generic]]:
    """All bytes after each other, and how many belong to each picture (N, 2)."""
    sizes = np.array([[len(part), len(reference or b"")] for part, reference in rows], np.int64).reshape(-1, 2)
    data = b"".join(part + (reference or b"") for part, reference in rows)
    return {"data": np.frombuffer(data, np.uint8), "sizes": sizes}


def unpack_pictures(arrays: Arrays) -> list[PicturePair]:
    """The inverse of pack_pictures()."""
    data, start = arrays["data"].tobytes(), 0
    rows: list[PicturePair] = []
    for part, reference in arrays["sizes"].tolist():
        middle = start + part
        rows.append((data[start:middle], data[middle : middle + reference] or None))
        start = middle + reference
    return rows


def to_answer(config: DetectorConfig, seen: Inspection) -> JsonObject:
    """One row of a response: defective, score, boxes from box_threshold on, and the heat map as a gray PNG."""
    detections = seen.boxes.above(config.box_threshold)
    rows = zip(detections.boxes.tolist(), detections.scores.tolist(), detections.classes.tolist(), strict=True)
    return {
        "defective": seen.score >= config.threshold, "score": seen.score,
        "boxes": [
            {"box": [round(side, 2) for side in box], "category": config.classes[number], "score": score}
            for box, score, number in rows
        ],
        "mask": {"b64": base64.b64encode(heat_png(seen.heat)).decode(), "height": seen.heat.shape[0],
                 "width": seen.heat.shape[1]},
    }  # fmt: skip


def heat_png(heat: Float32) -> bytes:
    """A heat map (h, w) from 0 to 1 as a gray PNG; 128 stands for 0.5."""
    pixels = np.clip(np.rint(heat * 255), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    need("PIL.Image", extra="media").fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


class ServedDetector:
    """What an engine process runs."""

    def __init__(self, runtime: DetectorRuntime) -> None:
        self._runtime = runtime
        self.close = runtime.close

    def run(self, arrays: Arrays) -> Arrays:
        """ "answers" (N,) and "faults" (N,): one of the two of each row is empty."""
        answers, faults = [], []
        for part, reference in unpack_pictures(arrays):
            try:
                picture = self._runtime.read(Source("the picture", (("picture", part),)))
                other = None
                if reference is not None:
                    other = self._runtime.read(Source("the reference", (("reference", reference),)))
                answers.append(
                    json.dumps(to_answer(self._runtime.config, self._runtime.inspect(picture, other))).encode()
                )
                faults.append(b"")
            except InputError as error:
                answers.append(b"")
                fault = {
                    "kind": type(error).__name__,
                    "message": error.message,
                    "expected": error.expected,
                    "fix": error.fix,
                }
                faults.append(json.dumps(fault).encode())
        return {"answers": np.array(answers, np.bytes_), "faults": np.array(faults, np.bytes_)}
