"""The face of a bundle that reads several modalities: rows of numbers, texts and files.

    face = MultimodalAdapter(MultimodalRuntime.open("patients", lazy=True))
    face.prepare([{"age": 61, "note": "coughs", "scan": {"b64": "..."}}])      # in a thread: no file is decoded
    face.run(face.join([sent]))                                                # in an engine process: here they are

See data/samples/requests.py for what is done where, and why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Arrays, Flag, Prediction, Record
from deepseek.data.samples.requests import (
    TEXTS_ARRAY,
    RequestSamples,
    describe_record,
    encode_records,
    first_fault,
    pack_requests,
    pack_texts,
)
from deepseek.errors import DeepseekError

if TYPE_CHECKING:
    from deepseek.bundle.read import Signature
    from deepseek.engines import MultimodalRuntime
    from deepseek.serve.core.card import Card


MAX_JOINED_ROW_BYTES = 1 << 20  # of files a row, up to which it is computed with those of other requests


@dataclass(frozen=True, slots=True)
class RowsWithTexts:
    """Rows whose parts are to be explained, too."""

    sent: RequestSamples
    texts: NDArray[np.bytes_]  # (N,)

    def __len__(self) -> int:
        return len(self.sent)

    def __getitem__(self, rows: slice) -> RowsWithTexts:
        return RowsWithTexts(self.sent[rows], self.texts[rows])


@dataclass(frozen=True, slots=True)
class PreparedSamples:
    """Rows whose files are not decoded yet."""

    features: RequestSamples
    flags: tuple[Flag, ...] = ()


class MultimodalAdapter:
    """Of a bundle that MultimodalRuntime opens."""

    joins = True
    repeats = True
    row_units = 1
    row_cells = 1 << 16  # base64 and a tokenizer: always in a thread

    def __init__(self, runtime: MultimodalRuntime) -> None:
        self.runtime = runtime
        self.name = runtime.name
        self.version = runtime.version
        self.card: Card = runtime.manifest
        self.close = runtime.close
        self.run = runtime.score_packed

    @property
    def example(self) -> Record:
        return self.runtime.example

    @property
    def spec(self) -> dict[str, Any]:
        return {"kind": "samples", "path": str(self.runtime.bundle.path.absolute()), "digest": self.card.digest}

    @property
    def bundle_signature(self) -> Signature:
        return self.runtime.bundle.signature

    @property
    def typical(self) -> Prediction:
        num_labels = max(1, len(self.card.labels))
        return self.runtime.decision.apply(np.full((1, num_labels), 1 / num_labels, np.float32), ())

    def prepare(self, records: Sequence[Record]) -> PreparedSamples:
        """Rows as data.sent takes them. InputError names the row and the column."""
        return PreparedSamples(*encode_records(self.runtime.preparer, records))

    def warm(self, num_rows: int) -> RequestSamples:
        return self.prepare([self.example] * num_rows).features

    def fits(self, rows: RequestSamples, others: RequestSamples) -> bool:
        """Rows with large files are computed alone: they gain nothing, and a batch of them would fill the memory."""
        return all(each.num_bytes <= MAX_JOINED_ROW_BYTES * len(each) for each in (rows, others))

    def identity(self, features: RequestSamples) -> tuple[Any, ...]:
        return features.identity()

    def cost(self, features: RequestSamples) -> int:
        return len(features)

    def join(self, rows: list[RequestSamples]) -> Arrays:
        return pack_requests(rows)

    def with_parts(self, features: RequestSamples, records: Sequence[Record]) -> RowsWithTexts:
        """What an explainer is given of rows that prepare() has taken, where the parts of their files and texts are
        asked for."""
        return RowsWithTexts(features, pack_texts(self.runtime.preparer, records))

    def join_questions(self, rows: Sequence[RequestSamples | RowsWithTexts]) -> Arrays:
        """The rows of several requests, all with parts or none, for a process that explains."""
        parted = [each for each in rows if isinstance(each, RowsWithTexts)]
        sent = [each.sent if isinstance(each, RowsWithTexts) else each for each in rows]
        return pack_requests(sent) | ({TEXTS_ARRAY: np.concatenate([each.texts for each in parted])} if parted else {})

    def concat(self, outputs: list[Arrays]) -> Arrays:
        return {name: np.concatenate([part[name] for part in outputs]) for name in outputs[0]}

    def fault(self, outputs: Arrays) -> DeepseekError | None:
        """Why rows have no answer, though others of their batch have one."""
        return first_fault(outputs["faults"])

    def told(self, record: Record) -> Record:
        """A record by what is explained of it, for sentences: files are not sent back."""
        return describe_record(self.runtime.preparer, record)

    def decide(self, outputs: Arrays, rows: Sequence[Any], flags: Sequence[Flag]) -> Prediction:
        return self.runtime.decision.apply(outputs["output"], flags)
