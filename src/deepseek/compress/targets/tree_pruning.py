"""Pruning of trees: the first rounds of a boosted part are kept, and a share of a forest's trees.

    thinned(model, 0.5)          # half of the trees of every part, other parts as they are

Each round of boosting corrects the rounds before it, so the last ones matter least; calibrating again makes up for what
they would have added. The trees of a forest are equal: fewer votes, each with more weight.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from deepseek.nn.model import Model, Part
from deepseek.nn.trees import ALL_MARGINS, LEAF, TreeTable

#: Parts whose score is a mean of votes, so that fewer votes weigh more each.
FOREST_NAMES = frozenset(["random_forest", "extra_trees"])


def num_trees(model: Model) -> int:
    """Number of trees in all parts of the model."""
    return sum(part.weights.num_trees for part in model.parts if isinstance(part.weights, TreeTable))


def prune_trees(model: Model, share: float) -> Model:
    """The model with `share` (0..1) of the trees of each of its parts, at least one round of each."""
    return replace(model, parts=tuple(_prune_part(part, share) for part in model.parts))


def _prune_part(part: Part, share: float) -> Part:
    table = part.weights
    if not isinstance(table, TreeTable):
        return part
    # a round has a tree for each margin, and a forest's tree serves all of them
    width = 1 if (table.output == ALL_MARGINS).any() else max(1, len(np.unique(table.output)))
    num_kept = max(width, round(share * table.num_trees / width) * width)
    leaf_weight = table.num_trees / num_kept if part.name in FOREST_NAMES else 1.0
    return replace(part, weights=keep_first_trees(table, num_kept, leaf_weight))


def keep_first_trees(table: TreeTable, num_kept: int, leaf_weight: float = 1.0) -> TreeTable:
    """The first `num_kept` trees of a table, their leaves multiplied by `leaf_weight`."""
    if num_kept >= table.num_trees:
        return table
    table = table.in_preorder()
    end = int(table.roots[num_kept])
    num_leaves = int((table.feature[:end] == LEAF).sum())
    nodes = {name: getattr(table, name)[:end] for name in ("feature", "threshold", "left", "right", "cover")}
    return replace(
        table, roots=table.roots[:num_kept], output=table.output[:num_kept],
        leaves=(table.leaves[:num_leaves] * leaf_weight).astype(np.float32), **nodes,
    )  # fmt: skip
