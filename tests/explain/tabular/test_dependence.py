"""Columns that belong together: found in rows, changed together, or told to hold no more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from deepseek.contracts import Record
from deepseek.explain.records import CounterfactualReport
from deepseek.explain.report.coherence import coherence_notes
from deepseek.explain.report.faithfulness import faithfulness_sections
from deepseek.explain.tabular.dependence import find_groups
from deepseek.explain.tabular.neighbors import ColumnKind, counterfactual
from deepseek.explain.tabular.row_context import build_row_context

KINDS: dict[str, ColumnKind] = {
    "radius": "number", "area": "number", "first": "number", "second": "number", "total": "number", "price": "number",
    "amount": "number", "noise": "number", "color": "category",
}  # fmt: skip


@pytest.fixture(scope="module")
def rows() -> list[Record]:
    draw = np.random.default_rng(0)
    cells = []
    for _ in range(120):
        radius, first, second, price, count = draw.uniform(1, 9), *draw.uniform(1, 99, 3), draw.integers(1, 9)
        cells.append(
            {
                "radius": radius, "area": 3.14159 * radius**2, "first": first, "second": second,
                "total": round(first + second, 2), "price": price, "count": float(count), "amount": price * count,
                "noise": draw.normal(), "color": "red",
            }
        )  # fmt: skip
    return cells


def test_a_monotone_function_a_sum_and_a_product_are_found_and_chance_is_not(rows: list[Record]) -> None:
    assert find_groups(rows, KINDS) == (("radius", "area"), ("first", "second", "total"))
    kinds: dict[str, ColumnKind] = dict.fromkeys(("price", "count", "amount", "noise"), "number")
    positive = [row | {"count": row["count"] + place / 1_000} for place, row in enumerate(rows)]
    positive = [row | {"amount": row["price"] * row["count"]} for row in positive]
    assert find_groups(positive, kinds) == (("price", "count", "amount"),)


def test_missing_values_hide_no_pair_and_few_rows_say_nothing(rows: list[Record]) -> None:
    kinds: dict[str, ColumnKind] = {"radius": "number", "area": "number", "noise": "number"}
    gaps = [row | {"noise": None} if place % 5 else row for place, row in enumerate(rows)]
    assert find_groups(gaps, kinds) == (("radius", "area"),)
    words = [row | {"noise": "n/a"} if place % 5 else row | {"noise": "1.5"} for place, row in enumerate(rows)]
    assert find_groups(words, kinds) == (("radius", "area"),)
    assert find_groups(rows[:29], kinds) == ()
    assert find_groups([], kinds) == ()


def large(rows: Sequence[Record]) -> list[str]:
    return ["large" if row["area"] > 60 else "small" for row in rows]


def test_a_counterfactual_changes_what_belongs_together_to_the_values_of_one_row(rows: list[Record]) -> None:
    kinds = {name: KINDS[name] for name in ("radius", "area", "noise")}
    row = {"radius": 2.0, "area": 12.56636, "noise": 0.0}
    alone = counterfactual(large, row, rows, kinds)
    assert alone is not None
    assert set(alone.changes) == {"area"}  # a disc of radius 2 with an area above 60
    together = counterfactual(large, row, rows, kinds, groups=[("radius", "area")])
    assert together is not None
    assert set(together.changes) == {"radius", "area"}
    new = {name: pair[1] for name, pair in together.changes.items()}
    assert new["area"] == pytest.approx(3.14159 * new["radius"] ** 2)
    assert counterfactual(large, row, rows, kinds, groups=[("radius", "area")], fixed=("radius",)) is None


def test_the_context_of_a_bundle_keeps_groups_or_says_what_may_not_hold(cancer_bundle: Any) -> None:
    from deepseek.data.table.examples import load_example
    from deepseek.engines import Runtime, open_runtime

    table, target, _ = load_example("cancer")
    with open_runtime(cancer_bundle) as runtime:
        assert isinstance(runtime, Runtime)
        kept = table.drop([target])
        (context,), notes = build_row_context(runtime, kept, 1, others=kept)
        report = context.counterfactual
        assert report is not None
        assert notes == []
        groups = find_groups(kept.records(), dict.fromkeys(kept.names, "number"))
        assert ("mean_radius", "mean_perimeter", "mean_area") in groups
        for group in groups:
            changed = [name for name in group if name in report.changes]
            assert changed in ([], list(group))
        fixed = [name for group in groups for name in group[1:]]
        (held,), _ = build_row_context(runtime, kept, 1, others=kept, fixed=fixed)
        others = kept.take(np.arange(10))
        (_,), few = build_row_context(runtime, kept, 1, others=others)
    assert any("cannot be told from 10 rows" in note for note in few)
    for first, second in (held.counterfactual.doubtful or ()) if held.counterfactual else ():
        assert first in held.counterfactual.changes
        assert second not in held.counterfactual.changes


def test_words_say_what_changes_together_and_what_may_not_hold() -> None:
    def notes(**options: Any) -> list[str]:
        report = CounterfactualReport(
            changes={"area": [1, 2]}, from_class="0", to_class="1", num_predicted=3, **options
        )
        return [words.en for words, _ in coherence_notes(report)]

    assert notes() == ["These values may not hold together: which columns belong together was not measured."]
    assert notes(together=()) == []
    assert notes(together=(("radius", "area"),)) == [
        "radius, area belong together, so they change together, to the values of one real row."
    ]
    assert notes(together=(), doubtful=(("area", "radius"),)) == [
        "This may not hold together: area changes, and radius, which belongs to it, stays."
    ]
    assert faithfulness_sections(None) == []
