"""Fewer trees: the first rounds of a boosted part, an even share of a forest's votes.

    thinned(model, 0.5)          # half of the trees of every part, other parts as they are

Each round of boosting mends what the rounds before it have left, so the last ones matter least; what they would have
added is made up for by calibrating anew. The trees of a forest are equals: fewer votes, each worth more.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from deepseek.nn.model import Model, Part
from deepseek.nn.trees import ALL_MARGINS, LEAF, TreeTable

#: Parts whose score is a mean of votes, so that fewer votes weigh more each.
FOREST_NAMES = frozenset(["random_forest", "extra_trees"])


def num_trees(model: Model) -> int:
    """Of all parts."""
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
    kept = max(width, round(share * table.num_trees / width) * width)
    worth = table.num_trees / kept if part.name in FOREST_NAMES else 1.0
    return replace(part, weights=keep_first_trees(table, kept, worth))


def keep_first_trees(table: TreeTable, num_kept: int, worth: float = 1.0) -> TreeTable:
    """The first trees, whose leaves weigh `worth` times as much."""
    if num_kept >= table.num_trees:
        return table
    table = table.in_preorder()
    end = int(table.roots[num_kept])
    num_leaves = int((table.feature[:end] == LEAF).sum())
    nodes = {name: getattr(table, name)[:end] for name in ("feature", "threshold", "left", "right", "cover")}
    return replace(
        table, roots=table.roots[:num_kept], output=table.output[:num_kept],
        leaves=(table.leaves[:num_leaves] * worth).astype(np.float32), **nodes,
    )  # fmt: skip
