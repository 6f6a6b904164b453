"""Which rows of a batch go through the attention together."""

from __future__ import annotations

import itertools
import random

import pytest

from deepseek.engines.text.parts import parts, width_of


def cost(chosen: list[list[int]], lengths: list[int], call_cells: float) -> float:
    return sum(call_cells + len(rows) * max(width_of(lengths[row]) for row in rows) for rows in chosen)


def best_cost(lengths: list[int], call_cells: float) -> float:
    """By trying all ways to cut the rows in the order of their lengths."""
    order = sorted(range(len(lengths)), key=lambda row: lengths[row])
    found = []
    for cuts in itertools.product([False, True], repeat=len(order) - 1):
        chosen = [[order[0]]]
        for row, is_cut in zip(order[1:], cuts, strict=True):
            if is_cut:
                chosen.append([row])
            else:
                chosen[-1].append(row)
        found.append(cost(chosen, lengths, call_cells))
    return min(found)


def test_short_rows_do_not_go_with_long_ones() -> None:
    assert [rows.tolist() for rows in parts([5, 60, 6, 58], call_cells=100)] == [[0, 2], [1, 3]]


def test_a_call_that_costs_more_than_it_saves_is_not_made() -> None:
    assert [rows.tolist() for rows in parts([5, 60, 6, 58], call_cells=113)] == [[0, 2, 1, 3]]


@pytest.mark.parametrize("call_cells", [0.0, 10.0, 60.0, 300.0])
def test_no_other_way_to_cut_is_cheaper(call_cells: float) -> None:
    draw = random.Random(0)
    for num_rows in (1, 2, 5, 10):
        lengths = [draw.randint(1, 80) for _ in range(num_rows)]
        chosen = [rows.tolist() for rows in parts(lengths, call_cells=call_cells)]
        assert sorted(itertools.chain.from_iterable(chosen)) == list(range(num_rows))
        assert cost(chosen, lengths, call_cells) == best_cost(lengths, call_cells)
