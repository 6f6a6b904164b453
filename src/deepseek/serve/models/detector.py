"""The adapter of a bundle that looks at pictures: encoded files in, boxes, a score and a heat map out.

adapter = DetectorAdapter(DetectorRuntime.open("line3", lazy=True))
adapter.prepare([{"picture": {"b64": "..."}}])          # no file is decoded in the front end
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from deepseek.contracts import Arrays, Flag, Prediction, Record
from deepseek.data.media.source import open_source
from deepseek.data.samples.requests import first_fault
from deepseek.engines.detector.served import PicturePair, ServedDetector, pack_pictures
from deepseek.errors import DeepseekError, InputError
from deepseek.extras import need

if TYPE_CHECKING:
    from deepseek.bundle.report import Signature
    from deepseek.engines.detector.runtime import DetectorRuntime
    from deepseek.serve.batching.processes import EngineSpec
    from deepseek.serve.core.card import Card

EXAMPLE_PX = 64


@dataclass(frozen=True, slots=True)
class PreparedPictures:
    """Rows whose files are not decoded yet."""

    features: list[PicturePair]
    flags: tuple[Flag, ...] = ()


class DetectorAdapter:
    """Of a bundle that DetectorRuntime opens."""

    runtime = None  # boxes and the heat map are the explanation
    is_joinable = False  # pictures differ in size, and one is work enough
    is_deterministic = True
    row_units = 1
    row_cells = 1 << 16  # base64: always in a thread

    def __init__(self, runtime: DetectorRuntime) -> None:
        self._runtime = runtime
        self.name, self.version = runtime.name, runtime.version
        self.card: Card = runtime.manifest
        self.bundle_signature: Signature = runtime.bundle.signature
        self._columns = tuple(item.name for item in runtime.manifest.inputs)
        self._served: ServedDetector | None = None

    @cached_property
    def example(self) -> Record:
        """A gray picture for each input."""
        buffer = io.BytesIO()
        need("PIL.Image", extra="media").new("L", (EXAMPLE_PX, EXAMPLE_PX), 128).save(buffer, "PNG")
        value = {"b64": base64.b64encode(buffer.getvalue()).decode()}
        return {name: dict(value) for name in self._columns}

    @property
    def spec(self) -> EngineSpec:
        return {"kind": "detector", "path": str(self._runtime.bundle.path.absolute()), "digest": self.card.digest}

    @property
    def typical_prediction(self) -> Prediction:
        return Prediction(defects=({"defective": False, "score": 0.0, "boxes": [], "mask": None},))

    def prepare(self, records: Sequence[Record]) -> PreparedPictures:
        """InputError names the row and the column."""
        rows: list[PicturePair] = []
        for row, record in enumerate(records):
            unknown = next((name for name in record if name not in self._columns), None)
            missing = next((name for name in self._columns if record.get(name) is None), None)
            if unknown is not None or missing is not None:
                what = f"has no {missing!r}" if missing is not None else f"has {str(unknown)[:99]!r}, which is no input"
                raise InputError(
                    f"row {row} {what}",
                    expected=", ".join(self._columns), fix='send {"picture": {"b64": "..."}}',
                )  # fmt: skip
            files = [open_source(record[name], root=None, row=row, column=name).data for name in self._columns]
            rows.append((files[0], files[1] if len(files) > 1 else None))
        return PreparedPictures(rows)

    def warm_up_rows(self, num_rows: int) -> list[PicturePair]:
        return self.prepare([self.example]).features  # pictures are computed one by one

    def can_join(self, rows: Any, others: Any) -> bool:
        return False

    def identity(self, features: list[PicturePair]) -> tuple[PicturePair, ...]:
        return tuple(features)

    def cost(self, features: list[PicturePair]) -> int:
        return len(features)

    def join(self, rows: list[list[PicturePair]]) -> Arrays:
        return pack_pictures([pair for part in rows for pair in part])

    def concat(self, outputs: list[Arrays]) -> Arrays:
        return {name: np.concatenate([part[name] for part in outputs]) for name in outputs[0]}

    def run(self, arrays: Arrays) -> Arrays:
        if self._served is None:
            self._served = ServedDetector(self._runtime)
        return self._served.run(arrays)

    def fault(self, outputs: Arrays) -> DeepseekError | None:
        """The error of a picture that has no answer."""
        return first_fault(outputs["faults"])

    def decide(self, outputs: Arrays, rows: Sequence[Any], flags: Sequence[Flag]) -> Prediction:
        answers = tuple(json.loads(answer) if answer else {} for answer in outputs["answers"].tolist())
        return Prediction(defects=answers, flags=tuple(flags))

    def close(self) -> None:
        self._runtime.close()
