"""The kind of each column, found from its values and name; a user's word goes before.

    constant           no value, or the same one in every row
    identifier         numbers or names each row: ids, row counters, codes that hardly repeat
    datetime, boolean, numeric, integer_category, category     claimed by a modality (registry.py), in that order
    text               what is left: free text
    image, audio, video, volume, series                            files, told by kinds.py or the user

Identifiers, constants and text are left out of the features, unless a user says that they are of another kind.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np

from deepseek.data.features.modality import ColumnProfile
from deepseek.data.features.registry import modalities, modality
from deepseek.data.table.table import Table, is_integral
from deepseek.errors import InputError
from deepseek.plugins import did_you_mean

Kind = Literal[
    "numeric", "integer_category", "category", "boolean", "datetime", "text", "identifier", "constant",
    "image", "audio", "video", "volume", "series",
]  # fmt: skip
KINDS: tuple[str, ...] = get_args(Kind)

MIN_IDENTIFIER_ROWS = 20  # below, all different says nothing
MIN_DISTINCT = 50  # values of a column that is named like an identifier and is one
MIN_DISTINCT_SHARE = 0.95  # share of different values
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
    known = tuple(dict.fromkeys([*KINDS, *(kind for each in modalities() for kind in each.kinds)]))
    for name, kind in (overrides or {}).items():
        table.column(name)
        if kind not in known:
            raise InputError(
                f"{kind!r} is not a kind of column.{did_you_mean(kind, known)}",
                expected=", ".join(known),
                fix="choose one of these",
            )
    chosen = dict(overrides or {})
    found = {
        name: chosen.get(name) or find_kind(ColumnProfile.of(table, name)) for name in table.names if name != target
    }
    if not set(found.values()) - {"identifier", "constant", "text"}:  # better a counter than nothing to learn from
        counters = (name for name in found if found[name] == "identifier" and table.types[name] == "number")
        found.update((name, "numeric") for name in counters if name not in chosen)
    return found


def find_kind(profile: ColumnProfile) -> str:
    """The kind of one column, by its values and its name."""
    if len(profile.counts) == 0 or (len(profile.counts) == 1 and not profile.missing.any()):
        return "constant"
    if _is_identifier(profile):
        return "identifier"
    claims = (each.claims(profile) for each in modalities())
    return next((kind for kind in claims if kind is not None), "text")


def _is_identifier(profile: ColumnProfile) -> bool:
    if profile.type not in ("number", "text") or len(profile.there) < MIN_IDENTIFIER_ROWS:
        return False
    num_distinct, num_there = len(profile.counts), len(profile.there)
    nearly_all = num_distinct >= MIN_DISTINCT_SHARE * num_there
    named = _ID_NAME.search(profile.name) is not None and num_distinct >= min(
        MIN_DISTINCT, MIN_DISTINCT_SHARE * num_there
    )
    if profile.type == "number":
        return is_integral(profile.there) and (named or (num_distinct == num_there and _is_row_counter(profile)))
    one_word = np.mean([len(text.split()) <= 1 for text in profile.counts]) > MIN_DISTINCT_SHARE
    return bool(one_word) and (named or nearly_all) and not _reads_as_values(profile)


def _is_row_counter(profile: ColumnProfile) -> bool:
    """Whole numbers that are all different and rise row by row, or that fill a range without a gap."""
    steps = np.diff(profile.there)
    full = profile.there.max() - profile.there.min() + 1 == len(profile.there)
    return bool(full or (np.all(steps > 0) and np.all(steps == steps[0])))


def _reads_as_values(profile: ColumnProfile) -> bool:
    """Text that is all numbers or all dates is more than a name."""
    return any(modality(name).claims(profile) for name in ("datetime", "number"))
