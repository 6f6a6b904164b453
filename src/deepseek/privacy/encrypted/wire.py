"""What goes between the asker and the server: safetensors, with the ciphertexts as bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from deepseek.errors import MalformedError, TooLargeError
from deepseek.privacy.rounds.state import read_arrays

MAX_COLUMNS = 20_000


@dataclass(frozen=True, slots=True)
class CipherMessage:
    """Columns of as many rows each: inputs of a request, margins of an answer."""

    model: str  # digest of the bundle
    key_id: str  # of the secret key
    num_rows: int
    columns: tuple[bytes, ...]


def message_to_bytes(message: CipherMessage) -> bytes:
    """As safetensors."""
    arrays: dict[str, NDArray[Any]] = {
        f"column_{place}": np.frombuffer(column, np.uint8) for place, column in enumerate(message.columns)
    }
    head: dict[str, NDArray[Any]] = {
        "model": np.frombuffer(bytes.fromhex(message.model), np.uint8),
        "key_id": np.frombuffer(bytes.fromhex(message.key_id), np.uint8),
        "num_rows": np.array([message.num_rows], np.int64),
    }
    return safetensors.numpy.save(head | arrays)


def message_from_bytes(data: bytes, *, most_rows: int) -> CipherMessage:
    """The inverse. IntegrityError for bytes that were cut, MalformedError for other arrays, TooLargeError for more rows
    than a ciphertext holds."""
    arrays = dict(read_arrays(data))
    model, key_id, num_rows = (arrays.pop(name, None) for name in ("model", "key_id", "num_rows"))
    if model is None or key_id is None or num_rows is None or num_rows.shape != (1,) or num_rows.dtype != np.int64:
        raise MalformedError("the message names no model, key and rows", expected="all three", fix="send it again")
    names: Sequence[str] = [f"column_{place}" for place in range(min(len(arrays), MAX_COLUMNS))]
    if arrays.keys() != set(names) or any(array.dtype != np.uint8 or array.ndim != 1 for array in arrays.values()):
        raise MalformedError("the columns are not numbered ciphertexts", expected="column_0, ...", fix="send it again")
    if not 1 <= num_rows[0] <= most_rows:
        raise TooLargeError(f"{num_rows[0]} rows", expected=f"1 to {most_rows} in a message", fix="send them in parts")
    columns = tuple(arrays[name].tobytes() for name in names)
    return CipherMessage(model.tobytes().hex(), key_id.tobytes().hex(), int(num_rows[0]), columns)
