"""Explanations as the route :explain writes them.

encode_explanations(explained)      {"explanations": [{"base_value", "values", "output", "residual", ...}, ...]}
"""

from __future__ import annotations

from typing import Any

import msgspec

from deepseek.contracts import Attribution
from deepseek.engines.process.attributions import RowAttributions
from deepseek.serve.core.json_body import encode_json


def encode_explanations(explained: RowAttributions) -> bytes:
    """The body of :explain, with one explanation for each row."""
    rows = zip(explained, check_sums(explained), strict=True)
    return encode_json(
        {"explanations": [_explanation_row(attribution, row, adds_up) for (attribution, row), adds_up in rows]}
    )


def check_sums(explained: RowAttributions) -> list[bool]:
    """For each row whether base value and contributions add up to its output. Rows share attributions; each is checked
    once."""
    sums = {
        key: attribution.adds_up.tolist()
        for key, attribution in {id(attribution): attribution for attribution, _ in explained}.items()
    }
    return [sums[id(attribution)][row] for attribution, row in explained]


class ExplanationRow(msgspec.Struct, frozen=True):
    """The explanation of one row: base_value + sum of values + residual = output, on `scale`."""

    base_value: float
    values: dict[str, float]  # contribution by column
    output: float
    residual: float
    adds_up: bool
    scale: str
    method: str
    target: str | None  # the explained class; None for regression
    parts: Any = msgspec.UNSET  # of texts and files, where they were requested
    is_partial: bool | msgspec.UnsetType = msgspec.UNSET  # whether parts were stopped by a limit
    warning: str | msgspec.UnsetType = msgspec.UNSET  # where it does not add up


def _explanation_row(attribution: Attribution, row: int, adds_up: bool) -> ExplanationRow:
    parts = attribution.parts[row] if attribution.parts else msgspec.UNSET
    values, base, output = attribution.values[row], float(attribution.base_value[row]), float(attribution.output[row])
    residual = output - (base + float(values.sum()))
    warning = (
        f"This explanation does not add up: {residual:.6g} {attribution.scale} of the output is left unexplained. "
        "Do not rely on it."
    )
    return ExplanationRow(
        base, dict(zip(attribution.names, values.tolist(), strict=True)), output, residual, adds_up,
        attribution.scale, attribution.method, attribution.target, parts,
        is_partial=msgspec.UNSET if parts is msgspec.UNSET else any(part["is_partial"] for part in parts),
        warning=msgspec.UNSET if adds_up else warning,
    )  # fmt: skip
