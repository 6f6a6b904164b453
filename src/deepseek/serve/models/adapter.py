"""What a front end knows of a model: how requests become arrays for an engine, and how its outputs become answers.

    face.prepare(records)  ->  rows, sliced and joined into a batch  ->  face.run(arrays), here or in an engine process
                           ->  face.decide(outputs, rows, flags)

The engine itself is opened from `spec`, by whoever computes.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Union

import numpy as np

from deepseek.contracts import Arrays, Batch, Flag, Float32, Prediction, Record, Scores
from deepseek.serve.core.card import Card

if TYPE_CHECKING:
    from deepseek.bundle import Bundle, Manifest
    from deepseek.bundle.read import Signature
    from deepseek.engines import MultimodalRuntime
    from deepseek.engines.measuring import LossyEngines


class PreparedRows(Protocol):
    """Rows that an engine can be given. `features` has a length and can be sliced."""

    @property
    def features(self) -> Any: ...
    @property
    def flags(self) -> tuple[Flag, ...]: ...


class ModelAdapter(Protocol):
    """The half of a model that stands in a front end."""

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
        """What preparing a row costs, in cells of models.INLINE_CELLS."""
        ...

    @property
    def joins(self) -> bool:
        """Whether rows of several requests may be computed together."""
        ...

    def fits(self, rows: Any, others: Any) -> bool:
        """Whether these may, where any may. Called between two requests of a batch."""
        ...

    @property
    def repeats(self) -> bool:
        """Whether the same rows always get the same answers."""
        ...

    def identity(self, features: Any) -> Hashable:
        """Equal for prepared rows that are the same to the bit, and whose answers therefore are; for no others."""
        ...

    @property
    def row_units(self) -> int:
        """The cost of a row that batches are laid out for: 1, or tokens where rows differ in length."""
        ...

    @property
    def runtime(self) -> Any:
        """What an explainer is made of."""
        ...

    @property
    def spec(self) -> Mapping[str, Any]:
        """What an engine process needs to open the model."""
        ...

    @property
    def typical(self) -> Prediction:
        """One answer, without an engine: it shows what answers look like."""
        ...

    def warm(self, num_rows: int) -> Any:
        """Prepared rows to compute before the first request, about so many."""
        ...

    def prepare(self, records: Any) -> PreparedRows:
        """Records, rows by column, or tensors where the face has them."""
        ...

    def cost(self, features: Any) -> int:
        """What computing these rows costs: their number, or that of their tokens."""
        ...

    def join(self, rows: list[Any]) -> Arrays:
        """The engine's arrays of the rows of several requests."""
        ...

    def concat(self, outputs: list[Arrays]) -> Arrays:
        """The outputs of the slices of one request."""
        ...

    def run(self, arrays: Arrays) -> Arrays:
        """Compute in this process."""
        ...

    def decide(self, outputs: Arrays, rows: Sequence[Any], flags: Sequence[Flag]) -> Prediction:
        """Answers. `rows` are the features of the same rows, one by one."""
        ...

    def close(self) -> None: ...


class ServableRuntime(Protocol):
    """What a table's face needs of a loaded bundle; engines.Runtime is one."""

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
    """Of a bundle that reads columns."""

    joins = True
    repeats = True
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
    def spec(self) -> dict[str, Any]:
        path = str(self.runtime.bundle.path.absolute())
        more = {} if self.runtime.lossy is None else {"lossy": self.runtime.lossy.to_dict()}
        return {"kind": "bundle", "path": path, "digest": self.card.digest, **more}

    @property
    def bundle_signature(self) -> Signature:
        return self.runtime.bundle.signature

    @property
    def typical(self) -> Prediction:
        num_labels = max(1, len(self.card.labels))
        output = np.full((1, num_labels), 1 / num_labels, np.float32)
        return self.runtime.decide(Scores(output, output), ())

    def warm(self, num_rows: int) -> Float32:
        return self.prepare([self.example] * num_rows).features

    def fits(self, rows: Any, others: Any) -> bool:
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


#: What can be served: a runtime, or a face of its own.
ServableModel = Union[ServableRuntime, "MultimodalRuntime", ModelAdapter]


def adapt_model(model: ServableModel) -> ModelAdapter:
    """The face of a runtime; a face is its own."""
    if hasattr(model, "preparer"):
        from deepseek.serve.models.multimodal import MultimodalAdapter

        return MultimodalAdapter(model)  # type: ignore[arg-type]
    return model if hasattr(model, "card") else TableAdapter(model)  # type: ignore[return-value]
