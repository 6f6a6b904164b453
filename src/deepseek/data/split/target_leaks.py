"""Columns that give the target away: equal to it, or so near that they alone, with a split or a level for each class,
tell it.

    find_target_leaks(table, ["amount", "scenario"], target="fraud", task="binary")   # a Finding for each such column

Classes are judged by balanced accuracy, each class weighing the same, so that a rare one counts; numbers by how far a
straight line or their ranks explain the target. What is known of a row only after its target is known, looks like this.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float64, Task
from deepseek.data.split.column_sums import find_sum
from deepseek.data.split.findings import Finding
from deepseek.data.split.presence import describe_presence
from deepseek.data.split.row_hashes import value_bits
from deepseek.data.table.table import Table
from deepseek.data.table.values import level_names
from deepseek.extras import need

REFUSED_ACCURACY = 0.985  # balanced, by one column alone, from which it is taken for the target; 1 / classes is chance
REFUSED_R2 = 0.999  # the same for a number
MIN_ROWS = 20  # below, a column may equal the target by chance
MIN_NEAR_ROWS = 100  # below, a column may nearly tell it by chance
MIN_CLASS_ROWS = 10  # a class of fewer rows judges no column
MAX_LEVELS = 20  # more values that each have many rows may be names of groups
MIN_LEVEL_ROWS = 5  # mean rows of a value below which values tell nothing of each other
MAX_LOG_CHANCE = np.log(1e-6)  # that levels have one class each
MIN_RANK_R2 = 0.5  # of levels that share a number out among them without an overlap
SAMPLE_ROWS = 4_000  # that a column is tried on before it is looked at on MAX_ROWS
MAX_ROWS = 40_000
SCREENING_MARGIN = 0.02
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")
TOKEN = re.compile(r"[^\W\d_]+|\d+")
MAX_TOKENS = 20  # of one value

Codes = NDArray[np.int64]


def find_target_leaks(
    table: Table, names: Iterable[str], *, target: str, task: Task, texts: Iterable[str] = ()
) -> list[Finding]:
    """A refusal for each column of `names` that tells the target, worded by how it does; of `texts` only whether they
    have a value is looked at."""
    if table.num_rows < MIN_ROWS:
        return []
    names = list(names)
    judge = _RegressionJudge(table, target) if task == "regression" else _ClassJudge(table, target)
    findings = []
    for name in names:
        message = judge.describe(table, name)
        if message:
            fix = f"leave it out (drop=[{name!r}]; in the shell --drop {shlex.quote(name)})"
            values = table.column(name)[~table.missing_mask(name)]
            if MAX_LEVELS < len(set(values[:MAX_ROWS].tolist())) <= len(values) // MIN_LEVEL_ROWS:
                fix += f", split by group:{name} where its values name groups,"
            findings.append(Finding("refuse", name, message, f"{fix} unless it is known before the target is", name))
    if isinstance(judge, _RegressionJudge):
        return findings + judge.find_sums(table, [name for name in names if name not in {f.name for f in findings}])
    for name in texts:
        message = judge.describe_presence(table, name)
        if message:
            fix = f"leave it out (drop=[{name!r}]; in the shell --drop {shlex.quote(name)}) unless it is known before"
            findings.append(Finding("refuse", name, message, f"{fix} the target is", name))
    return findings


class _ClassJudge:
    """Tries columns on rows that are drawn from every class alike."""

    def __init__(self, table: Table, target: str) -> None:
        self.target = target
        self.classes: Codes = np.unique(value_bits(table.column(target)), return_inverse=True)[1].astype(np.int64)
        self.num_classes = int(self.classes.max()) + 1
        first = np.unique(self.classes, return_index=True)[1]
        self.class_names = [str(name) for name in level_names(table.column(target)[first])]
        self.few, self.many = (self._draw_rows(num_rows) for num_rows in (SAMPLE_ROWS, MAX_ROWS))

    def describe(self, table: Table, name: str) -> str:
        """How the column tells the class, in words; "" where it does not."""
        values = table.column(name)
        accuracy = self._accuracy(values, self.few)
        if accuracy is None:  # too few rows for what is not exact
            return (
                self._describe_exact(values, name)
                or self._describe_separation(values, name)
                or self.describe_presence(table, name)
            )
        if accuracy < REFUSED_ACCURACY - SCREENING_MARGIN:
            return self.describe_presence(table, name)
        exact = self._describe_exact(values, name)
        if exact:
            return exact
        accuracy = self._accuracy(values, self.many)
        if accuracy is None or accuracy < REFUSED_ACCURACY:
            return self.describe_presence(table, name)
        return (
            f"column {name!r} alone nearly tells the target {self.target!r}: it gives the class of {accuracy:.1%} of "
            "the rows, each class weighing the same"
        )

    def _draw_rows(self, num_rows: int) -> Codes:
        """Up to so many rows, spread over the table, of each class an equal number where it has them."""
        share = max(MIN_CLASS_ROWS, num_rows // self.num_classes)
        drawn = []
        for number in range(self.num_classes):
            rows = np.flatnonzero(self.classes == number)
            drawn.append(rows[np.linspace(0, len(rows) - 1, min(share, len(rows))).astype(np.int64)])
        return np.sort(np.concatenate(drawn))

    def _describe_exact(self, values: NDArray[Any], name: str) -> str:
        """Whether each value has one class, which is no chance, on all rows."""
        levels = np.unique(value_bits(values), return_inverse=True)[1]
        num_levels = int(levels.max()) + 1
        if num_levels * self.num_classes > 10 * max(len(values), 1_000):
            return ""
        counts = np.zeros((num_levels, self.num_classes), np.int64)
        np.add.at(counts, (levels, self.classes), 1)
        if ((counts > 0).sum(axis=1) != 1).any():
            return ""
        log_shares = np.log(counts.sum(axis=0) / counts.sum())
        log_chance = np.logaddexp.reduce(counts.sum(axis=1)[:, None] * log_shares[None, :], axis=1).sum()
        if log_chance > MAX_LOG_CHANCE:
            return ""
        if num_levels == self.num_classes:
            return f"column {name!r} is the target {self.target!r} under another name"
        if num_levels * MIN_LEVEL_ROWS <= len(values):
            return f"each value of column {name!r} has one class of {self.target!r} only"
        return ""

    def describe_presence(self, table: Table, name: str) -> str:
        """Whether it tells the class that the column has a value, or none, in words; "" where it does not."""
        missing, classes = table.missing_mask(name)[self.many], self.classes[self.many]
        words = describe_presence(missing, classes, self.class_names, repr(self.target))
        return words and f"column {name!r} {words}"

    def _describe_separation(self, values: NDArray[Any], name: str) -> str:
        """Whether a number of few rows parts the classes without an exception, which chance would hardly do."""
        if values.dtype == object or len(values) >= MIN_NEAR_ROWS:
            return ""
        numbers = _as_numbers(values)
        sizes = np.bincount(self.classes)
        if not np.isfinite(numbers).all() or sizes[sizes > 0].min() < MIN_CLASS_ROWS:
            return ""
        order = np.lexsort((self.classes, numbers))
        changes = np.flatnonzero(np.diff(self.classes[order]) != 0)
        if len(changes) != self.num_classes - 1 or (numbers[order][changes] == numbers[order][changes + 1]).any():
            return ""
        log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, len(values) + 1)))])
        log_chance = log_factorial[self.num_classes] + log_factorial[sizes].sum() - log_factorial[len(values)]
        if log_chance > MAX_LOG_CHANCE:
            return ""
        return (
            f"column {name!r} alone parts all {len(values)} rows by the classes of {self.target!r}, which would happen "
            f"by chance in {np.exp(log_chance):.1g} of such tables"
        )

    def _accuracy(self, values: NDArray[Any], rows: Codes) -> float | None:
        """Balanced accuracy of the best simple rule by this column alone; None where too few rows judge."""
        values, classes = values[rows], self.classes[rows]
        counts = np.bincount(classes, minlength=self.num_classes)
        if len(rows) < MIN_NEAR_ROWS or (counts >= MIN_CLASS_ROWS).sum() < 2:
            return None
        judged = np.flatnonzero(counts >= MIN_CLASS_ROWS)
        levels = np.unique(value_bits(values), return_inverse=True)[1]
        if (levels.max() + 1) * MIN_LEVEL_ROWS * self.num_classes <= len(values):
            guessed = _guess_by_level(levels, classes, counts)
        elif values.dtype == object:
            guessed = _guess_by_token(values.tolist(), classes, counts)
        else:
            guessed = _guess_by_range(_as_numbers(values), classes, self.num_classes)
        return float(np.mean([np.mean(guessed[classes == number] == number) for number in judged]))


def _guess_by_level(levels: Codes, classes: Codes, class_sizes: Codes) -> Codes:
    """The class (N,) that each value has most often, each class weighing the same."""
    table = np.zeros((levels.max() + 1, len(class_sizes)))
    np.add.at(table, (levels, classes), 1.0)
    best: Codes = (table / np.maximum(class_sizes, 1)).argmax(axis=1)
    return best[levels]


def _guess_by_range(values: Float64, classes: Codes, num_classes: int) -> Codes:
    """The class (N,) by a tree over the number, with hardly more leaves than classes; missing may be a leaf."""
    missing = ~np.isfinite(values)
    features = np.stack([np.where(missing, 0.0, np.clip(values, -1e30, 1e30)), missing], axis=1)
    tree = need("sklearn.tree", extra="tabular").DecisionTreeClassifier(
        max_leaf_nodes=num_classes + 2, min_samples_leaf=MIN_LEVEL_ROWS, class_weight="balanced", random_state=0
    )
    guessed: Codes = tree.fit(features, classes).predict(features)
    return guessed


def _guess_by_token(values: Sequence[str | None], classes: Codes, class_sizes: Codes) -> Codes:
    """The class (N,) by the part of a code that tells most, such as the D of "D-1017": learned on every second row and
    guessed for the others, and the other way round."""
    tokens = [
        frozenset([text, *TOKEN.findall(text.lower())[:MAX_TOKENS]]) if text else frozenset([""]) for text in values
    ]
    guessed = np.full(len(values), -1, np.int64)
    for half in (0, 1):
        counts: defaultdict[str, Counter[int]] = defaultdict(Counter)
        for row in range(half, len(values), 2):
            for token in tokens[row]:
                counts[token][int(classes[row])] += 1
        best: dict[str, tuple[float, int]] = {}
        for token, by_class in counts.items():
            weights = {number: count / class_sizes[number] for number, count in by_class.items()}
            number = max(weights, key=lambda each: weights[each])
            total, seen = sum(weights.values()), sum(by_class.values())
            best[token] = (weights[number] / total * seen / (seen + 1), number)  # a token that is seen once says little
        for row in range(1 - half, len(values), 2):
            guesses = [best[token] for token in tokens[row] if token in best]
            if guesses:
                guessed[row] = max(guesses)[1]
    return guessed


class _RegressionJudge:
    """Tries columns by a straight line, by ranks, and by levels that share the target out among them."""

    def __init__(self, table: Table, target: str) -> None:
        self.target = target
        self.rows = np.arange(table.num_rows)
        if table.num_rows > MAX_ROWS:
            self.rows = np.linspace(0, table.num_rows - 1, MAX_ROWS).astype(np.int64)
        values = table.column(target)[self.rows]
        self.values = values if values.dtype.kind == "f" else np.full(len(values), np.nan)

    def describe(self, table: Table, name: str) -> str:
        """How the column depends on the target, in words; "" where it does not."""
        values = table.column(name)[self.rows]
        column = f"column {name!r}"
        how = self._describe_numbers(_as_numbers(values))
        if how:
            return f"{column} {how} the target {self.target!r}"
        known = np.isfinite(self.values)
        levels = np.unique(value_bits(values), return_inverse=True)[1][known]
        if self._shares_out(levels):
            return f"each value of {column} has a range of the target {self.target!r} of its own"
        missing = np.array([value is None or value != value for value in values.tolist()])  # noqa: PLR0124 - NaN
        if self._shares_out(missing[known].astype(np.int64)):
            return f"whether {column} has a value tells whether the target {self.target!r} is large or small"
        return ""

    def find_sums(self, table: Table, names: Sequence[str]) -> list[Finding]:
        """A refusal for two columns whose sum or difference is the target."""
        numbers = {name: table.column(name)[self.rows] for name in names if table.types[name] == "number"}
        pair = find_sum(numbers, self.values)
        if pair is None:
            return []
        how = "sum" if pair.sign > 0 else "difference"
        message = (
            f"the target {self.target!r} is the {how} of the columns {pair.left!r} and {pair.right!r} "
            f"(R² {pair.r2:.5f} over {pair.num_rows:,} rows, with equal weights)"
        )
        both = [pair.left, pair.right]
        shell = " ".join(f"--drop {shlex.quote(name)}" for name in both)
        fix = f"leave them out (drop={both!r}; in the shell {shell}) unless both are known before the target is"
        return [Finding("refuse", pair.left, message, fix, pair.left)]

    def _describe_numbers(self, x: Float64) -> str:
        y = self.values
        both = np.isfinite(x) & np.isfinite(y)
        x, y = x[both], y[both]
        if len(x) < MIN_ROWS or np.ptp(x) == 0 or np.ptp(y) == 0:
            return ""
        if np.array_equal(x, y):
            return "equals"
        with np.errstate(over="ignore", invalid="ignore"):
            r2 = _r2(x, y)
        if r2 > REFUSED_R2:
            return "is a straight line of" if r2 > 1 - 1e-9 else f"is nearly a straight line of (R² {r2:.5f})"
        ranks = [np.unique(values, return_inverse=True)[1].astype(np.float64) for values in (x, y)]
        many = min(ranks[0].max(), ranks[1].max()) >= MIN_ROWS and len(x) >= MIN_NEAR_ROWS
        if not many or (r2 := _r2(*ranks)) <= REFUSED_R2:
            return ""
        return "rises and falls exactly with" if r2 > 1 - 1e-9 else f"rises and falls (R² of ranks {r2:.5f}) with"

    def _shares_out(self, levels: Codes) -> bool:
        """Whether the levels (N,) divide the range of the target among them, without an overlap and not by chance."""
        target = self.values[np.isfinite(self.values)]
        num_levels = len(np.unique(levels))
        if num_levels < 2 or len(target) < MIN_NEAR_ROWS or num_levels * MIN_LEVEL_ROWS > len(target):
            return False
        order = np.lexsort((levels, target))
        changes = np.flatnonzero(np.diff(levels[order]) != 0)
        if len(changes) != num_levels - 1 or (target[order][changes] == target[order][changes + 1]).any():
            return False
        ranks = np.unique(target, return_inverse=True)[1].astype(np.float64)
        sizes = np.bincount(levels)
        means = np.bincount(levels, weights=ranks)[sizes > 0] / sizes[sizes > 0]
        explained = sizes[sizes > 0] @ (means - ranks.mean()) ** 2
        total = ((ranks - ranks.mean()) ** 2).sum()
        return bool(total > 0 and explained / total >= MIN_RANK_R2)


def _as_numbers(values: NDArray[Any]) -> Float64:
    """A column (N,) as numbers, NaN where there is none: moments as milliseconds, of a text the first number in it."""
    if values.dtype == object:
        matches = [NUMBER.search(text) if text else None for text in values.tolist()]
        return np.array([np.nan if match is None else float(match[0]) for match in matches], np.float64)
    if values.dtype.kind == "M":
        return np.where(np.isnat(values), np.nan, values.astype(np.int64).astype(np.float64))
    return values.astype(np.float64)


def _r2(x: Float64, y: Float64) -> float:
    """Pearson's r, squared; NaN where the numbers are too large for it."""
    return float(np.corrcoef(x, y)[0, 1]) ** 2
