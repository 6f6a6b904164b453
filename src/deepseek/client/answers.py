"""What a client returns, and how it is read from a response's body."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar

from deepseek.client.errors import UnreachableError
from deepseek.extras import need

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from deepseek.contracts import Attribution, Flag, Float32, Tensors

Result = TypeVar("Result")


class ModelEntry(TypedDict):
    """A model that the server has, as GET /v1/models lists it; kinds of models add keys of their own."""

    id: str
    version: str
    task: str
    digest: str


class Reason(TypedDict):
    """A column that moved an answer, as the server writes it."""

    column: str
    value: Any
    contribution: float
    text: str


class FlagEntry(TypedDict):
    """A value that was changed on the way in, or is beyond training, as the server writes it."""

    row: int
    column: str
    what: Literal["imputed", "unseen", "truncated", "unreadable", "outside", "far"]


@dataclass(frozen=True, slots=True)
class PredictResponse:
    """Answers for N rows, with the fields of a contracts.Prediction, and the columns that moved each answer most.

    Arrays are numpy's where numpy is installed and nested lists where it is not. Classes have labels and probabilities,
    regressions values and, where they were fitted, intervals, and a bare graph its outputs by name.
    """

    labels_known: tuple[str, ...] = ()  # the classes in the order of the columns of probabilities
    labels: NDArray[Any] | None = None  # (N,) text
    probabilities: Float32 | None = None  # (N, C)
    values: Float32 | None = None  # (N,)
    intervals: Float32 | None = None  # (N, 2) lower and upper ends
    outputs: Mapping[str, NDArray[Any]] | None = None  # (N, ...) each
    flag_entries: tuple[FlagEntry, ...] = ()
    reasons: tuple[tuple[Reason, ...], ...] = ()  # (N,) the strongest first

    def __len__(self) -> int:
        answers = next((field for field in (self.labels, self.values) if field is not None), None)
        return len(answers) if answers is not None else 0 if self.tensors is None else len(self.tensors)

    @property
    def flags(self) -> tuple[Flag, ...]:
        """Values that the server changed before it answered, or that the training rows do not speak for."""
        from deepseek.contracts import Flag

        return tuple(Flag(entry["row"], entry["column"], entry["what"]) for entry in self.flag_entries)

    @property
    def tensors(self) -> Tensors | None:
        """The outputs of a bare graph."""
        from deepseek.contracts import Tensors

        return None if self.outputs is None else Tensors(self.outputs)


def parse_body(reader: Callable[[bytes], Result], body: bytes) -> Result:
    """reader(body); UnreachableError when the body is not what the method's answer is."""
    try:
        return reader(body)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, OSError, RecursionError) as error:
        raise UnreachableError(
            f"the answer cannot be read: {type(error).__name__} {str(error)[:100]}",
            expected="an answer of a deepseek model server",
            fix="check the address, what stands between, and that both have the same version",
        ) from error


def read_models(body: bytes) -> list[ModelEntry]:
    """The list of models."""
    entries: list[ModelEntry] = json.loads(body)["data"]
    for entry in entries:
        entry["id"] = str(entry["id"])
    return entries


def read_columns(body: bytes) -> tuple[str, ...]:
    """The names of a model's inputs."""
    return tuple(str(entry["name"]) for entry in json.loads(body)["inputs"])


def takes_tensors(body: bytes) -> bool:
    """Whether a model's inputs are tensors and no columns."""
    return any(entry.get("modality") == "tensor" for entry in json.loads(body)["inputs"])


def read_predictions(body: bytes) -> PredictResponse:
    """Answers by column, in JSON (protocols/rows.py)."""
    answers = json.loads(body)
    outputs = answers.get("outputs")
    return PredictResponse(
        labels_known=tuple(answers.get("labels_known", ())),
        labels=_array(answers.get("labels"), "str_"),
        probabilities=_array(answers.get("probabilities"), "float32"),
        values=_array(answers.get("values"), "float32"),
        intervals=_array(answers.get("intervals"), "float32"),
        outputs=None if outputs is None else {name: _output_array(rows) for name, rows in outputs.items()},
        flag_entries=tuple(answers.get("flags", ())),
        reasons=tuple(tuple(reasons) for reasons in answers.get("reasons", ())),
    )


def read_arrow(body: bytes) -> PredictResponse:
    """Answers as an Arrow stream (protocols/arrow.py)."""
    pa, np = need("pyarrow", extra="tabular"), need("numpy", extra="tabular")
    table = pa.ipc.open_stream(io.BytesIO(body)).read_all()
    prefix = "probability_"
    names = [name for name in table.column_names if name.startswith(prefix)]
    prediction = table.column("prediction")
    ends = [table.column(name).to_numpy() for name in ("lower", "upper") if name in table.column_names]
    return PredictResponse(
        labels_known=tuple(name.removeprefix(prefix) for name in names),
        labels=np.array(prediction.to_pylist(), np.str_) if names else None,
        probabilities=np.column_stack([table.column(name).to_numpy() for name in names]) if names else None,
        values=None if names else prediction.to_numpy(),
        intervals=np.column_stack(ends) if ends else None,
        flag_entries=tuple(json.loads((table.schema.metadata or {}).get(b"flags", b"[]"))),
    )


def read_attribution(body: bytes) -> Attribution:
    """The answer of :explain. `target` is the class that all rows speak of, None where they differ."""
    np = need("numpy", extra="serve")
    from deepseek.contracts import Attribution

    rows = json.loads(body)["explanations"]
    names = tuple(rows[0]["values"])
    targets = {row["target"] for row in rows}
    return Attribution(
        names=names,
        values=np.array([list(row["values"].values()) for row in rows], np.float64).reshape(len(rows), len(names)),
        base_value=np.array([row["base_value"] for row in rows], np.float64),
        output=np.array([row["output"] for row in rows], np.float64),
        scale=rows[0]["scale"],
        method=rows[0]["method"],
        target=targets.pop() if len(targets) == 1 else None,
    )


def read_embeddings(body: bytes) -> Float32:
    """Vectors (N, D), each sent as base64 of little-endian float32 or as numbers."""
    np = need("numpy", extra="serve")
    entries = sorted(json.loads(body)["data"], key=lambda entry: entry["index"])
    vectors = [entry["embedding"] for entry in entries]
    rows = [
        np.frombuffer(base64.b64decode(vector), "<f4") if isinstance(vector, str) else np.array(vector, np.float32)
        for vector in vectors
    ]
    stacked: Float32 = np.stack(rows)
    return stacked


def _array(values: Sequence[Any] | None, dtype: str | None) -> Any:
    """Values as an array of a dtype (None: numpy's choice), or as they are where numpy is not installed."""
    try:
        import numpy as np
    except ImportError:
        return values
    return None if values is None else np.array(values, dtype)


def _output_array(rows: Sequence[Any]) -> Any:
    """One output of a graph; as floats where a number is not known, which JSON has as null."""
    array = _array(rows, None)
    return array.astype("float64") if hasattr(array, "dtype") and array.dtype.kind == "O" else array
