"""A TreeTable as the bytes of an xgboost booster, written by hand in its UBJSON model format.

One booster has one margin: the trees that add to it, and for trees with a vector in each leaf that entry of the vector.
xgboost goes left when x < t, a table when x <= t, so each threshold moves to the next float32 above.

Source of the format: "Introduction to Model IO" in xgboost's documentation and its model schema; UBJSON draft 12.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from deepseek.nn.trees import ALL_MARGINS, LEAF, TreeTable

_NO_PARENT = 2**31 - 1
_TYPE_MARKERS = {"float32": b"d", "int32": b"l", "uint8": b"U", "int64": b"L"}


def booster_bytes(table: TreeTable, margin: int, *, num_features: int) -> bytes:
    """The bytes of a booster that sums `table`'s trees for one of its margins.

    The table's bias is not in it: it is added in float64 by the caller.
    """
    if len(table.feature) and int(table.feature.max()) >= num_features:
        raise ValueError(f"a tree reads feature {int(table.feature.max())} of {num_features}")
    leaves = _leaf_column(table, margin)
    trees = [
        _tree_fields(table, start, end, leaves, number, num_features)
        for number, (start, end) in enumerate(
            bounds
            for bounds, output in zip(table.bounds(), table.output, strict=True)
            if output in (ALL_MARGINS, margin)
        )
    ]
    return write_ubjson({"learner": _learner_fields(trees, num_features), "version": [3, 1, 0]})


def _leaf_column(table: TreeTable, margin: int) -> NDArray[np.float32]:
    wide = table.leaves.shape[1] > 1
    return table.leaves[:, margin if wide else 0]


def _learner_fields(trees: list[Mapping[str, object]], num_features: int) -> Mapping[str, object]:
    return {
        "attributes": {},
        "feature_names": [],
        "feature_types": [],
        "gradient_booster": {
            "model": {
                "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": str(len(trees))},
                "iteration_indptr": list(range(len(trees) + 1)),
                "tree_info": [0] * len(trees),
                "trees": trees,
            },
            "name": "gbtree",
        },
        "learner_model_param": {
            "base_score": "[0E0]", "boost_from_average": "0", "num_class": "0",
            "num_feature": str(num_features), "num_target": "1",
        },
        "objective": {"name": "reg:squarederror", "reg_loss_param": {"scale_pos_weight": "1"}},
    }  # fmt: skip


def _tree_fields(
    table: TreeTable, start: int, end: int, leaves: NDArray[np.float32], number: int, num_features: int
) -> Mapping[str, object]:
    nodes = slice(start, end)
    inner = table.feature[nodes] != LEAF
    size = end - start
    index, first_child = _renumber_siblings(table.left[nodes] - start, table.right[nodes] - start, inner)
    value = np.zeros(size, np.float32)
    value[~inner] = leaves[table.left[nodes][~inner]]
    next_threshold = np.nextafter(table.threshold[nodes], np.float32(np.inf))
    parents = np.full(size, _NO_PARENT, np.int32)
    parents[first_child] = parents[first_child + 1] = index[inner]

    def renumber(array: NDArray[np.float32] | NDArray[np.int32]) -> NDArray[np.float32] | NDArray[np.int32]:
        out = np.empty_like(array)
        out[index] = array
        return out

    left = np.full(size, -1, np.int32)
    left[index[inner]] = first_child
    nothing = np.zeros(size, np.uint8)
    weights = renumber(value)
    return {
        "base_weights": weights,
        "categories": np.zeros(0, np.int32),
        "categories_nodes": np.zeros(0, np.int32),
        "categories_segments": np.zeros(0, np.int64),
        "categories_sizes": np.zeros(0, np.int64),
        "default_left": nothing,
        "id": number,
        "left_children": left,
        "loss_changes": np.zeros(size, np.float32),
        "parents": parents,
        "right_children": np.where(left == -1, -1, left + 1).astype(np.int32),
        "split_conditions": renumber(np.where(inner, next_threshold, value).astype(np.float32)),
        "split_indices": renumber(np.where(inner, table.feature[nodes], 0).astype(np.int32)),
        "split_type": nothing,
        "sum_hessian": renumber(table.cover[nodes]),
        "tree_param": {
            "num_deleted": "0", "num_feature": str(num_features), "num_nodes": str(size), "size_leaf_vector": "1",
        },
    }  # fmt: skip


def _renumber_siblings(
    left: NDArray[np.int32], right: NDArray[np.int32], inner: NDArray[np.bool_]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Number nodes as xgboost does: each node's new index, and the index of each inner node's left child.

    xgboost finds a right child beside the left one (left + 1) without reading its number. So the j-th inner node's
    children go to 2j + 1 and 2j + 2; they stay behind their parent.
    """
    first_child = 2 * np.arange(int(inner.sum()), dtype=np.int32) + 1
    index = np.zeros(len(inner), np.int32)
    index[left[inner]] = first_child
    index[right[inner]] = first_child + 1
    return index, first_child


def write_ubjson(value: object) -> bytes:
    """UBJSON of dicts, lists, text, whole numbers and typed arrays: what a booster needs.

    >>> write_ubjson({"a": [1]})
    b'{L\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x01a[#L\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x01L\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x01}'
    """
    pieces: list[bytes] = []
    _write(value, pieces)
    return b"".join(pieces)


def _write(value: object, pieces: list[bytes]) -> None:
    if isinstance(value, Mapping):
        pieces.append(b"{")
        for key, item in value.items():
            pieces.append(_encode_text(key))
            _write(item, pieces)
        pieces.append(b"}")
    elif isinstance(value, str):
        pieces.append(b"S" + _encode_text(value))
    elif isinstance(value, int):
        pieces.append(b"L" + struct.pack(">q", value))
    elif isinstance(value, np.ndarray):
        pieces.append(b"[$" + _TYPE_MARKERS[value.dtype.name] + b"#" + _encode_length(len(value)))
        pieces.append(value.astype(value.dtype.newbyteorder(">")).tobytes())
    elif isinstance(value, Sequence):
        pieces.append(b"[#" + _encode_length(len(value)))
        for item in value:
            _write(item, pieces)
    else:
        raise TypeError(f"ubjson writes no {type(value).__name__}")


def _encode_text(text: str) -> bytes:
    data = text.encode()
    return _encode_length(len(data)) + data


def _encode_length(count: int) -> bytes:
    return b"L" + struct.pack(">q", count)
