"""The seam for other kinds of columns: a modality of another package is offered columns, fitted, stored and served."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

from deepseek import plugins
from deepseek.contracts import Float32
from deepseek.data import Preprocessor, find_kinds, fit_preprocessor, read_table
from deepseek.data.features.modality import (
    ColumnEncoder,
    ColumnProfile,
    EncodedFeature,
    FeatureValues,
    ReplacedRows,
    ReplacementReason,
)
from deepseek.data.features.registry import MODALITIES, modalities
from deepseek.data.table.values import Values, level_names
from deepseek.errors import MissingError


@dataclass(frozen=True)
class LengthCoder:
    """Free text as its number of letters."""

    typical: int

    dtype: ClassVar[str] = "str"
    expected: ClassVar[str] = "text"

    @property
    def parts(self) -> tuple[EncodedFeature, ...]:
        return (EncodedFeature(" length", "numeric"),)

    def encode(self, values: Values, out: Float32) -> ReplacedRows:
        out[:, 0] = [len(text or "") for text in level_names(values)]
        return ReplacedRows()

    def quick(self) -> Callable[[Any], FeatureValues | None]:
        return lambda value: (float(len(value)),) if type(value) is str else None

    def careful(self, value: Any) -> tuple[FeatureValues, ReplacementReason | None]:
        return (float(len(level_names([value])[0] or "")),), None

    def example(self) -> Any:
        return "x" * self.typical


class Lengths:
    name: ClassVar[str] = "length"
    kinds: ClassVar[tuple[str, ...]] = ("text",)
    coder: ClassVar[type] = LengthCoder

    def claims(self, profile: ColumnProfile) -> str | None:
        return "text" if profile.type == "text" else None

    def fit(self, profile: ColumnProfile, kind: str) -> ColumnEncoder:
        return LengthCoder(int(np.median([len(text) for text in profile.present])))


class Point:
    """An entry point of an installed package."""

    value = f"{__name__}:LENGTHS"


LENGTHS = Lengths()


def test_ours_are_offered_columns_first_and_in_order() -> None:
    assert [each.name for each in modalities()][: len(MODALITIES)] == list(MODALITIES)


def test_a_modality_of_another_package_codes_free_text(monkeypatch: pytest.MonkeyPatch) -> None:
    others = plugins._entry_points
    monkeypatch.setattr(
        plugins, "_entry_points", lambda group: {"length": Point} if group == "modalities" else others(group)
    )
    monkeypatch.setattr(plugins, "_load_target", lambda target: LENGTHS if target == Point.value else MODALITIES)
    notes = [f"note {'x' * (row % 7)} about the row {row}" for row in range(40)]
    table = read_table({"note": notes, "y": [0, 1] * 20})
    kinds = find_kinds(table, target="y")
    assert kinds == {"note": "text"}
    prepared = Preprocessor.from_bytes(fit_preprocessor(table, kinds, target="y").to_bytes())
    assert prepared.feature_names == ("note length",)
    assert prepared.table(table).features[:, 0].tolist() == [len(text) for text in notes]
    assert prepared.rows([{"note": "abc"}]).features.tolist() == [[3.0]]


def test_a_bundle_that_needs_a_package_that_is_not_there_says_so() -> None:
    prepared = fit_preprocessor(read_table({"x": [1.5, 2.5], "y": [0, 1]}), {"x": "numeric"}, target="y")
    with pytest.raises(MissingError, match="smell"):
        Preprocessor.from_bytes(prepared.to_bytes().replace(b'"modality": "number"', b'"modality": "smell"'))
