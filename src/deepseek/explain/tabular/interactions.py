"""How much of a row's answer turns on two columns at once: exact SHAP interaction values of trees, on demand.

    matrices = interactions(explainer, features, "yes")       (N, P, P), symmetric
    strongest_pairs(matrices[0], explainer.names)             (InteractionPair(("age", "sex"), 0.31), ...)

On the diagonal stands what a column adds by itself; the two places of a pair add up to what both add together beyond
that, and a column's places to its value in the explanation. Linear parts have no interactions. What a perceptron or a
part of another kind adds is not told apart by pairs and stays on the diagonal: `unsplit_parts_note` says which parts
were.

Source: Lundberg et al. 2020 (arXiv 1905.04610), section "SHAP interaction values", by trees/walk.py; it costs as many
explanations as a model has columns. Shapes: N rows, F features, P raw columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deepseek.contracts import Float32, Float64
from deepseek.errors import InputError, TooLargeError
from deepseek.explain.records import InteractionPair
from deepseek.explain.tabular.explainer import ModelExplainer, rescale_link
from deepseek.explain.tabular.trees.walk import TreeWalk
from deepseek.nn.trees import TreeTable

MAX_PAIRS = 10  # of a row, the strongest
MAX_INTERACTION_VALUES = 50_000_000  # that are held at once: 400 MB


def interactions(explainer: ModelExplainer, features: Float32, target: str | None = None) -> Float64:
    """Interaction values (N, P, P) of features (N, F); summed over the last axis they are those of explainer.explain().

    InputError for a model without trees, TooLargeError where rows times the square of the columns are too many.
    """
    parts = explainer.model.parts
    if not any(isinstance(part.weights, TreeTable) for part in parts):
        raise InputError(
            "the model has no trees, whose pairs could be told apart", expected="a model with a part of trees",
            fix="leave interactions out",
        )  # fmt: skip
    rows = np.ascontiguousarray(features, np.float32)
    width = len(explainer.names)
    if len(rows) * width**2 > MAX_INTERACTION_VALUES:
        raise TooLargeError(
            f"{len(rows)} rows of {width} columns have {len(rows) * width**2:,} pairs",
            expected=f"at most {MAX_INTERACTION_VALUES:,}", fix="ask for fewer rows",
        )  # fmt: skip
    margin, sign, _ = explainer.find(target, explainer.score(rows))
    totals = np.zeros((len(rows), width, width))
    for index, part in enumerate(parts):
        factor, explained = np.ones(len(rows)), explainer.part_attribution(index, margin, rows)
        if part.link == "log_odds":
            factor, explained = rescale_link(part, explainer.model.num_margins, explained)
        if isinstance(part.weights, TreeTable):
            pairs = TreeWalk(part.weights, margin, column_of=explainer.column_of).interactions(rows)
            totals += sign * part.weight * factor[:, None, None] * pairs
        else:
            totals += sign * part.weight * explained.values[:, :, None] * np.eye(width)  # each column by itself
    return totals


def unsplit_parts_note(explainer: ModelExplainer) -> str:
    """Which parts were told apart by pairs, in words; "" for all."""
    whole = [part.kind for part in explainer.model.parts if part.kind not in ("trees", "linear")]
    if not whole:
        return ""
    return f"what the parts of kind {', '.join(dict.fromkeys(whole))} add is not split into pairs"


def strongest_pairs(matrix: Float64, names: Sequence[str], *, most: int = MAX_PAIRS) -> tuple[InteractionPair, ...]:
    """The strongest pairs of one row's interactions (P, P); the value of a pair is that of both its places together.

    >>> strongest_pairs(np.array([[1.0, 0.25], [0.25, 2.0]]), ("a", "b"))
    (InteractionPair(columns=('a', 'b'), value=0.5),)
    """
    first, second = np.triu_indices(len(names), 1)
    values = matrix[first, second] + matrix[second, first]
    order = np.argsort(-np.abs(values), kind="stable")[:most]
    return tuple(
        InteractionPair((names[first[place]], names[second[place]]), float(values[place]))
        for place in order.tolist()
        if values[place]
    )
