"""TreeSHAP from tables: xgboost's values, for trees of every form, and where tables would be too large."""

from __future__ import annotations

import numpy as np
import pytest

from deepseek.explain.tabular import parts
from deepseek.explain.tabular.trees.compiled_tables import CompiledLeafTables
from deepseek.explain.tabular.trees.leaf_tables import MAX_TABLE_BYTES, LeafTables, TableShape
from support.nets.treegames import NUM_FEATURES, contributions, forest

COLUMN_OF = np.arange(NUM_FEATURES)


@pytest.mark.parametrize("tables", [LeafTables, CompiledLeafTables])
@pytest.mark.parametrize("depths", [[0], [1, 0, 3], [6, 2, 6, 7]], ids=["a leaf", "shallow", "as deep as it goes"])
def test_tables_give_the_values_of_xgboost_and_the_score(depths: list[int], tables: type[LeafTables]) -> None:
    table = forest(depths)
    rows = np.random.default_rng(1).normal(size=(300, NUM_FEATURES)).astype(np.float32)
    rows[7, 1] = np.nan  # goes right
    expected, expected_base = contributions(table, rows)
    values, base, score = tables(table, 0, column_of=COLUMN_OF).explain(rows)
    np.testing.assert_allclose(values, expected, atol=2e-6)
    np.testing.assert_allclose(base, expected_base, atol=2e-6)
    np.testing.assert_allclose(score, table.margin(rows)[:, 0], atol=1e-6)
    np.testing.assert_allclose(base + values.sum(axis=1), score, atol=1e-6)


def test_what_a_table_would_take_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    table = forest([6, 6])
    tables = LeafTables(table, 0, column_of=COLUMN_OF)
    foreseen = TableShape(table, 0).num_bytes(NUM_FEATURES)
    assert foreseen == tables._given.nbytes + tables._owner.nbytes
    assert TableShape(forest([14]), 0).num_bytes(NUM_FEATURES) > MAX_TABLE_BYTES
    rows = np.zeros((1, NUM_FEATURES), np.float32)
    values = parts.part_attributor(table, 0, column_of=COLUMN_OF, num_threads=1)(rows)
    monkeypatch.setattr(parts, "MAX_TABLE_BYTES", foreseen - 1)
    monkeypatch.setattr(parts, "LeafTables", None)
    other = parts.part_attributor(table, 0, column_of=COLUMN_OF, num_threads=1)(rows)
    np.testing.assert_allclose(values.values, other.values, atol=2e-6)
