"""Values that pass between the grader and the learner's code, as JSON: numbers, texts, lists, dicts and numpy arrays.

>>> decode_value(encode_value({"a": (1, 2.5)}))
{'a': [1, 2.5]}
"""

from __future__ import annotations

import base64
from typing import Any

ARRAY = "__array__"


class UnknownValueError(Exception):
    """A value that is none of these; the text is its kind."""


def encode_value(value: Any) -> Any:
    """The value as json.dump() takes it. UnknownValueError names the kind of one that cannot be passed."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [encode_value(item) for item in value]
    if isinstance(value, dict):
        return {str(key): encode_value(item) for key, item in value.items()}
    if hasattr(value, "detach"):  # a tensor of torch
        value = value.detach().cpu().numpy()
    if hasattr(value, "to_numpy"):  # a column or a frame of pandas
        value = value.to_numpy()
    if hasattr(value, "tobytes") and getattr(value, "dtype", None) is not None:
        if value.dtype.hasobject:
            return encode_value(value.tolist())
        if not getattr(value, "shape", ()):
            return encode_value(value.item())
        data = base64.b64encode(value.tobytes()).decode()
        return {ARRAY: data, "dtype": value.dtype.str, "shape": list(value.shape)}
    raise UnknownValueError(type(value).__name__)


def decode_value(value: Any) -> Any:
    """What encode_value() was given; a tuple is a list then."""
    if isinstance(value, list):
        return [decode_value(item) for item in value]
    if isinstance(value, dict):
        if ARRAY in value:
            import numpy as np

            data = np.frombuffer(base64.b64decode(value[ARRAY]), np.dtype(value["dtype"]))
            return data.reshape(value["shape"]).copy()
        return {key: decode_value(item) for key, item in value.items()}
    return value
