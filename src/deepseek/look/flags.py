"""What flags of rows say, in words: values that were replaced, and what is beyond training.

counts = Counter((flag.column, flag.what) for flag in prediction.flags)
flag_lines(counts)       # ["2 numbers are outside of the training range: amount (2)"]
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from deepseek.look.numbers import count

#: Reasons of values that were read as they are; those of the others were replaced.
BEYOND_TRAINING = ("outside", "far")
MAX_COLUMNS = 5  # named in a line
#: Reason -> what is said of one, and of several.
_WORDS = {
    "imputed": ("value was missing and was replaced", "values were missing and were replaced"),
    "unseen": ("value was never seen in training", "values were never seen in training"),
    "truncated": ("text was longer than the model reads", "texts were longer than the model reads"),
    "outside": ("number is outside of the training range", "numbers are outside of the training range"),
    "far": ("row is far from every training row, mostly by", "rows are far from every training row, mostly by"),
}


def count_by_reason(counts: Mapping[tuple[str, str], int]) -> dict[str, int]:
    """How many flags there are of each reason that occurs.

    >>> count_by_reason({("age", "imputed"): 2, ("pay", "imputed"): 1})
    {'imputed': 3}
    """
    totals: Counter[str] = Counter()
    for (_, what), number in counts.items():
        totals[what] += number
    return {what: totals[what] for what in _WORDS if totals[what]}


def flag_lines(counts: Mapping[tuple[str, str], int]) -> list[str]:
    """One line for each reason, with the columns that have most.

    >>> flag_lines({("amount", "outside"): 2, ("age", "imputed"): 1})
    ['1 value was missing and was replaced: age (1)', '2 numbers are outside of the training range: amount (2)']
    """
    lines = []
    for what, number in count_by_reason(counts).items():
        columns = sorted(((n, column) for (column, why), n in counts.items() if why == what), key=lambda pair: -pair[0])
        names = ", ".join(f"{column} ({count(n)})" for n, column in columns[:MAX_COLUMNS])
        more = f" and {len(columns) - MAX_COLUMNS} more columns" if len(columns) > MAX_COLUMNS else ""
        lines.append(f"{count(number)} {_WORDS[what][number != 1]}: {names}{more}")
    return lines
