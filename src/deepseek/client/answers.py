"""What a client hands back, and how it is read from a body."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
import numpy as np

from deepseek.client.errors import UnreachableError
from deepseek.contracts import Attribution, Flag, Float32, Prediction, Tensors
from deepseek.extras import need

Result = TypeVar("Result")
Reason = Mapping[str, Any]  # column, value, contribution, text


@dataclass(frozen=True, slots=True)
class PredictResponse(Prediction):
    """A Prediction, as the model itself gives it, and for each row the columns that moved it most."""

    reasons: tuple[tuple[Reason, ...], ...] = ()


def parse_body(reader: Callable[[bytes], Result], body: bytes) -> Result:
    """reader(body); UnreachableError when the body is not what the verb's answer is."""
    try:
        return reader(body)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, OSError) as error:
        raise UnreachableError(
            f"the answer cannot be read: {type(error).__name__} {str(error)[:100]}",
            expected="an answer of a deepseek model server",
            fix="check the address, what stands between, and that both have the same version",
        ) from error


def read_models(body: bytes) -> list[dict[str, Any]]:
    """The list of models."""
    return [dict(entry, id=str(entry["id"])) for entry in msgspec.json.decode(body)["data"]]


def read_columns(body: bytes) -> tuple[str, ...]:
    """The names of a model's inputs."""
    return tuple(str(entry["name"]) for entry in msgspec.json.decode(body)["inputs"])


def takes_tensors(body: bytes) -> bool:
    """Whether a model's inputs are tensors and no columns."""
    return any(entry.get("modality") == "tensor" for entry in msgspec.json.decode(body)["inputs"])


def read_predictions(body: bytes) -> PredictResponse:
    """The answer by column (protocols/rows.py)."""
    found = msgspec.json.decode(body)
    labels = found.get("labels")
    outputs = found.get("outputs")
    return PredictResponse(
        tensors=None if outputs is None else Tensors({name: _output_array(rows) for name, rows in outputs.items()}),
        labels_known=tuple(found.get("labels_known", ())),
        labels=None if labels is None else np.array(labels, np.str_),
        probabilities=_float_array(found.get("probabilities")),
        values=_float_array(found.get("values")),
        intervals=_float_array(found.get("intervals")),
        flags=_read_flags(found.get("flags", ())),
        reasons=tuple(tuple(reasons) for reasons in found.get("reasons", ())),
    )


def read_arrow(body: bytes) -> PredictResponse:
    """The answer as an Arrow stream (protocols/arrow.py)."""
    pa = need("pyarrow", extra="tabular")
    table = pa.ipc.open_stream(io.BytesIO(body)).read_all()
    start = "probability_"
    names = [name for name in table.column_names if name.startswith(start)]
    prediction = table.column("prediction")
    flags = msgspec.json.decode((table.schema.metadata or {}).get(b"flags", b"[]"))
    ends = [table.column(name).to_numpy() for name in ("lower", "upper") if name in table.column_names]
    return PredictResponse(
        labels_known=tuple(name.removeprefix(start) for name in names),
        labels=np.array(prediction.to_pylist(), np.str_) if names else None,
        probabilities=np.column_stack([table.column(name).to_numpy() for name in names]) if names else None,
        values=None if names else prediction.to_numpy(),
        intervals=np.column_stack(ends) if ends else None,
        flags=_read_flags(flags),
    )


def read_attribution(body: bytes) -> Attribution:
    """The answer of :explain. `target` is the class that all rows speak of, None where they differ."""
    rows = msgspec.json.decode(body)["explanations"]
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
    """Vectors (N, D), each as base64 of little-endian float32 or as numbers."""
    entries = sorted(msgspec.json.decode(body)["data"], key=lambda entry: entry["index"])
    vectors = [entry["embedding"] for entry in entries]
    return np.stack(
        [
            np.frombuffer(base64.b64decode(vector), "<f4") if isinstance(vector, str) else np.array(vector, np.float32)
            for vector in vectors
        ]
    )


def _output_array(rows: Any) -> Any:
    """One output. Where a number is not known it is of floats."""
    found = np.array(rows)
    return found.astype(np.float64) if found.dtype == object else found


def _float_array(values: Any) -> Float32 | None:
    return None if values is None else np.array(values, np.float32)


def _read_flags(entries: Sequence[Mapping[str, Any]]) -> tuple[Flag, ...]:
    return tuple(Flag(entry["row"], entry["column"], entry["what"]) for entry in entries)
