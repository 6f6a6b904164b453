"""Candidates that a net of pairs learns from: labelled differences, and what bad references would make of edges."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("scipy")

from deepseek.errors import InputError
from deepseek.train.detect.templates import NUM_SHIFTS, PairExample, collect


def striped_board() -> np.ndarray:
    """Traces eight pixels wide and as far apart."""
    return np.tile(np.repeat([0, 255], 8), 8)[None, None].repeat(128, 1).astype(np.uint8)


def test_edges_that_fit_are_shown_as_worse_references_would_show_them() -> None:
    """Part and reference are the same but for one spot, so all that is no defect comes from references that were moved
    or etched."""
    reference = striped_board()
    part = reference.copy()
    part[:, 60:70, 36:44] = 255 - part[:, 60:70, 36:44]
    pair = PairExample(part, reference, np.array([[36, 60, 44, 70]], np.float32), np.array([1]))
    candidates = collect([pair] * 6, 2)
    assert (candidates.num_labels, candidates.num_without_candidate) == (6, 0)
    assert (candidates.classes == 1).sum() >= 6 * NUM_SHIFTS
    assert (candidates.classes == 2).sum() >= 6
    assert (candidates.deltas[candidates.classes == 2] == 0).all()


def test_labels_where_nothing_differs_are_refused() -> None:
    board = striped_board()
    pair = PairExample(board, board, np.array([[36, 60, 44, 70]], np.float32), np.array([0]))
    with pytest.raises(InputError, match="no part differs from its reference where a label says so"):
        collect([pair], 1)
