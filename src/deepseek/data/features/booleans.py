"""True or false, 1 or 0, yes or no: one feature of two levels, and whether it is missing."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from deepseek.contracts import Float32
from deepseek.data.features.modality import (
    ColumnEncoder,
    ColumnProfile,
    EncodedFeature,
    FeatureValues,
    ReplacedRows,
    ReplacementReason,
)
from deepseek.data.table.values import Values, parse_boolean, parse_numbers

_WORD_PAIRS = (
    {"true", "false"}, {"yes", "no"}, {"y", "n"}, {"t", "f"}, {"on", "off"},
    {"是", "否"}, {"有", "无"}, {"真", "假"}, {"对", "错"},
)  # fmt: skip


@dataclass(frozen=True)
class BooleanEncoder:
    """A missing value, or a number other than 0 and 1, becomes the more frequent one of training."""

    mode: float  # 0.0 or 1.0
    seen_missing: bool = False
    words: tuple[str, ...] = ()  # (false, true) as text in the training column, for the example

    dtype: ClassVar[str] = "bool"
    expected: ClassVar[str] = "true or false (or 1, 0, yes, no), or null where it is missing"

    @property
    def parts(self) -> tuple[EncodedFeature, ...]:
        return (
            EncodedFeature("", "code", 2),
            *((EncodedFeature(" is missing", "missing"),) if self.seen_missing else ()),
        )

    def encode(self, values: Values, out: Float32) -> ReplacedRows:
        parsed = parse_numbers(values, parse_boolean)
        missing = np.isnan(parsed)
        unseen = ~missing & (parsed != 0) & (parsed != 1)
        out[:, 0] = np.where(missing | unseen, self.mode, parsed) + 0.0
        if self.seen_missing:
            out[:, 1] = missing
        imputed = () if self.seen_missing or not missing.any() else np.flatnonzero(missing).tolist()
        return ReplacedRows(imputed, np.flatnonzero(unseen).tolist())

    def quick(self) -> Callable[[Any], FeatureValues | None]:
        return {value: self._cells(value, 0.0) for value in (0.0, 1.0)}.get  # True is 1 and False is 0 to a dict

    def careful(self, value: Any) -> tuple[FeatureValues, ReplacementReason | None]:
        parsed = parse_boolean(value)
        if math.isnan(parsed):
            return self._cells(self.mode, 1.0), None if self.seen_missing else "imputed"
        return (self._cells(parsed, 0.0), None) if parsed in (0.0, 1.0) else (self._cells(self.mode, 0.0), "unseen")

    def example(self) -> Any:
        return self.words[int(self.mode)] if self.words else bool(self.mode)

    def _cells(self, value: float, missing: float) -> FeatureValues:
        return (value + 0.0, missing) if self.seen_missing else (value + 0.0,)


class Booleans:
    """Claims boolean columns: of that type, of the words of one pair such as yes and no, or of 0 and 1 alone."""

    name: ClassVar[str] = "boolean"
    kinds: ClassVar[tuple[str, ...]] = ("boolean",)
    coder: ClassVar[type] = BooleanEncoder

    def claims(self, profile: ColumnProfile) -> str | None:
        if profile.type == "text":
            words = {text.lower() for text in profile.counts} if len(profile.counts) <= 6 else set()
            return "boolean" if words in _WORD_PAIRS else None
        binary = profile.type in ("number", "boolean") and set(profile.counts) <= {0.0, 1.0}
        return "boolean" if binary or profile.type == "boolean" else None

    def fit(self, profile: ColumnProfile, kind: str) -> ColumnEncoder:
        parsed = parse_numbers(profile.values, parse_boolean)
        mode = float(np.sum(parsed == 1) > np.sum(parsed == 0))
        return BooleanEncoder(mode, bool(np.isnan(parsed).any()), self._words(profile))

    def _words(self, profile: ColumnProfile) -> tuple[str, ...]:
        if profile.type != "text":
            return ()
        by_value = {parse_boolean(text): text for text in reversed(profile.counts)}
        return (by_value.get(0.0, "false"), by_value.get(1.0, "true"))
