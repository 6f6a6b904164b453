"""All columns together, against earlier rows of the log: can a classifier tell now from then?

Half of the rows teach it, on the other half its AUC is taken; at 0.5 it cannot tell them apart, and what drift there is
shows in no column and in no pair of them. The probability is that of Mann and Whitney's test. (Lopez-Paz and Oquab
2017)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from deepseek.contracts import Float64
from deepseek.extras import need
from deepseek.observe.reading.ndjson import quote_name
from deepseek.observe.reading.tables import Logs

MAX_ROWS = 10_000  # of now and of then
MIN_ROWS = 200


@dataclass(frozen=True, slots=True)
class JointDrift:
    auc: float
    p_value: float
    num_rows: int  # of now and of then, each


def measure_jointly(logs: Logs, where: str, past: str, columns: Sequence[str]) -> JointDrift | None:
    """The test of the rows that `where` (SQL) chooses against those that `past` does; None where there are too few."""
    need("sklearn", extra="tabular")
    from scipy.special import ndtr
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score

    chosen = ", ".join(map(quote_name, columns))
    tables = [
        logs.table(f"SELECT {chosen} FROM rows WHERE {sql} ORDER BY hash(rowid) LIMIT {MAX_ROWS}")
        for sql in (where, past)
    ]
    num_rows = min(table.num_rows for table in tables)
    if num_rows < MIN_ROWS:
        return None
    features = _features(pa.concat_tables([table.slice(0, num_rows) for table in tables], promote_options="permissive"))
    is_now = np.repeat([1, 0], num_rows)
    teaches = np.tile(np.arange(num_rows) % 2 == 0, 2)
    model = HistGradientBoostingClassifier(max_iter=50, max_leaf_nodes=8, early_stopping=False, random_state=0)
    model.fit(features[teaches], is_now[teaches])
    auc = float(roc_auc_score(is_now[~teaches], model.predict_proba(features[~teaches])[:, 1]))
    now, then = int(is_now[~teaches].sum()), int((1 - is_now[~teaches]).sum())
    spread = np.sqrt((now + then + 1) / (12 * now * then))
    return JointDrift(auc, float(ndtr(-(auc - 0.5) / spread)), num_rows)


def _features(table: pa.Table) -> Float64:
    """Numbers as they are, texts by the rank of their frequency (N, P)."""
    import pyarrow.compute as pc

    columns = []
    for column in table.columns:
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            columns.append(column.cast(pa.float64()).to_numpy())
            continue
        encoded = pc.dictionary_encode(column.cast(pa.string()).combine_chunks())
        codes = encoded.indices.fill_null(len(encoded.dictionary)).to_numpy()
        counts = np.bincount(codes)
        rank = np.empty(len(counts))
        rank[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
        columns.append(rank[codes])
    result: Float64 = np.column_stack(columns).astype(np.float64)
    return result
