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
MIN_GAPPED_ROWS, MAX_GAPPED_SPAN = 50, 2.5  # rows, and numbers in the range for each, of a counter with gaps
MIN_DISTINCT = 50  # distinct values from which a column with the name of an identifier is taken for one
MIN_DISTINCT_SHARE = 0.95  # share of distinct values from which nearly all are different
_ID_NAME = re.compile(
    r"(?i:(^|[_\s.-])(id|ids|uuid|guid|rowid|hash)$|^index$|^unnamed(_|: )\d+$)|[a-z](Id|ID|Uuid|UUID)$"
    r"|(编号|序号|流水号|身份证号?)$",
)


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
    claims = (modality.claims(profile) for modality in modalities())
    return next((kind for kind in claims if kind is not None), "text")


def identifier_reason(profile: ColumnProfile) -> str:
    """Why a column is taken for an identifier, as "it ...", with the figures; "" where it is not."""
    if profile.type not in ("number", "text") or len(profile.present) < MIN_IDENTIFIER_ROWS:
        return ""
    num_distinct, num_there = len(profile.counts), len(profile.present)
    counts = f"{num_distinct:,} values in {num_there:,} rows"
    nearly_all = num_distinct >= MIN_DISTINCT_SHARE * num_there
    named = _ID_NAME.search(profile.name) is not None and num_distinct >= min(
        MIN_DISTINCT, MIN_DISTINCT_SHARE * num_there
    )
    if profile.type == "number":
        if not is_integral(profile.present):
            return ""
        if num_distinct == num_there and _is_row_counter(profile):
            return f"it counts the rows ({counts}), which says nothing of a new one"
    else:
        one_word = np.mean([count_words(text) <= 1 for text in profile.counts]) > MIN_DISTINCT_SHARE
        if not one_word or _reads_as_values(profile):
            return ""
        if nearly_all:
            return f"its values hardly repeat ({counts}), so that they say nothing of a new row"
    if not named:
        return ""
    if nearly_all:
        return f"its values hardly repeat ({counts}) and its name is that of an identifier"
    return f"its name is that of an identifier ({counts}), and a new row may have a value that no row had before"


def _is_row_counter(profile: ColumnProfile) -> bool:
    """Whether whole numbers, all different, rise evenly row by row or fill most of a range, as the numbers of rows do
    of which some were left out. Of many rows, a measure would have repeated in so short a range."""
    steps = np.diff(profile.present)
    span, num_rows = profile.present.max() - profile.present.min() + 1, len(profile.present)
    is_full = span == num_rows or (num_rows >= MIN_GAPPED_ROWS and span <= MAX_GAPPED_SPAN * num_rows)
    return bool(is_full or (np.all(steps > 0) and np.all(steps == steps[0])))


def _reads_as_values(profile: ColumnProfile) -> bool:
    """Whether a text column is all numbers or all dates, and so more than a name."""
    return any(modality(name).claims(profile) for name in ("datetime", "number"))
