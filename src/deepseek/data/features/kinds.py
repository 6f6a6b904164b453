"""The kind of each column, found from its values and name; a user's word goes before.

    constant           no value, or the same one in every row
    identifier         numbers or names each row: ids, row counters, codes that hardly repeat
    datetime, boolean, numeric, integer_category, category     claimed by a modality (registry.py), in that order
    text               what is left: free text, which enters as TF-IDF of its n-grams
    image, audio, video, volume, series                            files, told by kinds.py or the user

Identifiers and constants are left out of the features, unless a user says that they are of another kind.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np

from deepseek.data.features.categories import MAX_LEVELS
from deepseek.data.features.modality import ColumnProfile
from deepseek.data.features.ngrams import count_words
from deepseek.data.features.registry import modalities, modality
from deepseek.data.table.table import Table, is_integral
from deepseek.errors import InputError
from deepseek.plugins import did_you_mean

#: What a column holds, as the preprocessor treats it.
Kind = Literal[
    "numeric", "integer_category", "category", "boolean", "datetime", "text", "identifier", "constant",
    "image", "audio", "video", "volume", "series",
]  # fmt: skip
#: Every Kind.
KINDS: tuple[str, ...] = get_args(Kind)

MIN_IDENTIFIER_ROWS = 20  # below that, values that are all different say nothing
MIN_GAPPED_ROWS = 50  # of a counter with gaps
MAX_LOG_CHANCE = -7.0  # natural logarithm: that so many numbers drawn from so short a range are all different
MIN_ROWS_PER_GROUP = 2.0  # for each value of an identifier, on average, from which its values name groups of rows
MIN_LONG_CODE, MAX_MOMENT_MS = 10**10, 4_200_000_000_000  # numbers of 11 digits; moments up to 2103, in milliseconds
MIN_DISTINCT = 50  # distinct values from which a column with the name of an identifier is taken for one
MIN_DISTINCT_SHARE = 0.95  # share of distinct values from which nearly all are different
_ID_NAME = re.compile(
    r"(?i:(^|[_\s.-])(id|ids|uuid|guid|rowid|hash)$|^index$|^unnamed(_|: )\d+$)|[a-z](Id|ID|Uuid|UUID)$"
    r"|(编号|序号|流水号|身份证号?)$",
)
_TIME_NAME = re.compile(r"(?i:year|date|time|month|week|day|hour|age|epoch|stamp)|[年月日时周]|日期|时间")


def find_kinds(table: Table, *, target: str | None, overrides: Mapping[str, str] | None = None) -> dict[str, str]:
    """The kind of every column but the target, where there is one. `overrides` sets some by name.

    InputError for an override of a column or a kind that is not known.

    >>> table = Table({"x": np.arange(40) % 7 + 0.5, "y": np.zeros(40)}, {"x": "number", "y": "number"})
    >>> find_kinds(table, target="y")
    {'x': 'numeric'}
    """
    if target is not None:
        table.column(target)
    known_kinds = tuple(dict.fromkeys([*KINDS, *(kind for modality in modalities() for kind in modality.kinds)]))
    for name, kind in (overrides or {}).items():
        table.column(name)
        if kind not in known_kinds:
            raise InputError(
                f"{kind!r} is not a kind of column.{did_you_mean(kind, known_kinds)}",
                expected=", ".join(known_kinds),
                fix="choose one of these",
            )
    explicit = dict(overrides or {})
    kinds = {
        name: explicit.get(name) or find_kind(ColumnProfile.from_table(table, name))
        for name in table.names
        if name != target
    }
    if not set(kinds.values()) - {"identifier", "constant"}:  # better a counter than nothing to learn from
        counters = (name for name in kinds if kinds[name] == "identifier" and table.types[name] == "number")
        kinds.update((name, "numeric") for name in counters if name not in explicit)
    return kinds


def find_kind(profile: ColumnProfile) -> str:
    """The kind of one column, by its values and its name."""
    if len(profile.counts) == 0 or (len(profile.counts) == 1 and not profile.missing.any()):
        return "constant"
    if identifier_reason(profile):
        return "identifier"
    if group_reason(profile):
        return "category"
    claims = (modality.claims(profile) for modality in modalities())
    return next((kind for kind in claims if kind is not None), "text")


def identifier_reason(profile: ColumnProfile) -> str:
    """Why a column is taken for an identifier, as "it ...", with the figures; "" where it is not."""
    if profile.type not in ("number", "text") or len(profile.present) < MIN_IDENTIFIER_ROWS:
        return ""
    num_distinct, num_there = len(profile.counts), len(profile.present)
    counts = f"{num_distinct:,} values in {num_there:,} rows"
    nearly_all = num_distinct >= MIN_DISTINCT_SHARE * num_there
    if profile.type == "number":
        can_be_one, reason = is_integral(profile.present), _number_reason(profile, counts, nearly_all=nearly_all)
    else:
        can_be_one = _is_one_word(profile) and not _reads_as_values(profile)
        reason = f"its values hardly repeat ({counts}), so that they say nothing of a new row" if nearly_all else ""
    if not can_be_one:
        return ""
    groups = group_reason(profile)
    if reason or not _is_named(profile) or (groups and num_distinct <= MAX_LEVELS):
        return reason
    if groups:
        return (
            f"{groups}, more than a category has levels; split by group:{profile.name} where new rows are of new ones"
        )
    if nearly_all:
        return f"its values hardly repeat ({counts}) and its name is that of an identifier"
    return f"its name is that of an identifier ({counts}), and a new row may have a value that no row had before"


def _number_reason(profile: ColumnProfile, counts: str, *, nearly_all: bool) -> str:
    """Why whole numbers name rows, whatever their column is called."""
    if len(profile.counts) == len(profile.present) and _is_row_counter(profile):
        return f"it counts the rows ({counts}), which says nothing of a new one"
    if nearly_all and _are_long_codes(profile):
        return f"its numbers are as long as those of telephones and accounts, and hardly repeat ({counts})"
    return ""


def _is_one_word(profile: ColumnProfile) -> bool:
    return bool(np.mean([count_words(text) <= 1 for text in profile.counts]) > MIN_DISTINCT_SHARE)


def group_reason(profile: ColumnProfile) -> str:
    """Why the values of a column with the name of an identifier are taken for names of groups of rows, as "it ...";
    "" where they are not."""
    num_distinct, num_there = len(profile.counts), len(profile.present)
    if profile.type not in ("number", "text") or not _is_named(profile):
        return ""
    if num_there < MIN_ROWS_PER_GROUP * num_distinct:
        return ""
    return f"it names groups of rows ({num_distinct:,} values in {num_there:,} rows)"


def _is_named(profile: ColumnProfile) -> bool:
    """Whether a column has the name of an identifier, and enough values to be one."""
    least = min(MIN_DISTINCT, MIN_DISTINCT_SHARE * len(profile.present))
    return _ID_NAME.search(profile.name) is not None and len(profile.counts) >= least


def _are_long_codes(profile: ColumnProfile) -> bool:
    """Whether whole numbers are equally long, and longer than amounts and moments are."""
    low, high = float(abs(profile.present).min()), float(abs(profile.present).max())
    may_be_moments = low >= 10 * MIN_LONG_CODE and high <= MAX_MOMENT_MS
    return low >= MIN_LONG_CODE and len(f"{low:.0f}") == len(f"{high:.0f}") and not may_be_moments


def _is_row_counter(profile: ColumnProfile) -> bool:
    """Whether whole numbers, all different, rise evenly row by row, fill a range, or lie in so short a range that a
    measure of so many rows would have repeated: numbers of rows of which some were left out."""
    steps = np.diff(profile.present)
    span, num_rows = float(profile.present.max() - profile.present.min() + 1), len(profile.present)
    if span == num_rows or (np.all(steps > 0) and np.all(steps == steps[0])):
        return True
    # Of N numbers drawn from a range all are different with a chance of exp(-N (N - 1) / (2 range)), and less likely
    # still where some are drawn more often
    log_chance = -num_rows * (num_rows - 1) / (2 * span)
    is_time = _TIME_NAME.search(profile.name) is not None
    return num_rows >= MIN_GAPPED_ROWS and log_chance < MAX_LOG_CHANCE and not is_time


def _reads_as_values(profile: ColumnProfile) -> bool:
    """Whether a text column is all numbers or all dates, and so more than a name."""
    return any(modality(name).claims(profile) for name in ("datetime", "number"))
