"""`deepseek plan` against published figures: what is cited stands in a table, what is missed is named."""

from __future__ import annotations

import plan as bench
import pytest
from plan_published import TABLES


@pytest.mark.parametrize("name", bench.CITED)
def test_every_cited_figure_stands_in_its_table_and_holds(name: str) -> None:
    figure = bench.cited(name)
    assert figure["holds"] is True
    assert figure["rival"] == bench.CITED[name][1][-1]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_row_that_is_missed_is_named_and_counted(table) -> None:
    shares = bench.share(table)
    assert round((1 - shares["ours"]) * len(table.rows)) == shares["note"].count(" times") - 1
    assert len(set(table.rows)) == len(table.rows)
    assert shares["bar"] is None
