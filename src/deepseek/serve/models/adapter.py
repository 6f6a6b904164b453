"""Adapters of models for a front end: rows of requests to arrays for an engine, and its outputs to predictions.

    adapter.prepare(records)  ->  rows, sliced and joined into a batch  ->  adapter.run(arrays), here or in a process
                              ->  adapter.decide(outputs, rows, flags)

The engine itself is opened from `spec`, by whoever computes.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Union

import numpy as np

from deepseek.contracts import Arrays, Batch, Flag, Float32, Prediction, Record, Scores
from deepseek.serve.core.card import Card

if TYPE_CHECKING:
    from deepseek.bundle import Bundle, Manifest
    from deepseek.bundle.report import Signature
    from deepseek.engines import MultimodalRuntime
    from deepseek.engines.measuring import LossyEngines
    from deepseek.serve.batching.processes import EngineSpec


class PreparedRows(Protocol):
    """Rows as an engine takes them. `features` has a length and can be sliced."""

    @property
    def features(self) -> Any: ...
    @property
    def flags(self) -> tuple[Flag, ...]: ...


class ModelAdapter(Protocol):
    """The part of a model that runs in a front end: everything but its engine."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def card(self) -> Card: ...
    @property
    def example(self) -> Record: ...
    @property
    def row_cells(self) -> int:
        """The cost of preparing a row, in cells of served_model.MAX_INLINE_CELLS."""
        ...

    @property
    def is_joinable(self) -> bool:
        """Whether rows of several requests may be computed together."""
        ...

    def can_join(self, rows: Any, others: Any) -> bool:
        """Whether the rows of two requests may be joined into one batch, where any may."""
        ...

    @property
    def is_deterministic(self) -> bool:
        """Whether the same rows always get the same outputs."""
        ...

    def identity(self, features: Any) -> Hashable:
        """A key that is equal for prepared rows that are the same to the bit, and for no others."""
        ...

    @property
    def row_units(self) -> int:
        """The cost of a row for which batches are sized: 1, or tokens where rows differ in length."""
        ...

    @property
    def runtime(self) -> Any:
        """The object that an explainer is made from; None where the model cannot be explained."""
        ...

    @property
    def spec(self) -> EngineSpec:
        """The JSON by which an engine process opens the model."""
        ...

    @property
    def typical_prediction(self) -> Prediction:
        """A prediction of one row, made without an engine: it shows the form of all predictions."""
        ...

    def warm_up_rows(self, num_rows: int) -> Any:
        """About `num_rows` prepared rows, to be computed before the first request."""
        ...

    def prepare(self, records: Any) -> PreparedRows:
        """Prepare records, rows by column, or tensors where the model takes them. InputError for rows that misfit."""
        ...

    def cost(self, features: Any) -> int:
        """The cost of computing these rows: their number, or that of their tokens."""
        ...

    def join(self, rows: list[Any]) -> Arrays:
        """The engine's input arrays from the rows of several requests."""
        ...

    def concat(self, outputs: list[Arrays]) -> Arrays:
        """The outputs of one request from those of its slices, in their order."""
        ...

    def run(self, arrays: Arrays) -> Arrays:
        """Compute a batch in this process."""
        ...

    def decide(self, outputs: Arrays, rows: Sequence[Any], flags: Sequence[Flag]) -> Prediction:
        """The prediction from an engine's outputs. `rows` are the features of the same rows, one by one."""
        ...

    def close(self) -> None: ...


class ServableRuntime(Protocol):
    """A loaded bundle of a table, as its adapter needs it; engines.Runtime is one."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def manifest(self) -> Manifest: ...
    @property
    def bundle(self) -> Bundle: ...
    @property
    def example(self) -> Record: ...
    @property
    def lossy(self) -> LossyEngines | None: ...  # that an engine process is to open; mostly None
    def prepare(self, records: Sequence[Record]) -> Batch: ...
    def score(self, features: Float32) -> Scores: ...
    def decide(self, scores: Scores, flags: Sequence[Flag]) -> Prediction: ...
    def close(self) -> None: ...


class TableAdapter:
    """The adapter of a bundle that reads columns."""

    is_joinable = True
    is_deterministic = True
    row_units = 1

    def __init__(self, runtime: ServableRuntime) -> None:
        self.runtime = runtime
        self.name = runtime.name
        self.version = runtime.version
        self.card: Card = runtime.manifest
        self.row_cells = len(runtime.manifest.inputs)
        self.prepare = runtime.prepare
        self.close = runtime.close

    @property
    def example(self) -> Record:
        return self.runtime.example

    @property
    def spec(self) -> EngineSpec:
        path = str(self.runtime.bundle.path.absolute())
        lossy = {} if self.runtime.lossy is None else {"lossy": self.runtime.lossy.to_dict()}
        return {"kind": "bundle", "path": path, "digest": self.card.digest, **lossy}

    @property
    def bundle_signature(self) -> Signature:
        return self.runtime.bundle.signature

    @property
    def typical_prediction(self) -> Prediction:
        num_labels = max(1, len(self.card.labels))
        output = np.full((1, num_labels), 1 / num_labels, np.float32)
        return self.runtime.decide(Scores(output, output), ())

    def warm_up_rows(self, num_rows: int) -> Float32:
        return self.prepare([self.example] * num_rows).features

    def can_join(self, rows: Any, others: Any) -> bool:
        return True

    def identity(self, features: Float32) -> bytes:
        return features.tobytes()  # rows of one model have one width

    def cost(self, features: Float32) -> int:
        return len(features)

    def join(self, rows: list[Float32]) -> Arrays:
        return {"features": rows[0] if len(rows) == 1 else np.concatenate(rows)}

    def concat(self, outputs: list[Arrays]) -> Arrays:
        return {name: np.concatenate([part[name] for part in outputs]) for name in outputs[0]}

    def run(self, arrays: Arrays) -> Arrays:
        return {"output": self.runtime.score(arrays["features"]).output}

    def decide(self, outputs: Arrays, rows: Sequence[Any], flags: Sequence[Flag]) -> Prediction:
        return self.runtime.decide(Scores(outputs["output"], outputs["output"]), flags)


#: What can be served: a runtime, or an adapter.
ServableModel = Union[ServableRuntime, "MultimodalRuntime", ModelAdapter]


def adapt_model(model: ServableModel) -> ModelAdapter:
    """The adapter of a runtime; an adapter is returned as it is."""
    if hasattr(model, "preparer"):
        from deepseek.serve.models.multimodal import MultimodalAdapter

        return MultimodalAdapter(model)  # type: ignore[arg-type]
    return model if hasattr(model, "card") else TableAdapter(model)  # type: ignore[return-value]
