"""Nested state as JSON plus named tensors, both ways and exactly, so that a checkpoint holds no pickle.

    tensors = {}
    skeleton = pack_state({"step": 3, "buffer": torch.ones(2)}, "optimizer", tensors)   # JSON
    tree = unpack(skeleton, tensors)                                              # the same again

Numbers keep every bit (JSON writes a float64 so that it reads back equal); tuples stay tuples, keys keep their type.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepseek.errors import InputError

#: What a state_dict() of torch gives: tensors, arrays, numbers, text, and lists, tuples and dicts of them, by name.
StateDict = dict[str, Any]


def pack_state(tree: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """The skeleton of `tree` for JSON. Its tensors go to `tensors`, named by their path below `name`.

    >>> pack_state({"a": (1, 2.5)}, "x", {})
    {'dict': [['a', {'tuple': [1, 2.5]}]]}
    """
    if tree is None or isinstance(tree, (bool, int, float, str)):
        return tree
    if isinstance(tree, Tensor):
        tensors[name] = tree.detach()
        return {"tensor": name}
    if isinstance(tree, np.ndarray):
        tensors[name] = torch.from_numpy(np.ascontiguousarray(tree))
        return {"array": name}
    if isinstance(tree, np.generic):
        return pack_state(tree.item(), name, tensors)
    if isinstance(tree, Mapping):
        pairs = [
            [pack_state(key, name, tensors), pack_state(value, f"{name}/{key}", tensors)] for key, value in tree.items()
        ]
        return {"dict": pairs}
    if isinstance(tree, (list, tuple)):
        items = [pack_state(value, f"{name}/{index}", tensors) for index, value in enumerate(tree)]
        return items if isinstance(tree, list) else {"tuple": items}
    raise InputError(
        f"{name} is a {type(tree).__name__}, which a checkpoint cannot hold",
        expected="tensors, arrays, numbers, text, and lists, tuples and dicts of them in every state_dict()",
        fix="let its state_dict() give such values",
    )


def unpack_state(skeleton: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The tree that was packed.

    >>> unpack_state({'dict': [['a', {'tuple': [1, 2.5]}]]}, {})
    {'a': (1, 2.5)}
    """
    if isinstance(skeleton, list):
        return [unpack_state(each, tensors) for each in skeleton]
    if not isinstance(skeleton, dict):
        return skeleton
    ((kind, content),) = skeleton.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "array":
        return tensors[content].numpy()
    if kind == "tuple":
        return tuple(unpack_state(each, tensors) for each in content)
    return {unpack_state(key, tensors): unpack_state(value, tensors) for key, value in content}
