"""Explanations in the body of :explain: sums, and a warning where there is none."""

from __future__ import annotations

import json

import numpy as np

from deepseek.contracts import Attribution
from deepseek.serve.protocols.explanation_rows import check_sums, encode_explanations

FOUND = Attribution(
    ("lat", "alt"), np.array([[3.0, -1.0], [3.0, -1.0]]), np.array([-98.0, -98.0]), np.array([-96.0, -76.1]),
    "target units", "TreeSHAP, exact (path-dependent)",
)  # fmt: skip


def test_a_row_that_does_not_add_up_says_so() -> None:
    wrong, right = json.loads(encode_explanations([(FOUND, 1), (FOUND, 0)]))["explanations"]
    assert check_sums([(FOUND, 1), (FOUND, 0)]) == [False, True]
    assert (right["adds_up"], right["residual"]) == (True, 0.0)
    assert "warning" not in right
    assert wrong["adds_up"] is False
    assert wrong["warning"].startswith("This explanation does not add up: 19.9 target units")
    for row in (wrong, right):
        assert row["base_value"] + sum(row["values"].values()) + row["residual"] == row["output"]
