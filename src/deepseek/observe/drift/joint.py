"""All columns together, against earlier rows of the log: has anything changed, and can a classifier tell now from then?

What has changed is change.py's question, which has one probability for all of it. The classifier says how large it is:
half of the rows teach it, on the other half its AUC is taken; at 0.5 it cannot tell them apart. Its probability is that
of Mann and Whitney's test. (Lopez-Paz and Oquab 2017)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa

from deepseek.contracts import Float64
from deepseek.data.features.texts import TextEncoder
from deepseek.extras import need
from deepseek.observe.drift.change import ChangeDetector, Changes, WindowSummary
from deepseek.observe.drift.scores import ColumnValues, NumberColumn, read_columns
from deepseek.observe.drift.texts import TextDescriber
from deepseek.observe.reading.ndjson import quote_name
from deepseek.observe.reading.tables import Logs

MAX_ROWS = 10_000  # of now and of then
MIN_ROWS = 200  # of then; of now, for the classifier
MIN_NOW = 20
SPANS = (1, 2, 4, 8, 16)  # windows that are looked at together


@dataclass(frozen=True, slots=True)
class JointDrift:
    """`auc`, `p_value`: of the classifier; None where the window has too few rows for it. `changes`: what has changed,
    in the window and in longer spans that end with it."""

    auc: float | None
    p_value: float | None
    num_rows: int  # of now and of then, each
    changes: Changes


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time up to `end_s`, in lengths of `window_s`, of rows that `where` (SQL) chooses."""

    where: str
    end_s: float
    window_s: float

    def now(self, num_windows: int = 1) -> str:
        return f"({self.where} AND time >= {self._start(num_windows)!r} AND time <= {self.end_s!r})"

    def between(self, fewer: int, more: int) -> str:
        """What the last `more` windows have and the last `fewer` have not."""
        return f"({self.where} AND time >= {self._start(more)!r} AND time < {self._start(fewer)!r})"

    def past(self, num_windows: int = 1) -> str:
        return f"({self.where} AND time < {self._start(num_windows)!r})"

    def _start(self, num_windows: int) -> float:
        return self.end_s - num_windows * self.window_s


def measure_jointly(
    logs: Logs, span: Span, columns: Sequence[str], encoders: Mapping[str, TextEncoder], prefix: str
) -> JointDrift | None:
    """The window against the rows before it; None where there are too few. Longer spans are looked at as far as they
    leave as much time before them as they take."""
    need("sklearn", extra="tabular")
    start_s = logs.query(f"SELECT min(time) FROM rows WHERE {span.where}")[0][0]
    num_windows = [count for count in SPANS if count == 1 or 2 * count * span.window_s <= span.end_s - start_s]
    past = _read(logs, span.past(num_windows[-1]), columns)
    if past.num_rows < MIN_ROWS:
        num_windows, past = [1], _read(logs, span.past(), columns)
    parts = [_read(logs, span.now(), columns)]
    parts += [_read(logs, span.between(*ends), columns) for ends in pairwise(num_windows)]
    if past.num_rows < MIN_ROWS or parts[0].num_rows < MIN_NOW:
        return None
    raw = read_columns(past)
    describer = TextDescriber(raw, encoders, prefix)
    then = describer.describe(raw)
    now = [describer.describe(read_columns(each)) for each in parts]
    detector = ChangeDetector(then)
    summaries = [detector.summarize(each) for each in now]
    merged = [WindowSummary.merge(summaries[: count + 1]) for count in range(len(summaries))]
    changes = Changes.of([detector.measure(each) for each in merged])
    num_rows = min(past.num_rows, parts[0].num_rows)
    if num_rows < MIN_ROWS:
        return JointDrift(None, None, num_rows, changes)
    auc, p_value = _tell_apart(now[0], then, num_rows)
    return JointDrift(auc, p_value, num_rows, changes)


def _read(logs: Logs, where: str, columns: Sequence[str]) -> pa.Table:
    """At most MAX_ROWS rows, drawn by chance."""
    chosen = ", ".join(map(quote_name, columns))
    return logs.table(f"SELECT {chosen} FROM rows WHERE {where} ORDER BY hash(rowid) LIMIT {MAX_ROWS}")


def _tell_apart(now: Sequence[ColumnValues], then: Sequence[ColumnValues], num_rows: int) -> tuple[float, float]:
    """AUC and probability of a classifier, on half of the first `num_rows` rows of both."""
    from scipy.special import ndtr
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score

    features = np.column_stack([_to_numbers(first, second, num_rows) for first, second in zip(now, then, strict=True)])
    is_now = np.repeat([1, 0], num_rows)
    teaches = np.tile(np.arange(num_rows) % 2 == 0, 2)
    model = HistGradientBoostingClassifier(max_iter=50, max_leaf_nodes=8, early_stopping=False, random_state=0)
    model.fit(features[teaches], is_now[teaches])
    auc = float(roc_auc_score(is_now[~teaches], model.predict_proba(features[~teaches])[:, 1]))
    num_now, num_then = int(is_now[~teaches].sum()), int((1 - is_now[~teaches]).sum())
    spread = np.sqrt((num_now + num_then + 1) / (12 * num_now * num_then))
    return auc, float(ndtr(-(auc - 0.5) / spread))


def _to_numbers(now: ColumnValues, then: ColumnValues, num_rows: int) -> Float64:
    """Numbers as they are, texts by the rank of their frequency (2N,)."""
    if isinstance(now, NumberColumn) and isinstance(then, NumberColumn):
        return np.concatenate([now.values[:num_rows], then.values[:num_rows]])
    both = [str(value) for each in (now, then) for value in each.values[:num_rows]]
    _, codes, counts = np.unique(np.array(both), return_inverse=True, return_counts=True)
    rank = np.empty(len(counts))
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    ranks: Float64 = rank[codes]
    return ranks
