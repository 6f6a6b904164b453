"""Which rows of a batch go through the attention together."""

from __future__ import annotations

import itertools
import random

import pytest

from deepseek.engines.text.serve.length_groups import group_by_length, padded_width


def cells(chosen: list[list[int]], lengths: list[int]) -> int:
    return sum(len(rows) * max(padded_width(lengths[row]) for row in rows) for rows in chosen)


def least_cells(lengths: list[int], most: int) -> int:
    """By trying all ways to cut the rows in the order of their lengths."""
    order = sorted(range(len(lengths)), key=lambda row: lengths[row])
    results = []
    for cuts in itertools.product([False, True], repeat=len(order) - 1):
        chosen = [[order[0]]]
        for row, is_cut in zip(order[1:], cuts, strict=True):
            if is_cut:
                chosen.append([row])
            else:
                chosen[-1].append(row)
        if len(chosen) <= most:
            results.append(cells(chosen, lengths))
    return min(results)


def test_short_rows_do_not_go_with_long_ones() -> None:
    assert [rows.tolist() for rows in group_by_length([5, 60, 6, 58], most=2)] == [[0, 2], [1, 3]]


def test_rows_of_one_length_are_one_group() -> None:
    assert [rows.tolist() for rows in group_by_length([9, 12, 16], most=3)] == [[0, 1, 2]]


@pytest.mark.parametrize("most", [1, 2, 3, 4])
def test_no_other_way_to_cut_has_fewer_cells(most: int) -> None:
    draw = random.Random(0)
    for num_rows in (1, 2, 5, 10):
        lengths = [draw.randint(1, 80) for _ in range(num_rows)]
        chosen = [rows.tolist() for rows in group_by_length(lengths, most=most)]
        assert len(chosen) <= most
        assert sorted(itertools.chain.from_iterable(chosen)) == list(range(num_rows))
        assert cells(chosen, lengths) == least_cells(lengths, most)
