"""The adapter of a multimodal bundle: rows of numbers, texts and files.

    adapter = MultimodalAdapter(MultimodalRuntime.open("patients", lazy=True))
    adapter.prepare([{"age": 61, "note": "coughs", "scan": {"b64": "..."}}])      # in a thread: no file is decoded
    adapter.run(adapter.join([rows]))                                          # in an engine process: files are decoded

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
    from deepseek.bundle.report import Signature
    from deepseek.engines import MultimodalRuntime
    from deepseek.serve.batching.processes import EngineSpec
    from deepseek.serve.core.card import Card


MAX_JOINED_ROW_BYTES = 1 << 20  # of the files of a row; a larger one is not joined with rows of other requests


@dataclass(frozen=True, slots=True)
class RowsWithTexts:
    """N rows with their texts, so that the parts of texts and files can be explained."""

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

    is_joinable = True
    is_deterministic = True
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
    def spec(self) -> EngineSpec:
        return {"kind": "samples", "path": str(self.runtime.bundle.path.absolute()), "digest": self.card.digest}

    @property
    def bundle_signature(self) -> Signature:
        return self.runtime.bundle.signature

    @property
    def typical_prediction(self) -> Prediction:
        num_labels = max(1, len(self.card.labels))
        return self.runtime.decision.apply(np.full((1, num_labels), 1 / num_labels, np.float32), ())

    def prepare(self, records: Sequence[Record]) -> PreparedSamples:
        """Rows as data.sent takes them. InputError names the row and the column."""
        return PreparedSamples(*encode_records(self.runtime.preparer, records))

    def warm_up_rows(self, num_rows: int) -> RequestSamples:
        return self.prepare([self.example] * num_rows).features

    def can_join(self, rows: RequestSamples, others: RequestSamples) -> bool:
        """Rows with large files are computed alone: they gain nothing, and a batch of them would fill the memory."""
        return all(part.num_bytes <= MAX_JOINED_ROW_BYTES * len(part) for part in (rows, others))

    def identity(self, features: RequestSamples) -> tuple[Any, ...]:
        return features.identity()

    def cost(self, features: RequestSamples) -> int:
        return len(features)

    def join(self, rows: list[RequestSamples]) -> Arrays:
        return pack_requests(rows)

    def with_parts(self, features: RequestSamples, records: Sequence[Record]) -> RowsWithTexts:
        """The input of an explainer for prepared rows, when the parts of their files and texts are requested."""
        return RowsWithTexts(features, pack_texts(self.runtime.preparer, records))

    def join_explainer_inputs(self, rows: Sequence[RequestSamples | RowsWithTexts]) -> Arrays:
        """The rows of several requests, all with parts or none, as arrays for the explaining process."""
        with_texts = [part for part in rows if isinstance(part, RowsWithTexts)]
        features = [part.sent if isinstance(part, RowsWithTexts) else part for part in rows]
        texts = {TEXTS_ARRAY: np.concatenate([part.texts for part in with_texts])} if with_texts else {}
        return pack_requests(features) | texts

    def concat(self, outputs: list[Arrays]) -> Arrays:
        return {name: np.concatenate([part[name] for part in outputs]) for name in outputs[0]}

    def fault(self, outputs: Arrays) -> DeepseekError | None:
        """The error of rows that have no prediction, though others of their batch have one; None when all have one."""
        return first_fault(outputs["faults"])

    def describe_record(self, record: Record) -> Record:
        """A record in words, for reasons: files are not sent back."""
        return describe_record(self.runtime.preparer, record)

    def decide(self, outputs: Arrays, rows: Sequence[Any], flags: Sequence[Flag]) -> Prediction:
        return self.runtime.decision.apply(outputs["output"], flags)
